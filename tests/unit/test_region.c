// test_region.c - address space, the page map and the memory for records.
#include "page/region.h"

#include "base/bits.h"
#include "os/os.h"
#include "unit.h"

#include <limits.h>

static const struct region_options plain = {.reserve_bytes = GIB};

static uint32_t extend(uint32_t count, uint32_t align, unsigned owner) {
    uint32_t got = 0;
    uint32_t first = region_extend(count, align, owner, &got);
    assert_true(first == 0 || got >= count);
    return first;
}

// Every byte of it can be written and was zero.
static void check_fresh(uint32_t first, uint32_t count) {
    for (uint32_t g = first; g < first + count; g++) {
        assert_true(region_contains(g));
        UNIT_CHECK(region_kind(g), ==, KIND_NONE);
        for (size_t at = 0; at < GRANULE_BYTES; at += 4096) {
            UNIT_CHECK(region_address(g)[at], ==, 0);
            region_address(g)[at] = 1;
        }
    }
}

static void fresh_granules_are_zero_and_belong_to_who_took_them(void) {
    assert_false(region_is_ready());
    assert_true(region_init(&plain));
    assert_true(region_is_ready());
    uint32_t one = extend(1, 1, 3);
    uint32_t two = extend(40, 1, 5);
    assert_true(one != 0 && two != 0);
    check_fresh(one, 16);
    check_fresh(two, 48);
    UNIT_CHECK(region_owner(one), ==, 3);
    UNIT_CHECK(region_owner(two), ==, 5);
    UNIT_CHECK(region_owner(two + 47), ==, 5);
    UNIT_CHECK(region_owner(two + 48), ==, UINT_MAX);
    UNIT_CHECK(region_top(), ==, two + 48);
}

static void the_first_granule_has_the_alignment_asked_for(void) {
    assert_true(region_init(&plain));
    for (uint32_t align = 1; align <= 1024; align *= 2) {
        uint32_t first = extend(align, align, 0);
        assert_int_not_equal(first, 0);
        UNIT_CHECK((uintptr_t)region_address(first) % (align * GRANULE_BYTES), ==, 0);
    }
}

static void addresses_outside_are_foreign(void) {
    assert_true(region_init(&plain));
    uint32_t first = extend(16, 1, 0);
    char on_stack;
    assert_true(region_contains(region_granule(region_address(first))));
    assert_false(region_contains(region_granule(&on_stack)));
    assert_false(region_contains(region_granule(NULL)));
    assert_false(region_contains(region_granule((void *)(region_state.base - 1))));
    assert_false(region_contains(region_granule((void *)UINTPTR_MAX)));
}

static void the_page_map_is_readable_up_to_its_limit(void) {  // [R1]
    assert_true(region_init(&plain));
    for (int i = 0; i < 20; i++) {
        extend(64, 1, 0);
        for (size_t g = 0; g < region_state.granule_limit; g++) {
            UNIT_CHECK(region_kind(g), ==, KIND_NONE);
            UNIT_CHECK(region_state.spans[g].granule_count, ==, 0);
        }
    }
}

static void guards_lie_around_the_tables(void) {
    assert_true(region_init(&plain));
    assert_int_not_equal(extend(16, 1, 0), 0);
    assert_true(os_fake_is_committed(region_state.kind));
    assert_false(os_fake_is_committed(region_state.kind - 1));
    assert_true(os_fake_is_committed(region_state.spans));
    assert_false(os_fake_is_committed((char *)region_state.spans - 1));
    char *meta = region_take_meta(64);
    size_t step = 64 * KIB;
    char *table = (char *)bits_round_down((uintptr_t)meta, step);
    for (; os_fake_is_committed(table); table -= step) {
    }
    assert_true(table > (char *)region_state.spans);
}

static void a_full_region_says_so_and_stays_as_it_was(void) {
    assert_true(region_init(&(struct region_options){.reserve_bytes = GIB}));
    UNIT_CHECK(extend(GIB >> GRANULE_LOG2, 1, 0), ==, 0);
    UNIT_CHECK(extend(UINT32_MAX, 1, 0), ==, 0);
    UNIT_CHECK(region_top(), <=, 16);
    uint32_t total = 0;
    while (extend(16, 1, 0) != 0) {
        total += 16;
    }
    UNIT_CHECK(total, ==, (GIB >> GRANULE_LOG2) - 16);
}

static void reservation_steps_down_where_the_system_refuses(void) {
    os_fake.arena_limit_bytes = (size_t)2 * GIB;
    assert_true(region_init(&(struct region_options){.reserve_bytes = 4 * GIB}));
    struct region_stats stats;
    region_read_stats(&stats);
    UNIT_CHECK(stats.reserved_bytes, ==, GIB);
    check_fresh(extend(16, 1, 0), 16);
}

static void a_limit_of_address_space_means_pieces_in_a_window(void) {
    os_fake.address_space_limit = os_fake.arena_limit_bytes = 24 * MIB;
    assert_true(region_init(&plain));
    uint32_t pieces = 0;
    for (uint32_t first; (first = extend(16, 1, 2)) != 0; pieces++) {
        check_fresh(first, 16);
        UNIT_CHECK(region_owner(first), ==, 2);
    }
    UNIT_CHECK(pieces * 16 * GRANULE_BYTES, >=, 16 * MIB);  // the tables take the rest
    struct region_stats stats;
    region_read_stats(&stats);
    UNIT_CHECK(stats.reserved_bytes, ==, pieces * 16 * GRANULE_BYTES);
}

static void records_are_zero_aligned_and_end(void) {
    assert_true(region_init(&plain));
    char *last = NULL;
    size_t total = 0;
    for (char *at; (at = region_take_meta(1000)) != NULL; last = at, total += 1024) {
        UNIT_CHECK((uintptr_t)at % 64, ==, 0);
        assert_true(last == NULL || at >= last + 1000);
        UNIT_CHECK(at[0] | at[999], ==, 0);
        memset(at, 1, 1000);
    }
    UNIT_CHECK(total, >=, 4 * MIB - 64 * KIB);
    assert_null(region_take_meta(SIZE_MAX / 2));
}

static void huge_page_options_reach_the_system(void) {
    os_fake.has_huge_pages = true;
    assert_true(
        region_init(&(struct region_options){.reserve_bytes = GIB, .use_huge_pages = true}));
    assert_int_not_equal(extend(512, 1, 0), 0);
    UNIT_CHECK(os_fake.calls[OS_FAKE_COMMIT_HUGE], >, 0);
}

static void huge_pages_that_cannot_be_had_are_replaced(void) {
    assert_true(
        region_init(&(struct region_options){.reserve_bytes = GIB, .use_huge_pages = true}));
    check_fresh(extend(512, 1, 0), 512);
    UNIT_CHECK(os_fake.calls[OS_FAKE_COMMIT_HUGE], >, 0);
    UNIT_CHECK(region_purge_unit(), ==, os_page_bytes());
    os_fake.has_huge_pages = true;  // the pool grows
    check_fresh(extend(512, 1, 0), 512);
    UNIT_CHECK(region_purge_unit(), ==, 2 * MIB);
}

static void only_what_was_handed_out_is_owned(void) {
    os_fake.address_space_limit = os_fake.arena_limit_bytes = 64 * MIB;
    assert_true(region_init(&plain));
    uint32_t first = extend(16, 1, 0);
    assert_true(region_owns(first) && region_owns(first + 15));
    assert_false(region_owns(first + 16) || region_owns(first - 1));
    assert_true(region_contains(1));
    assert_false(region_owns(1) || region_owns(SIZE_MAX >> GRANULE_LOG2));
}

static void small_heaps_have_no_transparent_huge_pages(void) {
    assert_true(region_init(&plain));
    while (region_top() < (128 * MIB) >> GRANULE_LOG2) {
        assert_int_not_equal(extend(16, 1, 0), 0);
    }
    UNIT_CHECK(os_fake.thp_never_bytes, >=, 31 * MIB);
    UNIT_CHECK(os_fake.thp_never_bytes, <=, 96 * MIB);
    UNIT_CHECK(os_fake.thp_always_bytes, ==, 0);
}

// Whatever failed: what is said to be there is there, and all comes when calls succeed again.
static void a_region_survives_every_failure(void) {
    if (region_init(&plain)) {
        uint32_t first = extend(16, 1, 0);
        void *meta = region_take_meta(300 * KIB);
        uint32_t aligned = extend(200, 64, 1);
        assert_true(first == 0 || os_fake_is_committed(region_address(first + 15)));
        assert_true(aligned == 0 || os_fake_is_committed(region_address(aligned + 199)));
        assert_true(meta == NULL || os_fake_is_committed(meta));
    }
    os_fake_fail(0, false);
    assert_true(region_is_ready() || region_init(&plain));
    check_fresh(extend(100, 1, 0), 100);
    void *records = region_take_meta(600 * KIB);
    assert_non_null(records);
    memset(records, 1, 600 * KIB);
}

static void a_window_survives_every_failure(void) {
    os_fake.address_space_limit = 64 * MIB;
    if (region_init(&plain)) {
        extend(16, 1, 0);
        extend(64, 32, 0);
    }
    os_fake_fail(0, false);
    assert_true(region_is_ready() || region_init(&plain));
    size_t before = os_fake.mapped_bytes;
    check_fresh(extend(64, 1, 0), 64);
    UNIT_CHECK(os_fake.mapped_bytes - before, ==, 64 * GRANULE_BYTES);
}

static const struct unit_case cases[] = {
    UNIT(fresh_granules_are_zero_and_belong_to_who_took_them),
    UNIT(the_first_granule_has_the_alignment_asked_for),
    UNIT(addresses_outside_are_foreign),
    UNIT(the_page_map_is_readable_up_to_its_limit),
    UNIT(guards_lie_around_the_tables),
    UNIT(a_full_region_says_so_and_stays_as_it_was),
    UNIT(reservation_steps_down_where_the_system_refuses),
    UNIT(a_limit_of_address_space_means_pieces_in_a_window),
    UNIT(records_are_zero_aligned_and_end),
    UNIT(huge_page_options_reach_the_system),
    UNIT(huge_pages_that_cannot_be_had_are_replaced),
    UNIT(only_what_was_handed_out_is_owned),
    UNIT(small_heaps_have_no_transparent_huge_pages),
    UNIT_WITH_FAILURES(a_region_survives_every_failure),
    UNIT_WITH_FAILURES(a_window_survives_every_failure),
};
UNIT_MAIN(cases)
