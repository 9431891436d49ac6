// test_sparse.c - which blocks are worth moving: states, averages, room, the end of moving.
#include "slab/sparse.h"

#include "page/pageheap.h"
#include "page/region.h"
#include "slab/slab.h"
#include "unit.h"

enum { SLABS = 8, BLOCKS_MAX = 16384 };

static void *blocks[BLOCKS_MAX];
static unsigned kind;
static unsigned per_slab;

static void note(void *block, enum slab_fault fault) {
    (void)block;
    (void)fault;
    fail_msg("a fault is reported");
}

// Eight slabs of 1,024-byte blocks, all taken and FULL.
static void start(void) {
    sizeclass_init();
    slab_init(note);
    assert_true(region_init(&(struct region_options){.reserve_bytes = GIB}));
    pageheap_init(1);
    pageheap_set_policy(PAGEHEAP_NEVER, SIZE_MAX);
    kind = sizeclass_of(1024);
    per_slab = sizeclass_table[kind].block_count;
    struct slab_lease lease = {.slab = 0};
    for (unsigned i = 0; i < SLABS * per_slab; i++) {
        assert_int_equal(slab_take(kind, 0, &lease, blocks + i + 1, 1), 1);
    }
    slab_leave(kind, &lease);
}

static void give(unsigned i) {
    slab_give(kind, &blocks[i], 1, 0);
    blocks[i] = NULL;
}

// Leaves `count` blocks of a slab.
static void thin(unsigned slab, unsigned count) {
    for (unsigned i = count; i < per_slab; i++) {
        give(slab * per_slab + i);
    }
}

static bool is_worth(unsigned slab) {
    os_fake.now_ms += 1000;  // look again
    return sparse_is_worth_moving(blocks[slab * per_slab]);
}

static void blocks_of_full_slabs_stay(void) {
    start();
    for (unsigned slab = 0; slab < SLABS; slab++) {
        assert_false(is_worth(slab));
    }
    give(per_slab - 1);
    assert_false(is_worth(0));
}

static void the_sparser_of_two_slabs_is_the_one_to_empty(void) {
    start();
    thin(0, per_slab / 4);
    assert_false(is_worth(0));
    thin(1, per_slab / 2);
    assert_true(is_worth(0));
    assert_false(is_worth(1));
    assert_false(is_worth(2));
}

static void without_room_elsewhere_nothing_is_worth_it(void) {
    start();
    thin(0, per_slab / 4);
    thin(1, per_slab * 7 / 8);
    assert_false(is_worth(0));
    thin(2, per_slab * 7 / 8);
    assert_true(is_worth(0));
}

static void a_leased_slab_is_where_blocks_go(void) {
    start();
    thin(0, per_slab / 2);
    thin(1, per_slab / 2);
    assert_true(is_worth(0));
    assert_true(is_worth(1));
    struct slab_lease lease = {.slab = 0};
    void *block[1];
    assert_int_equal(slab_take(kind, 0, &lease, block + 1, 1), 1);
    unsigned leased = slab_find(kind, block[0]).slab == slab_find(kind, blocks[0]).slab ? 0 : 1;
    assert_false(is_worth(leased));
    slab_give(kind, block, 1, 0);
    slab_leave(kind, &lease);
}

static void moving_until_nothing_is_worth_it_leaves_one_sparse_slab(void) {
    start();
    unsigned moved = 0;
    unsigned last = 1;
    for (unsigned slab = 0; slab < SLABS; slab++) {
        thin(slab, per_slab / 4);
    }
    for (int pass = 0; pass < 20 && last > 0; pass++) {
        last = 0;
        for (unsigned i = 0; i < SLABS * per_slab; i++) {
            os_fake.now_ms += 200;
            if (blocks[i] != NULL && sparse_is_worth_moving(blocks[i])) {
                void *to[1];
                assert_int_equal(slab_take_common(kind, 0, 0, to + 1, 1), 1);
                give(i);
                blocks[i] = to[0];
                last++;
            }
        }
        moved += last;
    }
    struct slab_stats stats;
    slab_read_stats(&stats);
    assert_int_equal(last, 0);
    assert_true(moved <= SLABS * (per_slab / 4));
    assert_int_equal(stats.taken_blocks, SLABS * (per_slab / 4));
    assert_true(stats.slab_count <= SLABS / 4 + 1);
    slab_validate();
}

static void figures_of_a_class_are_its_blocks(void) {
    struct slab_class_stats stats[SIZECLASS_SLABS];
    start();
    thin(3, per_slab - 2);
    slab_read_classes(stats);
    for (unsigned i = 0; i < SIZECLASS_SLABS; i++) {
        bool is_ours = i == kind - SIZECLASS_FIRST;
        assert_int_equal(stats[i].slab_count, is_ours ? SLABS : 0);
        assert_int_equal(stats[i].nonfull_count, is_ours ? 1 : 0);
        assert_int_equal(stats[i].nonfull_free, is_ours ? 2 : 0);
        assert_int_equal(stats[i].taken_blocks, is_ours ? SLABS * per_slab - 2 : 0);
    }
}

static const struct unit_case cases[] = {
    UNIT(blocks_of_full_slabs_stay),
    UNIT(the_sparser_of_two_slabs_is_the_one_to_empty),
    UNIT(without_room_elsewhere_nothing_is_worth_it),
    UNIT(a_leased_slab_is_where_blocks_go),
    UNIT(moving_until_nothing_is_worth_it_leaves_one_sparse_slab),
    UNIT(figures_of_a_class_are_its_blocks),
};
UNIT_MAIN(cases)
