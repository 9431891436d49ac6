// alloc.c - malloc, calloc and aligned blocks.                             layer 7
#include "allot.h"
#include "api/fast.h"
#include "api/life.h"
#include "base/bits.h"
#include "os/check.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/sizeclass.h"
#include "tag/tag.h"

#include <errno.h>
#include <string.h>

static void *alloc_out_of_memory(void) {
    errno = ENOMEM;
    return NULL;
}

static void alloc_count(_Atomic(uint64_t) *counter) {
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + 1, memory_order_relaxed);
}

NOINLINE void *alloc_class_slow(unsigned kind, bool *is_zero) {
    bool unused = false;
    is_zero = is_zero != NULL ? is_zero : &unused;
    if (cache_scope != 0) {
        return tag_take(cache_scope, kind, is_zero);
    }
    int saved = errno;
    struct cache *cache = life_cache();
    void *block;
    if (UNLIKELY(cache_scope != 0)) {
        return tag_take(cache_scope, kind, is_zero);  // the thread begins in one
    }
    if (UNLIKELY(cache == NULL)) {
        block = life_is_ready() ? cache_take_uncached(kind, is_zero) : NULL;
    } else {
        if (cache->is_counting) {
            alloc_count(&cache->malloc_calls);
        }
        // A new thread may have got the cache of an old one.
        block = cache->is_bypassed ? NULL : cache_pop(cache, kind);
        if (block == NULL) {
            block = cache->is_bypassed ? cache_take_past(cache, kind, is_zero)
                                       : cache_refill(cache, kind, is_zero);
        }
    }
    errno = saved;
    return block != NULL ? block : alloc_out_of_memory();
}

static void *alloc_large(size_t size_bytes, size_t align_bytes, bool *is_zero) {
    int saved = errno;
    struct cache *cache = life_cache();
    if (UNLIKELY(cache_scope != 0)) {
        return tag_take_large(cache_scope, size_bytes, align_bytes, is_zero);
    }
    if (cache != NULL) {
        alloc_count(&cache->large_calls);
        if (cache->is_counting) {
            alloc_count(&cache->malloc_calls);
        }
    }
    void *block = NULL;
    if (life_is_ready()) {
        unsigned shard = cache != NULL ? cache->shard : 0;
        block = large_take(KIND_LARGE, shard, size_bytes, align_bytes, is_zero);
        cache_account(cache, block != NULL ? large_good_size(size_bytes) : 0, 0);
    }
    errno = saved;
    return block != NULL ? block : alloc_out_of_memory();
}

static NOINLINE void *alloc_other(size_t size_bytes) {
    if (size_bytes > SIZECLASS_SPAN_MAX) {
        bool is_zero;
        return alloc_large(size_bytes, 1, &is_zero);
    }
    if (UNLIKELY(!life_is_ready())) {
        return alloc_out_of_memory();  // the tables are not filled
    }
    return alloc_class_slow(sizeclass_of(size_bytes), NULL);
}

// In a scope every call comes here, and takes a short way.
NOINLINE void *alloc_slow(size_t size_bytes) {
    if (cache_scope != 0 && LIKELY(size_bytes <= SIZECLASS_SLAB_MAX)) {
        void *block = tag_pop(cache_scope, sizeclass_of(size_bytes));
        if (LIKELY(block != NULL)) {
            return block;
        }
    }
    return alloc_other(size_bytes);
}

static void *alloc_zeroed(size_t size_bytes) {
    bool is_zero = false;
    void *block;
    if (size_bytes <= SIZECLASS_SPAN_MAX) {
        if (UNLIKELY(!life_is_ready())) {
            return alloc_out_of_memory();
        }
        unsigned kind = sizeclass_of(size_bytes);
        block = cache_pop(cache_self, kind);
        block = LIKELY(block != NULL) ? block : alloc_class_slow(kind, &is_zero);
    } else {
        block = alloc_large(size_bytes, 1, &is_zero);
    }
    if (block != NULL && !is_zero) {
        memset(block, 0, size_bytes);
    }
    return block;
}

static void *alloc_aligned(size_t align_bytes, size_t size_bytes, bool *is_zero) {
    *is_zero = false;
    if (!bits_is_power(align_bytes) || align_bytes > ALLOT_ALIGN_MAX) {
        errno = EINVAL;
        return NULL;
    }
    if (size_bytes > LARGE_MAX_BYTES || !life_is_ready()) {
        return alloc_out_of_memory();
    }
    unsigned kind = sizeclass_of_aligned(align_bytes, size_bytes);
    if (kind == 0) {
        return alloc_large(size_bytes, align_bytes, is_zero);
    }
    void *block = cache_pop(cache_self, kind);
    return block != NULL ? block : alloc_class_slow(kind, is_zero);
}

void *alloc_uncached(size_t align_bytes, size_t size_bytes) {
    bool is_zero = false;
    int saved = errno;
    unsigned kind = 0;
    if (size_bytes <= LARGE_MAX_BYTES && life_is_ready()) {
        kind = align_bytes > 1                    ? sizeclass_of_aligned(align_bytes, size_bytes)
               : size_bytes <= SIZECLASS_SPAN_MAX ? sizeclass_of(size_bytes)
                                                  : 0;
    }
    if (kind == 0 || cache_scope != 0) {
        return alloc_aligned(align_bytes, size_bytes, &is_zero);
    }
    void *block = cache_take_past(life_cache(), kind, &is_zero);
    errno = saved;
    return block != NULL ? block : alloc_out_of_memory();
}

void *allot_malloc(size_t size_bytes) {
    return fast_malloc(size_bytes);
}

void *allot_calloc(size_t count, size_t size_bytes) {
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size_bytes, &bytes))) {
        return alloc_out_of_memory();
    }
    return alloc_zeroed(bytes);
}

void *allot_aligned(size_t align_bytes, size_t size_bytes) {
    bool is_zero;
    return alloc_aligned(align_bytes, size_bytes, &is_zero);
}

void *allot_aligned_zeroed(size_t align_bytes, size_t size_bytes) {
    bool is_zero;
    void *block = alloc_aligned(align_bytes, size_bytes, &is_zero);
    if (block != NULL && !is_zero) {
        memset(block, 0, size_bytes);
    }
    return block;
}
