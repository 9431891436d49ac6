// exhaustion.c - when there really is no more memory: NULL with ENOMEM, blocks intact, and all is
// well again once something was freed. The program starts itself anew under a limit of address
// space, for the limit has to stand before the library reserves its own.
#include "../support/api.h"
#include "../support/child.h"

#include <pthread.h>

#define LIMIT_BYTES ((size_t)128 << 20)
#define BLOCK_COUNT_MAX 200000

static struct {
    unsigned char *bytes;
    size_t size;
} blocks[BLOCK_COUNT_MAX];
static size_t block_count;

/// Take blocks of one size until there is no memory.
static void fill_up(size_t size) {
    while (block_count < BLOCK_COUNT_MAX) {
        errno = 0;
        unsigned char *bytes = (unsigned char *)api_malloc(size);
        if (!bytes) {
            CHECK_INT(errno, ==, ENOMEM);
            return;
        }
        memset(bytes, (int)(block_count & 0x7f), size < 64 ? size : 64);
        bytes[size - 1] = (unsigned char)(block_count & 0x7f);
        blocks[block_count].bytes = bytes;
        blocks[block_count].size = size;
        block_count++;
    }
    CHECK_FAIL("%zu blocks of %zu bytes fit below the limit of %zu", block_count, size,
               LIMIT_BYTES);
}

static void check_blocks(void) {
    for (size_t i = 0; i < block_count; i++) {
        size_t size = blocks[i].size;
        CHECK_UINT(blocks[i].bytes[0], ==, i & 0x7f);
        CHECK_UINT(blocks[i].bytes[size < 64 ? size - 1 : 63], ==, i & 0x7f);
        CHECK_UINT(blocks[i].bytes[size - 1], ==, i & 0x7f);
    }
}

static void drop_all(void) {
    while (block_count > 0) {
        block_count--;
        api_free(blocks[block_count].bytes);
    }
}

static size_t total_bytes(void) {
    size_t sum = 0;
    for (size_t i = 0; i < block_count; i++) {
        sum += blocks[i].size;
    }
    return sum;
}

static void every_size_ends_with_enomem_and_recovers(void) {
    static const size_t sizes[] = {2000, 30000, 100000, 1 << 20, 10 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fill_up(sizes[i]);
        // Address space that the program itself, the C library and records take is not counted.
        CHECK_UINT(total_bytes(), >=, LIMIT_BYTES / 3);
        check_blocks();
        drop_all();
    }
}

static void realloc_without_memory_leaves_the_block(void) {
    unsigned char *kept = (unsigned char *)api_malloc(300000);
    memset(kept, 0x42, 300000);
    fill_up(1 << 20);
    errno = 0;
    CHECK_PTR(api_realloc(kept, (size_t)150 << 20), ==, NULL);
    CHECK_INT(errno, ==, ENOMEM);
    errno = 0;
    CHECK_PTR(api_calloc(150, 1 << 20), ==, NULL);
    CHECK_INT(errno, ==, ENOMEM);
    errno = 0;
    CHECK_PTR(api_aligned(1 << 20, (size_t)150 << 20), ==, NULL);
    CHECK_INT(errno, ==, ENOMEM);
    for (size_t i = 0; i < 300000; i++) {
        CHECK_UINT(kept[i], ==, 0x42);
    }
    check_blocks();
    drop_all();
    unsigned char *grown = (unsigned char *)api_realloc(kept, (size_t)24 << 20);
    CHECK_PTR(grown, !=, NULL);
    CHECK_UINT(grown[299999], ==, 0x42);
    api_free(grown);
}

static void freeing_small_blocks_makes_room_for_large_ones(void) {
    fill_up(2000);
    drop_all();
    unsigned char *large = (unsigned char *)api_malloc((size_t)24 << 20);
    CHECK_PTR(large, !=, NULL);
    api_free(large);
    fill_up(8 << 20);
    drop_all();
    fill_up(2000);
    CHECK_UINT(total_bytes(), >=, LIMIT_BYTES / 3);
    drop_all();
}

struct link {
    struct link *next;
};

/// Take blocks until there are none, then give all back; several times.
// All have their stacks before the first fills up the memory.
static pthread_barrier_t all_started;

static void *fill_up_and_drop(void *size) {
    pthread_barrier_wait(&all_started);
    for (size_t round = 0; round < 3; round++) {
        struct link *first = NULL;
        struct link *block;
        errno = 0;
        while ((block = (struct link *)api_malloc(*(size_t *)size)) != NULL) {
            block->next = first;
            first = block;
        }
        CHECK_INT(errno, ==, ENOMEM);
        while (first) {
            block = first;
            first = first->next;
            api_free(block);
        }
    }
    return NULL;
}

static void threads_meet_the_end_together(void) {
    static size_t sizes[] = {4000, 20000, 300000, 2 << 20};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    pthread_t threads[COUNT];
    CHECK_INT(pthread_barrier_init(&all_started, NULL, COUNT), ==, 0);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, fill_up_and_drop, &sizes[i]), ==, 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), ==, 0);
    }
    unsigned char *large = (unsigned char *)api_malloc((size_t)24 << 20);
    CHECK_PTR(large, !=, NULL);
    api_free(large);
}

static const struct check_case cases[] = {
    CHECK_CASE(every_size_ends_with_enomem_and_recovers),
    CHECK_CASE(realloc_without_memory_leaves_the_block),
    CHECK_CASE(freeing_small_blocks_makes_room_for_large_ones),
    CHECK_CASE(threads_meet_the_end_together),
};
#define CASE_COUNT (sizeof(cases) / sizeof(cases[0]))

int main(int argc, char **argv) {
    if (CHECK_ASAN || CHECK_TSAN) {
        CHECK_SKIP("a sanitizer needs more address space than any limit");
    }
    if (argc == 3 && strcmp(argv[1], "--limited") == 0) {
        return child_main_limited(cases, CASE_COUNT, argv);
    }
    check_state.program = argv[0];
    for (size_t i = 0; i < CASE_COUNT; i++) {
        struct child_result result;
        char *arguments[] = {argv[0], (char *)"--limited", (char *)cases[i].name, NULL};
        child_run(&result, arguments, LIMIT_BYTES);
        CHILD_CHECK_SILENT(&result);
    }
    return 0;
}
