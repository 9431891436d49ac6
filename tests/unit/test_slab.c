// test_slab.c - equal blocks: an oracle, faults of the caller, lists, leases, threads.
#include "slab/slab.h"

#include "page/pageheap.h"
#include "page/region.h"
#include "slab/sizeclass.h"
#include "unit.h"

#include <pthread.h>

enum { BLOCKS_MAX = 4096, TAKE_MAX = 64, REPORTS_MAX = 16, THREADS = 4 };

static struct {
    void *block;
    enum slab_fault fault;
} reports[REPORTS_MAX];
static _Atomic(unsigned) report_count;

static void note(void *block, enum slab_fault fault) {
    unsigned at = report_count++;
    reports[at % REPORTS_MAX].block = block;
    reports[at % REPORTS_MAX].fault = fault;
}

static bool start_if_possible(unsigned shards) {
    sizeclass_init();
    slab_init(note);
    if (!region_init(&(struct region_options){.reserve_bytes = GIB})) {
        return false;
    }
    pageheap_init(shards);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    return true;
}

static unsigned start(size_t size_bytes) {
    assert_true(start_if_possible(1));
    return sizeclass_of(size_bytes);
}

static size_t used(void) {
    struct pageheap_stats stats;
    pageheap_read_stats(&stats);
    return stats.used_bytes;
}

static struct slab_stats slabs(void) {
    struct slab_stats stats;
    slab_read_stats(&stats);
    return stats;
}

// Exactly `count` blocks, lowest address last in the array.
static void take(unsigned kind, struct slab_lease *lease, void **blocks, unsigned count) {
    for (unsigned got = 0; got < count;) {
        unsigned more = slab_take(kind, 0, lease, blocks + count - got, count - got);
        assert_true(more > 0 && more <= count - got);
        got += more;
    }
}

static void give_one(unsigned kind, void *block) {
    slab_give(kind, &block, 1, 0);
}

static void check_report(unsigned number, void *block, enum slab_fault fault) {
    UNIT_CHECK(report_count, ==, number);
    assert_ptr_equal(reports[number - 1].block, block);
    UNIT_CHECK(reports[number - 1].fault, ==, fault);
}

static void blocks_come_in_order_from_the_start_of_an_aligned_slab(void) {
    unsigned kind = start(48);
    struct slab_lease lease = {0};
    void *blocks[10];
    UNIT_CHECK(slab_take(kind, 0, &lease, blocks + 10, 10), ==, 10);
    UNIT_CHECK((uintptr_t)blocks[9] % sizeclass_table[kind].slab_bytes, ==, 0);
    for (unsigned i = 0; i < 10; i++) {
        assert_ptr_equal(blocks[9 - i], (char *)blocks[9] + i * 48);
        assert_false(slab_is_free(kind, blocks[i]));
    }
    assert_true(slab_is_free(kind, (char *)blocks[9] + 480));
    UNIT_CHECK(slabs().taken_blocks, ==, 10);
    slab_validate();
}

static void every_class_gives_every_block_once_and_ends_without_memory(void) {
    start(8);
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_SPAN_FIRST; kind++) {
        const struct sizeclass *class = &sizeclass_table[kind];
        static void *blocks[BLOCKS_MAX];
        struct slab_lease lease = {0};
        unsigned count = class->block_count;
        take(kind, &lease, blocks, count);
        UNIT_CHECK(slabs().taken_blocks, ==, count);
        UNIT_CHECK(used(), ==, class->slab_bytes);
        for (unsigned i = 0; i < count; i++) {
            *(uint64_t *)blocks[i] = kind;
        }
        UNIT_CHECK(slab_give(kind, blocks, count, 0), ==, 0);
        slab_leave(kind, &lease);
        UNIT_CHECK(used(), ==, 0);
        slab_validate();
    }
    UNIT_CHECK(report_count, ==, 0);
}

static void last_free_block_returns_the_span(void) {
    unsigned kind = start(1024);
    struct slab_lease lease = {0};
    void *blocks[16];
    UNIT_CHECK(sizeclass_table[kind].block_count, ==, 16);
    take(kind, &lease, blocks, 16);
    slab_leave(kind, &lease);
    UNIT_CHECK(slab_give(kind, blocks, 15, 0), ==, 0);
    UNIT_CHECK(used(), ==, sizeclass_table[kind].slab_bytes);
    give_one(kind, blocks[15]);
    UNIT_CHECK(used(), ==, 0);
    UNIT_CHECK(slabs().slab_count, ==, 0);
}

static void a_full_slab_is_listed_when_an_eighth_is_free(void) {
    unsigned kind = start(64);
    const struct sizeclass *class = &sizeclass_table[kind];
    static void *blocks[BLOCKS_MAX];
    struct slab_lease lease = {0};
    take(kind, &lease, blocks, class->block_count);
    struct span *span = region_span(lease.slab);
    slab_leave(kind, &lease);
    for (unsigned i = 0; i < class->listed_count; i++) {
        UNIT_CHECK(span->state & 255, ==, SPAN_FULL);
        assert_false(span->is_listed);
        slab_validate();
        give_one(kind, blocks[i]);
    }
    UNIT_CHECK(span->state & 255, ==, SPAN_PARTIAL);
    assert_true(span->is_listed);
    slab_validate();
}

static void a_partial_slab_is_used_before_a_new_one(void) {
    unsigned kind = start(64);
    const struct sizeclass *class = &sizeclass_table[kind];
    static void *blocks[BLOCKS_MAX];
    struct slab_lease lease = {0}, other = {.lessee = 7};
    take(kind, &lease, blocks, class->block_count);
    uint32_t slab = lease.slab;
    slab_leave(kind, &lease);
    slab_give(kind, blocks, class->block_count / 2, 0);
    void *again[TAKE_MAX];
    UNIT_CHECK(slab_take(kind, 0, &other, again + 4, 4), ==, 4);
    UNIT_CHECK(other.slab, ==, slab);
    UNIT_CHECK(region_span(slab)->state & 255, ==, SPAN_LEASED);
    UNIT_CHECK(region_span(slab)->lessee, ==, 7);
    assert_false(region_span(slab)->is_listed);
    UNIT_CHECK(used(), ==, class->slab_bytes);
}

static void the_fullest_of_the_first_partial_slabs_is_chosen(void) {
    unsigned kind = start(1024);
    void *blocks[3][16];
    uint32_t slabs_at[3];
    for (int i = 0; i < 3; i++) {
        struct slab_lease lease = {0};
        take(kind, &lease, blocks[i], 16);
        slabs_at[i] = lease.slab;
        slab_leave(kind, &lease);
    }
    slab_give(kind, blocks[0], 8, 0);
    slab_give(kind, blocks[1], 2, 0);  // the fullest
    slab_give(kind, blocks[2], 12, 0);
    struct slab_lease lease = {0};
    void *block[1];
    take(kind, &lease, block, 1);
    UNIT_CHECK(lease.slab, ==, slabs_at[1]);
    slab_validate();
}

static void a_double_free_is_reported_with_its_address(void) {
    unsigned kind = start(48);
    struct slab_lease lease = {0};
    void *blocks[100];
    take(kind, &lease, blocks, 100);
    give_one(kind, blocks[71]);
    UNIT_CHECK(report_count, ==, 0);
    give_one(kind, blocks[71]);
    check_report(1, blocks[71], SLAB_DOUBLE_FREE);
    slab_give(kind, blocks + 60, 20, 0);  // among nineteen that are not
    check_report(2, blocks[71], SLAB_DOUBLE_FREE);
    UNIT_CHECK(slabs().taken_blocks, ==, 80);
}

static void a_block_twice_in_one_batch_is_reported(void) {
    unsigned kind = start(48);
    struct slab_lease lease = {0};
    void *blocks[400], *batch[6];
    take(kind, &lease, blocks, 300);
    batch[0] = batch[1] = blocks[5];  // one after the other
    slab_give(kind, batch, 2, 0);
    check_report(1, blocks[5], SLAB_DOUBLE_FREE);
    batch[0] = batch[3] = blocks[10];  // with another word between them
    batch[1] = blocks[200];
    batch[2] = blocks[201];
    slab_give(kind, batch, 4, 0);
    check_report(2, blocks[10], SLAB_DOUBLE_FREE);
    UNIT_CHECK(slabs().taken_blocks, ==, 300 - 4);
}

static void a_pointer_inside_a_block_or_behind_the_last_is_reported(void) {
    start(8);
    unsigned number = 0;
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_SPAN_FIRST; kind++) {
        const struct sizeclass *class = &sizeclass_table[kind];
        struct slab_lease lease = {0};
        void *block[1];
        take(kind, &lease, block, 1);
        number = 0;
        report_count = 0;
        size_t step = class->size_bytes > 512 ? 61 : 1;
        for (size_t i = 1; i < class->size_bytes; i += step) {
            give_one(kind, (char *)block[0] + i);
            check_report(++number, (char *)block[0] + i, SLAB_BAD_POINTER);
            number = report_count = 0;
        }
        if (class->slab_bytes % class->size_bytes != 0) {  // the tail begins where a block would
            char *tail = (char *)block[0] + (size_t) class->block_count * class->size_bytes;
            give_one(kind, tail);
            check_report(1, tail, SLAB_BAD_POINTER);
        }
        assert_false(slab_is_free(kind, block[0]));
    }
}

static void every_address_of_a_slab_is_found_in_its_block(void) {
    start(8);
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_SPAN_FIRST; kind++) {
        const struct sizeclass *class = &sizeclass_table[kind];
        struct slab_lease lease = {0};
        void *block[1];
        take(kind, &lease, block, 1);
        for (uint32_t at = 0; at<class->slab_bytes; at += class->size_bytes> 512 ? 31 : 3) {
            struct slab_place place = slab_find(kind, (char *)block[0] + at);
            UNIT_CHECK(place.slab, ==, lease.slab);
            UNIT_CHECK(place.index, ==, at / class->size_bytes);
            UNIT_CHECK(place.offset_bytes, ==, at % class->size_bytes);
            UNIT_CHECK(place.is_block, ==, at / class->size_bytes < class->block_count);
        }
    }
}

static void the_common_lease_serves_everybody_from_one_slab(void) {
    unsigned kind = start(256);
    void *blocks[8];
    for (int i = 0; i < 8; i++) {
        UNIT_CHECK(slab_take_common(kind, 0, 0, blocks + i + 1, 1), ==, 1);
    }
    UNIT_CHECK(used(), ==, sizeclass_table[kind].slab_bytes);
    UNIT_CHECK(slab_give(kind, blocks, 8, 3), ==, 0);  // leased by nobody in particular
    UNIT_CHECK(slabs().taken_blocks, ==, 0);
    slab_validate();
}

static void small_blocks_of_the_common_lease_come_in_whole_cache_lines(void) {
    start(16);
    for (size_t size = 8; size < 64; size += 8) {
        unsigned kind = sizeclass_of(size);
        void *blocks[9];
        slab_take_common(kind, 0, 0, blocks + 1, 1);
        UNIT_CHECK(slab_take_common(kind, 0, 0, blocks + 5, 4), ==, 4);
        UNIT_CHECK(slab_take_common(kind, 0, 0, blocks + 9, 4), ==, 4);
        UNIT_CHECK((uintptr_t)blocks[4] % 64, ==, 0);
        UNIT_CHECK((uintptr_t)blocks[8] % 64, ==, 0);
        assert_true((uintptr_t)blocks[4] / 64 != (uintptr_t)blocks[0] / 64);
    }
}

static void blocks_that_another_thread_leased_are_counted(void) {
    unsigned kind = start(64);
    struct slab_lease lease = {.lessee = 4};
    void *blocks[20];
    take(kind, &lease, blocks, 20);
    UNIT_CHECK(slab_give(kind, blocks, 10, 4), ==, 0);
    UNIT_CHECK(slab_give(kind, blocks + 10, 10, 5), ==, 10);
}

static void a_new_slab_in_the_same_place_is_another_generation(void) {
    unsigned kind = start(1024);
    void *blocks[16];
    uint32_t place = 0, state = 0;
    for (int i = 0; i < 5; i++) {
        struct slab_lease lease = {0};
        take(kind, &lease, blocks, 16);
        assert_true(i == 0 || place == lease.slab);
        place = lease.slab;
        assert_int_not_equal(region_span(place)->state, state);
        state = region_span(place)->state;
        slab_leave(kind, &lease);
        slab_give(kind, blocks, 16, 0);
        UNIT_CHECK(slabs().slab_count, ==, 0);
    }
}

static void a_neighbour_shard_lends_its_partial_slabs(void) {
    assert_true(start_if_possible(2));
    unsigned kind = sizeclass_of(1024);
    struct slab_lease lease = {0}, other = {0};
    void *blocks[16], *again[2];
    take(kind, &lease, blocks, 16);
    uint32_t slab = lease.slab;
    slab_leave(kind, &lease);
    slab_give(kind, blocks, 8, 0);
    UNIT_CHECK(slab_take(kind, 1, &other, again + 2, 2), ==, 2);
    UNIT_CHECK(other.slab, ==, slab);
}

static bool every_lease_is_held(unsigned kind, uint32_t slab) {
    (void)kind;
    (void)slab;
    return true;
}

static bool leased_by_nobody(unsigned kind, uint32_t slab) {
    (void)kind;
    (void)slab;
    return false;
}

static void after_a_fork_leases_of_lost_threads_are_given_up(void) {
    unsigned kind = start(1024);
    struct slab_lease lost = {.lessee = 3}, other = {0};
    void *blocks[16], *again[1];
    take(kind, &lost, blocks, 10);
    slab_repair();
    slab_relist(leased_by_nobody);
    slab_validate();
    take(kind, &other, again, 1);
    UNIT_CHECK(other.slab, ==, lost.slab);
}

static void after_a_fork_partial_slabs_are_listed_again(void) {
    unsigned kind = start(1024);
    struct slab_lease lease = {0}, other = {0};
    void *blocks[16], *again[1];
    take(kind, &lease, blocks, 16);
    uint32_t slab = lease.slab;
    slab_leave(kind, &lease);
    slab_give(kind, blocks, 8, 0);
    pageheap_repair();
    slab_repair();
    slab_relist(every_lease_is_held);
    slab_validate();
    take(kind, &other, again, 1);
    UNIT_CHECK(other.slab, ==, slab);
}

// ---- An oracle: the set of blocks that are taken

static struct {
    struct check_random random;
    void *block[BLOCKS_MAX];
    unsigned count;
} oracle;

static uint64_t below(uint64_t bound) {
    return check_random_below(&oracle.random, bound);
}

// A taken block holds its own address: a second owner would have overwritten it.
static void oracle_add(unsigned kind, void *block) {
    assert_false(slab_is_free(kind, block));
    *(void **)block = block;
    oracle.block[oracle.count++] = block;
}

static void oracle_take(unsigned kind, struct slab_lease *lease) {
    void *got[TAKE_MAX];
    unsigned want = 1 + (unsigned)below(TAKE_MAX);
    if (oracle.count + want > BLOCKS_MAX) {
        return;
    }
    bool is_common = below(4) == 0;
    unsigned count = is_common ? slab_take_common(kind, 0, 0, got + TAKE_MAX, want)
                               : slab_take(kind, 0, lease, got + TAKE_MAX, want);
    UNIT_CHECK(count, <=, want);
    for (unsigned i = 0; i < count; i++) {
        oracle_add(kind, got[TAKE_MAX - 1 - i]);
    }
}

static void oracle_give(unsigned kind) {
    void *batch[TAKE_MAX];
    unsigned count = (unsigned)below(TAKE_MAX);
    count = count < oracle.count ? count : oracle.count;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (unsigned)below(oracle.count);
        batch[i] = oracle.block[at];
        assert_ptr_equal(*(void **)batch[i], batch[i]);
        oracle.block[at] = oracle.block[--oracle.count];
    }
    slab_give(kind, batch, count, 0);
}

static void oracle_run(unsigned kind, int steps) {
    struct slab_lease leases[3] = {{0}, {.lessee = 1}, {.lessee = 2}};
    for (int i = 0; i < steps; i++) {
        struct slab_lease *lease = &leases[below(3)];
        unsigned what = (unsigned)below(20);
        if (what < 10) {
            oracle_take(kind, lease);
        } else if (what < 19) {
            oracle_give(kind);
        } else {
            slab_leave(kind, lease);
        }
        if (i % 32 == 0) {
            UNIT_CHECK(slabs().taken_blocks, ==, oracle.count);
            slab_validate();
        }
    }
    while (oracle.count > 0) {
        oracle_give(kind);
    }
    for (int i = 0; i < 3; i++) {
        slab_leave(kind, &leases[i]);
    }
}

// What is left is the slab of the common lease.
static void check_end(unsigned kind) {
    slab_validate();
    pageheap_validate();
    UNIT_CHECK(slabs().taken_blocks, ==, 0);
    UNIT_CHECK(slabs().slab_count, <=, 1);
    UNIT_CHECK(used(), <=, sizeclass_table[kind].slab_bytes);
    UNIT_CHECK(report_count, ==, 0);
}

static void random_takes_and_gives_agree_with_a_set(void) {
    static const size_t sizes[] = {8, 16, 48, 112, 640, 1024, 5000, 32768};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (i == 0) {
            start(8);
            oracle.random.state = check_seed();
        }
        unsigned kind = sizeclass_of(sizes[i]);
        oracle_run(kind, 3000);
        slab_validate();
        UNIT_CHECK(slabs().taken_blocks, ==, 0);
        UNIT_CHECK(slabs().slab_count, <=, i + 1);
        UNIT_CHECK(report_count, ==, 0);
    }
}

static void takes_and_gives_survive_every_failure(void) {
    if (!start_if_possible(1)) {
        return;
    }
    oracle.random.state = 42;  // the same calls in each run
    oracle_run(sizeclass_of(32768), 150);
    oracle_run(sizeclass_of(8), 60);
    os_fake_fail(0, false);
    oracle_run(sizeclass_of(8), 60);
    slab_validate();
    pageheap_validate();
    UNIT_CHECK(slabs().taken_blocks, ==, 0);
    UNIT_CHECK(slabs().slab_count, <=, 2);
    UNIT_CHECK(report_count, ==, 0);
}

// ---- Threads hand blocks to each other

static struct stash {
    void *block[BLOCKS_MAX];
    unsigned count, kind;
} stashes[2];
static pthread_mutex_t stash_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned stash_max;

static unsigned stash_take(struct stash *stash, void **blocks, unsigned want) {
    pthread_mutex_lock(&stash_lock);
    unsigned count = want < stash->count ? want : stash->count;
    stash->count -= count;
    memcpy(blocks, stash->block + stash->count, count * sizeof *blocks);
    pthread_mutex_unlock(&stash_lock);
    return count;
}

static bool stash_put(struct stash *stash, void **blocks, unsigned count) {
    pthread_mutex_lock(&stash_lock);
    bool fits = stash->count + count <= stash_max;
    if (fits) {
        memcpy(stash->block + stash->count, blocks, count * sizeof *blocks);
        stash->count += count;
    }
    pthread_mutex_unlock(&stash_lock);
    return fits;
}

static void *shared_work(void *argument) {
    uint16_t number = (uint16_t)(uintptr_t)argument;
    struct check_random random = {check_seed() + number};
    struct slab_lease leases[2] = {{.lessee = number}, {.lessee = number}};
    for (int i = 0; i < 4000; i++) {
        struct stash *stash = &stashes[i / 4 % 2];
        struct slab_lease *lease = &leases[i / 4 % 2];
        unsigned kind = stash->kind;
        void *blocks[TAKE_MAX];
        unsigned want = 1 + (unsigned)check_random_below(&random, TAKE_MAX);
        unsigned count = i % 8 == 0 ? slab_take_common(kind, 0, number, blocks + want, want)
                                    : slab_take(kind, 0, lease, blocks + want, want);
        memmove(blocks, blocks + want - count, count * sizeof *blocks);
        for (unsigned b = 0; b < count; b++) {
            *(void **)blocks[b] = blocks[b];
        }
        if (!stash_put(stash, blocks, count)) {
            slab_give(kind, blocks, count, number);
        }
        count = stash_take(stash, blocks, want);
        for (unsigned b = 0; b < count; b++) {
            assert_ptr_equal(*(void **)blocks[b], blocks[b]);
        }
        slab_give(kind, blocks, count, number);
        if (check_random_below(&random, 16) == 0) {
            slab_leave(kind, lease);
        }
    }
    slab_leave(stashes[0].kind, &leases[0]);
    slab_leave(stashes[1].kind, &leases[1]);
    return NULL;
}

static void run_threads(size_t size_bytes, size_t other_bytes, unsigned max) {
    stashes[0].kind = start(size_bytes);
    stashes[1].kind = sizeclass_of(other_bytes);
    stash_max = max;
    os_fake.has_threads = true;
    check_seed();
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, shared_work, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 2; i++) {
        slab_give(stashes[i].kind, stashes[i].block, stashes[i].count, 0);
        check_end(stashes[i].kind);
    }
}

static void four_threads_share_slabs_of_many_words(void) {
    run_threads(16, 24, BLOCKS_MAX);
}

static void four_threads_share_slabs_of_few_blocks(void) {
    run_threads(4096, 8192, BLOCKS_MAX);
}

// A giver that is late finds another slab, of the other class, in its place.
static void four_threads_release_and_create_slabs_in_turn(void) {
    run_threads(1024, 2048, TAKE_MAX);
}

static const struct unit_case cases[] = {
    UNIT(blocks_come_in_order_from_the_start_of_an_aligned_slab),
    UNIT(every_class_gives_every_block_once_and_ends_without_memory),
    UNIT(last_free_block_returns_the_span),
    UNIT(a_full_slab_is_listed_when_an_eighth_is_free),
    UNIT(a_partial_slab_is_used_before_a_new_one),
    UNIT(the_fullest_of_the_first_partial_slabs_is_chosen),
    UNIT(a_double_free_is_reported_with_its_address),
    UNIT(a_block_twice_in_one_batch_is_reported),
    UNIT(a_pointer_inside_a_block_or_behind_the_last_is_reported),
    UNIT(every_address_of_a_slab_is_found_in_its_block),
    UNIT(the_common_lease_serves_everybody_from_one_slab),
    UNIT(small_blocks_of_the_common_lease_come_in_whole_cache_lines),
    UNIT(blocks_that_another_thread_leased_are_counted),
    UNIT(a_new_slab_in_the_same_place_is_another_generation),
    UNIT(a_neighbour_shard_lends_its_partial_slabs),
    UNIT(after_a_fork_leases_of_lost_threads_are_given_up),
    UNIT(after_a_fork_partial_slabs_are_listed_again),
    UNIT(random_takes_and_gives_agree_with_a_set),
    UNIT_WITH_FAILURES(takes_and_gives_survive_every_failure),
    UNIT(four_threads_share_slabs_of_many_words),
    UNIT(four_threads_share_slabs_of_few_blocks),
    UNIT(four_threads_release_and_create_slabs_in_turn),
};
UNIT_MAIN(cases)
