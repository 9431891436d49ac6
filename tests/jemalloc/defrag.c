// defrag.c - blocks that are moved by hint leave slabs empty, and the memory goes back.
#include "jemalloc.h"

#include "../support/check.h"
#include "../support/memory.h"

#include <allot.h>

enum { BLOCKS = 120000, KEPT = 5, PASSES = 40 };

static unsigned char *blocks[BLOCKS];

static size_t size_of(size_t i) {
    return 40 + i * 61 % 900;
}

// Every fifth block stays: no slab is empty, all are sparse.
static void make_holes(void) {
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = allot_malloc(size_of(i));
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)(i % 251), size_of(i));
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % KEPT != 0) {
            allot_free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
}

// Returns how many blocks were moved.
static size_t pass(void) {
    size_t moved = 0;
    for (size_t i = 0; i < BLOCKS; i += KEPT) {
        if (!je_get_defrag_hint(blocks[i])) {
            continue;
        }
        void *to = mallocx(size_of(i), MALLOCX_TCACHE_NONE);
        memcpy(to, blocks[i], size_of(i));
        dallocx(blocks[i], MALLOCX_TCACHE_NONE);
        blocks[i] = to;
        moved++;
    }
    return moved;
}

static void check_contents(void) {
    for (size_t i = 0; i < BLOCKS; i += KEPT) {
        for (size_t k = 0; k < size_of(i); k++) {
            CHECK_UINT(blocks[i][k], ==, i % 251);
        }
    }
}

static void report(const char *when, uint64_t resident) {
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    CHECK(allot_stats(&stats));
    printf("%s: resident %.1f MiB, live %.1f MiB, free in slabs %.1f MiB\n", when,
           (double)resident / 1048576, (double)stats.live_bytes / 1048576,
           (double)stats.partial_bytes / 1048576);
}

static void moving_by_hint_gives_a_fifth_of_the_memory_back_and_ends(void) {
    make_holes();
    uint64_t before = memory_resident_bytes();
    report("with holes", before);
    size_t moved = 0;
    size_t last = 1;
    int passes = 0;
    for (; passes < PASSES && last > 0; passes++) {
        last = pass();
        moved += last;
    }
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    uint64_t after = memory_resident_bytes();
    report("moved", after);
    printf("%zu of %d blocks moved in %d passes\n", moved, BLOCKS / KEPT, passes);
    check_contents();
    CHECK_UINT(last, ==, 0);
    CHECK_UINT(moved, <=, 2 * BLOCKS / KEPT);
    CHECK_UINT(after, <=, before - before / 5);
}

static void what_is_no_block_of_a_sparse_slab_is_not_worth_moving(void) {
    int local = 0;
    void *large = allot_malloc(1 << 20);
    void *span = allot_malloc(100000);
    void *alone = allot_malloc(24000);
    CHECK(!allot_defrag_hint(NULL));
    CHECK(!allot_defrag_hint(&local));
    CHECK(!allot_defrag_hint(large));
    CHECK(!allot_defrag_hint(span));
    CHECK(!allot_defrag_hint(alone));
    CHECK(!allot_defrag_hint((char *)alone + 8));
    allot_free(large);
    allot_free(span);
    allot_free(alone);
}

static const struct check_case cases[] = {
    CHECK_CASE(what_is_no_block_of_a_sparse_slab_is_not_worth_moving),
    CHECK_CASE(moving_by_hint_gives_a_fifth_of_the_memory_back_and_ends),
};

CHECK_MAIN(cases)
