// short_threads.c - very many threads that live for a few allocations: memory stays flat,
// statistics return to where they were, and what they leave behind is used by those who follow.
#include "../support/memory.h"
#include "pattern.h"
#include "sizes.h"

#include <pthread.h>

#define TOGETHER 4
#define LEFT_BEHIND 8

static unsigned char *left[TOGETHER][LEFT_BEHIND];

/// Free what the last thread at this place left, leave as much to the next.
static void *live_shortly(void *place) {
    unsigned char **mine = (unsigned char **)place;
    for (size_t i = 0; i < LEFT_BEHIND; i++) {
        size_t size = 24 + i * i * 50;
        if (mine[i]) {
            CHECK_UINT(mine[i][0], ==, i);
            CHECK_UINT(mine[i][size - 1], ==, i);
            api_free(mine[i]);
        }
        mine[i] = (unsigned char *)api_malloc(size);
        CHECK_PTR(mine[i], !=, NULL);
        mine[i][0] = mine[i][size - 1] = (unsigned char)i;
        void *passing = api_malloc(size * 2);
        CHECK_PTR(passing, !=, NULL);
        memset(passing, 0xff, size);
        api_free(passing);
    }
    return NULL;
}

static void run_threads(size_t count) {
    for (size_t done = 0; done < count; done += TOGETHER) {
        pthread_t threads[TOGETHER];
        for (size_t i = 0; i < TOGETHER; i++) {
            CHECK_INT(pthread_create(&threads[i], NULL, live_shortly, left[i]), ==, 0);
        }
        for (size_t i = 0; i < TOGETHER; i++) {
            CHECK_INT(pthread_join(threads[i], NULL), ==, 0);
        }
    }
}

static struct allot_stats read_stats(void) {
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_stats(&stats));
    return stats;
}

static void memory_stays_flat_over_many_short_threads(void) {
    size_t count = check_is_long() ? 1000000 : CHECK_TSAN || CHECK_ASAN ? 4000 : 40000;
    run_threads(1000);  // the working state
    struct allot_stats before = read_stats();
    uint64_t resident_before = memory_resident_bytes();
    run_threads(count);
    struct allot_stats after = read_stats();
    uint64_t resident_after = memory_resident_bytes();
    printf("%zu threads: resident %" PRIu64 " -> %" PRIu64 " KiB\n", count, resident_before / 1024,
           resident_after / 1024);
    CHECK_UINT(after.live_blocks, ==, before.live_blocks);
    CHECK_UINT(after.live_bytes, ==, before.live_bytes);
    CHECK_UINT(after.thread_count, ==, before.thread_count);
    CHECK_UINT(after.metadata_bytes, <=, before.metadata_bytes + (256 << 10));
    CHECK_UINT(after.committed_bytes, <=, before.committed_bytes + (4 << 20));
    if (!CHECK_TSAN && !CHECK_ASAN) {
        CHECK_UINT(resident_after, <=, resident_before + (1 << 20));
    }
    for (size_t i = 0; i < TOGETHER * LEFT_BEHIND; i++) {
        api_free(left[i / LEFT_BEHIND][i % LEFT_BEHIND]);
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(memory_stays_flat_over_many_short_threads),
};

CHECK_MAIN(cases)
