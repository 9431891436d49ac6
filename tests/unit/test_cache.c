// test_cache.c - refill, flush, limits, budget, scavenge, and the end of a cache.
#include "cache/cache.h"

#include "page/pageheap.h"
#include "page/region.h"
#include "unit.h"

enum { BLOCKS_MAX = 4096 };

static _Atomic(unsigned) report_count;
static void *reported;
static enum slab_fault reported_fault;

static void note(void *block, enum slab_fault fault) {
    report_count++;
    reported = block;
    reported_fault = fault;
}

static struct cache *new_cache(uint16_t number) {
    struct cache *cache = region_take_meta(CACHE_RECORD_BYTES);
    if (cache != NULL) {
        cache_init(cache, number, 0);
    }
    return cache;
}

static struct cache *start_if_possible(void) {
    sizeclass_init();
    slab_init(note);
    if (!region_init(&(struct region_options){.reserve_bytes = GIB})) {
        return NULL;
    }
    pageheap_init(1);
    pageheap_set_policy(500, 16 * MIB);
    return new_cache(1);
}

static struct cache *start(void) {
    struct cache *cache = start_if_possible();
    assert_non_null(cache);
    return cache;
}

// malloc and free as the interface does them.
static void *take(struct cache *cache, unsigned kind) {
    bool is_zero = false;
    void *block = cache_pop(cache, kind);
    return block != NULL ? block : cache_refill(cache, kind, &is_zero);
}

static void give(struct cache *cache, unsigned kind, void *block) {
    if (!cache_push(cache, kind, block)) {
        cache_push_slow(cache, kind, block);
    }
}

static void take_many(struct cache *cache, unsigned kind, void **blocks, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = take(cache, kind);
        assert_non_null(blocks[i]);
    }
}

static void give_many(struct cache *cache, unsigned kind, void **blocks, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        give(cache, kind, blocks[i]);
    }
}

static struct cache_stats held(const struct cache *cache) {
    struct cache_stats stats = {0};
    cache_add_stats(cache, &stats);
    return stats;
}

static uint64_t taken_from_slabs(void) {
    struct slab_stats stats;
    slab_read_stats(&stats);
    return stats.taken_blocks;
}

static void every_stack_of_no_cache_is_empty_and_full(void) {
    int block;
    for (unsigned kind = 0; kind < SIZECLASS_END; kind++) {
        assert_null(cache_pop(&cache_none, kind));
        assert_false(cache_push(&cache_none, kind, &block));
    }
}

static void a_refill_hands_out_the_lowest_address_first(void) {
    struct cache *cache = start();
    unsigned kind = sizeclass_of(64);
    char *first = take(cache, kind);
    char *second = take(cache, kind);
    assert_ptr_equal(second, first + 64);
    UNIT_CHECK(held(cache).blocks + 2, ==, taken_from_slabs());
    cache_validate(cache);
}

static void the_block_freed_last_comes_first(void) {
    struct cache *cache = start();
    unsigned kind = sizeclass_of(100);
    void *blocks[6];
    take_many(cache, kind, blocks, 6);  // the class opens after a few
    give_many(cache, kind, blocks, 3);
    assert_true(cache_holds(cache, kind, blocks[0]));
    assert_ptr_equal(take(cache, kind), blocks[2]);
    assert_ptr_equal(take(cache, kind), blocks[1]);
    assert_false(cache_holds(cache, kind, blocks[1]));
    assert_true(cache_holds(cache, kind, blocks[0]));
}

static void the_first_few_blocks_of_a_class_are_not_kept(void) {
    struct cache *cache = start();
    unsigned kind = sizeclass_of(4096);
    void *blocks[2];
    take_many(cache, kind, blocks, 2);
    give_many(cache, kind, blocks, 2);
    assert_int_equal(held(cache).blocks, 0);
    assert_int_equal(cache->held_bytes, 0);
    take_many(cache, kind, blocks, 2);
    give_many(cache, kind, blocks, 2);
    assert_true(held(cache).blocks > 0);
}

static void refills_grow_with_use_up_to_half_of_the_slots(void) {
    struct cache *cache = start();
    unsigned kind = sizeclass_of(64);
    uint64_t last = 0, most = 0;
    for (int i = 0; i < 3000; i++) {
        assert_non_null(take(cache, kind));
        uint64_t refills = cache->refill_calls;
        most = refills != last && held(cache).blocks > most ? held(cache).blocks : most;
        last = refills;
        cache_validate(cache);
    }
    UNIT_CHECK(most + 1, ==, sizeclass_table[kind].slots_max / 2);
}

static size_t count_of(const struct cache *cache, unsigned kind) {
    return (size_t)(cache->top[kind] - cache->end[kind]) + CACHE_BIN(cache, kind).limit - 1;
}

static void a_refill_takes_16_kib_at_most(void) {
    struct cache *cache = start();
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_SPAN_FIRST; kind += 3) {
        for (int i = 0; i < 500; i++) {
            uint64_t refills = cache->refill_calls;
            assert_non_null(take(cache, kind));
            size_t left = refills != cache->refill_calls ? count_of(cache, kind) : 0;
            assert_true(left == 0 || (left + 1) * sizeclass_table[kind].size_bytes <= 16 * KIB);
        }
    }
}

static void a_stack_never_holds_more_than_its_slots(void) {
    struct cache *cache = start();
    static void *blocks[BLOCKS_MAX];
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_SPAN_FIRST; kind += 7) {
        take_many(cache, kind, blocks, 1000);
        for (unsigned i = 0; i < 1000; i++) {
            give(cache, kind, blocks[i]);
            UNIT_CHECK(count_of(cache, kind), <, sizeclass_table[kind].slots_max);
        }
        cache_validate(cache);
        slab_validate();
    }
    UNIT_CHECK(cache->flush_calls, >, 0);
}

static void a_flush_gives_back_the_older_half(void) {
    struct cache *cache = start();
    unsigned kind = sizeclass_of(128);
    void *blocks[256];
    take_many(cache, kind, blocks, 256);
    uint64_t before = cache->flush_calls;
    unsigned i = 0;
    while (cache->flush_calls == before) {
        assert_true(i < 256);
        give(cache, kind, blocks[i++]);
    }
    assert_true(cache_holds(cache, kind, blocks[i - 1]));
    assert_false(cache_holds(cache, kind, blocks[0]));
    assert_true(slab_is_free(kind, blocks[0]));
    cache_validate(cache);
}

static void the_budget_of_a_thread_bounds_what_it_holds(void) {
    struct cache *cache = start();
    static void *blocks[2000];
    cache_policy.thread_bytes = 64 * KIB;
    for (unsigned kind = SIZECLASS_FIRST + 8; kind < SIZECLASS_SPAN_FIRST - 20; kind += 4) {
        take_many(cache, kind, blocks, 2000);
        give_many(cache, kind, blocks, 2000);
        cache_validate(cache);
    }
    size_t least = 0;  // the first slots of each class are not refused
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_SPAN_FIRST; kind++) {
        least += (size_t)sizeclass_table[kind].slots_first * sizeclass_table[kind].size_bytes;
    }
    UNIT_CHECK(cache->held_bytes, <=, 64 * KIB + least);
}

static void classes_out_of_use_are_scavenged(void) {
    struct cache *cache = start();
    static void *blocks[500];
    unsigned idle = sizeclass_of(512), busy = sizeclass_of(64);
    take_many(cache, idle, blocks, 500);
    give_many(cache, idle, blocks, 500);
    UNIT_CHECK(CACHE_BIN(cache, idle).limit, >, 0);
    for (int i = 0; i < 200000 && CACHE_BIN(cache, idle).limit > 0; i++) {
        void *block[40];
        take_many(cache, busy, block, 40);
        for (int k = 0; k < 40; k++) {
            cache_push_slow(cache, busy, block[k]);
        }
    }
    UNIT_CHECK(CACHE_BIN(cache, idle).limit, ==, 0);
    UNIT_CHECK(CACHE_BIN(cache, busy).limit, >, 0);
    assert_null(cache_pop(cache, idle));
    cache_validate(cache);
}

static void an_empty_cache_holds_nothing_and_can_be_used_again(void) {
    struct cache *cache = start();
    void *blocks[100];
    for (int round = 0; round < 3; round++) {
        for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_END; kind += 5) {
            take_many(cache, kind, blocks, 50);
            give_many(cache, kind, blocks, 50);
        }
        cache_empty(cache);
        UNIT_CHECK(held(cache).blocks, ==, 0);
        UNIT_CHECK(cache->held_bytes, ==, 0);
        UNIT_CHECK(taken_from_slabs(), ==, 0);
        cache_validate(cache);
        slab_validate();
    }
    UNIT_CHECK(report_count, ==, 0);
}

static void a_purge_request_empties_at_the_next_slow_path(void) {
    struct cache *cache = start();
    void *blocks[20];
    unsigned kind = sizeclass_of(256);
    take_many(cache, kind, blocks, 20);
    give_many(cache, kind, blocks, 20);
    UNIT_CHECK(held(cache).blocks, >, 0);
    cache_policy.purge_request++;
    void *other = take(cache, sizeclass_of(2048));
    assert_non_null(other);
    UNIT_CHECK(CACHE_BIN(cache, kind).limit, ==, 0);
}

static void small_blocks_of_a_class_never_used_here_go_back_at_once(void) {
    struct cache *cache = start();
    struct cache *other = new_cache(2);
    void *blocks[2];
    unsigned kind = sizeclass_of(32);
    take_many(other, kind, blocks, 2);
    give_many(cache, kind, blocks, 2);
    UNIT_CHECK(held(cache).blocks, ==, 0);
    assert_true(slab_is_free(kind, blocks[0]) && slab_is_free(kind, blocks[1]));
}

static void a_block_freed_twice_is_reported_when_it_leaves(void) {
    struct cache *cache = start();
    void *blocks[3];
    unsigned kind = sizeclass_of(128);
    take_many(cache, kind, blocks, 3);
    give(cache, kind, blocks[0]);
    give(cache, kind, blocks[1]);
    give(cache, kind, blocks[0]);
    cache_empty(cache);
    UNIT_CHECK(report_count, ==, 1);
    assert_ptr_equal(reported, blocks[0]);
    UNIT_CHECK(reported_fault, ==, SLAB_DOUBLE_FREE);
}

static void a_pointer_into_a_span_is_reported(void) {
    struct cache *cache = start();
    unsigned kind = SIZECLASS_SPAN_FIRST;
    char *block = take(cache, kind);
    cache_give_uncached(kind, block + 64);
    UNIT_CHECK(report_count, ==, 1);
    assert_ptr_equal(reported, block + 64);
    UNIT_CHECK(reported_fault, ==, SLAB_BAD_POINTER);
}

static void threads_without_a_cache_are_served(void) {
    start();
    for (unsigned kind = SIZECLASS_FIRST; kind < SIZECLASS_END; kind++) {
        bool is_zero = false;
        void *block = cache_take_uncached(kind, &is_zero);
        assert_non_null(block);
        memset(block, 1, sizeclass_table[kind].size_bytes);
        cache_give_uncached(kind, block);
    }
    UNIT_CHECK(taken_from_slabs(), ==, 0);
    UNIT_CHECK(report_count, ==, 0);
}

static void blocks_of_a_lost_thread_are_salvaged(void) {
    struct cache *cache = start();
    void *blocks[30];
    unsigned kind = sizeclass_of(256);
    take_many(cache, kind, blocks, 30);
    give_many(cache, kind, blocks, 30);
    uint64_t in_cache = held(cache).blocks;
    UNIT_CHECK(taken_from_slabs(), ==, in_cache);
    slab_give(kind, (void *const *)&cache->hot[kind], 1, 0);  // the thread was about to flush it
    cache_salvage(cache);
    UNIT_CHECK(taken_from_slabs(), ==, 0);
    UNIT_CHECK(report_count, ==, 0);
    slab_validate();
}

// Stacks cannot grow: what they hold stays what it is.
static void blocks_stay_apart_when_there_is_no_memory_for_stacks(void) {
    struct cache *cache = start();
    static void *blocks[4000];
    unsigned kind = sizeclass_of(208);
    take_many(cache, kind, blocks, 10);
    while (region_take_meta(64) != NULL) {
    }
    for (unsigned i = 10; i < 4000; i++) {
        blocks[i] = take(cache, kind);
        assert_non_null(blocks[i]);
        cache_validate(cache);
    }
    for (unsigned i = 0; i < 4000; i++) {
        *(void **)blocks[i] = blocks[i];
    }
    for (unsigned i = 0; i < 4000; i++) {
        assert_ptr_equal(*(void **)blocks[i], blocks[i]);
        give(cache, kind, blocks[i]);
        cache_validate(cache);
    }
    cache_empty(cache);
    UNIT_CHECK(taken_from_slabs(), ==, 0);
    UNIT_CHECK(report_count, ==, 0);
}

static void random_use_survives_every_failure(void) {
    struct cache *cache = start_if_possible();
    if (cache == NULL) {
        return;
    }
    static void *blocks[600];
    struct check_random random = {42};  // the same calls in each run
    static unsigned kinds[600];
    for (int i = 0; i < 4000; i++) {
        unsigned at = (unsigned)check_random_below(&random, 600);
        if (blocks[at] != NULL) {
            assert_ptr_equal(*(void **)blocks[at], blocks[at]);
            give(cache, kinds[at], blocks[at]);
            blocks[at] = NULL;
        } else {
            unsigned step = (unsigned)check_random_below(&random, 12);
            kinds[at] = SIZECLASS_FIRST + step * (SIZECLASS_END - SIZECLASS_FIRST) / 12;
            blocks[at] = take(cache, kinds[at]);
            if (blocks[at] != NULL) {
                *(void **)blocks[at] = blocks[at];
            }
        }
        if (i % 256 == 0) {
            cache_validate(cache);
            slab_validate();
        }
    }
    for (int i = 0; i < 600; i++) {
        if (blocks[i] != NULL) {
            give(cache, kinds[i], blocks[i]);
        }
    }
    cache_empty(cache);
    cache_validate(cache);
    slab_validate();
    pageheap_validate();
    UNIT_CHECK(taken_from_slabs(), ==, 0);
    UNIT_CHECK(report_count, ==, 0);
    os_fake_fail(0, false);
    assert_non_null(take(cache, sizeclass_of(64)));
}

// Random blocks of five classes: after cache_settle the difference is what is held,
// whatever went through stacks, past them, or back on request.
static void what_was_taken_less_what_was_given_is_what_is_held(void) {
    enum { SLOTS = 600 };
    static struct {
        void *block;
        unsigned kind;
    } slots[SLOTS];
    static const size_t sizes[] = {8, 48, 700, 9000, 60000};
    struct check_random random = {check_seed()};
    struct cache *cache = start();
    uint64_t bytes = 0;
    struct cache_use last = {0, 0};
    for (int i = 0; i < 60000; i++) {
        unsigned at = (unsigned)check_random_below(&random, SLOTS);
        if (slots[at].block != NULL) {
            give(cache, slots[at].kind, slots[at].block);
            bytes -= sizeclass_table[slots[at].kind].size_bytes;
            slots[at].block = NULL;
        } else {
            slots[at].kind = sizeclass_of(sizes[check_random_below(&random, 5)]);
            slots[at].block = take(cache, slots[at].kind);
            assert_non_null(slots[at].block);
            bytes += sizeclass_table[slots[at].kind].size_bytes;
        }
        if (i % 7000 == 6999) {
            cache_empty(cache);
        }
        if (i % 100 == 0) {
            cache_settle(cache);
            assert_int_equal(cache->use.allocated_bytes - cache->use.freed_bytes, bytes);
            assert_true(cache->use.allocated_bytes >= last.allocated_bytes);
            assert_true(cache->use.freed_bytes >= last.freed_bytes);
            last = cache->use;
        }
    }
}

static const struct unit_case cases[] = {
    UNIT(every_stack_of_no_cache_is_empty_and_full),
    UNIT(a_refill_hands_out_the_lowest_address_first),
    UNIT(the_block_freed_last_comes_first),
    UNIT(the_first_few_blocks_of_a_class_are_not_kept),
    UNIT(refills_grow_with_use_up_to_half_of_the_slots),
    UNIT(a_refill_takes_16_kib_at_most),
    UNIT(a_stack_never_holds_more_than_its_slots),
    UNIT(a_flush_gives_back_the_older_half),
    UNIT(the_budget_of_a_thread_bounds_what_it_holds),
    UNIT(classes_out_of_use_are_scavenged),
    UNIT(an_empty_cache_holds_nothing_and_can_be_used_again),
    UNIT(a_purge_request_empties_at_the_next_slow_path),
    UNIT(small_blocks_of_a_class_never_used_here_go_back_at_once),
    UNIT(a_block_freed_twice_is_reported_when_it_leaves),
    UNIT(a_pointer_into_a_span_is_reported),
    UNIT(threads_without_a_cache_are_served),
    UNIT(what_was_taken_less_what_was_given_is_what_is_held),
    UNIT(blocks_of_a_lost_thread_are_salvaged),
    UNIT(blocks_stay_apart_when_there_is_no_memory_for_stacks),
    UNIT_WITH_FAILURES(random_use_survives_every_failure),
};
UNIT_MAIN(cases)
