// use.c - what a thread has taken and given, as mallctl tells it.
#include "jemalloc.h"

#include "../support/check.h"

#include <pthread.h>
#include <stdlib.h>

static uint64_t read_word(const char *name) {
    uint64_t value = 0;
    size_t bytes = sizeof(value);
    CHECK_INT(mallctl(name, &value, &bytes, NULL, 0), ==, 0);
    return value;
}

static void set_cached(bool value) {
    CHECK_INT(mallctl("thread.tcache.enabled", NULL, NULL, &value, sizeof(value)), ==, 0);
}

// What this thread holds more than it gave; as a signed number.
static int64_t net(void) {
    uint64_t freed = read_word("thread.deallocated");
    return (int64_t)(read_word("thread.allocated") - freed);
}

enum { SLOTS = 4000, STEPS = 60000 };

// Random blocks of all kinds: the difference is exact at every look.
static void work(struct check_random *random) {
    static __thread void *blocks[SLOTS];
    int64_t held = net();
    for (int i = 0; i < STEPS; i++) {
        size_t slot = check_random_below(random, SLOTS);
        size_t size = (size_t)1 << check_random_below(random, i % 512 == 0 ? 22 : 14);
        int64_t before = blocks[slot] != NULL ? (int64_t)sallocx(blocks[slot], 0) : 0;
        if (blocks[slot] != NULL && i % 3 == 0) {
            blocks[slot] = rallocx(blocks[slot], size, 0);
        } else {
            free(blocks[slot]);
            blocks[slot] = i % 5 == 0 ? NULL : mallocx(size, i % 7 == 0 ? MALLOCX_TCACHE_NONE : 0);
        }
        held += (blocks[slot] != NULL ? (int64_t)sallocx(blocks[slot], 0) : 0) - before;
        if (i % 500 == 0) {
            CHECK_INT(net(), ==, held);
        }
        if (i % 20000 == 10000) {
            CHECK_INT(mallctl("arena.0.purge", NULL, NULL, NULL, 0), ==, 0);
            set_cached(i == 30000);
        }
    }
    set_cached(true);
    for (int i = 0; i < SLOTS; i++) {
        held -= blocks[i] != NULL ? (int64_t)sallocx(blocks[i], 0) : 0;
        free(blocks[i]);
        blocks[i] = NULL;
    }
    CHECK_INT(net(), ==, held);
}

static void allocated_less_deallocated_is_exact(void) {
    struct check_random random = {check_seed()};
    work(&random);
}

static void *run_thread(void *context) {
    work(context);
    return NULL;
}

static void threads_count_for_themselves_also_with_a_used_cache(void) {
    struct check_random random[8];
    for (int i = 0; i < 8; i += 2) {
        pthread_t threads[2];
        for (int k = 0; k < 2; k++) {
            random[i + k].state = check_seed() + (uint64_t)(i + k);
            CHECK_INT(pthread_create(&threads[k], NULL, run_thread, &random[i + k]), ==, 0);
        }
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
    }
}

static void *free_all(void *context) {
    void **blocks = context;
    int64_t before = net();
    int64_t bytes = 0;
    for (int i = 0; i < 1000; i++) {
        bytes += (int64_t)sallocx(blocks[i], 0);
        free(blocks[i]);
    }
    CHECK_INT(net(), ==, before - bytes);
    return NULL;
}

static void a_block_counts_for_the_thread_that_frees_it(void) {
    static void *blocks[1000];
    pthread_t thread;
    int64_t before = net();
    int64_t bytes = 0;
    for (int i = 0; i < 1000; i++) {
        blocks[i] = malloc((size_t)i * 50);
        bytes += (int64_t)sallocx(blocks[i], 0);
    }
    CHECK_INT(net(), ==, before + bytes);
    CHECK_INT(pthread_create(&thread, NULL, free_all, blocks), ==, 0);
    pthread_join(thread, NULL);
    CHECK_INT(net(), >=, before + bytes);
}

static void both_only_grow_and_their_addresses_stay(void) {
    struct check_random random = {check_seed()};
    uint64_t *taken = (uint64_t *)(uintptr_t)read_word("thread.allocatedp");
    uint64_t *given = (uint64_t *)(uintptr_t)read_word("thread.deallocatedp");
    uint64_t last_taken = *taken;
    uint64_t last_given = *given;
    for (int i = 0; i < 20000; i++) {
        void *block = malloc(check_random_below(&random, 3000));
        if (i % 3 != 0) {
            free(block);
        }
        CHECK_UINT(*taken, >=, last_taken);
        CHECK_UINT(*given, >=, last_given);
        last_taken = *taken;
        last_given = *given;
    }
    CHECK_UINT(read_word("thread.allocated"), >=, last_taken);
    CHECK_UINT(*taken, >, 1000000);
    CHECK_PTR(taken, ==, (void *)(uintptr_t)read_word("thread.allocatedp"));
}

static void a_thread_without_a_cache_gets_and_gives_at_once(void) {
    set_cached(false);
    bool is_cached = true;
    size_t bytes = sizeof(is_cached);
    CHECK_INT(mallctl("thread.tcache.enabled", &is_cached, &bytes, NULL, 0), ==, 0);
    CHECK(!is_cached);
    for (size_t size = 1; size < 600000; size += size / 3 + 1) {
        uint64_t taken = read_word("thread.allocated");
        void *block = calloc(1, size);
        CHECK(block != NULL);
        CHECK_UINT(read_word("thread.allocated"), ==, taken + sallocx(block, 0));
        free(block);
    }
    set_cached(true);
}

static const struct check_case cases[] = {
    CHECK_CASE(allocated_less_deallocated_is_exact),
    CHECK_CASE(threads_count_for_themselves_also_with_a_used_cache),
    CHECK_CASE(a_block_counts_for_the_thread_that_frees_it),
    CHECK_CASE(both_only_grow_and_their_addresses_stay),
    CHECK_CASE(a_thread_without_a_cache_gets_and_gives_at_once),
};

CHECK_MAIN(cases)
