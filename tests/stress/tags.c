// tags.c - tags under several threads: frees by others, threads that end in a scope, readers
// beside them, and fork.
#include "../support/check.h"

#include <allot.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 8, TAGS = 50, SLOTS = 512 };

static allot_tag tags[TAGS];
static _Atomic(uintptr_t) slots[SLOTS];

static struct allot_tag_stats stats_of(allot_tag tag) {
    struct allot_tag_stats stats = {.size_bytes = sizeof stats};
    CHECK(allot_tag_stats(tag, &stats));
    return stats;
}

static void start(pthread_t *thread, void *(*run)(void *), void *context) {
    CHECK_INT(pthread_create(thread, NULL, run, context), ==, 0);
}

static uint64_t rounds(void) {
    return check_is_long() ? 20000000 : CHECK_TSAN ? 50000 : 1000000;
}

static uint64_t next(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static size_t size_for(uint64_t *state) {
    return next(state) % 256 == 0 ? next(state) % 200000 : 1 + next(state) % 700;
}

static void *take(uint64_t *state) {
    static struct allot_site site = {__FILE__, __func__, __LINE__, 0, 0};
    allot_tag tag = tags[next(state) % TAGS];
    size_t size = size_for(state);
    if (next(state) % 3 == 0) {
        return allot_site_malloc(&site, tag, size);
    }
    if (next(state) % 2 == 0) {
        return allot_tag_malloc(tag, size);
    }
    allot_tag before = allot_tag_enter(tag);
    void *block = allot_malloc(size);
    allot_tag_leave(before);
    return block;
}

// Blocks stand in slots that all threads exchange, so that most frees are those of others.
static void *exchange(void *context) {
    uint64_t state = (uintptr_t)context * 77 + 1;
    for (uint64_t i = 0; i < rounds() / THREADS; i++) {
        void *block = take(&state);
        CHECK(block != NULL);
        *(char *)block = 1;
        void *old = (void *)atomic_exchange(&slots[next(&state) % SLOTS], (uintptr_t)block);
        if (next(&state) % 8 == 0) {
            old = allot_realloc(old, size_for(&state));
        }
        allot_free(old);
    }
    allot_tag_enter(tags[0]);  // a thread that ends leaves its scopes
    return NULL;
}

static _Atomic(bool) reading_is_over;

static void *read_again_and_again(void *unused) {
    static struct allot_tag_stats all[TAGS * 2];
    while (!atomic_load(&reading_is_over)) {
        all[0].size_bytes = sizeof all[0];
        size_t count = allot_tag_snapshot(all, TAGS * 2);
        for (size_t i = 0; i < count && i < TAGS * 2; i++) {
            CHECK_UINT(all[i].live_bytes, <, (uint64_t)1 << 40);
            CHECK_UINT(all[i].live_blocks, <, (uint64_t)1 << 40);
        }
    }
    return unused;
}

static void create_tags(bool has_limits) {
    struct allot_tag_limits limits = {.size_bytes = sizeof limits};
    for (int i = 0; i < TAGS; i++) {
        tags[i] = has_limits && i % 2 == 0
                      ? allot_tag_create_limited("limited", i > 0 ? tags[0] : 0, &limits)
                      : allot_tag_create("plain", 0);
        CHECK(tags[i] != 0);
    }
}

static void check_nothing_is_live(void) {
    for (int i = 0; i < SLOTS; i++) {
        allot_free((void *)atomic_exchange(&slots[i], 0));
    }
    for (int i = 0; i < TAGS; i++) {
        struct allot_tag_stats stats = stats_of(tags[i]);
        CHECK_UINT(stats.live_bytes, ==, 0);
        CHECK_UINT(stats.live_blocks, ==, 0);
        CHECK_UINT(stats.tree_bytes, ==, 0);
        CHECK_UINT(stats.malloc_calls, ==, stats.free_calls);
    }
}

static void exchange_blocks(bool has_limits) {
    pthread_t threads[THREADS + 1];
    create_tags(has_limits);
    start(&threads[THREADS], read_again_and_again, NULL);
    for (uintptr_t i = 0; i < THREADS; i++) {
        start(&threads[i], exchange, (void *)(i + 1));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&reading_is_over, true);
    pthread_join(threads[THREADS], NULL);
    check_nothing_is_live();
}

static void sums_are_exact_whoever_frees(void) {
    exchange_blocks(false);
}

static void limited_tags_count_in_their_trees_whoever_frees(void) {
    exchange_blocks(true);
}

static void *take_a_few_in_a_scope(void *context) {
    allot_tag_enter(tags[(uintptr_t)context % TAGS]);
    for (int i = 0; i < 20; i++) {
        void *block = allot_malloc(100);
        allot_free((void *)atomic_exchange(&slots[((uintptr_t)context * 20 + (unsigned)i) % SLOTS],
                                           (uintptr_t)block));
    }
    return NULL;
}

static void threads_come_and_go_and_no_block_is_forgotten(void) {
    create_tags(false);
    for (uintptr_t round = 0; round < (CHECK_TSAN ? 100 : 1000); round++) {
        pthread_t threads[THREADS];
        for (uintptr_t i = 0; i < THREADS; i++) {
            start(&threads[i], take_a_few_in_a_scope, (void *)(round * THREADS + i));
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    check_nothing_is_live();
}

static void a_child_goes_on_counting(void) {
    create_tags(true);
    pthread_t threads[2];
    start(&threads[0], exchange, (void *)1);
    start(&threads[1], exchange, (void *)2);
    allot_tag mine = allot_tag_create("the forking thread's", 0);
    void *kept = allot_tag_malloc(mine, 1000);
    for (int i = 0; i < (CHECK_TSAN ? 5 : 50); i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK_UINT(stats_of(mine).live_bytes, ==, allot_usable_size(kept));
            uint64_t state = 5;
            for (int k = 0; k < 1000; k++) {
                allot_free(take(&state));
            }
            allot_tag_enter(mine);
            allot_free(kept);
            allot_free(allot_malloc(5000));
            CHECK_UINT(stats_of(mine).live_bytes, ==, 0);
            _exit(0);
        }
        int status = 1;
        CHECK_INT(waitpid(child, &status, 0), ==, child);
        CHECK_INT(status, ==, 0);
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    allot_free(kept);
    check_nothing_is_live();
}

int main(int argc, char **argv) {
    static const struct check_case cases[] = {
        CHECK_CASE(sums_are_exact_whoever_frees),
        CHECK_CASE(limited_tags_count_in_their_trees_whoever_frees),
        CHECK_CASE(threads_come_and_go_and_no_block_is_forgotten),
        CHECK_CASE(a_child_goes_on_counting),
    };
    check_seed();  // before there are threads
    return check_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
