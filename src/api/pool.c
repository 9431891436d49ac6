// pool.c - objects of one size, preallocated.                              layer 7
//
//   stack     | 7 | 0 | 4 | ...             where the free objects of the reserve are
//   reserve   | slab | slab | slab |        beyond it   | slab |   | slab |
//
// A pool is a heap of one class with a reserve. Objects of the reserve are taken from
// the heap when the pool is made, and then go to and fro between the program and the
// stack: the heap sees them all as live, so that none of their slabs is ever left or
// made again. When the stack is empty, objects come from the heap one by one and go
// back to it. A take prefers the reserve, so that what a burst needed leaves.
//
// Invariants (tests/unit/test_pool.c)
//   [O1] live = owned - depth <= peak, and above depth = `low` a take is no new peak; while
//        the heap keeps what a burst left, every take looks
//   [O2] an object of the reserve is marked in `out` iff the program holds it
#include "allot.h"
#include "api/life.h"
#include "api/misuse.h"
#include "base/bits.h"
#include "heap/heap.h"
#include "heap/heapstack.h"
#include "os/lock.h"
#include "page/region.h"
#include "slab/sizeclass.h"

#include <errno.h>
#include <string.h>

enum {
    POOL_UNIT_LOG2 = 4,      // a place on the stack is a distance in units
    POOL_EXCESS_SHARE = 64,  // of the reserve: what a burst may leave behind
    POOL_LOOK_EVERY = 64,    // takes, while something is kept
};
#define POOL_UNIT_BYTES ((size_t)1 << POOL_UNIT_LOG2)
#define POOL_RESERVE_MAX (POOL_UNIT_BYTES << 32)

struct allot_pool {
    char *base;
    size_t reserve_bytes;
    uint32_t *stack;
    uint64_t *out;
    uint32_t depth, low;
    bool is_shared;
    uint8_t out_log2;  // units for each bit: no more than an object has, so that none share one
    struct lock lock;
    struct sizeclass class;
    struct allot_heap *heap;
    uint64_t capacity;  // objects of the reserve
    uint64_t owned;     // objects taken from the heap, those of the reserve included
    uint64_t peak, refused_calls;
    uint32_t look_count;
} CACHE_ALIGNED;

static size_t pool_offset(const struct allot_pool *pool, const void *object) {
    return (size_t)((uintptr_t)object - (uintptr_t)pool->base);
}

static bool pool_is_start(const struct allot_pool *pool, size_t offset) {
    size_t inside = offset & (pool->class.slab_bytes - 1);
    size_t block = (size_t)((uint64_t)inside * pool->class.reciprocal >> 32);
    return block * pool->class.size_bytes == inside;
}

static ALWAYS_INLINE void *pool_pop(struct allot_pool *pool) {
    size_t unit = pool->stack[--pool->depth];
    size_t index = unit >> pool->out_log2;
    pool->out[index / 64] |= (uint64_t)1 << index % 64;
    return pool->base + (unit << POOL_UNIT_LOG2);
}

// False, and nothing has changed: the program does not hold an object there.
static ALWAYS_INLINE bool pool_push(struct allot_pool *pool, size_t offset) {
    size_t unit = offset >> POOL_UNIT_LOG2;
    size_t index = unit >> pool->out_log2;
    uint64_t bit = (uint64_t)1 << index % 64;
    if (UNLIKELY(!pool_is_start(pool, offset)) || UNLIKELY((pool->out[index / 64] & bit) == 0)) {
        return false;
    }
    pool->out[index / 64] &= ~bit;
    pool->stack[pool->depth++] = (uint32_t)unit;
    return true;
}

static size_t pool_kept_bytes(const struct allot_pool *pool) {
    return atomic_load_explicit(&pool->heap->kept_bytes, memory_order_relaxed);
}

static void pool_set_peak(struct allot_pool *pool) {
    uint64_t live = pool->owned - pool->depth;
    pool->peak = live > pool->peak ? live : pool->peak;
    pool->low = pool->owned > pool->peak ? (uint32_t)(pool->owned - pool->peak) : 0;
    pool->low = pool_kept_bytes(pool) > 0 ? UINT32_MAX : pool->low;  // [O1]
}

static void pool_enter(struct allot_pool *pool) {
    if (pool->is_shared) {
        lock_take(&pool->lock);
    }
}

static void pool_leave(struct allot_pool *pool) {
    if (pool->is_shared) {
        lock_give(&pool->lock);
    }
}

// The record, all of it touched, so that none of its pages is missing later.
static struct allot_pool *pool_create_record(const struct sizeclass *class, size_t slab_count) {
    size_t capacity = slab_count * class->block_count;
    unsigned out_log2 = bits_log2(class->size_bytes >> POOL_UNIT_LOG2);
    size_t words = (slab_count * class->slab_bytes >> POOL_UNIT_LOG2 >> out_log2) / 64 + 1;
    size_t bytes = sizeof(struct allot_pool) + words * sizeof(uint64_t) + capacity * 4;
    struct allot_pool *pool = allot_aligned(CACHE_LINE_BYTES, bytes);
    if (pool != NULL) {
        memset((void *)pool, 0, bytes);
        pool->out = (uint64_t *)(void *)(pool + 1);
        pool->stack = (uint32_t *)(void *)(pool->out + words);
        pool->class = *class;
        pool->out_log2 = (uint8_t)out_log2;
        pool->reserve_bytes = slab_count * class->slab_bytes;
        pool->capacity = capacity;
    }
    return pool;
}

// The lowest addresses lie on top.
static int pool_fill(struct allot_pool *pool, const struct allot_pool_options *options) {
    size_t size = pool->class.size_bytes;
    size_t limit = options->refuse_overflow ? options->count : options->limit_count;
    limit = limit > 0 ? limit : SIZE_MAX;
    struct allot_heap_options request = {
        .name = options->name,
        .reserve_bytes = pool->reserve_bytes,
        .limit_bytes = limit < SIZE_MAX / size ? limit * size : SIZE_MAX,
        .parent = options->parent,
        .classes = &size,
        .class_count = 1,
        .shared = true,  // a pool has no owner
        .prefault = options->prefault,
        .idle_ms = options->idle_ms,
    };
    int error = life_is_ready() ? heap_create(&pool->heap, &request) : ENOMEM;
    if (error != 0) {
        return error;
    }
    pool->base = region_address(pool->heap->reserve);
    pool->capacity = pool->capacity < limit ? pool->capacity : limit;
    for (uint64_t i = pool->capacity; i-- > 0;) {
        void *object = allot_heap_malloc(pool->heap, size);
        if (object == NULL) {
            return ENOMEM;
        }
        pool->stack[i] = (uint32_t)(pool_offset(pool, object) >> POOL_UNIT_LOG2);
    }
    pool->owned = pool->depth = (uint32_t)pool->capacity;
    pool->is_shared = options->shared;
    pool_set_peak(pool);
    return 0;
}

static int pool_create(struct allot_pool **pool, const struct allot_pool_options *options) {
    size_t align = options->align_bytes > POOL_UNIT_BYTES ? options->align_bytes : POOL_UNIT_BYTES;
    bool is_aligned = options->align_bytes == 0 || bits_is_power(options->align_bytes);
    if (!is_aligned || options->object_bytes == 0 ||
        (options->refuse_overflow && options->limit_count != 0) ||
        (options->count == 0 && (options->refuse_overflow || options->prefault))) {
        return EINVAL;
    }
    if (options->object_bytes > SIZECLASS_SLAB_MAX || align > GRANULE_BYTES) {
        return E2BIG;
    }
    if (options->limit_count != 0 && options->limit_count < options->count) {
        return ERANGE;
    }
    struct sizeclass class = {0};
    sizeclass_set_slab(&class, bits_round_up(options->object_bytes, align));
    size_t per_slab = class.block_count;
    size_t slabs = options->count / per_slab + (options->count % per_slab != 0);
    if (slabs >= POOL_RESERVE_MAX / class.slab_bytes) {
        return ENOMEM;
    }
    *pool = pool_create_record(&class, slabs);
    return *pool != NULL ? pool_fill(*pool, options) : ENOMEM;
}

allot_pool *allot_pool_create(const struct allot_pool_options *options) {
    int saved = errno;
    struct allot_pool *pool = NULL;
    bool is_known = options != NULL && options->size_bytes == sizeof *options;
    int error = is_known ? pool_create(&pool, options) : EINVAL;
    if (error != 0) {
        allot_pool_destroy(pool);
        errno = error;
        return NULL;
    }
    errno = saved;
    return pool;
}

void allot_pool_destroy(allot_pool *pool) {
    if (pool != NULL) {
        allot_heap_destroy(pool->heap);
        allot_free(pool);
    }
}

// What a burst left may have been idle for long enough: in a pool that is used within its
// reserve, the heap has no calls at which it could look itself.
static void pool_look(struct allot_pool *pool) {
    if (pool_kept_bytes(pool) > 0 && ++pool->look_count % POOL_LOOK_EVERY == 0) {
        heap_enter(pool->heap);
        heapstack_retire(pool->heap);
        heap_leave(pool->heap);
    }
}

// A new peak; if no object is free, one from the heap.
static NOINLINE void *pool_take_slow(struct allot_pool *pool) {
    void *object = pool->depth > 0 ? pool_pop(pool) : NULL;
    if (object == NULL) {
        object = allot_heap_malloc(pool->heap, pool->class.size_bytes);
        pool->owned += object != NULL;
        pool->refused_calls += object == NULL;
    }
    pool_look(pool);
    pool_set_peak(pool);
    return object;
}

static ALWAYS_INLINE void *pool_take(struct allot_pool *pool) {
    return LIKELY(pool->depth > pool->low) ? pool_pop(pool) : pool_take_slow(pool);
}

size_t allot_pool_take_many(allot_pool *pool, void **objects, size_t count) {
    size_t done = 0;
    pool_enter(pool);
    while (done < count && (objects[done] = pool_take(pool)) != NULL) {
        done++;
    }
    pool_leave(pool);
    return done;
}

static NOINLINE void *pool_take_shared(struct allot_pool *pool) {
    void *object;
    return allot_pool_take_many(pool, &object, 1) == 1 ? object : NULL;
}

void *allot_pool_take(allot_pool *pool) {
    return LIKELY(!pool->is_shared) ? pool_take(pool) : pool_take_shared(pool);
}

// When the last object beyond the reserve is back, its slabs leave or are kept, unless they
// are too few to be worth a look at all.
static void pool_end_burst(struct allot_pool *pool) {
    struct allot_heap *heap = pool->heap;
    size_t excess = atomic_load_explicit(&heap->held_bytes, memory_order_relaxed) -
                    pool_kept_bytes(pool) - pool->reserve_bytes;
    if (pool->owned == pool->capacity && excess > pool->class.slab_bytes &&
        excess > pool->reserve_bytes / POOL_EXCESS_SHARE) {
        heap_enter(heap);
        heapstack_settle(heap);
        heap_leave(heap);
    }
}

static NOINLINE void pool_give_slow(struct allot_pool *pool, void *object) {
    size_t offset = pool_offset(pool, object);
    if (offset < pool->reserve_bytes && pool_is_start(pool, offset)) {
        misuse_slab(object, SLAB_DOUBLE_FREE);
    } else if (allot_heap_of(object) == pool->heap && offset >= pool->reserve_bytes) {
        allot_heap_free(pool->heap, object);
        pool->owned--;
        pool_end_burst(pool);
        pool_set_peak(pool);
    } else if (object != NULL) {
        misuse_pointer("allot_pool_give", object);
    }
}

static ALWAYS_INLINE void pool_give(struct allot_pool *pool, void *object) {
    size_t offset = pool_offset(pool, object);
    if (UNLIKELY(offset >= pool->reserve_bytes) || UNLIKELY(!pool_push(pool, offset))) {
        pool_give_slow(pool, object);
    }
}

void allot_pool_give_many(allot_pool *pool, void *const *objects, size_t count) {
    pool_enter(pool);
    for (size_t i = 0; i < count; i++) {
        pool_give(pool, objects[i]);
    }
    pool_leave(pool);
}

static NOINLINE void pool_give_shared(struct allot_pool *pool, void *object) {
    allot_pool_give_many(pool, &object, 1);
}

void allot_pool_give(allot_pool *pool, void *object) {
    if (UNLIKELY(pool->is_shared)) {
        pool_give_shared(pool, object);
    } else {
        pool_give(pool, object);
    }
}

size_t allot_pool_trim(allot_pool *pool) {
    return allot_heap_trim(pool->heap);
}

bool allot_pool_stats(const allot_pool *pool, struct allot_pool_stats *stats) {
    struct allot_pool *held = (struct allot_pool *)(uintptr_t)pool;  // its lock is not const
    if (stats->size_bytes != sizeof *stats) {
        errno = EINVAL;
        return false;
    }
    pool_enter(held);
    *stats = (struct allot_pool_stats){
        .size_bytes = sizeof *stats,
        .live_count = held->owned - held->depth,
        .free_count = held->depth,
        .capacity_count = held->owned,
        .peak_count = held->peak,
        .refused_calls = held->refused_calls,
        .object_bytes = held->class.size_bytes,
        .reserve_bytes = held->reserve_bytes,
        .held_bytes = atomic_load_explicit(&held->heap->held_bytes, memory_order_relaxed),
    };
    pool_leave(held);
    return true;
}
