// test_pageheap.c - spans: best fit, coalescing, purge, and an oracle that knows each granule.
#include "page/pageheap.h"

#include "base/bits.h"
#include "page/region.h"
#include "unit.h"

enum {
    SPANS_MAX = 200,
    QUICK = (9 << 20 >> GRANULE_LOG2) + 1
};  // QUICK: too large to be kept whole

static void start(unsigned shards) {
    assert_true(region_init(&(struct region_options){.reserve_bytes = GIB}));
    pageheap_init(shards);
    pageheap_set_policy(500, 16 * MIB);
}

// What the caller of pageheap_take has to do.
static uint32_t own(uint32_t first) {
    if (first != 0) {
        region_span(first)->state = SPAN_LARGE;
        region_state.kind[first] = KIND_LARGE;
    }
    return first;
}

static uint32_t take(uint32_t count, uint32_t align) {
    bool is_zero;
    return own(pageheap_take(0, count, align, PAGEHEAP_PLAIN, &is_zero));
}

static struct pageheap_stats stats(void) {
    struct pageheap_stats now;
    pageheap_read_stats(&now);
    return now;
}

// All memory that was ever handed out is in use, dirty or clean: nothing leaks.
static void check_sum(void) {
    struct pageheap_stats now = stats();
    size_t have = 0;
    for (uint32_t g = 0; g < region_top(); g += 16) {  // owners change at multiples of 16
        have += region_owner(g) != UINT32_MAX ? 16 * GRANULE_BYTES : 0;
    }
    UNIT_CHECK(now.used_bytes + now.dirty_bytes + now.clean_bytes, ==, have);
    pageheap_validate();
}

static void a_span_comes_as_asked_and_goes_back(void) {
    start(1);
    bool is_zero = false;
    uint32_t first = own(pageheap_take(0, 5, 1, PAGEHEAP_PLAIN, &is_zero));
    assert_true(first != 0 && is_zero);
    UNIT_CHECK(region_span(first)->granule_count, ==, 5);
    UNIT_CHECK(region_kind(first + 4), ==, KIND_INSIDE);
    UNIT_CHECK(stats().used_bytes, ==, 5 * GRANULE_BYTES);
    pageheap_give(first);
    UNIT_CHECK(stats().used_bytes, ==, 0);
    UNIT_CHECK(stats().dirty_bytes, ==, 5 * GRANULE_BYTES);
    UNIT_CHECK(take(5, 1), ==, first);  // what was used a moment ago comes first
    check_sum();
}

static void neighbours_grow_together(void) {
    start(1);
    uint32_t spans[3];
    for (int i = 0; i < 3; i++) {
        spans[i] = take(QUICK, 1);
    }
    uint32_t low = spans[0] < spans[2] ? spans[0] : spans[2];
    pageheap_give(spans[0]);
    pageheap_give(spans[2]);
    pageheap_give(spans[1]);
    pageheap_purge(SIZE_MAX, UINT64_MAX);
    check_sum();
    UNIT_CHECK(take(3 * QUICK, 1), ==, low);
    check_sum();
}

static void the_best_fit_is_chosen(void) {
    start(1);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);  // all stays dirty
    uint32_t large = take(QUICK + 80, 1), wall = take(1, 1);
    uint32_t fitting = take(QUICK + 8, 1), end = take(1, 1);
    assert_true(large && wall && fitting && end);
    pageheap_give(fitting);
    pageheap_give(large);
    UNIT_CHECK(take(QUICK + 8, 1), ==, fitting);
    UNIT_CHECK(take(QUICK + 70, 1), ==, large);
    check_sum();
}

static void alignment_is_kept_for_every_power(void) {
    start(1);
    for (uint32_t align = 1; align <= 1024; align *= 2) {
        for (uint32_t count = 1; count < 40; count += 13) {
            uint32_t first = take(count, align);
            assert_int_not_equal(first, 0);
            UNIT_CHECK((uintptr_t)region_address(first) % (align * GRANULE_BYTES), ==, 0);
        }
    }
    check_sum();
}

static void what_is_cut_off_can_be_taken_again(void) {
    start(1);
    uint32_t first = take(100, 1);
    pageheap_shrink(first, 30);
    UNIT_CHECK(region_span(first)->granule_count, ==, 30);
    UNIT_CHECK(region_kind(first + 30), ==, KIND_NONE);
    check_sum();
    bool is_zero = true;
    assert_true(pageheap_grow(first, 90, &is_zero));
    UNIT_CHECK(region_span(first)->granule_count, ==, 90);
    UNIT_CHECK(region_kind(first + 89), ==, KIND_INSIDE);
    UNIT_CHECK(stats().used_bytes, ==, 90 * GRANULE_BYTES);
    check_sum();
}

static void a_span_does_not_grow_into_its_neighbour(void) {
    start(1);
    uint32_t low = take(3, 1), high = take(3, 1);
    UNIT_CHECK(high, ==, low + 3);
    bool is_zero = true;
    assert_false(pageheap_grow(low, 4, &is_zero));
    assert_false(pageheap_grow(high, 1 << 20, &is_zero));
    UNIT_CHECK(region_span(low)->granule_count, ==, 3);
    UNIT_CHECK(stats().used_bytes, ==, 6 * GRANULE_BYTES);
    check_sum();
}

static void what_is_older_than_the_delay_is_purged_by_the_tick(void) {
    start(1);
    pageheap_set_policy(500, SIZE_MAX);  // age alone counts
    pageheap_give(take(QUICK, 1));       // too large to be kept whole
    os_fake.now_ms += 499;
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);
    os_fake.now_ms += 200;
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, 0);
    UNIT_CHECK(stats().purge_bytes, ==, QUICK * GRANULE_BYTES);
    UNIT_CHECK(os_fake.purged_bytes, ==, QUICK * GRANULE_BYTES);
    bool is_zero = false;
    own(pageheap_take(0, QUICK, 1, PAGEHEAP_PLAIN, &is_zero));
    assert_true(is_zero);
    check_sum();
}

// ---- Near the memory limit

static const char *const tight[] = {"/proc/self/cgroup",
                                    "0::/\n",
                                    "/proc/self/mountinfo",
                                    "30 23 0:26 / /c rw - cgroup2 cgroup2 rw\n",
                                    "/c/memory.max",
                                    "1000\n",
                                    "/c/memory.current",
                                    "950\n",
                                    NULL};

static void near_the_memory_limit_free_memory_waits_an_eighth_of_the_delay(void) {
    start(1);
    pageheap_set_policy(800, SIZE_MAX);
    os_fake.files = tight;
    os_fake.now_ms = 10000;
    pageheap_give(take(QUICK, 1));
    UNIT_CHECK(pageheap_delay_now_ms(), ==, 800);
    pageheap_tick();
    UNIT_CHECK(pageheap_delay_now_ms(), ==, 100);
    UNIT_CHECK(pageheap_purge_delay_ms(), ==, 800);
    os_fake.now_ms += 99;
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);
    os_fake.now_ms += 1;
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, 0);
    pageheap_tick();  // there is nothing to give back
    UNIT_CHECK(pageheap_delay_now_ms(), ==, 800);
    check_sum();
}

static void near_the_memory_limit_use_allows_no_more_than_the_dirty_limit(void) {
    start(1);
    uint32_t spans[20];
    pageheap_set_policy(PAGEHEAP_NEVER - 1, 4 * MIB);
    for (int i = 0; i < 20; i++) {
        spans[i] = take(QUICK, 1);
    }
    pageheap_give(spans[0]);
    UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);  // less than an eighth
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);
    os_fake.files = tight;
    os_fake.now_ms += 30000;  // where there was no limit, the next look is late
    pageheap_tick();
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, <=, 4 * MIB);
    check_sum();
}

static void who_never_purges_by_age_does_not_ask_for_the_limit(void) {
    start(1);
    os_fake.files = tight;
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    pageheap_give(take(QUICK, 1));
    os_fake.now_ms += 10000;
    pageheap_tick();
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);
}

static void quick_spans_are_purged_when_they_are_old(void) {
    start(1);
    pageheap_give(take(5, 1));
    for (int i = 0; i < 4; i++) {
        os_fake.now_ms += 600;
        pageheap_tick();
    }
    UNIT_CHECK(stats().dirty_bytes, ==, 0);
    check_sum();
}

static void never_means_that_age_alone_purges_nothing(void) {
    start(1);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    pageheap_give(take(QUICK, 1));
    os_fake.now_ms += 1000000;
    pageheap_tick();
    UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);
    UNIT_CHECK(os_fake.calls[OS_FAKE_PURGE], ==, 0);
}

static void more_than_the_limit_goes_back_at_once(void) {
    start(1);
    uint32_t spans[4];
    for (int i = 0; i < 4; i++) {
        spans[i] = take(QUICK, 1);
    }
    for (int i = 0; i < 4; i++) {
        pageheap_give(spans[i]);
    }
    UNIT_CHECK(stats().dirty_bytes, <=, 16 * MIB);
    UNIT_CHECK(stats().purge_bytes, >=, 20 * MIB);
    check_sum();
}

static void a_purge_stops_at_its_target_and_says_how_much_went_back(void) {
    start(1);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    uint32_t spans[40];
    for (int i = 0; i < 40; i++) {
        spans[i] = take(QUICK, 1);
        take(1, 1);  // a wall
    }
    for (int i = 0; i < 40; i++) {
        pageheap_give(spans[i]);
    }
    size_t purged = pageheap_purge(QUICK * GRANULE_BYTES, UINT64_MAX);
    UNIT_CHECK(purged, >=, QUICK * GRANULE_BYTES);
    UNIT_CHECK(purged, <, 40 * QUICK * GRANULE_BYTES);
    UNIT_CHECK(purged, ==, os_fake.purged_bytes);
    UNIT_CHECK(pageheap_purge(SIZE_MAX, UINT64_MAX) + purged, ==, 40 * QUICK * GRANULE_BYTES);
    UNIT_CHECK(stats().dirty_bytes, ==, 0);
    check_sum();
}

static void a_full_heap_says_so_and_stays_as_it_was(void) {
    start(1);
    uint32_t most = GIB >> GRANULE_LOG2;
    struct pageheap_stats before = stats();
    UNIT_CHECK(take(most, 1), ==, 0);
    UNIT_CHECK(take(UINT32_MAX - 20, 1), ==, 0);
    UNIT_CHECK(stats().used_bytes, ==, before.used_bytes);
    UNIT_CHECK(stats().take_calls, ==, before.take_calls);
    uint32_t rest = take(most - 64, 1);
    assert_int_not_equal(rest, 0);
    UNIT_CHECK(take(256, 1), ==, 0);
    pageheap_give(rest);
    assert_int_not_equal(take(most - 64, 1), 0);
    check_sum();
}

static void after_a_fork_the_free_spans_are_found_again(void) {
    start(2);
    uint32_t kept = take(7, 1);
    uint32_t quick = take(5, 1), large = take(QUICK, 1);
    pageheap_give(quick);
    pageheap_give(large);
    pageheap_repair();
    UNIT_CHECK(stats().used_bytes, ==, 7 * GRANULE_BYTES);
    check_sum();
    pageheap_give(kept);
    UNIT_CHECK(stats().used_bytes, ==, 0);
    pageheap_purge(SIZE_MAX, UINT64_MAX);
    check_sum();
}

// ---- The oracle: who has each granule, and what stands in it

struct oracle {
    struct check_random random;
    uint32_t first[SPANS_MAX], count[SPANS_MAX];
    unsigned span_count;
    size_t used;
    uint8_t taken[64 * GIB >> GRANULE_LOG2];  // the widest window
};
static struct oracle oracle;

static uint64_t below(uint64_t bound) {
    return check_random_below(&oracle.random, bound);
}

static uint64_t *word_of(uint32_t granule) {
    return (uint64_t *)(void *)region_address(granule);
}

// Marks granules as taken, and writes into each of them.
static void oracle_fill(uint32_t from, uint32_t count, bool is_zero) {
    for (uint32_t g = from; g < from + count; g++) {
        UNIT_CHECK(oracle.taken[g], ==, 0);
        assert_true(!is_zero || *word_of(g) == 0);
        assert_int_not_equal(region_kind(g), KIND_NONE);
        oracle.taken[g] = 1;
        *word_of(g) = g + 1;
    }
    oracle.used += count;
}

// What was written is still there.
static void oracle_clear(uint32_t from, uint32_t count) {
    for (uint32_t g = from; g < from + count; g++) {
        UNIT_CHECK(oracle.taken[g], ==, 1);
        UNIT_CHECK(*word_of(g), ==, g + 1);
        oracle.taken[g] = 0;
    }
    oracle.used -= count;
}

static void oracle_take(void) {
    if (oracle.span_count == SPANS_MAX) {
        return;
    }
    uint32_t count = 1 + (uint32_t)below((uint64_t)1 << below(7));
    uint32_t align = below(4) == 0 ? 1u << below(6) : 1;
    unsigned shard = (unsigned)below(pageheap_shard_count());
    bool is_zero = false;
    bool clean = align == 1 && below(8) == 0;
    uint32_t first = own(clean ? pageheap_take(shard, count, 1, PAGEHEAP_SPARSE, &is_zero)
                               : pageheap_take(shard, count, align, PAGEHEAP_PLAIN, &is_zero));
    if (first == 0) {
        return;
    }
    UNIT_CHECK((uintptr_t)region_address(first) % (align * GRANULE_BYTES), ==, 0);
    UNIT_CHECK(region_span(first)->granule_count, ==, count);
    oracle_fill(first, count, is_zero);
    oracle.first[oracle.span_count] = first;
    oracle.count[oracle.span_count++] = count;
}

static void oracle_give(unsigned i) {
    oracle_clear(oracle.first[i], oracle.count[i]);
    pageheap_give(oracle.first[i]);
    oracle.span_count--;
    oracle.first[i] = oracle.first[oracle.span_count];
    oracle.count[i] = oracle.count[oracle.span_count];
}

static void oracle_resize(unsigned i) {
    uint32_t old = oracle.count[i];
    uint32_t count = 1 + (uint32_t)below(2 * old + 2);
    uint32_t first = oracle.first[i];
    bool is_zero = false;
    if (count < old) {
        oracle_clear(first + count, old - count);
        pageheap_shrink(first, count);
        oracle.count[i] = count;
    } else if (count > old && pageheap_grow(first, count, &is_zero)) {
        oracle_fill(first + old, count - old, is_zero);
        oracle.count[i] = count;
    }
}

static void oracle_step(void) {
    unsigned what = (unsigned)below(100);
    os_fake.now_ms += below(30) == 0 ? below(300) : 0;
    if (what < 42) {
        oracle_take();
    } else if (what < 97 && oracle.span_count > 0) {
        unsigned i = (unsigned)below(oracle.span_count);
        if (what < 80) {
            oracle_give(i);
        } else {
            oracle_resize(i);
        }
    } else if (what == 97) {
        pageheap_purge(below(32 * MIB), UINT64_MAX);
    } else {
        pageheap_tick();
    }
}

static void oracle_run(unsigned shards, int steps) {
    start(shards);
    oracle.random.state = check_seed();
    for (int i = 0; i < steps; i++) {
        oracle_step();
        if (i % 256 == 0) {
            UNIT_CHECK(stats().used_bytes, ==, oracle.used * GRANULE_BYTES);
            check_sum();
        }
    }
    while (oracle.span_count > 0) {
        oracle_give(0);
    }
    UNIT_CHECK(stats().used_bytes, ==, 0);
    check_sum();
}

static void random_operations_agree_with_an_array_of_granules(void) {
    oracle_run(1, 100000);
}

static void random_operations_on_three_shards_agree_with_an_array_of_granules(void) {
    oracle_run(3, 100000);
}

// In a region that may not come into being at all.
static void random_operations_survive_every_failure(void) {
    struct region_options options = {.reserve_bytes = GIB};
    if (!region_init(&options)) {
        return;
    }
    pageheap_init(2);
    pageheap_set_policy(500, 2 * MIB);
    oracle.random.state = 42;  // the same calls in each run
    for (int i = 0; i < 600; i++) {
        oracle_step();
        if (i % 64 == 0) {
            check_sum();
        }
    }
    os_fake_fail(0, false);
    assert_int_not_equal(take(QUICK, 1), 0);  // everything works again
    while (oracle.span_count > 0) {
        oracle_give(0);
    }
    UNIT_CHECK(stats().used_bytes, ==, QUICK * GRANULE_BYTES);
    check_sum();
}

static void free_memory_of_other_shards_is_the_last_resort(void) {
    start(2);
    enum { COUNT = (32 << 20) >> GRANULE_LOG2 };
    bool is_zero;
    uint32_t spans[64], length = 0;
    while (length < 64 && (spans[length] = take(COUNT, 1)) != 0) {
        length++;
    }
    UNIT_CHECK(length, >, 20);
    while (length > 0) {
        pageheap_give(spans[--length]);
    }
    uint32_t first = own(pageheap_take(1, 10 * COUNT, 1, PAGEHEAP_PLAIN, &is_zero));
    assert_int_not_equal(first, 0);
    check_sum();
}

// Milliseconds are counted in 32 bits and wrap after 49 days.
static void age_counts_at_any_uptime(void) {
    static const uint64_t uptimes_ms[] = {1000, (uint64_t)1 << 31, (uint64_t)3 << 30, UINT32_MAX};
    start(1);
    pageheap_set_policy(500, GIB);
    for (size_t i = 0; i < sizeof uptimes_ms / sizeof *uptimes_ms; i++) {
        os_fake.now_ms = uptimes_ms[i];
        pageheap_give(take(QUICK, 1));
        os_fake.now_ms += 100;
        pageheap_tick();
        UNIT_CHECK(stats().dirty_bytes, ==, QUICK * GRANULE_BYTES);
        os_fake.now_ms += 500;
        pageheap_tick();
        UNIT_CHECK(stats().dirty_bytes, ==, 0);
        os_fake.now_ms += 10000;
        pageheap_tick();
    }
}

static const struct unit_case cases[] = {
    UNIT(a_span_comes_as_asked_and_goes_back),
    UNIT(neighbours_grow_together),
    UNIT(the_best_fit_is_chosen),
    UNIT(alignment_is_kept_for_every_power),
    UNIT(what_is_cut_off_can_be_taken_again),
    UNIT(a_span_does_not_grow_into_its_neighbour),
    UNIT(what_is_older_than_the_delay_is_purged_by_the_tick),
    UNIT(near_the_memory_limit_free_memory_waits_an_eighth_of_the_delay),
    UNIT(near_the_memory_limit_use_allows_no_more_than_the_dirty_limit),
    UNIT(who_never_purges_by_age_does_not_ask_for_the_limit),
    UNIT(quick_spans_are_purged_when_they_are_old),
    UNIT(never_means_that_age_alone_purges_nothing),
    UNIT(more_than_the_limit_goes_back_at_once),
    UNIT(a_purge_stops_at_its_target_and_says_how_much_went_back),
    UNIT(a_full_heap_says_so_and_stays_as_it_was),
    UNIT(after_a_fork_the_free_spans_are_found_again),
    UNIT(random_operations_agree_with_an_array_of_granules),
    UNIT(random_operations_on_three_shards_agree_with_an_array_of_granules),
    UNIT_WITH_FAILURES(random_operations_survive_every_failure),
    UNIT(free_memory_of_other_shards_is_the_last_resort),
    UNIT(age_counts_at_any_uptime),
};
UNIT_MAIN(cases)
