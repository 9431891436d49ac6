// realloc.c - resizing and usable sizes.                                   layer 7
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
#include <string.h>

enum realloc_source {
    REALLOC_CLASS,
    REALLOC_LARGE,
    REALLOC_HEAP,
    REALLOC_GIVEN,
    REALLOC_GUARDED,
    REALLOC_FOREIGN,
    REALLOC_BAD
};

static enum realloc_source realloc_look(const void *block, unsigned *kind) {
    size_t granule = region_granule(block);
    if (!region_contains(granule) && heapgiven_find(block) != NULL) {
        return given_is_block(heapgiven_find(block)->given, block) ? REALLOC_GIVEN : REALLOC_BAD;
    }
    if (!region_contains(granule)) {
        return next_is_in_use() ? REALLOC_FOREIGN : REALLOC_BAD;
    }
    *kind = region_kind(granule);
    if (sizeclass_is_slab(*kind)) {
        return LIKELY(slab_is_taken(*kind, block)) ? REALLOC_CLASS : REALLOC_BAD;
    }
    if (*kind == KIND_PEN) {
        return REALLOC_GUARDED;
    }
    if (*kind == KIND_TAGGED) {
        *kind = twin_kind(granule) - SIZECLASS_TWIN;
        return tag_find(block) != 0 ? REALLOC_CLASS : REALLOC_BAD;
    }
    if (*kind == KIND_HEAP) {
        struct heapslab_place place = heapslab_find(block);
        return place.block == block && !place.is_free ? REALLOC_HEAP : REALLOC_BAD;
    }
    if (*kind < KIND_LARGE || !large_is_block(block)) {
        return !region_owns(granule) && next_is_in_use() ? REALLOC_FOREIGN : REALLOC_BAD;
    }
    return *kind == KIND_LARGE ? REALLOC_LARGE : REALLOC_CLASS;
}

// In place as long as at least half of the block is used.
static bool realloc_fits(size_t usable_bytes, size_t size_bytes, unsigned kind) {
    return size_bytes >= usable_bytes / 2 || sizeclass_of(size_bytes) == kind;
}

static void realloc_account(size_t before_bytes, size_t after_bytes) {
    bool grew = after_bytes > before_bytes;
    cache_account(registry_find(), grew ? after_bytes - before_bytes : 0,
                  grew ? 0 : before_bytes - after_bytes);
}

static bool realloc_resize(void *block, size_t size_bytes) {
    size_t before = large_usable_bytes(block);
    size_t after = large_good_size(size_bytes);
    if (!tag_resize(tag_find(block), before, after)) {
        return false;
    }
    bool is_done = large_resize(block, size_bytes);
    if (!is_done) {
        tag_resize(tag_find(block), after, before);
    }
    realloc_account(before, large_usable_bytes(block));
    return is_done;
}

// A span may have free memory behind it.
static bool realloc_span(void *block, unsigned kind, size_t size_bytes) {
    return sizeclass_is_span(kind) && realloc_resize(block, size_bytes);
}

// The copy has the account of the block, whatever the scope.
static void *realloc_copy(void *block, size_t usable_bytes, size_t size_bytes) {
    uint32_t scope = cache_scope;
    uint32_t account = tag_find(block);
    if (account != scope) {
        tag_set_scope(account);
    }
    tag_lend(account, usable_bytes);  // the new block counts instead of the old one
    void *fresh = allot_malloc(size_bytes);
    tag_lend(account, 0);
    if (account != scope) {
        tag_set_scope(scope);
    }
    if (fresh == NULL) {
        return NULL;
    }
    memcpy(fresh, block, usable_bytes < size_bytes ? usable_bytes : size_bytes);
    allot_free(block);
    return fresh;
}

// A block that shrinks to the size of a class is copied once half of it is not
// used any more: spans are rounded, classes are cached.
static void *realloc_large(void *block, size_t size_bytes) {
    size_t usable = large_usable_bytes(block);
    bool becomes_small = size_bytes <= SIZECLASS_SPAN_MAX && size_bytes < usable / 2;
    if (!becomes_small && realloc_resize(block, size_bytes)) {
        return block;
    }
    if (size_bytes > usable) {
        uint32_t account = tag_find(block);
        size_t after = large_good_size(size_bytes);
        if (!tag_resize(account, usable, after)) {
            return NULL;
        }
        struct cache *cache = life_cache();
        void *moved = large_move(block, cache != NULL ? cache->shard : 0, size_bytes);
        tag_resize(account, after, moved != NULL ? after : usable);
        if (moved != NULL) {
            realloc_account(usable, large_usable_bytes(moved));
            return moved;
        }
    }
    return realloc_copy(block, usable, size_bytes);
}

// Stays in its heap, if the caller may allocate there.
static void *realloc_heap(struct allot_heap *heap, void *block, size_t size_bytes) {
    size_t usable = allot_usable_size(block);
    void *result = NULL;
    int error = heap_realloc(heap, block, size_bytes, &result);
    return error == EPERM ? realloc_copy(block, usable, size_bytes) : result;
}

static void *realloc_foreign(void *block, size_t size_bytes) {
    void *result = NULL;
    if (!next_realloc(block, size_bytes, &result)) {
        misuse_pointer("realloc", block);
        errno = EINVAL;
    }
    return result;
}

// A block of a slab, taken, outside of any scope.
static ALWAYS_INLINE void *realloc_slab(void *block, size_t granule, unsigned kind,
                                        size_t size_bytes) {
    size_t usable = sizeclass_table[kind].size_bytes;
    if (size_bytes <= usable && realloc_fits(usable, size_bytes, kind)) {
        return block;
    }
    void *fresh = fast_malloc(size_bytes);
    if (fresh == NULL) {
        return NULL;
    }
    memcpy(fresh, block, usable < size_bytes ? usable : size_bytes);
    if (UNLIKELY(!cache_push(cache_self, kind, block))) {
        free_slow_kind(block, granule, kind);
    }
    return fresh;
}

static NOINLINE void *realloc_slow(void *block, size_t size_bytes) {
    unsigned kind = KIND_NONE;
    int saved = errno;
    void *result = NULL;
    switch (realloc_look(block, &kind)) {
    case REALLOC_CLASS: {
        size_t usable = sizeclass_table[kind].size_bytes;
        bool stays = size_bytes > usable ? realloc_span(block, kind, size_bytes)
                                         : realloc_fits(usable, size_bytes, kind);
        result = stays ? block : realloc_copy(block, usable, size_bytes);
        break;
    }
    case REALLOC_LARGE: result = realloc_large(block, size_bytes); break;
    case REALLOC_HEAP:
    case REALLOC_GIVEN: result = realloc_heap(allot_heap_of(block), block, size_bytes); break;
    case REALLOC_GUARDED: return guard_realloc(block, size_bytes);
    case REALLOC_FOREIGN: return realloc_foreign(block, size_bytes);
    case REALLOC_BAD: misuse_pointer("realloc", block); break;
    }
    errno = result != NULL ? saved : ENOMEM;
    return result;
}

void *allot_realloc(void *block, size_t size_bytes) {
    if (block == NULL) {
        return fast_malloc(size_bytes);
    }
    if (size_bytes == 0) {
        fast_free(block);
        return NULL;
    }
    if (size_bytes > LARGE_MAX_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    size_t granule = region_granule(block);
    unsigned kind = region_contains(granule) ? region_kind(granule) : KIND_NONE;
    if (LIKELY(sizeclass_is_slab(kind)) && LIKELY(cache_scope == 0) &&
        LIKELY(slab_is_taken(kind, block))) {
        return realloc_slab(block, granule, kind, size_bytes);
    }
    return realloc_slow(block, size_bytes);
}

void *allot_realloc_zeroed(void *block, size_t old_size_bytes, size_t size_bytes) {
    if (old_size_bytes > allot_usable_size(block)) {
        errno = EINVAL;
        return NULL;
    }
    if (block == NULL) {
        return allot_calloc(1, size_bytes);
    }
    char *result = allot_realloc(block, size_bytes);
    if (result != NULL && size_bytes > old_size_bytes) {
        memset(result + old_size_bytes, 0, size_bytes - old_size_bytes);
    }
    return result;
}

bool allot_expand(void *block, size_t size_bytes) {
    unsigned kind = KIND_NONE;
    switch (realloc_look(block, &kind)) {
    case REALLOC_CLASS:
        return size_bytes <= sizeclass_table[kind].size_bytes ||
               (size_bytes <= LARGE_MAX_BYTES && realloc_span(block, kind, size_bytes));
    case REALLOC_LARGE: return size_bytes <= LARGE_MAX_BYTES && realloc_resize(block, size_bytes);
    case REALLOC_HEAP:
    case REALLOC_GIVEN:
    case REALLOC_GUARDED:
    case REALLOC_FOREIGN: return size_bytes <= allot_usable_size(block);
    case REALLOC_BAD: misuse_pointer("expand", block); break;
    }
    return false;
}

static NOINLINE size_t realloc_usable_slow(const void *block) {
    unsigned kind = KIND_NONE;
    size_t foreign = 0;
    if (block == NULL) {
        return 0;
    }
    switch (realloc_look(block, &kind)) {
    case REALLOC_CLASS: return sizeclass_table[kind].size_bytes;
    case REALLOC_LARGE: return large_usable_bytes(block);
    case REALLOC_HEAP: return heapslab_find(block).size_bytes;
    case REALLOC_GIVEN: return given_usable_bytes(heapgiven_find(block)->given, block);
    case REALLOC_GUARDED: return guard_usable_bytes("usable_size", block);
    case REALLOC_FOREIGN:
        if (next_usable_size((void *)block, &foreign)) {
            return foreign;
        }
        break;
    case REALLOC_BAD: break;
    }
    misuse_pointer("usable_size", block);
    return 0;
}

// Some programs ask for the size of every block that they allocate and free.
size_t allot_usable_size(const void *block) {
    size_t granule = region_granule(block);
    if (LIKELY(region_contains(granule))) {
        unsigned kind = region_kind(granule);
        if (LIKELY(sizeclass_is_slab(kind)) && LIKELY(slab_is_taken(kind, block))) {
            return sizeclass_table[kind].size_bytes;
        }
    }
    return realloc_usable_slow(block);
}

size_t realloc_real_size(size_t size_bytes) {
    if (size_bytes > LARGE_MAX_BYTES || !life_is_ready()) {
        return 0;
    }
    return size_bytes <= SIZECLASS_SPAN_MAX ? sizeclass_table[sizeclass_of(size_bytes)].size_bytes
                                            : large_good_size(size_bytes);
}

// A guarded block ends where it was asked to.
size_t allot_good_size(size_t size_bytes) {
    size_t real = realloc_real_size(size_bytes);
    return guard_mode != GUARD_NONE && real != 0 ? size_bytes : real;
}
