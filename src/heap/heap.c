// heap.c - first-class heaps: owners, limits, blocks.                      layer 5
#include "heap/heap.h"

#include "base/bits.h"
#include "heap/budget.h"
#include "heap/heapgiven.h"
#include "heap/heapspan.h"
#include "heap/heapstack.h"
#include "heap/registry.h"
#include "os/check.h"
#include "os/os.h"
#include "page/region.h"
#include "slab/large.h"

#include <errno.h>
#include <string.h>

static struct {
    struct lock lock;
    uint8_t epoch;  // of forks
    struct allot_heap *first;
    _Atomic(size_t) idle_count;  // of heaps that keep what they do not use for a while
} heap_state;

typedef size_t heap_cleaner(struct allot_heap *heap);

// ---- After fork

// The caller is alone: it holds the lock of all heaps, and nobody has used this
// one since the fork.
static void heap_repair_one(struct allot_heap *heap) {
    bool was_held = atomic_load_explicit(&heap->span_lock.word, memory_order_relaxed) != 0;
    lock_reset(&heap->use);
    lock_reset(&heap->span_lock);
    lock_reset(&heap->budget.lock);
    if (was_held) {
        heapspan_rebuild(heap);
    }
    atomic_fetch_and_explicit(&heap->remote, ~(((uint64_t)1 << HEAP_REMOTE_SHIFT) - 1),
                              memory_order_relaxed);
    atomic_store_explicit(&heap->is_gated, false, memory_order_relaxed);
    __atomic_store_n(&heap->epoch, heap_state.epoch, __ATOMIC_RELEASE);
}

static ALWAYS_INLINE void heap_touch(struct allot_heap *heap) {
    if (LIKELY(__atomic_load_n(&heap->epoch, __ATOMIC_ACQUIRE) == heap_state.epoch)) {
        return;
    }
    lock_take(&heap_state.lock);
    if (heap->epoch != heap_state.epoch) {
        heap_repair_one(heap);
    }
    lock_give(&heap_state.lock);
}

void heap_repair(void) {
    heapstack_repair();
    heapgiven_repair();
    heap_state.epoch++;
    lock_reset(&heap_state.lock);
}

// ---- Owners

static bool heap_is_owned_by(const struct allot_heap *heap, uint64_t thread_id) {
    return thread_id != 0 && atomic_load_explicit(&heap->owner, memory_order_relaxed) == thread_id;
}

int heap_enter(struct allot_heap *heap) {
    heap_touch(heap);
    if (heap->is_shared || (heap->given != NULL && heap_is_owned_by(heap, registry_thread_id()))) {
        lock_take(&heap->use);
        return 0;
    }
    return heap_is_owned_by(heap, registry_thread_id()) ? 0 : EPERM;
}

void heap_leave(struct allot_heap *heap) {
    if (heap->is_shared || heap->given != NULL) {
        lock_give(&heap->use);
    }
}

static bool heap_try_adopt(struct allot_heap *heap, uint64_t self) {
    uint64_t owner = atomic_load_explicit(&heap->owner, memory_order_relaxed);
    bool is_free = owner == 0 || !registry_is_alive(owner);
    return is_free && atomic_compare_exchange_strong_explicit(
                          &heap->owner, &owner, self, memory_order_acquire, memory_order_relaxed);
}

int heap_adopt(struct allot_heap *heap) {
    uint64_t self = registry_thread_id();
    heap_touch(heap);
    if (heap->is_shared) {
        return EINVAL;
    }
    if (self == 0) {
        return EBUSY;
    }
    if (heap_is_owned_by(heap, self) || heap_try_adopt(heap, self)) {
        return 0;
    }
    // A purge owns the heaps of nobody for moments, under this lock.
    lock_take(&heap_state.lock);
    bool is_ours = heap_try_adopt(heap, self);
    lock_give(&heap_state.lock);
    return is_ours ? 0 : EBUSY;
}

int heap_disown(struct allot_heap *heap) {
    if (!heap_is_owned_by(heap, registry_thread_id())) {
        return EPERM;
    }
    atomic_store_explicit(&heap->owner, 0, memory_order_release);
    return 0;
}

// ---- Limits. Inside.

static int64_t heap_live(const struct allot_heap *heap) {
    return heap->base - heap->room - heapslab_pending_bytes(heap);
}

// Others read these for statistics.
static void heap_set_room(struct allot_heap *heap, int64_t room) {
    __atomic_store_n(&heap->room, room, __ATOMIC_RELAXED);
}

static void heap_set_noted(struct allot_heap *heap, int64_t room) {
    __atomic_store_n(&heap->room_noted, room, __ATOMIC_RELAXED);
    int64_t low = room - HEAP_PEAK_STEP;
    __atomic_store_n(&heap->room_low, low > 0 ? low : 0, __ATOMIC_RELAXED);
}

static void heap_fold(struct allot_heap *heap) {
    heap_set_room(heap, heap->room + heapslab_take_remote(heap));
}

static void heap_set_base(struct allot_heap *heap, int64_t base) {
    heap_fold(heap);
    int64_t more = base - heap->base;
    heap_set_room(heap, heap->room + more);
    __atomic_store_n(&heap->base, base, __ATOMIC_RELAXED);
    heap_set_noted(heap, heap->room_noted + more);
}

// A charged heap counts in its budget, where the limit is.
static void heap_apply_limit(struct allot_heap *heap) {
    int64_t limit = budget_limit_of(heap->limit_bytes, heap->has_grace ? heap->grace_bytes : 0);
    if (heap->is_charged) {
        budget_set_limit(&heap->budget, limit);
    } else {
        heap_set_base(heap, limit);
    }
}

void heap_set_limit(struct allot_heap *heap, size_t limit_bytes, bool has_grace) {
    heap->limit_bytes = limit_bytes;
    heap->has_grace = has_grace;
    heap_apply_limit(heap);
}

// From here on every block is counted in the tree.
static void heap_start_charging(struct allot_heap *heap) {
    if (heap->is_charged) {
        return;
    }
    heapslab_shut_gate(heap);
    heap_set_base(heap, HEAP_NO_LIMIT);
    atomic_store_explicit(&heap->budget.used_bytes, heap_live(heap), memory_order_relaxed);
    heap->stacks = &heap_no_stacks;
    heap->is_charged = true;
    heap_apply_limit(heap);
    heapslab_open_gate(heap);
}

// A free notes a peak before it ends (heap_free_fast, heap_charge), so that growth
// has to look now and then only, for the frees of others.
static void heap_note_peak(struct allot_heap *heap) {
    if (UNLIKELY(heap->room < heap->room_low || heap->room < heap->room_noted)) {
        heap_fold(heap);
        heap_set_noted(heap, heap->room < heap->room_noted ? heap->room : heap->room_noted);
    }
}

// False: a limit refuses. `bytes` may be negative.
static bool heap_charge(struct allot_heap *heap, int64_t bytes) {
    if (bytes > heap->room && bytes > 0) {
        heap_fold(heap);
    }
    bool fits = bytes <= 0 || bytes <= heap->room;
    if (bytes < 0 && heap->room < heap->room_noted) {
        heap_set_noted(heap, heap->room);
    }
    if (heap->is_charged && bytes < 0) {
        budget_shrink(&heap->budget, -bytes);
    } else if (heap->is_charged && fits) {
        fits = budget_grow(&heap->budget, bytes);
    }
    if (!fits) {
        compiler_count_up(&heap->refused_calls);
        return false;
    }
    heap_set_room(heap, heap->room - bytes);
    heap_note_peak(heap);
    return true;
}

// Live bytes if the report is due before `bytes` more; 0 if not.
static size_t heap_report_due(struct allot_heap *heap, int64_t bytes) {
    if (heap->report == NULL || heap->soft_bytes == 0) {
        return 0;
    }
    int64_t live = heap->is_charged
                       ? atomic_load_explicit(&heap->budget.used_bytes, memory_order_relaxed)
                       : heap_live(heap);
    if (live + bytes <= (int64_t)heap->soft_bytes) {
        return 0;
    }
    while (heap->soft_bytes < (size_t)(live + bytes)) {
        heap->soft_bytes *= 2;
    }
    return (size_t)(live + bytes);
}

// ---- Blocks

struct heap_fit {
    unsigned kind;  // KIND_LARGE, or a class
    int64_t bytes;  // usable
    size_t align_bytes;
};

static unsigned heap_class_of(const struct allot_heap *heap, size_t size_bytes) {
    if (size_bytes <= SIZECLASS_DIRECT_MAX) {
        return heap->direct[size_bytes];
    }
    if (size_bytes > SIZECLASS_SLAB_MAX) {
        return KIND_LARGE;
    }
    unsigned kind = heap->stepped[heap_step(size_bytes)];
    while (kind != KIND_LARGE && heap->classes[kind].size_bytes < size_bytes) {
        kind = kind + 1u < heap->kind_end ? kind + 1u : KIND_LARGE;
    }
    return kind;
}

static struct heap_fit heap_fit(const struct allot_heap *heap, size_t size_bytes,
                                size_t align_bytes) {
    if (heap->given != NULL) {
        size_t units = size_bytes <= LARGE_MAX_BYTES ? bits_round_up(size_bytes, 16) : 0;
        return (struct heap_fit){KIND_LARGE, (int64_t)(units > 0 ? units : 16), align_bytes};
    }
    unsigned kind = heap_class_of(heap, size_bytes);
    while (kind != KIND_LARGE && (heap->classes[kind].size_bytes & (align_bytes - 1)) != 0) {
        kind = kind + 1u < heap->kind_end ? kind + 1u : KIND_LARGE;
    }
    if (align_bytes > GRANULE_BYTES) {
        kind = KIND_LARGE;
    }
    size_t bytes =
        kind == KIND_LARGE ? large_good_size(size_bytes) : heap->classes[kind].size_bytes;
    return (struct heap_fit){kind, (int64_t)bytes, align_bytes};
}

static void *heap_take(struct allot_heap *heap, size_t size_bytes, const struct heap_fit *fit,
                       bool *is_zero) {
    *is_zero = false;
    if (heap->given != NULL) {
        return given_take(heap->given, size_bytes, fit->align_bytes);
    }
    return fit->kind == KIND_LARGE
               ? heapslab_take_large(heap, size_bytes, fit->align_bytes, is_zero)
               : heapstack_pop(heap, fit->kind);
}

// The report is called with no lock held, and may change what is live.
static int heap_enter_for(struct allot_heap *heap, int64_t bytes) {
    int error = heap_enter(heap);
    if (error != 0) {
        return error;
    }
    size_t live = heap_report_due(heap, bytes);
    if (live > 0) {
        heap_leave(heap);
        heap->report(heap, live, heap->context);
        error = heap_enter(heap);
    }
    return error;
}

int heap_malloc(struct allot_heap *heap, const struct heap_wish *wish, void **block) {
    struct heap_fit fit = heap_fit(heap, wish->size_bytes, wish->align_bytes);
    if (wish->size_bytes > HEAP_BLOCK_MAX) {
        return ENOMEM;
    }
    int error = heap_enter_for(heap, fit.bytes);
    if (error != 0) {
        return error;
    }
    bool is_zero = false;
    *block = NULL;
    if (heap_charge(heap, fit.bytes)) {
        *block = heap_take(heap, wish->size_bytes, &fit, &is_zero);
        if (*block == NULL) {
            heap_charge(heap, -fit.bytes);
        } else {
            compiler_count_up(&heap->malloc_calls);
        }
    }
    heap_leave(heap);
    if (*block != NULL && wish->is_zeroed && !is_zero) {
        memset(*block, 0, wish->size_bytes);
    }
    return *block != NULL ? 0 : ENOMEM;
}

// The caller is inside. The bytes are not counted here.
static void heap_put(struct allot_heap *heap, unsigned kind, void *block) {
    if (heap->given != NULL) {
        given_give(heap->given, block);
    } else if (kind == KIND_LARGE) {
        heapslab_give_large(heap, block);
    } else {
        heapstack_push(heap, kind, block);
    }
}

static bool heap_free_inside(struct allot_heap *heap, void *block) {
    struct heapslab_place place = heapslab_find(block);
    if (place.heap != heap || place.block != block || place.is_free) {
        return false;
    }
    heap_put(heap, place.kind, block);
    heap_charge(heap, -(int64_t)place.size_bytes);
    compiler_count_up(&heap->free_calls);
    return true;
}

bool heap_free_given(struct allot_heap *heap, void *block) {
    bool is_own = heap->is_shared || heap_is_owned_by(heap, registry_thread_id());
    heap_touch(heap);
    lock_take(&heap->use);
    bool is_ours = given_is_block(heap->given, block);
    if (is_ours) {
        int64_t bytes = (int64_t)given_usable_bytes(heap->given, block);
        given_give(heap->given, block);
        heap_charge(heap, -bytes);
        if (is_own) {
            compiler_count_up(&heap->free_calls);
        } else {
            atomic_fetch_add_explicit(&heap->remote_blocks, 1, memory_order_relaxed);
        }
    }
    lock_give(&heap->use);
    return is_ours;
}

bool heap_free(void *block) {
    size_t granule = region_granule(block);
    const struct span *span = region_span((uint32_t)granule);
    struct allot_heap *heap = __atomic_load_n(&span->as.owned.heap, __ATOMIC_RELAXED);
    heap_touch(heap);
    if (!heap->is_shared && !heap_is_owned_by(heap, registry_thread_id())) {
        return heapslab_give_remote(block);
    }
    bool is_ours = heap_enter(heap) == 0;
    if (is_ours) {
        is_ours = region_kind(granule) == KIND_HEAP && heap_free_inside(heap, block);
        heap_leave(heap);
    }
    return is_ours;
}

// A block leaves its class with its size, so that it can be freed by its size.
static bool heap_stays(const struct heap_fit *fit, const struct heapslab_place *place,
                       size_t size_bytes) {
    return size_bytes <= place->size_bytes && fit->kind == place->kind &&
           (fit->kind != KIND_LARGE || size_bytes >= place->size_bytes / 2);
}

// One block instead of another, whose bytes count no more.
static void *heap_exchange(struct allot_heap *heap, const struct heapslab_place *place,
                           const struct heap_fit *fit, size_t size_bytes) {
    int64_t more = fit->bytes - (int64_t)place->size_bytes;
    bool is_zero;
    if (more > 0 && !heap_charge(heap, more)) {
        return NULL;
    }
    if (heap->given != NULL && given_resize(heap->given, place->block, size_bytes)) {
        heap_charge(heap, more < 0 ? more : 0);
        return place->block;
    }
    void *fresh = heap_take(heap, size_bytes, fit, &is_zero);
    if (fresh == NULL) {
        if (more > 0) {
            heap_charge(heap, -more);
            return NULL;
        }
        if (fit->kind != place->kind) {
            atomic_store_explicit(&heap->has_odd_sizes, true, memory_order_relaxed);
        }
        return place->block;  // a smaller size never fails
    }
    memcpy(fresh, place->block, size_bytes < place->size_bytes ? size_bytes : place->size_bytes);
    heap_put(heap, place->kind, place->block);
    if (more < 0) {
        heap_charge(heap, more);
    }
    compiler_count_up(&heap->malloc_calls);
    compiler_count_up(&heap->free_calls);
    return fresh;
}

// Of a block of this heap; nothing if it is none.
static struct heapslab_place heap_find(struct allot_heap *heap, void *block) {
    struct heapslab_place place = {.heap = heap};
    if (heap->given != NULL) {
        lock_take(&heap->use);
        bool is_block = given_is_block(heap->given, block);
        place.block = is_block ? block : NULL;
        place.size_bytes = is_block ? given_usable_bytes(heap->given, block) : 0;
        place.kind = KIND_LARGE;
        lock_give(&heap->use);
        return place;
    }
    size_t granule = region_granule(block);
    if (region_contains(granule) && region_kind(granule) == KIND_HEAP) {
        place = heapslab_find(block);
    }
    bool is_ours = place.heap == heap && place.block == block && !place.is_free;
    return is_ours ? place : (struct heapslab_place){.heap = heap};
}

int heap_realloc(struct allot_heap *heap, void *block, size_t size_bytes, void **result) {
    struct heapslab_place place = heap_find(heap, block);
    if (place.block == NULL) {
        return EINVAL;
    }
    if (size_bytes > HEAP_BLOCK_MAX) {
        return ENOMEM;
    }
    struct heap_fit fit = heap_fit(heap, size_bytes, 1);
    int64_t more = fit.bytes - (int64_t)place.size_bytes;
    int error = heap_enter_for(heap, more > 0 ? more : 0);
    if (error != 0) {
        return error;
    }
    *result = heap_stays(&fit, &place, size_bytes) ? block
                                                   : heap_exchange(heap, &place, &fit, size_bytes);
    heap_leave(heap);
    return *result != NULL ? 0 : ENOMEM;
}

bool heap_walk(struct allot_heap *heap, bool (*visit)(void *, size_t, void *), void *context) {
    if (heap->given != NULL) {
        return given_walk(heap->given, visit, context);
    }
    heapstack_empty(heap);
    return heapslab_walk(heap, visit, context);
}

// ---- Life

// Up to here a record is cleared when it is used again, but for `remote`: a free
// that comes too late may be counting itself there.
static void heap_clear(struct allot_heap *heap) {
    size_t remote = offsetof(struct allot_heap, remote);
    size_t after = offsetof(struct allot_heap, remote_blocks);
    memset((void *)heap, 0, remote);
    memset((char *)heap + after, 0, offsetof(struct allot_heap, own) - after);
    heap->own = heap_no_stacks;
    heap->bump = (char *)(heap + 1);
    heap->bump_end = (char *)heap + HEAP_PAGE_BYTES;
    heap->epoch = heap_state.epoch;
}

static void heap_end(struct allot_heap *heap) {
    if (heap->given != NULL) {
        return;
    }
    heapspan_end(heap);
    while (heap->pages != NULL) {
        void *page = heap->pages;
        heap->pages = *(void **)page;
        heapstack_give_page(page);
    }
    if (heap->own_classes != NULL) {
        heapstack_give_page(heap->own_classes);
    }
    heapstack_give_record(heap);
}

static void heap_link(struct allot_heap *heap) {
    lock_take(&heap_state.lock);
    heap->prev = NULL;
    heap->next = heap_state.first;
    if (heap_state.first != NULL) {
        heap_state.first->prev = heap;
    }
    heap_state.first = heap;
    atomic_fetch_add_explicit(&heap_state.idle_count, heap->idle_ms > 0, memory_order_relaxed);
    lock_give(&heap_state.lock);
}

static void heap_unlink(struct allot_heap *heap) {
    lock_take(&heap_state.lock);
    atomic_fetch_sub_explicit(&heap_state.idle_count, heap->idle_ms > 0, memory_order_relaxed);
    if (heap->next != NULL) {
        heap->next->prev = heap->prev;
    }
    if (heap->prev != NULL) {
        heap->prev->next = heap->next;
    } else {
        heap_state.first = heap->next;
    }
    lock_give(&heap_state.lock);
}

// The parent is the caller's, or shared.
static int heap_join(struct allot_heap *heap, struct allot_heap *parent) {
    heap->parent = parent;
    budget_init(&heap->budget, parent != NULL ? &parent->budget : NULL);
    if (parent == NULL) {
        return 0;
    }
    int error = heap_enter(parent);
    if (error != 0) {
        return error;
    }
    if (heap_has_limit(parent)) {
        heap_start_charging(parent);
        heap_start_charging(heap);
    }
    atomic_fetch_add_explicit(&parent->child_count, 1, memory_order_relaxed);
    heap_leave(parent);
    return 0;
}

static void heap_set_name(struct allot_heap *heap, const char *name) {
    size_t length = 0;
    while (name != NULL && name[length] != '\0' && length < HEAP_NAME_BYTES - 1) {
        heap->name[length] = name[length];
        length++;
    }
    heap->name[length] = '\0';
}

static int heap_start(struct allot_heap **heap, const struct allot_heap_options *options) {
    if (options->memory != NULL) {
        int error = heapgiven_create(heap, options->memory, options->memory_bytes);
        if (error == 0) {
            (*heap)->epoch = heap_state.epoch;
        }
        return error;
    }
    *heap = heapstack_take_record();
    if (*heap == NULL) {
        return ENOMEM;
    }
    heap_clear(*heap);
    return 0;
}

int heap_create(struct allot_heap **result, const struct allot_heap_options *options) {
    uint64_t self = registry_thread_id();
    struct allot_heap *heap = NULL;
    int error = self != 0 ? heap_start(&heap, options) : ENOMEM;
    if (error != 0) {
        return error;
    }
    heap->base = heap->room = heap->room_noted = HEAP_NO_LIMIT;
    heap_set_noted(heap, HEAP_NO_LIMIT);
    heap->grace_bytes = options->grace_bytes;
    heap->soft_bytes = options->soft_limit_bytes;
    heap->report = options->report;
    heap->context = options->context;
    heap->is_shared = options->shared;
    heap->refuses_overflow = options->refuse_overflow;
    heap->idle_ms = options->memory == NULL ? options->idle_ms : 0;
    bool has_stacks = !options->shared && options->memory == NULL;
    heap->stacks = has_stacks ? &heap->own : &heap_no_stacks;
    heap_set_name(heap, options->name);
    error = ENOMEM;
    if (heapstack_set_classes(heap, options->classes, options->class_count) &&
        heapspan_reserve(heap, options) && (!options->prefault || heapstack_touch(heap))) {
        error = heap_join(heap, options->parent);
    }
    if (error != 0) {
        if (heap->given != NULL) {
            heapgiven_unlink(heap);
        }
        heap_end(heap);
        return error;
    }
    heap_set_limit(heap, options->limit_bytes, false);
    atomic_store_explicit(&heap->owner, options->shared ? 0 : self, memory_order_release);
    heap_link(heap);
    *result = heap;
    return 0;
}

int heap_destroy(struct allot_heap *heap) {
    bool was_ours = heap_is_owned_by(heap, registry_thread_id());
    if (!heap->is_shared && heap_adopt(heap) != 0) {
        return EPERM;
    }
    if (atomic_load_explicit(&heap->child_count, memory_order_relaxed) != 0) {
        if (!was_ours) {
            atomic_store_explicit(&heap->owner, 0, memory_order_release);
        }
        return EBUSY;
    }
    heap_touch(heap);
    heap_unlink(heap);
    if (heap->given != NULL) {
        heapgiven_unlink(heap);
    } else {
        heapslab_drop(heap);
    }
    struct allot_heap *parent = heap->parent;
    if (heap->is_charged) {
        budget_shrink(&heap->budget,
                      atomic_load_explicit(&heap->budget.used_bytes, memory_order_relaxed));
    }
    if (parent != NULL) {
        atomic_fetch_sub_explicit(&parent->child_count, 1, memory_order_release);
    }
    heapslab_take_remote(heap);
    atomic_store_explicit(&heap->owner, 0, memory_order_relaxed);
    heap_end(heap);
    return 0;
}

// ---- Looking

static uint64_t heap_load(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static uint64_t heap_positive(int64_t value) {
    return value > 0 ? (uint64_t)value : 0;
}

// Any thread: the owner may be at work.
static uint64_t heap_read_live(const struct allot_heap *heap) {
    int64_t room = __atomic_load_n(&heap->room, __ATOMIC_RELAXED);
    int64_t base = __atomic_load_n(&heap->base, __ATOMIC_RELAXED);
    return heap_positive(base - room - heapslab_pending_bytes(heap));
}

static uint64_t heap_read_peak(const struct allot_heap *heap, uint64_t live_bytes) {
    int64_t noted = __atomic_load_n(&heap->room_noted, __ATOMIC_RELAXED);
    int64_t base = __atomic_load_n(&heap->base, __ATOMIC_RELAXED);
    uint64_t peak = heap_positive(base - noted);
    return peak > live_bytes ? peak : live_bytes;
}

static bool heap_descends_from(const struct allot_heap *heap, const struct allot_heap *ancestor) {
    while (heap != NULL && heap != ancestor) {
        heap = heap->parent;
    }
    return heap != NULL;
}

static uint64_t heap_read_tree(const struct allot_heap *heap) {
    if (heap->is_charged) {
        return heap_positive(atomic_load_explicit(&heap->budget.used_bytes, memory_order_relaxed));
    }
    uint64_t bytes = heap_read_live(heap);
    if (atomic_load_explicit(&heap->child_count, memory_order_relaxed) == 0) {
        return bytes;
    }
    lock_take(&heap_state.lock);
    for (const struct allot_heap *at = heap_state.first; at != NULL; at = at->next) {
        bytes += at != heap && heap_descends_from(at, heap) ? heap_read_live(at) : 0;
    }
    lock_give(&heap_state.lock);
    return bytes;
}

static void heap_read_own(const struct allot_heap *heap, struct allot_heap_stats *stats) {
    stats->live_bytes = heap_read_live(heap);
    stats->malloc_calls = heap_load(&heap->malloc_calls);
    stats->free_calls = heap_load(&heap->free_calls);
    stats->remote_free_blocks = atomic_load_explicit(&heap->remote_blocks, memory_order_relaxed);
    stats->live_blocks = heap_positive(
        (int64_t)(stats->malloc_calls - stats->free_calls - stats->remote_free_blocks));
    stats->held_bytes = atomic_load_explicit(&heap->held_bytes, memory_order_relaxed);
    stats->reserve_bytes =
        heap->given != NULL ? stats->held_bytes : (uint64_t)heap->reserve_count << GRANULE_LOG2;
    stats->refused_calls = heap_load(&heap->refused_calls);
    stats->peak_bytes = heap_read_peak(heap, stats->live_bytes);
}

void heap_read_stats(const struct allot_heap *heap, struct allot_heap_stats *stats) {
    heap_read_own(heap, stats);
    stats->tree_bytes = heap_read_tree(heap);
    stats->limit_bytes = heap->limit_bytes;
    memcpy(stats->name, heap->name, sizeof stats->name);
}

void heap_read_totals(struct allot_heap_stats *totals) {
    *totals = (struct allot_heap_stats){0};
    lock_take(&heap_state.lock);
    for (const struct allot_heap *heap = heap_state.first; heap != NULL; heap = heap->next) {
        struct allot_heap_stats one = {0};
        if (heap->given != NULL) {
            continue;  // its memory is not the allocator's
        }
        heap_read_own(heap, &one);
        totals->live_bytes += one.live_bytes;
        totals->live_blocks += one.live_blocks;
        totals->held_bytes += one.held_bytes;
        totals->malloc_calls += one.malloc_calls;
        totals->free_calls += one.free_calls + one.remote_free_blocks;
    }
    lock_give(&heap_state.lock);
}

// The lock of all heaps is held, so that none of them ends. Returns what `clean` does; if a
// running thread owns the heap, what can be done without it.
static size_t heap_clean_one(struct allot_heap *heap, uint64_t self, heap_cleaner *clean) {
    uint64_t nobody = 0;
    size_t bytes = 0;
    if (heap->epoch != heap_state.epoch) {
        heap_repair_one(heap);
    }
    if (heap->is_shared) {
        lock_take(&heap->use);
        bytes = clean(heap);
        lock_give(&heap->use);
    } else if (heap_is_owned_by(heap, self)) {
        bytes = clean(heap);
    } else if (atomic_compare_exchange_strong_explicit(
                   &heap->owner, &nobody, self, memory_order_acquire, memory_order_relaxed)) {
        bytes = clean(heap);
        atomic_store_explicit(&heap->owner, 0, memory_order_release);
    } else if (clean == heapstack_trim) {
        atomic_store_explicit(&heap->is_purge_wanted, true, memory_order_relaxed);
    } else {
        bytes = heapspan_retire(heap, heap->idle_ms);
    }
    return bytes;
}

static size_t heap_clean(heap_cleaner *clean) {
    uint64_t self = registry_thread_id();
    size_t bytes = 0;
    lock_take(&heap_state.lock);
    for (struct allot_heap *heap = self != 0 ? heap_state.first : NULL; heap != NULL;
         heap = heap->next) {
        bytes += heap->given == NULL ? heap_clean_one(heap, self, clean) : 0;
    }
    lock_give(&heap_state.lock);
    return bytes;
}

void heap_purge(void) {
    heap_clean(heapstack_trim);
}

void heap_tick(void) {
    if (atomic_load_explicit(&heap_state.idle_count, memory_order_relaxed) > 0) {
        heap_clean(heapstack_retire);
    }
}

struct heap_sum {
    int64_t bytes;
};

static bool heap_add_block(void *block, size_t usable_bytes, void *context) {
    (void)block;
    ((struct heap_sum *)context)->bytes += (int64_t)usable_bytes;
    return true;
}

void heap_validate(struct allot_heap *heap) {
    struct heap_sum sum = {0};
    heap_walk(heap, heap_add_block, &sum);
    ALLOT_ASSERT(sum.bytes == heap_live(heap));  // [H1]
    ALLOT_ASSERT(heap->room_low >= 0);           // [H2]
    ALLOT_ASSERT(heap->room_low == 0 || heap->room_low + HEAP_PEAK_STEP >= heap->room_noted);
    if (heap->given != NULL) {
        given_validate(heap->given);
    } else {
        heapslab_validate(heap);
    }
}
