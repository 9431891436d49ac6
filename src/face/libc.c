// libc.c - malloc and its relatives under their own names.                 layer 8
//
// The symbols carry no version: a versioned malloc would not replace libc's
// when the library is preloaded.
#include "allot.h"
#include "api/fast.h"
#include "api/stats.h"
#include "base/bits.h"
#include "base/config.h"
#include "base/fmt.h"
#include "os/frame.h"
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define FACE_EXPORT __attribute__((visibility("default")))
#define FACE_PAGE_BYTES os_page_bytes()

#if ALLOT_CONFIG_FACE

static void face_free(void *block) {
    fast_free(block);
}
FACE_EXPORT void free(void *block) __attribute__((alias("face_free")));

// What the rest of the process calls free, as the loader found it.
extern char face_process_free[] __asm__("free");

bool allot_is_active(void) {
    return (uintptr_t)face_process_free == (uintptr_t)face_free;
}

FACE_EXPORT void *malloc(size_t size_bytes) {
    return fast_malloc(size_bytes);
}

FACE_EXPORT void *calloc(size_t count, size_t size_bytes) {
    return allot_calloc(count, size_bytes);
}

FACE_EXPORT void *realloc(void *block, size_t size_bytes) {
    return allot_realloc(block, size_bytes);
}

FACE_EXPORT void cfree(void *block);
FACE_EXPORT void cfree(void *block) {
    fast_free(block);
}

FACE_EXPORT void free_sized(void *block, size_t size_bytes);
FACE_EXPORT void free_sized(void *block, size_t size_bytes) {
    allot_free_sized(block, size_bytes);
}

FACE_EXPORT void free_aligned_sized(void *block, size_t align_bytes, size_t size_bytes);
FACE_EXPORT void free_aligned_sized(void *block, size_t align_bytes, size_t size_bytes) {
    allot_free_aligned_sized(block, align_bytes, size_bytes);
}

FACE_EXPORT size_t malloc_usable_size(void *block) {
    return allot_usable_size(block);
}

FACE_EXPORT void *reallocarray(void *block, size_t count, size_t size_bytes) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size_bytes, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return allot_realloc(block, bytes);
}

// NetBSD's: the pointer is changed in place; 0 or an errno value.
FACE_EXPORT int reallocarr(void *pointer, size_t count, size_t size_bytes);
FACE_EXPORT int reallocarr(void *pointer, size_t count, size_t size_bytes) {
    FRAME_KEEP();
    void **block = pointer;
    size_t bytes;
    int saved = errno;
    if (__builtin_mul_overflow(count, size_bytes, &bytes)) {
        return EOVERFLOW;
    }
    void *result = bytes > 0 ? allot_realloc(*block, bytes) : NULL;
    if (bytes == 0) {
        allot_free(*block);
    } else if (result == NULL) {
        errno = saved;
        return ENOMEM;
    }
    *block = result;
    return 0;
}

FACE_EXPORT void *aligned_alloc(size_t align_bytes, size_t size_bytes) {
    if (bits_is_power(align_bytes) && align_bytes > ALLOT_ALIGN_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return allot_aligned(align_bytes, size_bytes);
}

// As in glibc, an alignment that is no power of two is rounded up.
FACE_EXPORT void *memalign(size_t align_bytes, size_t size_bytes) {
    size_t align = align_bytes > 1 ? (size_t)2 << bits_log2(align_bytes - 1) : 1;
    if (align_bytes > ALLOT_ALIGN_MAX) {
        errno = align_bytes > SIZE_MAX / 2 + 1 ? EINVAL : ENOMEM;
        return NULL;
    }
    return allot_aligned(align, size_bytes);
}

static NOINLINE int libc_memalign_slow(void **block, size_t align_bytes, size_t size_bytes) {
    FRAME_KEEP();
    int saved = errno;
    void *result = align_bytes <= ALLOT_ALIGN_MAX ? allot_aligned(align_bytes, size_bytes) : NULL;
    errno = saved;
    if (result == NULL) {
        return ENOMEM;
    }
    *block = result;
    return 0;
}

FACE_EXPORT int posix_memalign(void **block, size_t align_bytes, size_t size_bytes) {
    if (!bits_is_power(align_bytes) || align_bytes % sizeof(void *) != 0) {
        return EINVAL;
    }
    void *result = fast_aligned(align_bytes, size_bytes);
    if (UNLIKELY(result == NULL)) {
        return libc_memalign_slow(block, align_bytes, size_bytes);
    }
    *block = result;
    return 0;
}

FACE_EXPORT void *valloc(size_t size_bytes) {
    return allot_aligned(FACE_PAGE_BYTES, size_bytes);
}

FACE_EXPORT void *pvalloc(size_t size_bytes);
FACE_EXPORT void *pvalloc(size_t size_bytes) {
    if (size_bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return allot_aligned(FACE_PAGE_BYTES, bits_round_up(size_bytes, FACE_PAGE_BYTES));
}

FACE_EXPORT int malloc_trim(size_t pad_bytes);
FACE_EXPORT int malloc_trim(size_t pad_bytes) {
    (void)pad_bytes;  // free memory is not one range at the end of a heap
    return allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE) > 0;
}

// mallopt's parameters, as glibc numbers them; musl's header has none.
enum {
    FACE_M_MXFAST = 1,
    FACE_M_TRIM_THRESHOLD = -1,
    FACE_M_TOP_PAD = -2,
    FACE_M_MMAP_THRESHOLD = -3,
    FACE_M_MMAP_MAX = -4,
    FACE_M_ARENA_TEST = -7,
    FACE_M_ARENA_MAX = -8,
};

FACE_EXPORT int mallopt(int parameter, int value);
FACE_EXPORT int mallopt(int parameter, int value) {
    char text[32];
    struct fmt fmt;
    switch (parameter) {
    case FACE_M_TRIM_THRESHOLD:
        fmt_init(&fmt, text, sizeof text);
        fmt_number(&fmt, value >= 0 ? (uint64_t)value : UINT64_MAX);
        fmt_text(&fmt, "B");
        return allot_set("dirty_limit", text);
    case FACE_M_MXFAST:  // these have no counterpart: accepted, without effect
    case FACE_M_TOP_PAD:
    case FACE_M_MMAP_THRESHOLD:
    case FACE_M_MMAP_MAX:
    case FACE_M_ARENA_TEST:
    case FACE_M_ARENA_MAX: return 1;
    default: return 0;
    }
}

static struct allot_stats face_stats(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    allot_stats(&stats);
    return stats;
}

struct face_mallinfo {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

static struct face_mallinfo face_mallinfo(void) {
    struct allot_stats stats = face_stats();
    uint64_t unused = stats.cached_bytes + stats.partial_bytes + stats.dirty_bytes;
    return (struct face_mallinfo){
        .arena = stats.live_bytes + unused,
        .ordblks = stats.dirty_bytes > 0,
        .uordblks = stats.live_bytes,
        .fordblks = unused,
        .keepcost = stats.dirty_bytes,
    };
}

#if defined(__GLIBC__)
static int face_clamp(size_t value) {
    return value < INT_MAX ? (int)value : INT_MAX;
}

FACE_EXPORT struct mallinfo mallinfo(void) {
    struct face_mallinfo info = face_mallinfo();
    return (struct mallinfo){
        .arena = face_clamp(info.arena),
        .ordblks = face_clamp(info.ordblks),
        .uordblks = face_clamp(info.uordblks),
        .fordblks = face_clamp(info.fordblks),
        .keepcost = face_clamp(info.keepcost),
    };
}

#if __GLIBC_PREREQ(2, 33)
FACE_EXPORT struct mallinfo2 mallinfo2(void) {
    struct face_mallinfo info = face_mallinfo();
    return (struct mallinfo2){
        .arena = info.arena,
        .ordblks = info.ordblks,
        .uordblks = info.uordblks,
        .fordblks = info.fordblks,
        .keepcost = info.keepcost,
    };
}
#endif
#endif

FACE_EXPORT void malloc_stats(void);
FACE_EXPORT void malloc_stats(void) {
    stats_print(2);
}

// The shape of glibc's document, with the figures that exist here.
FACE_EXPORT int malloc_info(int options, FILE *stream);
FACE_EXPORT int malloc_info(int options, FILE *stream) {
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct allot_stats stats = face_stats();
    uint64_t unused = stats.cached_bytes + stats.partial_bytes + stats.dirty_bytes;
    char text[1024];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    const struct {
        const char *before;
        uint64_t number;
    } parts[] = {
        {"<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n"
         "<total type=\"fast\" count=\"0\" size=\"",
         stats.cached_bytes},
        {"\"/>\n<total type=\"rest\" count=\"0\" size=\"", stats.partial_bytes + stats.dirty_bytes},
        {"\"/>\n<system type=\"current\" size=\"", stats.live_bytes + unused},
        {"\"/>\n<system type=\"max\" size=\"", stats.committed_peak},
        {"\"/>\n</heap>\n<system type=\"current\" size=\"", stats.live_bytes + unused},
        {"\"/>\n<system type=\"max\" size=\"", stats.committed_peak},
        {"\"/>\n<aspace type=\"total\" size=\"", stats.reserved_bytes},
        {"\"/>\n<aspace type=\"mprotect\" size=\"", stats.committed_bytes},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        fmt_text(&fmt, parts[i].before);
        fmt_number(&fmt, parts[i].number);
    }
    fmt_text(&fmt, "\"/>\n</malloc>\n");
    return fputs(text, stream) >= 0 ? 0 : -1;
}

#else

bool allot_is_active(void) {
    return false;
}

#endif
