// fast.h - the paths that most calls take.                                 layer 7
//
// malloc: table -> stack. free: page map -> stack. Neither takes a lock, makes
// an atomic read-modify-write or tests for a feature. tools/check-fast-path
// compares the compiled code with the figures in doc/design.md.
#ifndef ALLOT_API_FAST_H
#define ALLOT_API_FAST_H

#include "base/compiler.h"
#include "cache/cache.h"
#include "page/region.h"
#include "slab/sizeclass.h"

#include <stddef.h>

// Any size. `kind` is its class, or 0. NULL with errno = ENOMEM; otherwise errno is kept.
void *alloc_slow(size_t size_bytes, size_t kind);

// One block of a class. `is_zero` may be NULL.
void *alloc_class_slow(unsigned kind, bool *is_zero);

void free_slow(void *block);

// The same for a block of a granule of that kind.
void free_slow_kind(void *block, size_t granule, size_t kind);

// The same past the thread's cache.
void *alloc_uncached(size_t align_bytes, size_t size_bytes);
void free_uncached(void *block);

// With a look at whether the block can have had that size.
void free_checked(void *block, size_t align_bytes, size_t size_bytes);

// The usable size of a block of that size that is not guarded; 0: there is none.
size_t realloc_real_size(size_t size_bytes);

// NULL: alloc_slow has to be asked.
static ALWAYS_INLINE void *fast_pop(size_t size_bytes) {
    struct cache *cache = cache_self;
    if (LIKELY(size_bytes <= SIZECLASS_DIRECT_MAX)) {
        size_t kind = cache->direct[size_bytes];
        return cache_pop(cache, kind);
    }
    return size_bytes <= SIZECLASS_SPAN_MAX ? cache_pop(cache, sizeclass_of(size_bytes)) : NULL;
}

// As fast_pop. The slow path is told the class.
static ALWAYS_INLINE void *fast_malloc(size_t size_bytes) {
    struct cache *cache = cache_self;
    void *block;
    if (LIKELY(size_bytes <= SIZECLASS_DIRECT_MAX)) {
        size_t kind = cache->direct[size_bytes];
        block = cache_pop(cache, kind);
        return LIKELY(block != NULL) ? block : alloc_slow(size_bytes, kind);
    }
    if (UNLIKELY(size_bytes > SIZECLASS_SPAN_MAX)) {
        return alloc_slow(size_bytes, 0);
    }
    size_t kind = sizeclass_of(size_bytes);
    block = cache_pop(cache, kind);
    return LIKELY(block != NULL) ? block : alloc_slow(size_bytes, kind);
}

// The alignment is a power of two. NULL: allot_aligned has to be asked.
static ALWAYS_INLINE void *fast_aligned(size_t align_bytes, size_t size_bytes) {
    return cache_pop(cache_self, sizeclass_of_aligned(align_bytes, size_bytes));
}

static ALWAYS_INLINE void fast_free(void *block) {
    size_t granule = region_granule(block);
    if (UNLIKELY(!region_contains(granule))) {
        free_slow(block);
        return;
    }
    size_t kind = region_kind(granule);
    if (UNLIKELY(!cache_push(cache_self, kind, block))) {
        free_slow_kind(block, granule, kind);
    }
}

// The class of the size must be the one that the page map knows.
static ALWAYS_INLINE void fast_free_sized(void *block, size_t size_bytes) {
    struct cache *cache = cache_self;
    size_t granule = region_granule(block);
    if (LIKELY(region_contains(granule) && size_bytes <= SIZECLASS_SPAN_MAX)) {
        size_t kind = region_kind(granule);
        if (LIKELY(sizeclass_of(size_bytes) == kind) && LIKELY(cache_push(cache, kind, block))) {
            return;
        }
    }
    free_checked(block, 1, size_bytes);
}

#endif
