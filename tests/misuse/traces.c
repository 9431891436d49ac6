// traces.c - takes a block and frees it, each in a function of its own, and writes a byte too many:
// traces.py compares the report with these functions.
//
//   traces TAKE GIVE
#include "../support/api.h"
#include "../support/check.h"

#include <stdio.h>
#include <string.h>

enum { SIZE = 24, ALIGN = 64 };
static allot_tag tag;

int reallocarr_name(void *pointer, size_t count, size_t size) __asm__("reallocarr");
void *new_plain(size_t size) __asm__("_Znwm");
void *new_array(size_t size) __asm__("_Znam");
void *new_nothrow(size_t size, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");
void *new_aligned(size_t size, size_t align) __asm__("_ZnwmSt11align_val_t");
void delete_plain(void *block) __asm__("_ZdlPv");
void delete_sized(void *block, size_t size) __asm__("_ZdlPvm");
void delete_aligned(void *block, size_t align) __asm__("_ZdlPvSt11align_val_t");
void *mallocx(size_t size, int flags);
void *rallocx(void *block, size_t size, int flags);
void dallocx(void *block, int flags);
void sdallocx(void *block, size_t size, int flags);

// Not to be inlined, nor to end in a tail call.
#define TAKE(name, expression)                   \
    __attribute__((noinline)) void *name(void) { \
        void *block = NULL;                      \
        block = (expression);                    \
        __asm__ volatile("" : "+r"(block));      \
        return block;                            \
    }
#define GIVE(name, statement)                          \
    __attribute__((noinline)) void name(void *block) { \
        statement;                                     \
        __asm__ volatile("");                          \
    }
#define TAKES(X)                                                               \
    X(take_malloc, malloc(SIZE))                                               \
    X(take_calloc, calloc(1, SIZE))                                            \
    X(take_realloc, realloc(malloc(1), SIZE))                                  \
    X(take_reallocarray, reallocarray(NULL, 1, SIZE))                          \
    X(take_reallocarr, reallocarr_name(&block, 1, SIZE) ? NULL : block)        \
    X(take_aligned_alloc, aligned_alloc(ALIGN, SIZE))                          \
    X(take_posix_memalign, posix_memalign(&block, ALIGN, SIZE) ? NULL : block) \
    X(take_memalign, memalign(ALIGN, SIZE))                                    \
    X(take_valloc, valloc(SIZE))                                               \
    X(take_new, new_plain(SIZE))                                               \
    X(take_new_array, new_array(SIZE))                                         \
    X(take_new_nothrow, new_nothrow(SIZE, ""))                                 \
    X(take_new_aligned, new_aligned(SIZE, ALIGN))                              \
    X(take_mallocx, mallocx(SIZE, 0))                                          \
    X(take_mallocx_zeroed, mallocx(SIZE, 0x40))                                \
    X(take_rallocx, rallocx(malloc(1), SIZE, 0))                               \
    X(take_allot_aligned_zeroed, allot_aligned_zeroed(ALIGN, SIZE))            \
    X(take_tag_malloc, allot_tag_malloc(tag, SIZE))                            \
    X(take_tag_calloc, allot_tag_calloc(tag, 1, SIZE))                         \
    X(take_tag_aligned, allot_tag_aligned(tag, ALIGN, SIZE))                   \
    X(take_tag_realloc, allot_tag_realloc(tag, malloc(1), SIZE))               \
    X(take_site_malloc, ALLOT_MALLOC(tag, SIZE))                               \
    X(take_site_calloc, ALLOT_CALLOC(tag, 1, SIZE))                            \
    X(take_site_realloc, ALLOT_REALLOC(tag, malloc(1), SIZE))
#define GIVES(X)                                                       \
    X(give_free, free(block))                                          \
    X(give_free_sized, free_sized(block, SIZE))                        \
    X(give_free_aligned_sized, free_aligned_sized(block, ALIGN, SIZE)) \
    X(give_realloc, block = realloc(block, 2 * SIZE))                  \
    X(give_delete, delete_plain(block))                                \
    X(give_delete_sized, delete_sized(block, SIZE))                    \
    X(give_delete_aligned, delete_aligned(block, ALIGN))               \
    X(give_dallocx, dallocx(block, 0))                                 \
    X(give_sdallocx, sdallocx(block, SIZE, 0))                         \
    X(give_tag_free, allot_tag_free(block))

#define DECLARE_TAKE(name, expression) void *name(void);
#define DECLARE_GIVE(name, statement) void name(void *block);
TAKES(DECLARE_TAKE)
GIVES(DECLARE_GIVE)
TAKES(TAKE)
GIVES(GIVE)

#define ROW(name, what) {#name, name},
static const struct take {
    const char *name;
    void *(*function)(void);
} takes[] = {TAKES(ROW)};
static const struct give {
    const char *name;
    void (*function)(void *);
} gives[] = {GIVES(ROW)};

int main(int argc, char **argv) {
    char *block = NULL;
    check_state.program = argv[0];
    if (argc < 3) {
        for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
            puts(takes[i].name);
        }
        for (size_t i = 0; i < sizeof(gives) / sizeof(gives[0]); i++) {
            puts(gives[i].name);
        }
        return 0;
    }
    tag = allot_tag_create("traced", 0);
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
        block = strcmp(takes[i].name, argv[1]) == 0 ? (char *)takes[i].function() : block;
    }
    CHECK_PTR(block, !=, NULL);
    ((volatile char *)block)[SIZE] = 0;
    for (size_t i = 0; i < sizeof(gives) / sizeof(gives[0]); i++) {
        if (strcmp(gives[i].name, argv[2]) == 0) {
            gives[i].function(block);
            return 0;
        }
    }
    CHECK_FAIL("there is no %s", argv[2]);
}
