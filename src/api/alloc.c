// alloc.c - malloc, calloc and aligned blocks.                             layer 7
#include "allot.h"
#include "api/fast.h"
#include "api/life.h"
#include "base/bits.h"
#include "guard/guard.h"
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

static NOINLINE void *alloc_large_plain(size_t size_bytes) {
    bool is_zero;
    return alloc_large(size_bytes, 1, &is_zero);
}

static NOINLINE void *alloc_other(size_t size_bytes) {
    if (UNLIKELY(!life_is_ready())) {
        return alloc_out_of_memory();  // the tables are not filled
    }
    if (guard_wants(1, size_bytes)) {
        return guard_allocate(1, size_bytes, false);
    }
    return size_bytes > SIZECLASS_SPAN_MAX ? alloc_large_plain(size_bytes)
                                           : alloc_class_slow(sizeclass_of(size_bytes), NULL);
}

static NOINLINE void *alloc_zeroed_slow(size_t size_bytes) {
    bool is_zero = false;
    void *block = size_bytes > SIZECLASS_SPAN_MAX
                      ? alloc_large(size_bytes, 1, &is_zero)
                      : alloc_class_slow(sizeclass_of(size_bytes), &is_zero);
    return block != NULL && !is_zero ? large_clear(block, size_bytes) : block;
}

// In a scope every call comes here, and takes a short way.
NOINLINE void *alloc_slow(size_t size_bytes, size_t kind) {
    void *block = tag_pop_in_scope(kind);
    return LIKELY(block != NULL) ? block : alloc_other(size_bytes);
}

static void *alloc_zeroed(size_t size_bytes) {
    if (UNLIKELY(!life_is_ready())) {
        return alloc_out_of_memory();
    }
    void *block =
        size_bytes <= SIZECLASS_SPAN_MAX ? cache_pop(cache_self, sizeclass_of(size_bytes)) : NULL;
    if (LIKELY(block != NULL)) {
        return size_bytes < LARGE_SPARSE_BYTES ? memset(block, 0, size_bytes)
                                               : large_clear(block, size_bytes);
    }
    return guard_wants(1, size_bytes) ? guard_allocate(1, size_bytes, true)
                                      : alloc_zeroed_slow(size_bytes);
}

static NOINLINE void *alloc_aligned_slow(size_t align_bytes, size_t size_bytes, bool is_zeroed) {
    bool is_zero = false;
    unsigned kind = sizeclass_of_aligned(align_bytes, size_bytes);
    void *block = kind == 0 ? alloc_large(size_bytes, align_bytes, &is_zero)
                            : alloc_class_slow(kind, &is_zero);
    return block != NULL && is_zeroed && !is_zero ? large_clear(block, size_bytes) : block;
}

static ALWAYS_INLINE void *alloc_aligned(size_t align_bytes, size_t size_bytes, bool is_zeroed) {
    if (!bits_is_power(align_bytes) || align_bytes > ALLOT_ALIGN_MAX) {
        errno = EINVAL;
        return NULL;
    }
    void *block = fast_aligned(align_bytes, size_bytes);
    if (block != NULL) {
        return is_zeroed ? large_clear(block, size_bytes) : block;
    }
    if (size_bytes > LARGE_MAX_BYTES || !life_is_ready()) {
        return alloc_out_of_memory();
    }
    return guard_wants(align_bytes, size_bytes)
               ? guard_allocate(align_bytes, size_bytes, is_zeroed)
               : alloc_aligned_slow(align_bytes, size_bytes, is_zeroed);
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
        return alloc_aligned(align_bytes, size_bytes, false);
    }
    if (guard_wants(align_bytes, size_bytes)) {
        return guard_allocate(align_bytes, size_bytes, false);
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
    return alloc_aligned(align_bytes, size_bytes, false);
}

void *allot_aligned_zeroed(size_t align_bytes, size_t size_bytes) {
    return alloc_aligned(align_bytes, size_bytes, true);
}
