// test_large.c - blocks that are spans of their own.
#include "slab/large.h"

#include "page/pageheap.h"
#include "page/region.h"
#include "slab/sizeclass.h"
#include "unit.h"

static bool is_zero_unused;

static bool start_if_possible(void) {
    sizeclass_init();
    if (!region_init(&(struct region_options){.reserve_bytes = GIB})) {
        return false;
    }
    pageheap_init(1);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    return true;
}

static void start(void) {
    assert_true(start_if_possible());
}

static char *take(size_t size_bytes, size_t align_bytes) {
    return large_take(KIND_LARGE, 0, size_bytes, align_bytes, &is_zero_unused);
}

static size_t used(void) {
    struct pageheap_stats stats;
    pageheap_read_stats(&stats);
    return stats.used_bytes;
}

static void a_block_has_its_size_and_a_span_of_its_own(void) {
    start();
    for (size_t size = SIZECLASS_SPAN_MAX + 1; size < 4 * MIB; size += 100003) {
        char *block = take(size, 1);
        assert_true(large_is_block(block));
        UNIT_CHECK(large_usable_bytes(block), >=, size);
        UNIT_CHECK(large_usable_bytes(block), ==, large_good_size(size));
        UNIT_CHECK(large_usable_bytes(block), <, size + 4 * KIB);
        memset(block, 1, large_usable_bytes(block));
        assert_false(large_is_block(block + 64));
        large_give(block);
        UNIT_CHECK(used(), ==, 0);
    }
    pageheap_validate();
}

static void starts_have_many_colours(void) {
    start();
    bool seen[64] = {false};
    int colours = 0;
    for (int i = 0; i < 200; i++) {
        uintptr_t offset = (uintptr_t)take(600 * KIB, 1) % (4 * KIB);
        UNIT_CHECK(offset % 64, ==, 0);
        colours += !seen[offset / 64];
        seen[offset / 64] = true;
    }
    UNIT_CHECK(colours, >=, 16);
}

static void every_alignment_is_kept(void) {
    start();
    for (size_t align = 1; align <= 32 * MIB; align *= 2) {
        char *block = take(100 * KIB, align);
        assert_non_null(block);
        UNIT_CHECK((uintptr_t)block % align, ==, 0);
        assert_true(large_is_block(block));
        memset(block, 1, 100 * KIB);
        large_give(block);
    }
    UNIT_CHECK(used(), ==, 0);
}

static void classes_of_spans_have_the_size_of_their_class(void) {
    start();
    for (unsigned kind = SIZECLASS_SPAN_FIRST; kind < SIZECLASS_END; kind++) {
        char *block = large_take(kind, 0, 1, 1, &is_zero_unused);
        UNIT_CHECK(large_usable_bytes(block), ==, sizeclass_table[kind].size_bytes);
        UNIT_CHECK(region_kind(region_granule(block)), ==, kind);
        memset(block, 1, sizeclass_table[kind].size_bytes);
        large_give(block);
    }
    UNIT_CHECK(used(), ==, 0);
}

static void an_address_inside_leads_to_its_block(void) {
    start();
    char *block = take(MIB, 1);
    size_t usable = large_usable_bytes(block);
    for (size_t at = 0; at < usable; at += 997) {
        assert_ptr_equal(large_find(block + at), block);
    }
    assert_null(large_find(block + usable));
    assert_true((uintptr_t)block % GRANULE_BYTES == 0 || large_find(block - 1) == NULL);
}

static void what_was_given_is_remembered_for_a_while(void) {
    start();
    char *block = take(MIB, 1);
    UNIT_CHECK(large_was_block(block), ==, 0);
    large_give(block);
    UNIT_CHECK(large_was_block(block), ==, MIB);
    assert_false(large_is_block(block));
}

static void a_block_shrinks_and_grows_in_place(void) {
    start();
    char *block = take(8 * MIB, 1);
    memset(block, 7, 8 * MIB);
    assert_true(large_resize(block, MIB));
    UNIT_CHECK(large_usable_bytes(block), ==, MIB);
    UNIT_CHECK(used(), <=, MIB + 2 * GRANULE_BYTES);
    assert_true(large_resize(block, 6 * MIB));
    UNIT_CHECK(large_usable_bytes(block), ==, 6 * MIB);
    for (size_t i = 0; i < MIB; i++) {
        UNIT_CHECK(block[i], ==, 7);
    }
    pageheap_validate();
}

static void a_block_of_a_class_that_grows_is_of_no_class(void) {
    start();
    unsigned kind = SIZECLASS_SPAN_FIRST + 2;
    char *before = take(MIB, 1);
    assert_true(large_resize(before, 1));  // leaves free memory behind it
    char *block = large_take(kind, 0, 1, 1, &is_zero_unused);
    memset(block, 7, sizeclass_table[kind].size_bytes);
    assert_true(large_resize(block, 256 * KIB));
    UNIT_CHECK(region_kind(region_granule(block)), ==, KIND_LARGE);
    UNIT_CHECK(large_usable_bytes(block), ==, 256 * KIB);
    memset(block, 7, 256 * KIB);
    large_give(block);
    large_give(before);
    UNIT_CHECK(used(), ==, 0);
    pageheap_validate();
}

static void a_block_with_a_neighbour_does_not_grow(void) {
    start();
    char *block = take(MIB, 1);
    char *next = take(MIB, 1);
    assert_true(next > block);
    assert_false(large_resize(block, 3 * MIB));
    UNIT_CHECK(large_usable_bytes(block), ==, MIB);
    assert_false(large_resize(block, (size_t)1 << 62));
}

static void a_moved_block_keeps_its_bytes_and_gets_room(void) {
    start();
    char *block = take(4 * MIB, 1);
    take(MIB, 1);
    for (size_t i = 0; i < 4 * MIB; i += 512) {
        block[i] = (char)(i >> 9);
    }
    char *moved = large_move(block, 0, 6 * MIB);
    assert_non_null(moved);
    UNIT_CHECK(os_fake.calls[OS_FAKE_MOVE], ==, 1);
    assert_false(large_is_block(block));
    UNIT_CHECK(large_usable_bytes(moved), ==, 6 * MIB);
    for (size_t i = 0; i < 4 * MIB; i += 512) {
        UNIT_CHECK(moved[i], ==, (char)(i >> 9));
    }
    assert_true(large_resize(moved, 8 * MIB));  // into its room
    large_give(moved);
    UNIT_CHECK(os_fake.calls[OS_FAKE_RENEW], ==, 1);
}

// The system may have unmapped where the block was to go.
static void a_move_that_fails_leaves_no_hole(void) {
    start();
    int failed_count = 0;
    for (uint64_t k = 1; k < 6; k++) {
        char *block = take(4 * MIB, 1);
        uint64_t moves = os_fake.calls[OS_FAKE_MOVE];
        os_fake_fail(k, false);
        char *moved = large_move(block, 0, 6 * MIB);
        os_fake_fail(0, false);
        failed_count += moved == NULL && os_fake.calls[OS_FAKE_MOVE] > moves;
        char *other = take(9 * MIB, 1);  // as large as the block and its room
        memset(other, 1, 9 * MIB);
    }
    UNIT_CHECK(failed_count, >, 0);
    pageheap_validate();
}

static void a_moved_block_that_shrinks_gives_its_tail_back(void) {
    start();
    char *block = take(4 * MIB, 1);
    take(MIB, 1);
    size_t before = used();
    char *moved = large_move(block, 0, 40 * MIB);
    assert_non_null(moved);
    memset(moved, 7, 40 * MIB);
    assert_true(large_resize(moved, MIB));
    UNIT_CHECK(used(), <, before);
    UNIT_CHECK(moved[MIB - 1], ==, 7);
    char *other = take(20 * MIB, 1);
    memset(other, 1, 20 * MIB);
    UNIT_CHECK(moved[MIB - 1], ==, 7);
    pageheap_validate();
}

// Pages that the system says to be elsewhere hold what was written there.
static void clear_ends_where_it_is_told_to(void) {
    start();
    static const size_t sizes[] = {1,        100 * KIB, LARGE_SPARSE_BYTES, LARGE_SPARSE_BYTES + 1,
                                   MIB - 64, MIB + 64,  5 * MIB + 777};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        char *block = take(size + 1000, 1);
        memset(block, 7, size + 1000);
        assert_ptr_equal(large_clear(block + 500, size), block + 500);
        UNIT_CHECK(block[499], ==, 7);
        UNIT_CHECK(block[500 + size], ==, 7);
        for (size_t k = 0; k < size; k++) {
            if (block[500 + k] != 0) {
                fail_msg("byte %zu of %zu is %d", k, size, block[500 + k]);
            }
        }
        large_give(block);
    }
}

static void sizes_beyond_the_largest_are_refused(void) {
    start();
    assert_null(take(LARGE_MAX_BYTES, 1));
    assert_null(take(LARGE_MAX_BYTES + 1, 1));
    assert_null(take(SIZE_MAX, 1));
    assert_null(take(MIB, (size_t)1 << 62));
    UNIT_CHECK(used(), ==, 0);
}

static void statistics_sum_the_blocks(void) {
    start();
    struct large_stats stats;
    char *block = take(MIB, 1);
    large_take(SIZECLASS_SPAN_FIRST, 0, 1, 1, &is_zero_unused);
    large_read_stats(&stats);
    UNIT_CHECK(stats.used_blocks, ==, 2);
    UNIT_CHECK(stats.used_bytes, ==, MIB + sizeclass_table[SIZECLASS_SPAN_FIRST].size_bytes);
    large_give(block);
    large_read_stats(&stats);
    UNIT_CHECK(stats.used_blocks, ==, 1);
}

static void blocks_survive_every_failure(void) {
    if (!start_if_possible()) {
        return;
    }
    char *block = take(3 * MIB, 1), *wall = take(MIB, 1);
    if (block != NULL) {
        memset(block, 5, 3 * MIB);
        bool grew = large_resize(block, 5 * MIB);
        char *moved = grew ? NULL : large_move(block, 0, 5 * MIB);
        block = moved != NULL ? moved : block;
        UNIT_CHECK(large_usable_bytes(block), ==, grew || moved != NULL ? 5 * MIB : 3 * MIB);
        for (size_t i = 0; i < 3 * MIB; i += 61) {
            UNIT_CHECK(block[i], ==, 5);
        }
        large_give(block);
    }
    if (wall != NULL) {
        large_give(wall);
    }
    pageheap_purge(SIZE_MAX, UINT64_MAX);
    UNIT_CHECK(used(), ==, 0);
    pageheap_validate();
    os_fake_fail(0, false);
    bool is_zero = false;
    block = large_take(KIND_LARGE, 0, 3 * MIB, 1, &is_zero);
    assert_non_null(block);
    for (size_t i = 0; is_zero && i < 3 * MIB; i += 61) {
        UNIT_CHECK(block[i], ==, 0);
    }
}

static const struct unit_case cases[] = {
    UNIT(a_block_has_its_size_and_a_span_of_its_own),
    UNIT(starts_have_many_colours),
    UNIT(every_alignment_is_kept),
    UNIT(classes_of_spans_have_the_size_of_their_class),
    UNIT(an_address_inside_leads_to_its_block),
    UNIT(what_was_given_is_remembered_for_a_while),
    UNIT(a_block_shrinks_and_grows_in_place),
    UNIT(a_block_of_a_class_that_grows_is_of_no_class),
    UNIT(a_block_with_a_neighbour_does_not_grow),
    UNIT(a_moved_block_keeps_its_bytes_and_gets_room),
    UNIT(a_move_that_fails_leaves_no_hole),
    UNIT(a_moved_block_that_shrinks_gives_its_tail_back),
    UNIT(clear_ends_where_it_is_told_to),
    UNIT(sizes_beyond_the_largest_are_refused),
    UNIT(statistics_sum_the_blocks),
    UNIT_WITH_FAILURES(blocks_survive_every_failure),
};
UNIT_MAIN(cases)
