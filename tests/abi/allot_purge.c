// allot_purge.c - allot_purge gives memory back: the bytes that it returns are those by which the
// kernel's figure falls, it stops at its target, and blocks in use are not touched.
#include "../support/api.h"
#include "../support/check.h"
#include "../support/memory.h"

#include <pthread.h>
#include <time.h>

#define MIB ((uint64_t)1 << 20)
#define SMALL_COUNT (128 * 1024)
#define SMALL_SIZE 512  // together 64 MiB

static void *blocks[SMALL_COUNT];

/// Nothing goes back by itself while a test measures what goes back on demand.
static void hold_dirty_memory(void) {
    CHECK(allot_set("purge_delay", "never"));
    CHECK(allot_set("dirty_limit", "1GiB"));
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
}

static void take_blocks(size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        blocks[i] = allot_malloc(size);
        CHECK_PTR(blocks[i], !=, NULL);
        memset(blocks[i], 1, size);
    }
}

static void give_blocks(size_t count) {
    for (size_t i = 0; i < count; i++) {
        allot_free(blocks[i]);
    }
}

/// Purge all and compare with what the kernel sees; at least `expected` bytes must have gone.
static void check_purge_all(const char *what, uint64_t expected) {
    uint64_t before = memory_resident_bytes();
    uint64_t returned = allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    uint64_t after = memory_resident_bytes();
    int64_t fallen = (int64_t)(before - after);
    printf("%s: returned %" PRIu64 " KiB, resident fell by %" PRId64 " KiB\n", what,
           returned / 1024, fallen / 1024);
    if (returned < expected || fallen < (int64_t)expected) {
        CHECK_FAIL("%s: expected %" PRIu64 " bytes, purge says %" PRIu64
                   ", resident fell by %" PRId64,
                   what, expected, returned, fallen);
    }
    // One page of slack for each part that was not resident, within a MiB in all.
    CHECK_INT((int64_t)returned, <=, fallen + (int64_t)MIB);
    CHECK_INT((int64_t)returned, >=, fallen - (int64_t)MIB);
}

static void small_blocks_go_back(void) {
    hold_dirty_memory();
    take_blocks(SMALL_COUNT, SMALL_SIZE);
    give_blocks(SMALL_COUNT);
    check_purge_all("64 MiB of small blocks", 62 * MIB);
    CHECK_UINT(allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE), <=, MIB / 4);
}

static void large_blocks_go_back(void) {
    hold_dirty_memory();
    take_blocks(16, (size_t)3 << 20);
    give_blocks(16);
    check_purge_all("48 MiB of large blocks", 46 * MIB);
}

static void blocks_in_use_stay(void) {
    hold_dirty_memory();
    take_blocks(SMALL_COUNT, SMALL_SIZE);
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        memset(blocks[i], (int)(i & 0xff), SMALL_SIZE);
    }
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        if (i % 4096 >= 1024) {
            allot_free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    check_purge_all("three quarters of 64 MiB", 40 * MIB);
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        unsigned char *bytes = (unsigned char *)blocks[i];
        for (size_t k = 0; bytes && k < SMALL_SIZE; k += 73) {
            CHECK_UINT(bytes[k], ==, i & 0xff);
        }
        allot_free(bytes);
    }
}

static void *take_and_give_in_a_thread(void *unused) {
    (void)unused;
    take_blocks(SMALL_COUNT, SMALL_SIZE);
    give_blocks(SMALL_COUNT);
    return NULL;
}

static void memory_of_ended_threads_goes_back(void) {
    hold_dirty_memory();
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, take_and_give_in_a_thread, NULL), ==, 0);
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
    check_purge_all("64 MiB of an ended thread", 62 * MIB);
}

static void purge_stops_at_its_target(void) {
    hold_dirty_memory();
    take_blocks(64, (size_t)1 << 20);
    // Free ranges of 1 MiB with a block in use between: no range is larger than that.
    for (size_t i = 0; i < 64; i += 2) {
        allot_free(blocks[i]);
    }
    uint64_t returned = allot_purge(4 * MIB, ALLOT_NO_DEADLINE);
    CHECK_UINT(returned, >=, 4 * MIB);
    CHECK_UINT(returned, <=, 16 * MIB);
    uint64_t rest = allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    CHECK_UINT(returned + rest, >=, 30 * MIB);
    CHECK_UINT(allot_purge(0, ALLOT_NO_DEADLINE), ==, 0);
    for (size_t i = 1; i < 64; i += 2) {
        allot_free(blocks[i]);
    }
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void purge_ends_at_its_deadline(void) {
    hold_dirty_memory();
    take_blocks(SMALL_COUNT, SMALL_SIZE);
    give_blocks(SMALL_COUNT);
    uint64_t start = clock_ns();
    uint64_t first = allot_purge(ALLOT_PURGE_ALL, 1);
    // One range may be under way; a second of it would be a hang on any machine.
    CHECK_UINT(clock_ns() - start, <, 1000000000u);
    uint64_t rest = allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    CHECK_UINT(first + rest, >=, 62 * MIB);
}

static void statistics_agree_with_purge(void) {
    hold_dirty_memory();
    take_blocks(SMALL_COUNT, SMALL_SIZE);
    give_blocks(SMALL_COUNT);
    struct allot_stats before = {.size_bytes = sizeof(before)};
    struct allot_stats after = {.size_bytes = sizeof(after)};
    CHECK(allot_stats(&before));
    uint64_t returned = allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    CHECK(allot_stats(&after));
    CHECK_UINT(after.purge_bytes - before.purge_bytes, ==, returned);
    CHECK_UINT(after.purge_calls, >, before.purge_calls);
    CHECK_UINT(after.dirty_bytes, <=, MIB);
    CHECK_UINT(after.cached_bytes, <=, before.cached_bytes);
    CHECK_UINT(after.purged_bytes, >=, before.purged_bytes + 60 * MIB);
}

static void purged_memory_is_used_again(void) {
    hold_dirty_memory();
    uint64_t reserved = 0;
    for (size_t round = 0; round < 6; round++) {
        take_blocks(SMALL_COUNT, SMALL_SIZE);
        give_blocks(SMALL_COUNT);
        allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
        struct allot_stats stats = {.size_bytes = sizeof(stats)};
        CHECK(allot_stats(&stats));
        uint64_t used = stats.live_bytes + stats.cached_bytes + stats.partial_bytes +
                        stats.dirty_bytes + stats.purged_bytes;
        CHECK(round == 0 || used <= reserved + 4 * MIB);
        reserved = used;
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(small_blocks_go_back),        CHECK_CASE(large_blocks_go_back),
    CHECK_CASE(blocks_in_use_stay),          CHECK_CASE(memory_of_ended_threads_goes_back),
    CHECK_CASE(purge_stops_at_its_target),   CHECK_CASE(purge_ends_at_its_deadline),
    CHECK_CASE(statistics_agree_with_purge), CHECK_CASE(purged_memory_is_used_again),
};

int main(int argc, char **argv) {
    if (CHECK_ASAN || CHECK_TSAN) {
        CHECK_SKIP("resident memory of a sanitizer's shadow is not ours");
    }
    return check_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
