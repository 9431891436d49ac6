// test_pool.c - pools: what is made at once, what comes beyond it, and how that goes back.
#include "allot.h"
#include "api/options.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

enum { OBJECTS_MAX = 5000, THREADS = 4 };

static void *object[OBJECTS_MAX];

static struct allot_pool_options plain(size_t object_bytes, size_t count) {
    return (struct allot_pool_options){
        .size_bytes = sizeof(struct allot_pool_options),
        .object_bytes = object_bytes,
        .count = count,
    };
}

static allot_pool *create(const struct allot_pool_options *options) {
    allot_pool *pool = allot_pool_create(options);
    assert_non_null(pool);
    return pool;
}

static struct allot_pool_stats stats_of(const allot_pool *pool) {
    struct allot_pool_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_pool_stats(pool, &stats));
    UNIT_CHECK(stats.live_count + stats.free_count, ==, stats.capacity_count);
    UNIT_CHECK(stats.live_count, <=, stats.peak_count);
    return stats;
}

static uint64_t misuses(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_stats(&stats));
    return stats.misuse_count;
}

// ---- What is made at once

static int by_address(const void *left, const void *right) {
    uintptr_t a = (uintptr_t) * (void *const *)left, b = (uintptr_t) * (void *const *)right;
    return a < b ? -1 : a > b;
}

// Takes all that a pool of `count` may give and no more: they are apart, aligned, and all
// in the memory that was set aside.
static void take_exactly(const struct allot_pool_options *options) {
    size_t count = options->count;
    size_t align = options->align_bytes > 16 ? options->align_bytes : 16;
    allot_pool *pool = create(options);
    for (size_t i = 0; i < count; i++) {
        object[i] = allot_pool_take(pool);
        assert_non_null(object[i]);
        UNIT_CHECK((uintptr_t)object[i] % align, ==, 0);
        memset(object[i], 0x5a, options->object_bytes);
    }
    errno = 0;
    assert_null(allot_pool_take(pool));
    UNIT_CHECK(errno, ==, ENOMEM);
    struct allot_pool_stats stats = stats_of(pool);
    UNIT_CHECK(stats.live_count, ==, count);
    UNIT_CHECK(stats.peak_count, ==, count);
    UNIT_CHECK(stats.refused_calls, ==, 1);
    UNIT_CHECK(stats.held_bytes, ==, stats.reserve_bytes);
    allot_pool_give_many(pool, object, count);
    UNIT_CHECK(stats_of(pool).free_count, ==, count);
    qsort(object, count, sizeof *object, by_address);
    for (size_t i = 1; i < count; i++) {
        UNIT_CHECK((uintptr_t)object[i] - (uintptr_t)object[i - 1], >=, options->object_bytes);
    }
    allot_pool_destroy(pool);
}

static void of_every_size_and_count_all_are_there_and_no_more(void) {
    static const size_t counts[] = {1, 2, 7, 63, 64, 65, 333, 1000};
    for (size_t size = 1; size <= 32768; size += size < 1100 ? 5 : 997) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            struct allot_pool_options options = plain(size, counts[i]);
            options.refuse_overflow = true;
            if (size * counts[i] <= 4 * MIB) {
                take_exactly(&options);
            }
        }
    }
}

static void every_alignment_is_kept(void) {
    for (size_t align = 1; align <= 16384; align *= 2) {
        for (size_t size = 1; size <= 20000; size = size * 3 + 1) {
            struct allot_pool_options options = plain(size, 50);
            options.align_bytes = align;
            options.refuse_overflow = true;
            take_exactly(&options);
        }
    }
}

static void what_fits_into_the_same_memory_is_made_too(void) {
    struct allot_pool_options options = plain(64, 1);
    allot_pool *pool = create(&options);
    struct allot_pool_stats stats = stats_of(pool);
    UNIT_CHECK(stats.capacity_count, ==, stats.reserve_bytes / 64);
    allot_pool_destroy(pool);
    options.limit_count = 3;
    pool = create(&options);
    UNIT_CHECK(stats_of(pool).capacity_count, ==, 3);
    allot_pool_destroy(pool);
}

static void the_object_given_last_is_taken_first(void) {
    struct allot_pool_options options = plain(100, 10);
    allot_pool *pool = create(&options);
    void *first = allot_pool_take(pool);
    void *second = allot_pool_take(pool);
    UNIT_CHECK((uintptr_t)second, >, (uintptr_t)first);
    allot_pool_give(pool, second);
    allot_pool_give(pool, NULL);
    allot_pool_give(pool, first);
    assert_ptr_equal(allot_pool_take(pool), first);
    assert_ptr_equal(allot_pool_take(pool), second);
    allot_pool_destroy(pool);
}

// ---- Beyond it

static void what_a_burst_took_leaves_with_it(void) {
    for (size_t size = 16; size <= 32768; size *= 2) {
        size_t count = size < 1024 ? 3000 : 3000 * 1024 / size;
        struct allot_pool_options options = plain(size, count);
        allot_pool *pool = create(&options);
        struct allot_pool_stats before = stats_of(pool);
        size_t burst = before.capacity_count * 3 / 2;
        UNIT_CHECK(allot_pool_take_many(pool, object, burst), ==, burst);
        UNIT_CHECK(stats_of(pool).held_bytes, >, before.held_bytes);
        allot_pool_give_many(pool, object, burst);
        struct allot_pool_stats after = stats_of(pool);
        UNIT_CHECK(after.capacity_count, ==, before.capacity_count);
        UNIT_CHECK(after.peak_count, ==, burst);
        UNIT_CHECK(after.held_bytes - after.reserve_bytes, <=, 256 * KIB);
        allot_pool_trim(pool);
        UNIT_CHECK(stats_of(pool).held_bytes, ==, before.held_bytes);
        allot_pool_destroy(pool);
    }
}

static void a_take_prefers_what_was_made_with_the_pool(void) {
    struct allot_pool_options options = plain(1024, 64);
    allot_pool *pool = create(&options);
    size_t made = stats_of(pool).capacity_count;
    UNIT_CHECK(allot_pool_take_many(pool, object, made + 50), ==, made + 50);
    allot_pool_give_many(pool, object, 50);
    for (size_t i = 0; i < 50; i++) {  // as many as before are in use at each step
        object[i] = allot_pool_take(pool);
        allot_pool_give(pool, object[made + i]);
        UNIT_CHECK(stats_of(pool).live_count, ==, made);
    }
    UNIT_CHECK(stats_of(pool).capacity_count, ==, made);
    allot_pool_give_many(pool, object, made);
    UNIT_CHECK(stats_of(pool).live_count, ==, 0);
    allot_pool_destroy(pool);
}

static void a_limit_counts_objects(void) {
    struct allot_pool_options options = plain(200, 100);
    options.limit_count = 250;
    allot_pool *pool = create(&options);
    errno = 0;
    UNIT_CHECK(allot_pool_take_many(pool, object, 300), ==, 250);
    UNIT_CHECK(errno, ==, ENOMEM);
    allot_pool_give(pool, object[249]);
    object[249] = allot_pool_take(pool);
    assert_non_null(object[249]);
    assert_null(allot_pool_take(pool));
    UNIT_CHECK(stats_of(pool).refused_calls, ==, 2);
    allot_pool_give_many(pool, object, 250);
    allot_pool_destroy(pool);
}

static void a_pool_without_objects_of_its_own_takes_all_from_its_heap(void) {
    struct allot_pool_options options = plain(48, 0);
    options.limit_count = 7;
    allot_pool *pool = create(&options);
    UNIT_CHECK(stats_of(pool).held_bytes, ==, 0);
    UNIT_CHECK(allot_pool_take_many(pool, object, 9), ==, 7);
    allot_pool_give_many(pool, object, 7);
    UNIT_CHECK(stats_of(pool).capacity_count, ==, 0);
    allot_pool_destroy(pool);
}

static void all_objects_count_in_the_parent(void) {
    struct allot_heap_options heap = {.size_bytes = sizeof heap, .limit_bytes = 100 * 1024};
    allot_heap *parent = allot_heap_create(&heap);
    assert_non_null(parent);
    struct allot_heap_stats stats = {.size_bytes = sizeof stats};
    struct allot_pool_options options = plain(1024, 101);
    options.parent = parent;
    assert_null(allot_pool_create(&options));
    UNIT_CHECK(errno, ==, ENOMEM);
    allot_heap_stats(parent, &stats);
    UNIT_CHECK(stats.tree_bytes, ==, 0);
    options = plain(1024, 64);
    options.parent = parent;
    allot_pool *pool = create(&options);
    allot_heap_stats(parent, &stats);
    UNIT_CHECK(stats.tree_bytes, ==, 64 * 1024);
    UNIT_CHECK(allot_pool_take_many(pool, object, 200), ==, 100);
    allot_pool_destroy(pool);
    UNIT_CHECK(allot_heap_destroy(parent), ==, 0);
}

// ---- Against a model

static void figures_are_exact_at_every_moment(void) {
    struct check_random random = {check_seed()};
    struct allot_pool_options options = plain(80, 500);
    options.shared = check_random_below(&random, 2) != 0;
    options.limit_count = 1800;
    allot_pool *pool = create(&options);
    size_t live = 0, peak = 0;
    for (size_t step = 0; step < 60000; step++) {
        size_t wanted = step / 10000 % 2 == 0 ? 2000 : 0;  // grow, shrink
        if (check_random_below(&random, 2000) < (wanted + 2000) / 3) {
            void *taken = allot_pool_take(pool);
            UNIT_CHECK(taken != NULL, ==, live < 1800);
            object[live] = taken;
            live += taken != NULL;
        } else if (live > 0) {
            size_t at = check_random_below(&random, live);
            allot_pool_give(pool, object[at]);
            object[at] = object[--live];
        }
        peak = live > peak ? live : peak;
        struct allot_pool_stats stats = stats_of(pool);
        UNIT_CHECK(stats.live_count, ==, live);
        UNIT_CHECK(stats.peak_count, ==, peak);
    }
    allot_pool_give_many(pool, object, live);
    allot_pool_destroy(pool);
}

static void *churn(void *pool) {
    void *mine[100] = {NULL};
    for (size_t i = 0; i < 20000; i++) {
        size_t at = i * 7 % 100;
        if (mine[at] != NULL) {
            UNIT_CHECK(*(void **)mine[at], ==, (uintptr_t)&mine[at]);
        }
        allot_pool_give(pool, mine[at]);
        mine[at] = allot_pool_take(pool);
        assert_non_null(mine[at]);
        *(void **)mine[at] = &mine[at];
    }
    allot_pool_give_many(pool, mine, 100);
    return NULL;
}

static void threads_share_a_pool_and_lose_nothing(void) {
    struct allot_pool_options options = plain(64, 150);
    options.shared = true;
    os_fake.has_threads = true;
    allot_pool *pool = create(&options);
    pthread_t thread[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        UNIT_CHECK(pthread_create(&thread[i], NULL, churn, pool), ==, 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        UNIT_CHECK(pthread_join(thread[i], NULL), ==, 0);
    }
    struct allot_pool_stats stats = stats_of(pool);
    UNIT_CHECK(stats.live_count, ==, 0);
    UNIT_CHECK(stats.peak_count, <=, 100 * THREADS);
    UNIT_CHECK(stats.refused_calls, ==, 0);
    allot_pool_destroy(pool);
}

// ---- Mistakes

static void refused(const struct allot_pool_options *options, int error) {
    errno = 0;
    assert_null(allot_pool_create(options));
    UNIT_CHECK(errno, ==, error);
}

static void senseless_options_are_refused(void) {
    struct allot_pool_options options = plain(100, 10);
    refused(NULL, EINVAL);
    options.size_bytes--;
    refused(&options, EINVAL);
    options = plain(0, 10);
    refused(&options, EINVAL);
    options = plain(32769, 10);
    refused(&options, E2BIG);
    options = plain(100, 10);
    options.align_bytes = 3;
    refused(&options, EINVAL);
    options.align_bytes = 48;
    refused(&options, EINVAL);
    options.align_bytes = 32768;
    refused(&options, E2BIG);
    options = plain(20000, 10);
    options.align_bytes = 16384;  // 32 KiB each
    allot_pool_destroy(create(&options));
    options = plain(100, 10);
    options.limit_count = 9;
    refused(&options, ERANGE);
    options.limit_count = 10;
    options.refuse_overflow = true;
    refused(&options, EINVAL);
    options = plain(100, 0);
    options.prefault = true;
    refused(&options, EINVAL);
    options = plain(32768, SIZE_MAX);
    refused(&options, ENOMEM);
    options = plain(16, SIZE_MAX);
    refused(&options, ENOMEM);
    struct allot_pool_stats stats = {.size_bytes = 1};
    options = plain(16, 1);
    allot_pool *pool = create(&options);
    assert_false(allot_pool_stats(pool, &stats));
    UNIT_CHECK(errno, ==, EINVAL);
    allot_pool_destroy(pool);
    allot_pool_destroy(NULL);
}

static void wrong_gives_are_reported_and_change_nothing(void) {
    options_state.misuse = OPTIONS_MISUSE_IGNORE;
    struct allot_pool_options options = plain(100, 10);
    allot_pool *pool = create(&options);
    allot_pool *other = create(&options);
    size_t made = stats_of(pool).capacity_count;
    UNIT_CHECK(allot_pool_take_many(pool, object, made + 1), ==, made + 1);
    void *foreign = allot_pool_take(other);
    char *block = allot_malloc(100);
    allot_pool_give(pool, object[0]);
    uint64_t before = misuses();
    void *const wrong[] = {object[0], (char *)object[1] + 16,    (char *)object[2] + 1,
                           foreign,   (char *)object[made] + 16, block,
                           &before};
    size_t count = sizeof wrong / sizeof *wrong;
    allot_pool_give_many(pool, wrong, count);
    UNIT_CHECK(misuses() - before, ==, count);
    UNIT_CHECK(stats_of(pool).live_count, ==, made);
    UNIT_CHECK(stats_of(other).live_count, ==, 1);
    allot_free(block);
    allot_pool_destroy(pool);
    allot_pool_destroy(other);
}

static void without_memory_a_pool_says_so_and_loses_nothing(void) {
    struct allot_pool_options options = plain(1000, 300);
    allot_pool *pool = allot_pool_create(&options);
    if (pool == NULL) {
        UNIT_CHECK(errno, ==, ENOMEM);
        return;
    }
    errno = 0;
    size_t count = allot_pool_take_many(pool, object, 2000);
    UNIT_CHECK(count, >=, 300);
    UNIT_CHECK(errno, ==, count < 2000 ? ENOMEM : 0);
    UNIT_CHECK(stats_of(pool).live_count, ==, count);
    allot_pool_give_many(pool, object, count);
    UNIT_CHECK(stats_of(pool).live_count, ==, 0);
    UNIT_CHECK(allot_pool_take_many(pool, object, 300), ==, 300);
    allot_pool_destroy(pool);
}

static const struct unit_case cases[] = {
    UNIT(of_every_size_and_count_all_are_there_and_no_more),
    UNIT(every_alignment_is_kept),
    UNIT(what_fits_into_the_same_memory_is_made_too),
    UNIT(the_object_given_last_is_taken_first),
    UNIT(what_a_burst_took_leaves_with_it),
    UNIT(a_take_prefers_what_was_made_with_the_pool),
    UNIT(a_limit_counts_objects),
    UNIT(a_pool_without_objects_of_its_own_takes_all_from_its_heap),
    UNIT(all_objects_count_in_the_parent),
    UNIT(figures_are_exact_at_every_moment),
    UNIT(threads_share_a_pool_and_lose_nothing),
    UNIT(senseless_options_are_refused),
    UNIT(wrong_gives_are_reported_and_change_nothing),
    UNIT_WITH_FAILURES(without_memory_a_pool_says_so_and_loses_nothing),
};

UNIT_MAIN(cases)
