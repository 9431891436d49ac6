// allot_stats.c - the figures of allot_stats: exact at rest, never negative, their parts within
// their wholes, and what the kernel says.
#include "../support/api.h"
#include "../support/check.h"
#include "../support/memory.h"

#include <pthread.h>

#define BLOCK_COUNT 20000
#define MIB ((uint64_t)1 << 20)

static void *blocks[BLOCK_COUNT];

static struct allot_stats read_stats(void) {
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.version, ==, 1);
    return stats;
}

#define STATS_FIELD(name) \
    { #name, offsetof(struct allot_stats, name) }

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    STATS_FIELD(live_bytes),     STATS_FIELD(live_blocks),        STATS_FIELD(cached_bytes),
    STATS_FIELD(partial_bytes),  STATS_FIELD(dirty_bytes),        STATS_FIELD(purged_bytes),
    STATS_FIELD(metadata_bytes), STATS_FIELD(reserved_bytes),     STATS_FIELD(committed_bytes),
    STATS_FIELD(committed_peak), STATS_FIELD(resident_bytes),     STATS_FIELD(malloc_calls),
    STATS_FIELD(free_calls),     STATS_FIELD(remote_free_blocks), STATS_FIELD(refill_calls),
    STATS_FIELD(flush_calls),    STATS_FIELD(purge_calls),        STATS_FIELD(purge_bytes),
    STATS_FIELD(map_calls),      STATS_FIELD(large_calls),        STATS_FIELD(misuse_count),
    STATS_FIELD(lock_waits),     STATS_FIELD(lock_sleeps),
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

/// What always holds, whatever the program does.
static void check_invariants(const struct allot_stats *stats) {
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        uint64_t value = *(const uint64_t *)((const char *)stats + fields[i].offset);
        if (value >= (uint64_t)1 << 47) {
            CHECK_FAIL("%s = %" PRIu64 " is absurd: negative?", fields[i].name, value);
        }
    }
    uint64_t held =
        stats->live_bytes + stats->cached_bytes + stats->partial_bytes + stats->dirty_bytes;
    CHECK_UINT(held, <=, stats->committed_bytes);
    CHECK_UINT(stats->committed_bytes, <=, stats->reserved_bytes);
    CHECK_UINT(held, <=, stats->committed_peak);
    CHECK_UINT(stats->metadata_bytes, <=, stats->resident_bytes);
    CHECK_UINT(stats->thread_count, <, 100000);
    CHECK_UINT(stats->misuse_count, ==, 0);
}

static void a_struct_of_no_known_size_is_refused(void) {
    struct {
        struct allot_stats stats;
        char guard[64];
    } space;
    size_t bad[] = {0,
                    1,
                    7,
                    8,
                    sizeof(struct allot_stats) - 8,
                    sizeof(struct allot_stats) - 1,
                    sizeof(struct allot_stats) + 1,
                    sizeof(struct allot_stats) + 8,
                    SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(&space, 0x5c, sizeof(space));
        space.stats.size_bytes = bad[i];
        errno = 0;
        CHECK(!allot_stats(&space.stats));
        CHECK_INT(errno, ==, EINVAL);
        for (size_t k = sizeof(size_t); k < sizeof(space); k++) {
            CHECK_UINT(((unsigned char *)&space)[k], ==, 0x5c);
        }
    }
    memset(&space, 0x5c, sizeof(space));
    space.stats.size_bytes = sizeof(space.stats);
    errno = 4711;
    CHECK(allot_stats(&space.stats));
    CHECK_INT(errno, ==, 4711);
    CHECK_UINT(space.stats.size_bytes, ==, sizeof(space.stats));
    for (size_t k = 0; k < sizeof(space.guard); k++) {
        CHECK_UINT((unsigned char)space.guard[k], ==, 0x5c);
    }
}

static size_t random_size(struct check_random *random) {
    return check_random_below(random, (size_t)1 << check_random_below(random, 20));
}

static void live_is_exact_at_rest(void) {
    struct check_random random = {check_seed()};
    struct allot_stats before = read_stats();
    check_invariants(&before);
    uint64_t bytes = 0;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        size_t size = i % 50 ? random_size(&random) / 64 : random_size(&random);
        blocks[i] = i % 11 ? allot_malloc(size) : allot_aligned(256, size);
        CHECK_PTR(blocks[i], !=, NULL);
        bytes += allot_usable_size(blocks[i]);
    }
    struct allot_stats during = read_stats();
    check_invariants(&during);
    CHECK_UINT(during.live_blocks - before.live_blocks, ==, BLOCK_COUNT);
    CHECK_UINT(during.live_bytes - before.live_bytes, ==, bytes);
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        bytes -= allot_usable_size(blocks[i]);
        blocks[i] = allot_realloc(blocks[i], 1 + random_size(&random) / 32);
        bytes += allot_usable_size(blocks[i]);
    }
    during = read_stats();
    CHECK_UINT(during.live_blocks - before.live_blocks, ==, BLOCK_COUNT);
    CHECK_UINT(during.live_bytes - before.live_bytes, ==, bytes);
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        bytes -= allot_usable_size(blocks[i]);
        allot_free(blocks[i]);
        if (i % 4000 == 17) {
            struct allot_stats now = read_stats();
            check_invariants(&now);
            CHECK_UINT(now.live_blocks - before.live_blocks, ==, BLOCK_COUNT - 1 - i);
            CHECK_UINT(now.live_bytes - before.live_bytes, ==, bytes);
        }
    }
    struct allot_stats after = read_stats();
    check_invariants(&after);
    CHECK_UINT(after.live_blocks, ==, before.live_blocks);
    CHECK_UINT(after.live_bytes, ==, before.live_bytes);
}

static void one_block_more_is_one_block_more_at_every_size(void) {
    for (size_t size = 0; size < (size_t)40 << 20; size = size < 200 ? size + 1 : size * 3 / 2) {
        struct allot_stats before = read_stats();
        void *block = allot_malloc(size);
        struct allot_stats during = read_stats();
        size_t usable = allot_usable_size(block);
        allot_free(block);
        struct allot_stats after = read_stats();
        CHECK_UINT(during.live_blocks, ==, before.live_blocks + 1);
        CHECK_UINT(during.live_bytes, ==, before.live_bytes + usable);
        CHECK_UINT(after.live_blocks, ==, before.live_blocks);
        CHECK_UINT(after.live_bytes, ==, before.live_bytes);
    }
}

static void *free_all_blocks(void *unused) {
    (void)unused;
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        allot_free(blocks[i]);
    }
    return NULL;
}

static void *take_all_blocks(void *size) {
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        blocks[i] = allot_malloc(*(size_t *)size);
    }
    return NULL;
}

static void run_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, function, argument), ==, 0);
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
}

static void *do_nothing(void *unused) {
    return unused;
}

static void live_is_exact_across_threads_that_have_ended(void) {
    // The C library keeps the stacks and the records of threads: let it do so before.
    run_thread(do_nothing, NULL);
    for (size_t size = 16; size < 3000; size = size * 2 + 16) {
        struct allot_stats before = read_stats();
        run_thread(take_all_blocks, &size);
        struct allot_stats during = read_stats();
        CHECK_UINT(during.live_blocks - before.live_blocks, ==, BLOCK_COUNT);
        CHECK_UINT(during.live_bytes - before.live_bytes, ==,
                   BLOCK_COUNT * allot_usable_size(blocks[0]));
        run_thread(free_all_blocks, NULL);
        struct allot_stats after = read_stats();
        CHECK_UINT(after.live_blocks, ==, before.live_blocks);
        CHECK_UINT(after.live_bytes, ==, before.live_bytes);
        check_invariants(&after);
    }
}

// Of sizes so small that a thread leases slabs for itself.
static void frees_of_anothers_blocks_are_counted(void) {
    for (size_t size = 16; size < 500; size = size * 2 + 16) {
        uint64_t before = read_stats().remote_free_blocks;
        run_thread(take_all_blocks, &size);
        free_all_blocks(NULL);
        allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
        uint64_t counted = read_stats().remote_free_blocks - before;
        CHECK_UINT(counted, >=, BLOCK_COUNT / 2);
        CHECK_UINT(counted, <=, BLOCK_COUNT + 1000);
    }
}

static pthread_barrier_t barrier;

static void *hold_a_cache(void *unused) {
    (void)unused;
    allot_free(allot_malloc(100));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void thread_count_counts_threads_with_a_cache(void) {
    enum { THREADS = 5 };
    allot_free(allot_malloc(10));
    uint32_t before = read_stats().thread_count;
    CHECK_UINT(before, >=, 1);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, hold_a_cache, NULL), ==, 0);
    }
    pthread_barrier_wait(&barrier);
    CHECK_UINT(read_stats().thread_count, ==, before + THREADS);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_UINT(read_stats().thread_count, ==, before);
    pthread_barrier_destroy(&barrier);
}

static void totals_never_fall_and_count(void) {
    struct allot_stats last = read_stats();
    struct allot_stats first = last;
    size_t size = 100;
    for (size_t round = 0; round < 20; round++) {
        take_all_blocks(&size);
        free_all_blocks(NULL);
        allot_free(allot_malloc(3 << 20));
        allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
        struct allot_stats now = read_stats();
        check_invariants(&now);
        CHECK_UINT(now.malloc_calls, >=, last.malloc_calls);
        CHECK_UINT(now.free_calls, >=, last.free_calls);
        CHECK_UINT(now.remote_free_blocks, >=, last.remote_free_blocks);
        CHECK_UINT(now.refill_calls, >, last.refill_calls);
        CHECK_UINT(now.flush_calls, >, last.flush_calls);
        CHECK_UINT(now.purge_calls, >=, last.purge_calls);
        CHECK_UINT(now.purge_bytes, >=, last.purge_bytes);
        CHECK_UINT(now.map_calls, >=, last.map_calls);
        CHECK_UINT(now.large_calls, >=, last.large_calls);
        CHECK_UINT(now.lock_waits, >=, last.lock_waits);
        CHECK_UINT(now.lock_sleeps, >=, last.lock_sleeps);
        CHECK_UINT(now.committed_peak, >=, last.committed_peak);
        last = now;
    }
    CHECK_UINT(last.purge_calls, >, first.purge_calls);
    CHECK_UINT(last.purge_bytes, >, first.purge_bytes);
    CHECK_UINT(last.large_calls, >=, first.large_calls + 20);
    CHECK_UINT(last.map_calls, >, 0);
}

static void resident_is_what_the_kernel_says(void) {
    struct allot_stats stats = read_stats();
    uint64_t kernel = memory_read_kib("/proc/self/status", "\nVmRSS:");
    CHECK_UINT(kernel, >, 0);
    CHECK_UINT(stats.resident_bytes, <=, kernel + 4 * MIB);
    CHECK_UINT(kernel, <=, stats.resident_bytes + 4 * MIB);
}

static int64_t accounted(const struct allot_stats *stats) {
    return (int64_t)(stats->live_bytes + stats->cached_bytes + stats->partial_bytes +
                     stats->dirty_bytes + stats->metadata_bytes);
}

// What the program touches must show in the parts as it shows in the kernel's figure.
static void parts_grow_and_fall_as_resident_memory_does(void) {
    if (CHECK_ASAN || CHECK_TSAN) {
        printf("resident memory of a sanitizer's shadow is not ours: not compared\n");
        return;
    }
    static void *held[64 * 1024];
    enum { COUNT = sizeof(held) / sizeof(held[0]) };
    struct allot_stats before = read_stats();
    uint64_t resident_before = memory_resident_bytes();
    for (size_t i = 0; i < COUNT; i++) {
        held[i] = allot_malloc(1024);
        memset(held[i], 1, 1024);
    }
    struct allot_stats during = read_stats();
    uint64_t resident_during = memory_resident_bytes();
    int64_t parts = accounted(&during) - accounted(&before);
    int64_t kernel = (int64_t)(resident_during - resident_before);
    CHECK_INT(kernel, >=, 60 * (int64_t)MIB);
    CHECK_INT(parts, <=, kernel + 6 * (int64_t)MIB);
    CHECK_INT(parts, >=, kernel - 3 * (int64_t)MIB);
    // Every second block: the bytes become partial or cached, and stay resident.
    for (size_t i = 0; i < COUNT; i += 2) {
        allot_free(held[i]);
    }
    struct allot_stats holes = read_stats();
    CHECK_UINT(holes.partial_bytes + holes.cached_bytes, >=,
               before.partial_bytes + before.cached_bytes + 31 * MIB);
    CHECK_INT(accounted(&holes), >=, accounted(&during) - 2 * (int64_t)MIB);
    for (size_t i = 1; i < COUNT; i += 2) {
        allot_free(held[i]);
    }
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    struct allot_stats after = read_stats();
    uint64_t resident_after = memory_resident_bytes();
    CHECK_UINT(resident_after, <=, resident_before + 4 * MIB);
    CHECK_INT(accounted(&after), <=, accounted(&before) + 4 * (int64_t)MIB);
    CHECK_UINT(after.purged_bytes, >=, before.purged_bytes + 50 * MIB);
    check_invariants(&after);
}

static void metadata_is_small(void) {
    static void *held[64 * 1024];
    enum { COUNT = sizeof(held) / sizeof(held[0]) };
    uint64_t before = read_stats().metadata_bytes;
    for (size_t i = 0; i < COUNT; i++) {
        held[i] = allot_malloc(1024);
        memset(held[i], 1, 1024);
    }
    uint64_t grown = read_stats().metadata_bytes - before;
    for (size_t i = 0; i < COUNT; i++) {
        allot_free(held[i]);
    }
    CHECK_UINT(grown, <=, COUNT * 1024 / 50);
}

// ---- while others allocate ---------------------------------------------------

static bool is_stopped;

static void *churn(void *seed) {
    struct check_random random = {*(uint64_t *)seed};
    void *mine[500] = {0};
    while (!__atomic_load_n(&is_stopped, __ATOMIC_RELAXED)) {
        size_t i = check_random_below(&random, 500);
        allot_free(mine[i]);
        mine[i] = allot_malloc(random_size(&random) / 16);
    }
    for (size_t i = 0; i < 500; i++) {
        allot_free(mine[i]);
    }
    return NULL;
}

static void figures_stay_sane_while_threads_allocate(void) {
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    run_thread(do_nothing, NULL);
    struct allot_stats before = read_stats();
    for (size_t i = 0; i < THREADS; i++) {
        seeds[i] = check_mix(check_seed() + i);
        CHECK_INT(pthread_create(&threads[i], NULL, churn, &seeds[i]), ==, 0);
    }
    uint64_t last_flush = 0;
    for (size_t round = 0; round < 400; round++) {
        struct allot_stats now = read_stats();
        for (size_t i = 0; i < FIELD_COUNT; i++) {
            uint64_t value = *(const uint64_t *)((const char *)&now + fields[i].offset);
            if (value >= (uint64_t)1 << 47) {
                CHECK_FAIL("%s = %" PRIu64 " is absurd: negative?", fields[i].name, value);
            }
        }
        // At most what three threads can hold.
        CHECK_UINT(now.live_bytes, <=, before.live_bytes + (uint64_t)THREADS * 500 * 80000);
        CHECK_UINT(now.live_blocks, <=, before.live_blocks + 20000);
        CHECK_UINT(now.flush_calls, >=, last_flush);
        last_flush = now.flush_calls;
    }
    __atomic_store_n(&is_stopped, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    struct allot_stats after = read_stats();
    CHECK_UINT(after.live_blocks, ==, before.live_blocks);
    CHECK_UINT(after.live_bytes, ==, before.live_bytes);
    check_invariants(&after);
}

static const struct check_case cases[] = {
    CHECK_CASE(a_struct_of_no_known_size_is_refused),
    CHECK_CASE(resident_is_what_the_kernel_says),
    CHECK_CASE(parts_grow_and_fall_as_resident_memory_does),
    CHECK_CASE(live_is_exact_at_rest),
    CHECK_CASE(one_block_more_is_one_block_more_at_every_size),
    CHECK_CASE(live_is_exact_across_threads_that_have_ended),
    CHECK_CASE(frees_of_anothers_blocks_are_counted),
    CHECK_CASE(thread_count_counts_threads_with_a_cache),
    CHECK_CASE(totals_never_fall_and_count),
    CHECK_CASE(metadata_is_small),
    CHECK_CASE(figures_stay_sane_while_threads_allocate),
};

CHECK_MAIN(cases)
