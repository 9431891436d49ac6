// test_share.c - reference counts of intervals, against one count for each byte.
#include "range/share.h"

#include "unit.h"

#include <errno.h>

enum { BYTES = 3000, STEPS = 20000 };

static uint32_t oracle[BYTES];
static struct share_map map;

static void check_all(void) {
    assert_true(share_validate(&map));
    for (uint64_t at = 0; at < BYTES; at++) {
        assert_true(share_has(&map, at, at + 1) == (oracle[at] > 0));
    }
}

static void retain(uint64_t first, uint64_t end) {
    assert_int_equal(share_retain(&map, first, end), 0);
    for (uint64_t at = first; at < end; at++) {
        oracle[at]++;
    }
}

// The gaps are those bytes that have no further reference, in order.
static void release(uint64_t first, uint64_t end) {
    uint64_t at = first;
    uint64_t gap = first;
    uint64_t gap_end;
    assert_int_equal(share_cut(&map, first, end), 0);
    while (share_find_gap(&map, &gap, end, &gap_end)) {
        for (; at < gap; at++) {
            assert_true(oracle[at] > 0);
        }
        for (; at < gap_end; at++) {
            assert_true(oracle[at] == 0);
        }
        gap = gap_end;
    }
    share_release(&map, first, end);
    for (at = first; at < end; at++) {
        oracle[at] -= oracle[at] > 0;
    }
}

static void intervals_agree_with_a_count_for_each_byte(void) {
    struct check_random random = {check_seed()};
    for (int step = 0; step < STEPS; step++) {
        uint64_t first = check_random_below(&random, BYTES);
        uint64_t most = step / 1000 % 2 == 0 ? 20 : 300;
        uint64_t end = first + 1 + check_random_below(&random, most);
        end = end < BYTES ? end : BYTES;
        if (check_random_below(&random, 20) < 9) {
            retain(first, end);
        } else {
            release(first, end);
        }
        if (step % 100 == 0) {
            check_all();
        }
    }
    for (int i = 0; i < STEPS && map.entry_count > 0; i++) {
        release(0, BYTES);
    }
    check_all();
    UNIT_CHECK(map.slot_count, ==, 0);
    share_clear(&map);
}

static void many_intervals_cost_little_more_than_their_entries(void) {
    enum { COUNT = 100000 };
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(share_retain(&map, i * 10, i * 10 + 7), 0);
    }
    UNIT_CHECK(map.entry_count, ==, COUNT);
    UNIT_CHECK(share_memory_bytes(&map), <=, COUNT * sizeof(struct share_entry) * 5 / 2);
    assert_true(share_validate(&map));
    for (uint64_t i = 0; i < COUNT; i++) {
        share_release(&map, i * 7919 % COUNT * 10, i * 7919 % COUNT * 10 + 7);
        if (i == COUNT / 10 * 9) {  // leaves merge
            UNIT_CHECK(share_memory_bytes(&map), <=, COUNT * sizeof(struct share_entry));
        }
    }
    assert_true(share_validate(&map));
    UNIT_CHECK(map.entry_count, ==, 0);
    UNIT_CHECK(map.slot_count, ==, 0);
    share_clear(&map);
}

static void a_count_does_not_overflow(void) {
    assert_int_equal(share_retain(&map, 10, 20), 0);
    map.slots[0].leaf->entries[0].extra = UINT32_MAX;
    assert_int_equal(share_retain(&map, 10, 20), EOVERFLOW);
    assert_int_equal(share_retain(&map, 0, 15), EOVERFLOW);
    UNIT_CHECK(map.entry_count, ==, 1);
    assert_int_equal(share_retain(&map, 0, 10), 0);
    share_clear(&map);
}

static void the_validator_sees_broken_invariants(void) {
    retain(10, 20);
    retain(30, 40);
    struct share_entry *entries = map.slots[0].leaf->entries;
    entries[0].end = 31;  // [U1]
    assert_false(share_validate(&map));
    entries[0].end = 20;
    entries[1].extra = 0;  // [U2]
    assert_false(share_validate(&map));
    entries[1].extra = 1;
    map.slots[0].from = 11;  // [U3]
    assert_false(share_validate(&map));
    map.slots[0].from = 0;
    assert_true(share_validate(&map));
    share_clear(&map);
}

static const struct unit_case cases[] = {
    UNIT(intervals_agree_with_a_count_for_each_byte),
    UNIT(many_intervals_cost_little_more_than_their_entries),
    UNIT(a_count_does_not_overflow),
    UNIT(the_validator_sees_broken_invariants),
};

UNIT_MAIN(cases)
