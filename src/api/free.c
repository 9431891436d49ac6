// free.c - free.                                                           layer 7
#include "allot.h"
#include "api/fast.h"
#include "api/life.h"
#include "api/misuse.h"
#include "guard/guard.h"
#include "heap/heap.h"
#include "heap/heapgiven.h"
#include "os/next.h"
#include "page/region.h"
#include "slab/large.h"
#include "slab/sizeclass.h"
#include "tag/tag.h"

#include <errno.h>

static void free_count(struct cache *cache) {
    if (cache != NULL && cache->is_counting) {
        uint64_t calls = atomic_load_explicit(&cache->free_calls, memory_order_relaxed);
        atomic_store_explicit(&cache->free_calls, calls + 1, memory_order_relaxed);
    }
}

static void free_class(struct cache *cache, unsigned kind, void *block) {
    if (UNLIKELY(cache == NULL)) {
        cache_give_uncached(kind, block);
    } else if (UNLIKELY(cache->is_bypassed)) {
        cache_give_past(cache, kind, block);
    } else if (!cache_push(cache, kind, block)) {
        cache_push_slow(cache, kind, block);
    }
}

// Not in the region, or in a part of it that is free.
static COLD void free_stranger(void *block) {
    size_t granule = region_granule(block);
    struct allot_heap *heap = heapgiven_find(block);
    if (heap != NULL && heap_free_given(heap, block)) {
        return;
    }
    if (region_owns(granule) || !next_is_in_use() || !next_free(block)) {
        misuse_pointer("free", block);
    }
}

static NOINLINE void free_other(void *block) {
    size_t granule = region_granule(block);
    unsigned kind = region_contains(granule) ? region_kind(granule) : KIND_NONE;
    if (UNLIKELY(kind == KIND_PEN)) {
        guard_free(block);
        return;
    }
    int saved = errno;
    struct cache *cache = kind >= KIND_LARGE ? life_cache() : NULL;
    if (kind == KIND_TAGGED) {
        if (!tag_give_slow(block, granule)) {
            misuse_pointer("free", block);
        }
    } else if (kind == KIND_HEAP) {
        if (!heap_free(block)) {
            misuse_pointer("free", block);
        }
    } else if (kind >= KIND_CLASS_FIRST) {
        free_count(cache);
        free_class(cache, kind, block);
    } else if (kind == KIND_LARGE && large_is_block(block)) {
        free_count(cache);
        cache_account(cache, 0, large_usable_bytes(block));
        tag_give_large(block);
        large_give(block);
    } else {
        free_stranger(block);
    }
    errno = saved;
}

// A block with an account takes a short way of its own: its stack looks full to
// fast_free.
NOINLINE void free_slow_kind(void *block, size_t granule, size_t kind) {
    if (kind != KIND_TAGGED || UNLIKELY(!tag_push(block, granule))) {
        free_other(block);
    }
}

NOINLINE void free_slow(void *block) {
    if (block == NULL) {
        return;
    }
    size_t granule = region_granule(block);
    free_slow_kind(block, granule, region_contains(granule) ? region_kind(granule) : KIND_NONE);
}

void free_uncached(void *block) {
    size_t granule = region_granule(block);
    unsigned kind = region_contains(granule) ? region_kind(granule) : KIND_NONE;
    struct cache *cache = kind >= KIND_CLASS_FIRST ? life_cache() : NULL;
    if (cache == NULL) {
        free_slow(block);
        return;
    }
    int saved = errno;
    free_count(cache);
    cache_give_past(cache, kind, block);
    errno = saved;
}

void allot_free(void *block) {
    fast_free(block);
}

// A block that shrank in place may be up to twice what was asked for, see
// realloc_fits; an aligned one is at least as large as its alignment.
static bool free_is_possible(size_t size_bytes, size_t usable_bytes, size_t align_bytes) {
    if (size_bytes > usable_bytes) {
        return false;
    }
    bool has_shrunk = size_bytes >= usable_bytes / 2 && usable_bytes <= SIZECLASS_SPAN_MAX;
    return has_shrunk || usable_bytes <= align_bytes ||
           realloc_real_size(size_bytes) == usable_bytes;
}

NOINLINE void free_checked(void *block, size_t align_bytes, size_t size_bytes) {
    size_t granule = region_granule(block);
    if (block == NULL) {
        return;
    }
    if (region_contains(granule) && region_kind(granule) == KIND_PEN) {
        guard_free_sized(block, size_bytes);
        return;
    }
    // The same as fast_free_sized for a block with an account.
    bool is_tagged = region_contains(granule) && region_kind(granule) == KIND_TAGGED;
    if ((is_tagged && size_bytes <= SIZECLASS_SLAB_MAX &&
         sizeclass_of(size_bytes) + SIZECLASS_TWIN == twin_kind(granule)) ||
        !misuse_is_block(block)) {
        free_slow(block);
        return;
    }
    size_t usable = allot_usable_size(block);
    // A heap may have classes of its own.
    if (size_bytes <= usable && allot_heap_of(block) != NULL) {
        free_slow(block);
        return;
    }
    // One that allot_expand made small is still a span.
    bool is_expanded = region_kind(granule) == KIND_LARGE && large_good_size(size_bytes) == usable;
    if (UNLIKELY(!is_expanded && !free_is_possible(size_bytes, usable, align_bytes))) {
        misuse_size("free_sized", block, size_bytes, usable);
        return;
    }
    fast_free(block);
}

void allot_free_sized(void *block, size_t size_bytes) {
    fast_free_sized(block, size_bytes);
}

void allot_free_aligned_sized(void *block, size_t align_bytes, size_t size_bytes) {
    free_checked(block, align_bytes, size_bytes);
}
