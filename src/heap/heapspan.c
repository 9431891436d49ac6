// heapspan.c - spans of a heap: from its reserve, or from the page heap.    layer 5
#include "heap/heapspan.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/words.h"

#include <string.h>

static void heapspan_set_state(uint32_t granule, enum span_state state) {
    atomic_store_explicit(&region_span(granule)->state, state, memory_order_relaxed);
}

static bool heapspan_is_reserve(const struct allot_heap *heap, uint32_t granule) {
    return granule - heap->reserve < heap->reserve_count;
}

static void heapspan_hold(struct allot_heap *heap, size_t granules, bool more) {
    size_t bytes = granules << GRANULE_LOG2;
    size_t held = atomic_load_explicit(&heap->held_bytes, memory_order_relaxed);
    atomic_store_explicit(&heap->held_bytes, more ? held + bytes : held - bytes,
                          memory_order_relaxed);
}

// What an older kernel does not populate.
static void heapspan_touch(char *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += os_page_bytes()) {
        *(volatile char *)(from + at) = 0;
    }
}

// ---- The reserve

static bool heapspan_set_aside(struct allot_heap *heap, uint32_t count) {
    // The slabs of a heap with one class begin at multiples of their size.
    uint32_t align = heap->is_uniform ? heap->classes[SIZECLASS_FIRST].granule_count : 1;
    bool is_zero;
    uint32_t first = pageheap_take(0, count, align, PAGEHEAP_PLAIN, &is_zero);
    if (first == 0) {
        return false;
    }
    for (uint32_t g = first; g < first + count; g++) {
        heapspan_set_state(g, SPAN_RESERVE);
    }
    heap->reserve = heap->reserve_from = first;
    heap->reserve_count = count;
    heapspan_hold(heap, count, true);
    return true;
}

// The bits of as many slabs as the reserve may have: where all are there and were touched, no
// slab that is made later asks for any. False: no memory.
static bool heapspan_touch_words(uint32_t count) {
    _Atomic(uint64_t) *taken = NULL;
    bool is_whole = true;
    for (uint32_t i = 0; i < count && is_whole; i++) {
        _Atomic(uint64_t) *words = (_Atomic(uint64_t) *)words_take(1);
        is_whole = words != NULL;
        if (is_whole) {
            atomic_store_explicit(words, (uintptr_t)taken, memory_order_relaxed);
            taken = words;
        }
    }
    while (taken != NULL) {
        _Atomic(uint64_t) *words = taken;
        taken = (_Atomic(uint64_t) *)(uintptr_t)atomic_load_explicit(words, memory_order_relaxed);
        words_give(words, 1);
    }
    return is_whole;
}

bool heapspan_reserve(struct allot_heap *heap, const struct allot_heap_options *options) {
    size_t count = (options->reserve_bytes + GRANULE_BYTES - 1) >> GRANULE_LOG2;
    if (count == 0) {
        return true;
    }
    if (count > UINT32_MAX || !heapspan_set_aside(heap, (uint32_t)count)) {
        return false;
    }
    char *from = region_address(heap->reserve);
    size_t bytes = count << GRANULE_LOG2;
    if (options->huge_pages) {
        os_set_thp(from, bytes, OS_THP_ALWAYS);
    }
    if (options->prefault) {
        os_populate(from, bytes);
        heapspan_touch(from, bytes);
    }
    return (!options->prefault || heapspan_touch_words((uint32_t)count)) &&
           (!options->lock_memory || os_lock(from, bytes) == 0);
}

static bool heapspan_is_free(uint32_t granule) {
    return atomic_load_explicit(&region_span(granule)->state, memory_order_relaxed) == SPAN_RESERVE;
}

static uint32_t heapspan_run(uint32_t from, uint32_t count) {
    uint32_t length = 0;
    while (length < count && heapspan_is_free(from + length)) {
        length++;
    }
    return length;
}

// First fit. The lock is held.
static uint32_t heapspan_take_reserve(struct allot_heap *heap, uint32_t count, uint32_t align) {
    uint32_t end = heap->reserve + heap->reserve_count;
    uint32_t from = heap->reserve_from;
    while (from < end && !heapspan_is_free(from)) {
        from++;
    }
    heap->reserve_from = from;
    for (uint32_t at = (uint32_t)region_align(from, align); at < end && count <= end - at;) {
        uint32_t length = heapspan_run(at, count);
        if (length == count) {
            for (uint32_t g = at; g < at + count; g++) {
                heapspan_set_state(g, SPAN_NONE);
            }
            region_span(at)->granule_count = count;
            return at;
        }
        at = (uint32_t)region_align(at + length + 1, align);
    }
    return 0;
}

// ---- What is kept
//
// Spans of slabs that became empty, and others of their size. They count as held and are
// KIND_INSIDE; all_next links them, all_prev says when they were given.

static void heapspan_count_as_kept(struct allot_heap *heap, size_t granules, bool more) {
    size_t bytes = granules << GRANULE_LOG2;
    size_t kept = atomic_load_explicit(&heap->kept_bytes, memory_order_relaxed);
    atomic_store_explicit(&heap->kept_bytes, more ? kept + bytes : kept - bytes,
                          memory_order_relaxed);
}

static bool heapspan_may_keep(const struct allot_heap *heap, uint32_t first, uint32_t count) {
    return heap->idle_ms > 0 && bits_is_power(count) && bits_log2(count) < HEAP_KEPT_LISTS &&
           region_align(first, count) == first;
}

// The lock is held.
static void heapspan_keep(struct allot_heap *heap, uint32_t first, uint32_t count) {
    struct span *span = region_span(first);
    uint32_t *list = &heap->kept[bits_log2(count)];
    span->as.owned.all_next = *list;
    span->as.owned.all_prev = (uint32_t)os_now_ms();
    *list = first;
    heapspan_count_as_kept(heap, count, true);
}

// The lock is held.
static uint32_t heapspan_take_kept(struct allot_heap *heap, uint32_t count, uint32_t align) {
    bool is_listed = bits_is_power(count) && align <= count && bits_log2(count) < HEAP_KEPT_LISTS;
    uint32_t first = is_listed ? heap->kept[bits_log2(count)] : 0;
    if (first != 0) {
        heap->kept[bits_log2(count)] = region_span(first)->as.owned.all_next;
        heapspan_count_as_kept(heap, count, false);
        heapspan_hold(heap, count, false);  // until it is linked
    }
    return first;
}

// Takes the old ones, which come last, out of a list, and says how many. The lock is held,
// so that none was given after now_ms.
static uint32_t heapspan_cut_kept(uint32_t *list, uint32_t older_than_ms, size_t *count) {
    uint32_t now_ms = (uint32_t)os_now_ms();
    COMPILER_LATE(uint32_t) *link = NULL;
    uint32_t at = *list;
    while (at != 0 && now_ms - region_span(at)->as.owned.all_prev < older_than_ms) {
        link = &region_span(at)->as.owned.all_next;
        at = *link;
    }
    if (link != NULL) {
        *link = 0;
    } else {
        *list = 0;
    }
    *count = 0;
    for (uint32_t old = at; old != 0; old = region_span(old)->as.owned.all_next) {
        ++*count;
    }
    return at;
}

// What was cut off counts no more at once: a fork may come before it is given.
size_t heapspan_release(struct allot_heap *heap, uint32_t older_than_ms) {
    size_t granules = 0;
    for (unsigned i = 0; i < HEAP_KEPT_LISTS; i++) {
        size_t count;
        lock_take(&heap->span_lock);
        uint32_t old = heapspan_cut_kept(&heap->kept[i], older_than_ms, &count);
        heapspan_count_as_kept(heap, count << i, false);
        heapspan_hold(heap, count << i, false);
        lock_give(&heap->span_lock);
        while (old != 0) {
            uint32_t next = region_span(old)->as.owned.all_next;
            pageheap_give(old);
            old = next;
        }
        granules += count << i;
    }
    return granules << GRANULE_LOG2;
}

size_t heapspan_retire(struct allot_heap *heap, uint32_t older_than_ms) {
    bool is_timed = heap->idle_ms > 0 && heap->idle_ms != ALLOT_IDLE_NEVER;
    size_t bytes = is_timed ? heapspan_release(heap, older_than_ms) : 0;
    if (bytes > 0) {
        pageheap_purge(bytes - GRANULE_BYTES, UINT64_MAX);
    }
    return bytes;
}

size_t heapspan_count_kept(const struct allot_heap *heap) {
    size_t count = 0;
    for (unsigned i = 0; i < HEAP_KEPT_LISTS; i++) {
        for (uint32_t at = heap->kept[i]; at != 0; at = region_span(at)->as.owned.all_next) {
            count += (size_t)1 << i;
        }
    }
    ALLOT_ASSERT(count << GRANULE_LOG2 == atomic_load(&heap->kept_bytes));
    return count << GRANULE_LOG2;
}

// ---- Spans in use

// The lock is held.
static void heapspan_link(struct allot_heap *heap, uint32_t first) {
    struct span *span = region_span(first);
    span->as.owned.all_prev = 0;
    span->as.owned.all_next = heap->all;
    if (heap->all != 0) {
        region_span(heap->all)->as.owned.all_prev = first;
    }
    heap->all = first;
}

static void heapspan_unlink(struct allot_heap *heap, uint32_t first) {
    const struct span *span = region_span(first);
    uint32_t next = span->as.owned.all_next;
    uint32_t prev = span->as.owned.all_prev;
    if (next != 0) {
        region_span(next)->as.owned.all_prev = prev;
    }
    if (prev != 0) {
        region_span(prev)->as.owned.all_next = next;
    } else {
        heap->all = next;
    }
}

uint32_t heapspan_take(struct allot_heap *heap, unsigned kind, uint32_t count, uint32_t align,
                       bool *is_zero) {
    lock_take(&heap->span_lock);
    uint32_t first = heapspan_take_reserve(heap, count, align);
    bool is_reserve = first != 0;
    first = is_reserve ? first : heapspan_take_kept(heap, count, align);
    lock_give(&heap->span_lock);
    *is_zero = false;
    if (first == 0 && !heap->refuses_overflow) {
        first = pageheap_take(0, count, align, PAGEHEAP_PLAIN, is_zero);
    }
    if (first == 0) {
        return 0;
    }
    for (uint32_t g = first; g < first + count; g++) {
        struct span *span = region_span(g);
        heapspan_set_state(g, SPAN_NONE);
        span->kind = (uint8_t)kind;
        __atomic_store_n(&span->as.owned.heap, heap, __ATOMIC_RELAXED);
        atomic_store_explicit(&span->as.owned.is_queued, 0, memory_order_relaxed);
    }
    lock_take(&heap->span_lock);
    heapspan_link(heap, first);
    if (!is_reserve) {
        heapspan_hold(heap, count, true);
    }
    lock_give(&heap->span_lock);
    return first;
}

void heapspan_publish(uint32_t first, uint32_t count) {
    atomic_thread_fence(memory_order_release);
    region_set_kind(first, count, KIND_HEAP);
}

void heapspan_give(struct allot_heap *heap, uint32_t first) {
    uint32_t count = region_span(first)->granule_count;
    bool is_reserve = heapspan_is_reserve(heap, first);
    bool is_kept = !is_reserve && heapspan_may_keep(heap, first, count);
    lock_take(&heap->span_lock);
    heapspan_unlink(heap, first);
    if (is_kept) {
        heapspan_keep(heap, first, count);
    } else if (is_reserve) {
        for (uint32_t g = first; g < first + count; g++) {
            heapspan_set_state(g, SPAN_RESERVE);
        }
        heap->reserve_from = first < heap->reserve_from ? first : heap->reserve_from;
    } else {
        heapspan_hold(heap, count, false);
    }
    lock_give(&heap->span_lock);
    if (!is_reserve && !is_kept) {
        pageheap_give(first);
    }
}

void heapspan_end(struct allot_heap *heap) {
    heapspan_release(heap, 0);
    if (heap->reserve_count > 0) {
        region_span(heap->reserve)->granule_count = heap->reserve_count;
        pageheap_give(heap->reserve);
        heapspan_hold(heap, heap->reserve_count, false);
        heap->reserve_count = 0;
    }
}

// What was kept stays unused; who had the lock may have counted one half of a change.
void heapspan_rebuild(struct allot_heap *heap) {
    atomic_store(&heap->kept_bytes, 0);
    atomic_store(&heap->held_bytes, (size_t)heap->reserve_count << GRANULE_LOG2);
    memset(heap->kept, 0, sizeof heap->kept);
    heap->all = 0;
    uint32_t top = region_top();
    for (uint32_t g = 1; g < top; g++) {
        const struct span *span = region_span(g);
        if (region_kind(g) == KIND_HEAP && span->as.owned.heap == heap &&
            atomic_load_explicit(&span->state, memory_order_relaxed) != SPAN_NONE) {
            heapspan_link(heap, g);
            heapspan_hold(heap, heapspan_is_reserve(heap, g) ? 0 : span->granule_count, true);
        }
    }
}
