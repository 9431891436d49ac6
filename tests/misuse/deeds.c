// deeds.c - commits one fault and goes on to the end; table.py judges what became of it.
//
//   deeds KIND SIZE [BYTES]     prints the usable size that the block had
//
// With DEEDS_TAG=NAME in the environment the block has a tag of this name.
#include "../support/api.h"
#include "../support/check.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static size_t size, bytes;
static allot_tag tag;

/// A block of the size; with ALLOT_GUARD=sample:N one that is watched, which ends where it was
/// asked to.
static char *take(void) {
    const char *guard = getenv("ALLOT_GUARD");
    bool is_sampled = guard != NULL && strncmp(guard, "sample", 6) == 0;
    for (int i = 0; i < 100000; i++) {
        char *block = (char *)(tag != 0 ? allot_tag_malloc(tag, size) : api_malloc(size));
        CHECK_PTR(block, !=, NULL);
        memset(block, 0x11, size);
        if (!is_sampled || api_usable_size(block) == size) {
            printf("%zu\n", api_usable_size(block));
            fflush(stdout);
            return block;
        }
    }
    CHECK_FAIL("no block of %zu bytes was sampled", size);
}

static void *free_it(void *block) {
    api_free(block);
    return NULL;
}

static void *take_and_free(void *to) {
    *(char **)to = take();
    api_free(*(char **)to);
    return NULL;
}

static void in_a_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, function, argument), ==, 0);
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
}

static void double_free(void) {
    char *block = take();
    api_free(block);
    api_free(api_opaque_pointer(block));
}

static void double_free_elsewhere(void) {
    char *block = take();
    api_free(block);
    in_a_thread(free_it, api_opaque_pointer(block));
}

static void double_free_of_the_dead(void) {
    char *block = NULL;
    in_a_thread(take_and_free, &block);
    api_free(api_opaque_pointer(block));
}

static void free_after_realloc(void) {
    char *block = take();
    char *moved = (char *)api_realloc(block, size * 8 + 4096);
    api_free(api_opaque_pointer(block));
    if (moved != block) {
        api_free(moved);
    }
}

static void free_inside(void) {
    api_free(api_opaque_pointer(take() + size / 2));
}

static void free_misaligned(void) {
    api_free(api_opaque_pointer(take() + 1));
}

static void free_of_the_stack(void) {
    char array[64] = "";
    api_free(api_opaque_pointer(array));
}

static void free_of_a_static(void) {
    static char array[64] __attribute__((aligned(16)));
    api_free(api_opaque_pointer(array));
}

static void free_sized_wrong(void) {
    api_free_sized(take(), size * 2 + 1);
}

static void write_at(char *from) {
    volatile char *to = (volatile char *)api_opaque_pointer(from);
    for (size_t i = 0; i < bytes; i++) {
        to[i] = (char)i;
    }
}

static void overrun(void) {
    char *block = take();
    write_at(block + size);
    api_free(block);
}

static void underrun(void) {
    char *block = take();
    write_at(block - bytes);
    api_free(block);
}

static void write_after_free(void) {
    char *block = take();
    api_free(block);
    write_at(block + size / 2);
}

static const struct deed {
    const char *name;
    void (*commit)(void);
} deeds[] = {
    {"double_free", double_free},
    {"double_free_elsewhere", double_free_elsewhere},
    {"double_free_of_the_dead", double_free_of_the_dead},
    {"free_after_realloc", free_after_realloc},
    {"free_inside", free_inside},
    {"free_misaligned", free_misaligned},
    {"free_of_the_stack", free_of_the_stack},
    {"free_of_a_static", free_of_a_static},
    {"free_sized_wrong", free_sized_wrong},
    {"overrun", overrun},
    {"underrun", underrun},
    {"write_after_free", write_after_free},
};

int main(int argc, char **argv) {
    check_state.program = argv[0];
    CHECK(argc >= 3);
    size = strtoull(argv[2], NULL, 10);
    bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    const char *name = getenv("DEEDS_TAG");
    tag = name != NULL ? allot_tag_create(name, 0) : 0;
    // Neighbours, so that what is written beyond a block lies in mapped memory.
    for (int i = 0; i < 16; i++) {
        memset(tag != 0 ? allot_tag_malloc(tag, size) : api_malloc(size), 0x22, size);
    }
    for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
        if (strcmp(deeds[i].name, argv[1]) == 0) {
            deeds[i].commit();
            allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
            return 0;
        }
    }
    CHECK_FAIL("there is no deed %s", argv[1]);
}
