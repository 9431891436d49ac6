// test_holes.c - free pages inside slabs: what goes back, what stays, when, under threads.
#include "slab/holes.h"

#include "page/pageheap.h"
#include "page/region.h"
#include "slab/sizeclass.h"
#include "slab/slab.h"
#include "unit.h"

#include <pthread.h>

enum { SIZE = 2048, SLABS = 4, BLOCKS_MAX = 512, THREADS = 4, PAGE = 4096 };

static void note(void *block, enum slab_fault fault) {
    (void)block, (void)fault;
    fail_msg("a fault was reported");
}

static unsigned start(void) {
    sizeclass_init();
    slab_init(note);
    assert_true(region_init(&(struct region_options){.reserve_bytes = GIB}));
    pageheap_init(1);
    pageheap_set_policy(500, SIZE_MAX);
    return sizeclass_of(SIZE);
}

// The blocks of SLABS slabs, each filled with its number, lowest address first.
static unsigned fill(unsigned kind, struct slab_lease *lease, char **blocks) {
    unsigned count = sizeclass_table[kind].block_count * SLABS;
    assert_true(count <= BLOCKS_MAX);
    for (unsigned i = 0; i < count; i++) {
        void *one[1];
        UNIT_CHECK(slab_take(kind, 0, lease, one + 1, 1), ==, 1);
        blocks[i] = one[0];
        memset(blocks[i], (int)(i + 1), SIZE);
    }
    return count;
}

// Gives all blocks but the first of each slab.
static void thin_out(unsigned kind, char **blocks, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (i % sizeclass_table[kind].block_count != 0) {
            slab_give(kind, (void *const *)&blocks[i], 1, 0);
        }
    }
}

// The same at once. Returns the class.
static unsigned start_thinned(char **blocks, unsigned *count) {
    unsigned kind = start();
    struct slab_lease lease = {0};
    *count = fill(kind, &lease, blocks);
    slab_leave(kind, &lease);
    thin_out(kind, blocks, *count);
    return kind;
}

static void check_kept(unsigned kind, char **blocks, unsigned count) {
    for (unsigned i = 0; i < count; i += sizeclass_table[kind].block_count) {
        for (unsigned at = 0; at < SIZE; at++) {
            UNIT_CHECK((unsigned char)blocks[i][at], ==, (unsigned char)(i + 1));
        }
    }
}

// Pages that lie beyond the first block of a slab.
static size_t hole_bytes(unsigned kind) {
    return sizeclass_table[kind].slab_bytes - (SIZE + PAGE - 1) / PAGE * PAGE;
}

static size_t not_resident(void) {
    struct holes_stats stats;
    holes_read_stats(&stats);
    return stats.bytes;
}

static void pages_between_blocks_in_use_go_back_on_request(void) {
    char *blocks[BLOCKS_MAX];
    unsigned count;
    unsigned kind = start_thinned(blocks, &count);
    UNIT_CHECK(holes_purge(SIZE_MAX, UINT64_MAX), ==, hole_bytes(kind) * SLABS);
    UNIT_CHECK(os_fake.purged_bytes, ==, hole_bytes(kind) * SLABS);
    UNIT_CHECK(not_resident(), ==, hole_bytes(kind) * SLABS);
    check_kept(kind, blocks, count);
    slab_validate();
}

static void a_target_ends_the_work(void) {
    char *blocks[BLOCKS_MAX];
    unsigned count;
    unsigned kind = start_thinned(blocks, &count);
    UNIT_CHECK(holes_purge(hole_bytes(kind), UINT64_MAX), ==, hole_bytes(kind) * 2);
    UNIT_CHECK(holes_purge(SIZE_MAX, 0), ==, 0);
    UNIT_CHECK(holes_purge(SIZE_MAX, UINT64_MAX), >=, hole_bytes(kind) * 2);
    UNIT_CHECK(not_resident(), ==, hole_bytes(kind) * SLABS);
}

static void a_slab_goes_back_whole_when_its_last_block_does(void) {
    char *blocks[BLOCKS_MAX];
    unsigned count;
    unsigned kind = start_thinned(blocks, &count);
    holes_purge(SIZE_MAX, UINT64_MAX);
    for (unsigned i = 0; i < count; i += sizeclass_table[kind].block_count) {
        slab_give(kind, (void *const *)&blocks[i], 1, 0);
    }
    struct slab_stats stats;
    slab_read_stats(&stats);
    UNIT_CHECK(stats.slab_count, ==, 0);
    UNIT_CHECK(not_resident(), ==, 0);
}

static void a_thin_slab_is_taken_from_last(void) {
    unsigned kind = start();
    struct slab_lease lease = {0};
    char *blocks[BLOCKS_MAX];
    unsigned per_slab = sizeclass_table[kind].block_count;
    unsigned count = fill(kind, &lease, blocks);
    slab_leave(kind, &lease);
    thin_out(kind, blocks, per_slab);
    holes_purge(SIZE_MAX, UINT64_MAX);
    thin_out(kind, blocks + per_slab, count - per_slab);
    void *taken[1];
    for (unsigned i = 0; i < (per_slab - 1) * SLABS; i++) {
        UNIT_CHECK(slab_take(kind, 0, &lease, taken + 1, 1), ==, 1);
        bool is_thin = (char *)taken[0] < blocks[per_slab] && (char *)taken[0] >= blocks[0];
        UNIT_CHECK(is_thin, ==, i >= (per_slab - 1) * (SLABS - 1));
    }
    UNIT_CHECK(not_resident(), ==, 0);
}

static void only_slabs_that_nobody_took_from_for_the_delay_are_old(void) {
    unsigned kind = start();
    struct slab_lease lease = {0};
    char *blocks[BLOCKS_MAX];
    holes_sweep();
    unsigned count = fill(kind, &lease, blocks);
    slab_leave(kind, &lease);
    thin_out(kind, blocks, count);
    for (int i = 0; i < 5; i++) {
        os_fake.now_ms += 90;
        holes_sweep();
    }
    UNIT_CHECK(os_fake.purged_bytes, ==, 0);
    os_fake.now_ms += 300;
    holes_sweep();
    os_fake.now_ms += 300;
    holes_sweep();
    UNIT_CHECK(os_fake.purged_bytes, ==, hole_bytes(kind) * SLABS);
    check_kept(kind, blocks, count);
}

static void ticks_reach_every_class(void) {
    char *blocks[BLOCKS_MAX];
    unsigned count;
    unsigned kind = start_thinned(blocks, &count);
    for (int i = 0; i < SIZECLASS_SLABS; i++) {
        os_fake.now_ms += 100;
        holes_tick(0);
    }
    UNIT_CHECK(os_fake.purged_bytes, ==, hole_bytes(kind) * SLABS);
}

static void a_refusal_of_the_system_loses_nothing(void) {
    char *blocks[BLOCKS_MAX];
    unsigned count;
    unsigned kind = start_thinned(blocks, &count);
    os_fake_fail(1, true);
    UNIT_CHECK(holes_purge(SIZE_MAX, UINT64_MAX), ==, 0);
    os_fake_fail(0, false);
    check_kept(kind, blocks, count);
    UNIT_CHECK(holes_purge(SIZE_MAX, UINT64_MAX), ==, hole_bytes(kind) * SLABS);
}

// ---- Threads

static unsigned shared_kind;
static _Atomic(bool) is_over;

static void *churn(void *number) {
    struct slab_lease lease = {.lessee = (uint16_t)(uintptr_t)number};
    struct check_random random = {(uintptr_t)number};
    void *blocks[64] = {NULL};
    for (int i = 0; i < 20000; i++) {
        unsigned at = check_random_below(&random, 64);
        unsigned char *block = blocks[at];
        if (block != NULL) {
            UNIT_CHECK(block[0], ==, (unsigned char)at);
            UNIT_CHECK(block[SIZE - 1], ==, (unsigned char)(uintptr_t)number);
            slab_give(shared_kind, &blocks[at], 1, lease.lessee);
        }
        UNIT_CHECK(slab_take(shared_kind, 0, &lease, &blocks[at] + 1, 1), ==, 1);
        block = blocks[at];
        block[0] = (unsigned char)at;
        block[SIZE - 1] = (unsigned char)(uintptr_t)number;
        if (check_random_below(&random, 32) == 0) {
            slab_leave(shared_kind, &lease);
        }
    }
    slab_give(shared_kind, blocks, 64, lease.lessee);
    slab_leave(shared_kind, &lease);
    return NULL;
}

static void *purge(void *unused) {
    while (!is_over) {
        holes_purge(SIZE_MAX, UINT64_MAX);
        not_resident();
    }
    return unused;
}

static void pages_go_back_while_threads_take_and_give(void) {
    shared_kind = start();
    os_fake.has_threads = true;
    pthread_t threads[THREADS], purger;
    assert_int_equal(pthread_create(&purger, NULL, purge, NULL), 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    is_over = true;
    pthread_join(purger, NULL);
    slab_validate();
    struct slab_stats stats;
    slab_read_stats(&stats);
    UNIT_CHECK(stats.taken_blocks, ==, 0);
    UNIT_CHECK(stats.slab_count, ==, 0);
}

static const struct unit_case cases[] = {
    UNIT(pages_between_blocks_in_use_go_back_on_request),
    UNIT(a_target_ends_the_work),
    UNIT(a_slab_goes_back_whole_when_its_last_block_does),
    UNIT(a_thin_slab_is_taken_from_last),
    UNIT(only_slabs_that_nobody_took_from_for_the_delay_are_old),
    UNIT(ticks_reach_every_class),
    UNIT(a_refusal_of_the_system_loses_nothing),
    UNIT(pages_go_back_while_threads_take_and_give),
};
UNIT_MAIN(cases)
