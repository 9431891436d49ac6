// heapstack.c - a heap's free blocks, one stack per class.                  layer 5
#include "heap/heapstack.h"

#include "heap/heapslab.h"
#include "heap/heapspan.h"
#include "os/os.h"
#include "page/region.h"

#include <string.h>

enum {
    HEAPSTACK_DRAIN_EVERY = 16,  // slow paths
    HEAPSTACK_LOG2_FIRST = 2,
    HEAPSTACK_STEPS = (SIZECLASS_SLAB_MAX >> SIZECLASS_STEP_LOG2) + 1,
};
#define HEAPSTACK_BYTES (32 * KIB)  // of the blocks of a class in its stack

static void *heapstack_no_block[1];
struct heap_stacks heap_no_stacks = {
    .top = {[0 ... HEAP_KINDS - 1] = heapstack_no_block},
    .end = {[0 ... HEAP_KINDS - 1] = heapstack_no_block},
};

static struct {
    struct lock lock;
    void *first;                 // out of use, linked by the first word
    struct allot_heap *records;  // likewise, by next; never used for anything else
} heapstack_pages;

// ---- Pages

void *heapstack_take_page(void) {
    lock_take(&heapstack_pages.lock);
    void *page = heapstack_pages.first;
    if (page != NULL) {
        heapstack_pages.first = *(void **)page;
    }
    lock_give(&heapstack_pages.lock);
    return page != NULL ? page : region_take_meta(HEAP_PAGE_BYTES);
}

void heapstack_give_page(void *page) {
    lock_take(&heapstack_pages.lock);
    *(void **)page = heapstack_pages.first;
    heapstack_pages.first = page;
    lock_give(&heapstack_pages.lock);
}

struct allot_heap *heapstack_take_record(void) {
    lock_take(&heapstack_pages.lock);
    struct allot_heap *heap = heapstack_pages.records;
    if (heap != NULL) {
        heapstack_pages.records = heap->next;
    }
    lock_give(&heapstack_pages.lock);
    return heap != NULL ? heap : region_take_meta(HEAP_PAGE_BYTES);
}

void heapstack_give_record(struct allot_heap *heap) {
    lock_take(&heapstack_pages.lock);
    heap->next = heapstack_pages.records;
    heapstack_pages.records = heap;
    lock_give(&heapstack_pages.lock);
}

void heapstack_repair(void) {
    lock_reset(&heapstack_pages.lock);
    heapstack_pages.first = NULL;
    heapstack_pages.records = NULL;
}

// ---- Classes

static void heapstack_fill_tables(uint8_t *direct, uint8_t *stepped, const size_t *sizes,
                                  size_t count) {
    size_t at = 0;
    for (size_t size = 0; size <= SIZECLASS_DIRECT_MAX; size++) {
        at += at < count && sizes[at] < size;
        direct[size] = (uint8_t)(at < count ? SIZECLASS_FIRST + at : KIND_LARGE);
    }
    at = 0;
    for (size_t step = 1; step < HEAPSTACK_STEPS; step++) {
        while (at < count && heap_step(sizes[at]) < step) {
            at++;
        }
        stepped[step] = (uint8_t)(at < count ? SIZECLASS_FIRST + at : KIND_LARGE);
    }
}

bool heapstack_set_classes(struct allot_heap *heap, const size_t *sizes, size_t count) {
    heap->classes = sizeclass_table;
    heap->direct = sizeclass_direct;
    heap->stepped = sizeclass_stepped;
    heap->kind_end = HEAP_KINDS;
    if (sizes == NULL) {
        return true;
    }
    struct sizeclass *classes = heapstack_take_page();
    if (classes == NULL) {
        return false;
    }
    memset((void *)classes, 0, HEAP_PAGE_BYTES);
    for (unsigned i = 0; i < count; i++) {
        sizeclass_set_slab(&classes[SIZECLASS_FIRST + i], sizes[i]);
    }
    uint8_t *direct = (uint8_t *)(classes + SIZECLASS_FIRST + ALLOT_HEAP_CLASSES_MAX);
    uint8_t *stepped = direct + SIZECLASS_DIRECT_MAX + 1;
    heapstack_fill_tables(direct, stepped, sizes, count);
    heap->own_classes = classes;
    heap->is_uniform = count == 1;
    heap->kind_end = (uint8_t)(SIZECLASS_FIRST + count);
    heap->classes = classes;
    heap->direct = direct;
    heap->stepped = stepped;
    return true;
}
_Static_assert(sizeof(struct sizeclass) * (SIZECLASS_FIRST + ALLOT_HEAP_CLASSES_MAX) +
                       SIZECLASS_DIRECT_MAX + 1 + HEAPSTACK_STEPS <=
                   HEAP_PAGE_BYTES,
               "classes and their tables fit on one page");

// ---- Stacks

static void **heapstack_bottom(const struct allot_heap *heap, unsigned kind) {
    return heap->own.end[kind] - (((size_t)1 << heap->bins[kind].slots_log2) - 1);
}

static void **heapstack_take_slots(struct allot_heap *heap, unsigned slots_log2) {
    void **stack = heap->spare[slots_log2];
    if (stack != NULL) {
        heap->spare[slots_log2] = (void **)*stack;
        return stack;
    }
    size_t bytes = sizeof(void *) << slots_log2;
    if ((size_t)(heap->bump_end - heap->bump) < bytes) {
        void **page = heapstack_take_page();
        if (page == NULL) {
            return NULL;
        }
        *page = heap->pages;
        heap->pages = (void *)page;
        heap->bump = (char *)(page + 1);
        heap->bump_end = (char *)page + HEAP_PAGE_BYTES;
    }
    stack = (void **)heap->bump;
    heap->bump += bytes;
    return stack;
}

// A stack may have had all smaller sizes.
bool heapstack_touch(const struct allot_heap *heap) {
    size_t bytes = (heap->kind_end - SIZECLASS_FIRST) * sizeof(void *) << (HEAP_STACK_LOG2_MAX + 1);
    void *taken = NULL;
    void *page = NULL;
    for (size_t at = 0; at < bytes && (page = heapstack_take_page()) != NULL;
         at += HEAP_PAGE_BYTES) {
        *(void **)page = taken;
        taken = page;
    }
    while (taken != NULL) {
        void *next = *(void **)taken;
        heapstack_give_page(taken);
        taken = next;
    }
    return page != NULL;
}

// A stack of the class with twice the slots, or the first one.
static bool heapstack_widen(struct allot_heap *heap, unsigned kind) {
    struct heap_bin *bin = &heap->bins[kind];
    unsigned slots_log2 = bin->has_stack ? bin->slots_log2 + 1u : HEAPSTACK_LOG2_FIRST;
    size_t most = HEAPSTACK_BYTES / heap->classes[kind].size_bytes;
    bool is_enough = slots_log2 > HEAP_STACK_LOG2_MAX || (size_t)1 << slots_log2 > most;
    if (bin->has_stack && is_enough) {
        return false;
    }
    void **stack = heapstack_take_slots(heap, slots_log2);
    if (stack == NULL) {
        return false;
    }
    size_t count = 0;
    stack[0] = NULL;
    if (bin->has_stack) {
        void **old = heapstack_bottom(heap, kind);
        count = (size_t)(heap->own.top[kind] - old);
        memcpy(stack + 1, old + 1, count * sizeof *stack);
        *old = (void *)heap->spare[bin->slots_log2];
        heap->spare[bin->slots_log2] = old;
    }
    bin->has_stack = true;
    bin->slots_log2 = (uint8_t)slots_log2;
    heap->own.top[kind] = stack + count;
    heap->own.end[kind] = stack + ((size_t)1 << slots_log2) - 1;
    return true;
}

// Gives the oldest `count` blocks of a stack back to their slabs.
static void heapstack_flush(struct allot_heap *heap, unsigned kind, size_t count) {
    void *blocks[1 << HEAP_STACK_LOG2_MAX];
    void **bottom = heapstack_bottom(heap, kind);
    size_t have = (size_t)(heap->own.top[kind] - bottom);
    memcpy(blocks, bottom + 1, count * sizeof *blocks);
    memmove(bottom + 1, bottom + 1 + count, (have - count) * sizeof *blocks);
    heap->own.top[kind] -= count;
    heapslab_give(heap, kind, blocks, (unsigned)count);
}

void heapstack_empty(struct allot_heap *heap) {
    for (unsigned k = SIZECLASS_FIRST; k < HEAP_KINDS; k++) {
        if (heap->bins[k].has_stack) {
            heapstack_flush(heap, k, (size_t)(heap->own.top[k] - heapstack_bottom(heap, k)));
        }
    }
}

void heapstack_settle(struct allot_heap *heap) {
    heapstack_empty(heap);
    heapslab_trim(heap);
}

size_t heapstack_trim(struct allot_heap *heap) {
    size_t before = atomic_load_explicit(&heap->held_bytes, memory_order_relaxed);
    heapstack_settle(heap);
    heapspan_release(heap, 0);
    size_t after = atomic_load_explicit(&heap->held_bytes, memory_order_relaxed);
    return before > after ? before - after : 0;
}

// Whether nothing happened in the heap for idle_ms, for the first time.
static bool heapstack_is_idle(struct allot_heap *heap) {
    uint32_t now_ms = (uint32_t)os_now_ms();
    uint64_t calls = heap->malloc_calls + heap->free_calls +
                     atomic_load_explicit(&heap->remote_blocks, memory_order_relaxed);
    if (calls != heap->idle_calls) {
        heap->idle_calls = calls;
        heap->idle_since_ms = now_ms;
        heap->is_settled = false;
    }
    return !heap->is_settled && now_ms - heap->idle_since_ms >= heap->idle_ms;
}

size_t heapstack_retire(struct allot_heap *heap) {
    bool is_timed = heap->idle_ms > 0 && heap->idle_ms != ALLOT_IDLE_NEVER;
    bool is_idle = is_timed && heapstack_is_idle(heap);
    if (is_idle) {
        heap->is_settled = true;
        heapstack_settle(heap);
    }
    return heapspan_retire(heap, is_idle ? 0 : heap->idle_ms);
}

static void heapstack_housekeep(struct allot_heap *heap) {
    if (UNLIKELY(atomic_load_explicit(&heap->is_purge_wanted, memory_order_relaxed))) {
        atomic_store_explicit(&heap->is_purge_wanted, false, memory_order_relaxed);
        heapstack_trim(heap);
    }
    if (++heap->slow_count % HEAPSTACK_DRAIN_EVERY == 0) {
        heapslab_drain(heap);
        heapstack_retire(heap);
    }
}

void heapstack_push(struct allot_heap *heap, unsigned kind, void *block) {
    struct heap_bin *bin = &heap->bins[kind];
    if (heap->own.top[kind] >= heap->own.end[kind]) {
        heapstack_housekeep(heap);
        if (!heapstack_widen(heap, kind) && bin->has_stack) {
            heapstack_flush(heap, kind, ((size_t)1 << bin->slots_log2) / 2);
        }
    }
    if (heap->own.top[kind] >= heap->own.end[kind]) {
        heapslab_give(heap, kind, &block, 1);
        return;
    }
    heap->own.top[kind]++;
    *heap->own.top[kind] = block;
}

static void *heapstack_refill(struct allot_heap *heap, unsigned kind) {
    struct heap_bin *bin = &heap->bins[kind];
    void *one[1];
    heapstack_housekeep(heap);
    if (!bin->has_stack && !heapstack_widen(heap, kind)) {
        return heapslab_take(heap, kind, one + 1, 1) == 1 ? one[0] : NULL;
    }
    unsigned want = (1u << bin->slots_log2) / 2;
    void **bottom = heapstack_bottom(heap, kind);
    void **end = bottom + 1 + want;
    unsigned count = heapslab_take(heap, kind, end, want);
    if (count == 0) {
        return NULL;
    }
    memmove(bottom + 1, end - count, count * sizeof *bottom);
    void *block = bottom[count];
    heap->own.top[kind] = bottom + count - 1;
    if (count == want) {
        heapstack_widen(heap, kind);
    }
    return block;
}

void *heapstack_pop(struct allot_heap *heap, unsigned kind) {
    void *block = *heap->own.top[kind];
    if (block != NULL) {
        heap->own.top[kind]--;
        return block;
    }
    return heapstack_refill(heap, kind);
}
