// heap.c - first-class heaps.                                              layer 7
#include "heap/heap.h"

#include "allot.h"
#include "api/life.h"
#include "api/misuse.h"
#include "base/bits.h"
#include "heap/heapgiven.h"
#include "heap/heapstack.h"
#include "heap/registry.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/sizeclass.h"

#include <errno.h>
#include <string.h>

static int heap_answer(int error) {
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}

// ---- Options

static int heap_check_classes(const struct allot_heap_options *options) {
    if (options->class_count > ALLOT_HEAP_CLASSES_MAX) {
        return E2BIG;
    }
    if ((options->classes == NULL) != (options->class_count == 0)) {
        return EINVAL;
    }
    size_t last = 0;
    for (size_t i = 0; i < options->class_count; i++) {
        size_t size = options->classes[i];
        if (size > SIZECLASS_SLAB_MAX) {
            return E2BIG;
        }
        if (size <= last || size % 16 != 0) {
            return EINVAL;
        }
        last = size;
    }
    return 0;
}
_Static_assert(ALLOT_HEAP_CLASSES_MAX <= SIZECLASS_SLABS, "each has a kind");

static int heap_check_options(const struct allot_heap_options *options) {
    if (options == NULL || options->size_bytes != sizeof *options) {
        return EINVAL;
    }
    size_t limit = options->limit_bytes;
    bool has_reserve = options->reserve_bytes > 0;
    if (!has_reserve && (options->prefault || options->lock_memory || options->huge_pages ||
                         options->refuse_overflow)) {
        return EINVAL;
    }
    if (options->soft_limit_bytes > 0 && options->report == NULL) {
        return EINVAL;
    }
    if (limit > 0 && (limit < options->reserve_bytes || limit < options->soft_limit_bytes)) {
        return ERANGE;
    }
    if (options->memory != NULL && (has_reserve || options->class_count > 0)) {
        return EINVAL;
    }
    if (options->reserve_bytes > LARGE_MAX_BYTES) {
        return ENOMEM;
    }
    return heap_check_classes(options);
}

allot_heap *allot_heap_create(const struct allot_heap_options *options) {
    int error = heap_check_options(options);
    if (error != 0) {
        errno = error;
        return NULL;
    }
    int saved = errno;
    struct allot_heap *heap = NULL;
    error = life_is_ready() ? heap_create(&heap, options) : ENOMEM;
    errno = error != 0 ? error : saved;
    return heap;
}

int allot_heap_destroy(allot_heap *heap) {
    return heap != NULL ? heap_answer(heap_destroy(heap)) : 0;
}

int allot_heap_adopt(allot_heap *heap) {
    return heap_answer(heap_adopt(heap));
}

int allot_heap_disown(allot_heap *heap) {
    return heap_answer(heap_disown(heap));
}

// ---- Blocks

static NOINLINE void *heap_malloc_slow(struct allot_heap *heap, size_t align_bytes,
                                       size_t size_bytes, bool is_zeroed) {
    int saved = errno;
    struct heap_wish wish = {size_bytes, align_bytes, is_zeroed};
    void *block = NULL;
    int error = heap_malloc(heap, &wish, &block);
    errno = error != 0 ? error : saved;
    return block;
}

static ALWAYS_INLINE bool heap_is_own(const struct allot_heap *heap) {
    return atomic_load_explicit(&heap->owner, memory_order_relaxed) == registry_id;
}

// The class of a size; KIND_NONE, whose stack is empty and full, where the slow path has to
// find out.
static ALWAYS_INLINE size_t heap_kind_for(const struct allot_heap *heap, size_t size_bytes) {
    if (LIKELY(size_bytes <= SIZECLASS_DIRECT_MAX)) {
        return heap->direct[size_bytes];
    }
    if (UNLIKELY(size_bytes > SIZECLASS_SLAB_MAX)) {
        return KIND_NONE;
    }
    size_t kind = heap->stepped[heap_step(size_bytes)];
    return LIKELY(heap->classes[kind].size_bytes >= size_bytes) ? kind : KIND_NONE;
}

// A block from the stack of its class, if neither a limit nor a new peak is in
// the way. A heap that others share or whose tree has limits has no stacks here.
static ALWAYS_INLINE void *heap_malloc_fast(struct allot_heap *heap, size_t size_bytes) {
    size_t kind = heap_kind_for(heap, size_bytes);
    struct heap_stacks *stacks = heap->stacks;
    int64_t room = COMPILER_LOAD(heap->room) - heap->classes[kind].size_bytes;
    if (UNLIKELY(!heap_is_own(heap))) {
        return NULL;
    }
    void *block = *stacks->top[kind];
    if (UNLIKELY(block == NULL) || UNLIKELY(room < COMPILER_LOAD(heap->room_low))) {
        return NULL;
    }
    compiler_slot_down(&stacks->top[kind]);
    __atomic_store_n(&heap->room, room, __ATOMIC_RELAXED);
    compiler_count_up(&heap->malloc_calls);
    return block;
}

void *allot_heap_malloc(allot_heap *heap, size_t size_bytes) {
    void *block = heap_malloc_fast(heap, size_bytes);
    return LIKELY(block != NULL) ? block : heap_malloc_slow(heap, 1, size_bytes, false);
}

void *allot_heap_calloc(allot_heap *heap, size_t count, size_t size_bytes) {
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size_bytes, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = heap_malloc_fast(heap, bytes);
    if (block == NULL) {
        return heap_malloc_slow(heap, 1, bytes, true);
    }
    return memset(block, 0, bytes);
}

void *allot_heap_aligned(allot_heap *heap, size_t align_bytes, size_t size_bytes) {
    if (!bits_is_power(align_bytes) || align_bytes > ALLOT_ALIGN_MAX) {
        errno = EINVAL;
        return NULL;
    }
    return heap_malloc_slow(heap, align_bytes, size_bytes, false);
}

void *allot_heap_realloc(allot_heap *heap, void *ptr, size_t size_bytes) {
    if (ptr == NULL) {
        return allot_heap_malloc(heap, size_bytes);
    }
    if (size_bytes == 0) {
        allot_heap_free(heap, ptr);
        return NULL;
    }
    int saved = errno;
    void *result = NULL;
    int error = heap_realloc(heap, ptr, size_bytes, &result);
    errno = error != 0 ? error : saved;
    return result;
}

static ALWAYS_INLINE bool heap_free_fast(struct allot_heap *heap, size_t kind, void *block) {
    struct heap_stacks *stacks = heap->stacks;
    void **top = stacks->top[kind];
    if (UNLIKELY(!heap_is_own(heap)) || UNLIKELY(top >= stacks->end[kind])) {
        return false;
    }
    if (UNLIKELY(heap->room < heap->room_noted)) {
        __atomic_store_n(&heap->room_noted, heap->room, __ATOMIC_RELAXED);
    }
    top[1] = block;
    compiler_slot_up(&stacks->top[kind]);
    __atomic_store_n(&heap->room, heap->room + heap->classes[kind].size_bytes, __ATOMIC_RELAXED);
    compiler_count_up(&heap->free_calls);
    return true;
}

static NOINLINE void heap_free_slow(struct allot_heap *heap, void *ptr) {
    if (ptr == NULL || heap == NULL || heap->given == NULL || !given_contains(heap->given, ptr)) {
        allot_free(ptr);
        return;
    }
    int saved = errno;
    if (!heap_free_given(heap, ptr)) {
        misuse_pointer("free", ptr);
    }
    errno = saved;
}

// The class of a block; one that no block has for what is none.
static ALWAYS_INLINE size_t heap_kind_of(const struct allot_heap *heap, const struct span *span,
                                         const void *block) {
    if (LIKELY(span->kind != KIND_INSIDE)) {
        return span->kind;
    }
    size_t unit = ((uintptr_t)block & (GRANULE_BYTES - 1)) >> HEAP_UNIT_LOG2;
    size_t kind = atomic_load_explicit(&heap->units[unit], memory_order_relaxed);
    return kind < HEAP_KINDS ? kind : KIND_NONE;
}

void allot_heap_free(allot_heap *heap, void *ptr) {
    size_t granule = region_granule(ptr);
    if (LIKELY(region_contains(granule)) && LIKELY(region_kind(granule) == KIND_HEAP)) {
        const struct span *span = region_span((uint32_t)granule);
        if (LIKELY(span->as.owned.heap == heap) &&
            LIKELY(heap_free_fast(heap, heap_kind_of(heap, span, ptr), ptr))) {
            return;
        }
    }
    heap_free_slow(heap, ptr);
}

void allot_heap_free_sized(allot_heap *heap, void *ptr, size_t size_bytes) {
    if (LIKELY(ptr != NULL) &&
        LIKELY(!atomic_load_explicit(&heap->has_odd_sizes, memory_order_relaxed)) &&
        LIKELY(heap_free_fast(heap, heap_kind_for(heap, size_bytes), ptr))) {
        return;
    }
    allot_heap_free(heap, ptr);
}

void *allot_heap_realloc_sized(allot_heap *heap, void *ptr, size_t old_size_bytes,
                               size_t size_bytes) {
    bool is_small = old_size_bytes <= SIZECLASS_DIRECT_MAX && size_bytes <= SIZECLASS_DIRECT_MAX;
    if (is_small && ptr != NULL && size_bytes > 0 && heap->stacks == &heap->own) {
        if (heap_is_own(heap) && heap->direct[old_size_bytes] == heap->direct[size_bytes]) {
            return ptr;
        }
        void *fresh = heap_malloc_fast(heap, size_bytes);
        if (fresh != NULL) {
            memcpy(fresh, ptr, old_size_bytes < size_bytes ? old_size_bytes : size_bytes);
            allot_heap_free_sized(heap, ptr, old_size_bytes);
            return fresh;
        }
    }
    return allot_heap_realloc(heap, ptr, size_bytes);
}

size_t allot_heap_trim(allot_heap *heap) {
    if (heap_answer(heap_enter(heap)) != 0) {
        return 0;
    }
    size_t bytes = heap->given == NULL ? heapstack_trim(heap) : 0;
    heap_leave(heap);
    return bytes;
}

// ---- Limits

int allot_heap_set_limit(allot_heap *heap, size_t limit_bytes) {
    int error = heap_enter(heap);
    if (error == 0) {
        bool has_children = atomic_load_explicit(&heap->child_count, memory_order_relaxed) > 0;
        if (has_children && !heap->is_charged && limit_bytes > 0) {
            error = EBUSY;
        } else {
            heap_set_limit(heap, limit_bytes, heap->has_grace);
        }
        heap_leave(heap);
    }
    return heap_answer(error);
}

int allot_heap_set_grace(allot_heap *heap, bool on) {
    int error = heap_enter(heap);
    if (error == 0) {
        heap_set_limit(heap, heap->limit_bytes, on);
        heap_leave(heap);
    }
    return heap_answer(error);
}

// ---- Looking

bool allot_heap_stats(const allot_heap *heap, struct allot_heap_stats *stats) {
    if (stats->size_bytes != sizeof *stats) {
        errno = EINVAL;
        return false;
    }
    heap_read_stats(heap, stats);
    return true;
}

bool allot_heap_walk(allot_heap *heap, allot_heap_visit visit, void *context) {
    if (heap_answer(heap_enter(heap)) != 0) {
        return false;
    }
    bool is_whole = heap_walk(heap, visit, context);
    heap_leave(heap);
    return is_whole;
}

allot_heap *allot_heap_of(const void *ptr) {
    size_t granule = region_granule(ptr);
    if (!region_contains(granule) || region_kind(granule) != KIND_HEAP) {
        allot_heap *heap = heapgiven_find(ptr);
        return heap != NULL && given_is_block(heap->given, ptr) ? heap : NULL;
    }
    struct heapslab_place place = heapslab_find(ptr);
    return place.block == ptr && !place.is_free ? place.heap : NULL;
}
