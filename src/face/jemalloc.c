// jemalloc.c - jemalloc's functions beyond malloc.                         layer 8
//
// Flags, as its manual gives them:
//   bits 0-5    log2 of the alignment
//   bit 6       zero
//   bits 8-19   cache: 0 the thread's, 1 none, else one that the program created
//   bits 20-31  arena + 1; all are one here
#include "allot.h"
#include "api/fast.h"
#include "api/life.h"
#include "base/config.h"
#include "guard/guard.h"
#include "os/frame.h"
#include "os/os.h"
#include "slab/large.h"
#include "slab/sizeclass.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#if ALLOT_CONFIG_FACE

// Weak: a program with a jemalloc of its own can be linked with liballot.o.
#define JEMALLOC_EXPORT __attribute__((visibility("default"), weak))
#define JEMALLOC_ALSO(name) \
    extern __typeof__(name) je_##name JEMALLOC_EXPORT __attribute__((alias(#name)))

enum {
    JEMALLOC_ALIGN_MASK = 0x3f,
    JEMALLOC_ZERO = 0x40,
    JEMALLOC_CACHE_MASK = 0xfff00,
    JEMALLOC_CACHE_NONE = 0x100,
};

static size_t jemalloc_align(int flags) {
    return (size_t)1 << (flags & JEMALLOC_ALIGN_MASK);
}

static bool jemalloc_is_uncached(int flags) {
    return (flags & JEMALLOC_CACHE_MASK) == JEMALLOC_CACHE_NONE;
}

// What a block of this size would have; 0 if there can be none.
static size_t jemalloc_real_size(size_t size_bytes, size_t align_bytes) {
    if (align_bytes == 1 || size_bytes > LARGE_MAX_BYTES || guard_mode != GUARD_NONE) {
        return allot_good_size(size_bytes);
    }
    if (align_bytes > ALLOT_ALIGN_MAX || !life_is_ready()) {
        return 0;
    }
    unsigned kind = sizeclass_of_aligned(align_bytes, size_bytes);
    return kind != 0 ? sizeclass_table[kind].size_bytes : large_good_size(size_bytes);
}

// Zero means all that the block has: what it grows by later is then known.
static void *jemalloc_allocate(size_t size_bytes, int flags) {
    size_t align = jemalloc_align(flags);
    if (align > ALLOT_ALIGN_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    bool is_zeroed = (flags & JEMALLOC_ZERO) != 0;
    if (jemalloc_is_uncached(flags)) {
        void *block = alloc_uncached(align, size_bytes);
        return block != NULL && is_zeroed ? memset(block, 0, allot_usable_size(block)) : block;
    }
    if (is_zeroed) {
        size_t real = jemalloc_real_size(size_bytes, align);
        real = real > 0 ? real : size_bytes;
        return align > 1 ? allot_aligned_zeroed(align, real) : allot_calloc(1, real);
    }
    return align > 1 ? allot_aligned(align, size_bytes) : fast_malloc(size_bytes);
}

static void jemalloc_release(void *block, int flags) {
    if (block != NULL && jemalloc_is_uncached(flags)) {
        free_uncached(block);
    } else {
        fast_free(block);
    }
}

static void jemalloc_clear_new(void *block, size_t before_bytes, int flags) {
    size_t after = allot_usable_size(block);
    if ((flags & JEMALLOC_ZERO) != 0 && after > before_bytes) {
        memset((char *)block + before_bytes, 0, after - before_bytes);
    }
}

static bool jemalloc_is_aligned(const void *block, int flags) {
    return ((uintptr_t)block & (jemalloc_align(flags) - 1)) == 0;
}

JEMALLOC_EXPORT void *mallocx(size_t size_bytes, int flags);
JEMALLOC_EXPORT void *mallocx(size_t size_bytes, int flags) {
    return flags == 0 ? fast_malloc(size_bytes) : jemalloc_allocate(size_bytes, flags);
}
JEMALLOC_ALSO(mallocx);

// A block that stays needs room for the new size and not twice that.
static void *jemalloc_move(void *block, size_t before_bytes, size_t size_bytes, int flags) {
    void *moved = jemalloc_allocate(size_bytes, flags & ~JEMALLOC_ZERO);
    if (moved != NULL) {
        memcpy(moved, block, before_bytes < size_bytes ? before_bytes : size_bytes);
        jemalloc_release(block, flags);
    }
    return moved;
}

JEMALLOC_EXPORT void *rallocx(void *block, size_t size_bytes, int flags);
JEMALLOC_EXPORT void *rallocx(void *block, size_t size_bytes, int flags) {
    FRAME_KEEP();
    size_bytes = size_bytes > 0 ? size_bytes : 1;
    if (block == NULL) {
        return mallocx(size_bytes, flags);
    }
    size_t before = allot_usable_size(block);
    bool is_plain = jemalloc_align(flags) == 1 && !jemalloc_is_uncached(flags);
    bool stays = !is_plain && guard_mode == GUARD_NONE && jemalloc_is_aligned(block, flags) &&
                 size_bytes >= before / 2 && allot_expand(block, size_bytes);
    void *result = is_plain ? allot_realloc(block, size_bytes)
                   : stays  ? block
                            : jemalloc_move(block, before, size_bytes, flags);
    if (result != NULL) {
        jemalloc_clear_new(result, before, flags);
    }
    return result;
}
JEMALLOC_ALSO(rallocx);

JEMALLOC_EXPORT size_t xallocx(void *block, size_t size_bytes, size_t extra_bytes, int flags);
JEMALLOC_EXPORT size_t xallocx(void *block, size_t size_bytes, size_t extra_bytes, int flags) {
    size_t before = allot_usable_size(block);
    size_t most = extra_bytes < SIZE_MAX - size_bytes ? size_bytes + extra_bytes : SIZE_MAX;
    if (jemalloc_is_aligned(block, flags) &&
        (allot_expand(block, most) || (most > size_bytes && allot_expand(block, size_bytes)))) {
        jemalloc_clear_new(block, before, flags);
    }
    return allot_usable_size(block);
}
JEMALLOC_ALSO(xallocx);

JEMALLOC_EXPORT size_t sallocx(const void *block, int flags);
JEMALLOC_EXPORT size_t sallocx(const void *block, int flags) {
    (void)flags;
    return allot_usable_size(block);
}
JEMALLOC_ALSO(sallocx);

JEMALLOC_EXPORT size_t nallocx(size_t size_bytes, int flags);
JEMALLOC_EXPORT size_t nallocx(size_t size_bytes, int flags) {
    return jemalloc_real_size(size_bytes, jemalloc_align(flags));
}
JEMALLOC_ALSO(nallocx);

JEMALLOC_EXPORT void dallocx(void *block, int flags);
JEMALLOC_EXPORT void dallocx(void *block, int flags) {
    jemalloc_release(block, flags);
}
JEMALLOC_ALSO(dallocx);

JEMALLOC_EXPORT void sdallocx(void *block, size_t size_bytes, int flags);
JEMALLOC_EXPORT void sdallocx(void *block, size_t size_bytes, int flags) {
    // A guarded block keeps its size when xallocx takes less.
    bool is_less = guard_mode != GUARD_NONE && size_bytes < allot_usable_size(block);
    if (jemalloc_is_uncached(flags) || is_less) {
        jemalloc_release(block, flags);
    } else {
        allot_free_aligned_sized(block, jemalloc_align(flags), size_bytes);
    }
}
JEMALLOC_ALSO(sdallocx);

// ---- malloc and its relatives, as jemalloc names them when it has its prefix

JEMALLOC_EXPORT void *je_malloc(size_t size_bytes);
JEMALLOC_EXPORT void *je_malloc(size_t size_bytes) {
    return fast_malloc(size_bytes);
}

JEMALLOC_EXPORT void *je_calloc(size_t count, size_t size_bytes);
JEMALLOC_EXPORT void *je_calloc(size_t count, size_t size_bytes) {
    return allot_calloc(count, size_bytes);
}

JEMALLOC_EXPORT void *je_realloc(void *block, size_t size_bytes);
JEMALLOC_EXPORT void *je_realloc(void *block, size_t size_bytes) {
    return allot_realloc(block, size_bytes);
}

JEMALLOC_EXPORT void je_free(void *block);
JEMALLOC_EXPORT void je_free(void *block) {
    fast_free(block);
}

JEMALLOC_EXPORT void *je_aligned_alloc(size_t align_bytes, size_t size_bytes);
JEMALLOC_EXPORT void *je_aligned_alloc(size_t align_bytes, size_t size_bytes) {
    return aligned_alloc(align_bytes, size_bytes);
}

JEMALLOC_EXPORT void *je_memalign(size_t align_bytes, size_t size_bytes);
JEMALLOC_EXPORT void *je_memalign(size_t align_bytes, size_t size_bytes) {
    return memalign(align_bytes, size_bytes);
}

JEMALLOC_EXPORT int je_posix_memalign(void **block, size_t align_bytes, size_t size_bytes);
JEMALLOC_EXPORT int je_posix_memalign(void **block, size_t align_bytes, size_t size_bytes) {
    return posix_memalign(block, align_bytes, size_bytes);
}

JEMALLOC_EXPORT void *je_valloc(size_t size_bytes);
JEMALLOC_EXPORT void *je_valloc(size_t size_bytes) {
    return valloc(size_bytes);
}

JEMALLOC_EXPORT size_t je_malloc_usable_size(const void *block);
JEMALLOC_EXPORT size_t je_malloc_usable_size(const void *block) {
    return allot_usable_size(block);
}

// redis's own addition to the jemalloc that it brings along.
JEMALLOC_EXPORT int get_defrag_hint(void *block);
JEMALLOC_EXPORT int get_defrag_hint(void *block) {
    return allot_defrag_hint(block);
}
JEMALLOC_ALSO(get_defrag_hint);

#endif
