// innocent.c - no false alarm: a program that does everything unusual but right is not accused.
#include "../support/api.h"
#include "../support/child.h"

#include <pthread.h>

#define COUNT 4000

static void sized_frees(struct check_random *random) {
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = check_random_below(random, (size_t)1 << check_random_below(random, 21));
        size_t align = (size_t)1 << check_random_below(random, 17);
        api_free_sized(api_malloc(size), size);
        api_free_sized(api_calloc(1, size), size);
        void *block = api_malloc(size);
        api_free_sized(block, api_usable_size(block));
        api_free_aligned_sized(api_aligned(align, size), align, size);
        block = api_realloc(api_malloc(size), size / 2 + 1);
        api_free_sized(block, size / 2 + 1);
        block = api_realloc(api_malloc(size), size * 2 + 1);
        api_free_sized(block, size * 2 + 1);
    }
}

static void over_aligned_blocks(struct check_random *random) {
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = check_random_below(random, 5000);
        blocks[i] = api_aligned((size_t)1 << check_random_below(random, 14), size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = api_realloc(blocks[i], 1 + check_random_below(random, 9000));
    }
    for (size_t i = 0; i < COUNT; i++) {
        api_free(blocks[(i * 1771) % COUNT]);  // every one, in another order
    }
}

static void *free_all(void *blocks) {
    for (size_t i = 0; i < COUNT; i++) {
        api_free(((void **)blocks)[i]);
    }
    return NULL;
}

static void frees_by_another_thread(struct check_random *random) {
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = api_malloc(check_random_below(random, 70000));
    }
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, free_all, blocks), ==, 0);
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
}

static void the_same_address_over_and_over(void) {
    for (size_t i = 0; i < 100000; i++) {
        api_free(api_malloc(i % 300));
    }
    for (size_t i = 0; i < 2000; i++) {
        api_free(api_malloc(1 << 20));
    }
}

static void be_innocent(void *seed) {
    struct check_random random = {*(uint64_t *)seed};
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_set("misuse", "warn"));
    sized_frees(&random);
    over_aligned_blocks(&random);
    frees_by_another_thread(&random);
    the_same_address_over_and_over();
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.misuse_count, ==, 0);
    _exit(0);
}

static void nobody_is_accused_wrongly(void) {
    static struct child_result result;
    uint64_t seed = check_seed();
    child_call(&result, be_innocent, &seed);
    CHILD_CHECK_SILENT(&result);
}

static const struct check_case cases[] = {
    CHECK_CASE(nobody_is_accused_wrongly),
};

CHECK_MAIN(cases)
