// test_tree.c - pairs in order, against a sorted array.
#include "range/tree.h"
#include "unit.h"

enum { PAIRS_MAX = 3000, NODES = PAIRS_MAX };

static struct {
    struct tree_pool pool;
    struct tree tree;
    struct tree_pair sorted[PAIRS_MAX];
    uint32_t count;
    struct check_random random;
} model;

static struct tree_node nodes[NODES];

static void begin(bool is_wide) {
    model.random.state = check_seed();
    model.count = 0;
    tree_pool_init(&model.pool, nodes, NODES);
    tree_init(&model.tree, &model.pool, is_wide);
}

static bool is_up_to(struct tree_pair pair, struct tree_pair key) {
    return pair.first < key.first || (pair.first == key.first && pair.second <= key.second);
}

// How many of the sorted ones are up to this one.
static uint32_t rank_of(struct tree_pair key) {
    uint32_t rank = 0;
    while (rank < model.count && is_up_to(model.sorted[rank], key)) {
        rank++;
    }
    return rank;
}

static void check(void) {  // [B1] [B2] [B3] [B4]
    uint64_t count = 0;
    uint32_t node_count = tree_validate(&model.tree, &model.pool, &count);
    UNIT_CHECK(node_count, >, 0);
    UNIT_CHECK(count, ==, model.count);
    assert_true(tree_pool_validate(&model.pool, node_count));
}

// A few firsts, so that many are equal.
static struct tree_pair draw_pair(void) {
    return (struct tree_pair){check_random_below(&model.random, 50),
                              check_random_below(&model.random, 10000)};
}

static void insert(struct tree_pair pair) {
    uint32_t at = rank_of(pair);
    if (model.count == PAIRS_MAX || (at > 0 && is_up_to(pair, model.sorted[at - 1]))) {
        return;  // full, or there already
    }
    uint32_t had_free = model.pool.free_count;
    uint32_t most = tree_nodes_for(&model.tree, &model.pool, pair);
    tree_insert(&model.tree, &model.pool, pair);
    UNIT_CHECK(had_free - model.pool.free_count, <=, most);
    UNIT_CHECK(most, <=, tree_nodes_most(&model.tree));
    memmove(&model.sorted[at + 1], &model.sorted[at], (model.count - at) * sizeof(pair));
    model.sorted[at] = pair;
    model.count++;
}

static void erase(uint32_t at) {
    struct tree_cursor cursor;
    assert_true(tree_find(&model.tree, &model.pool, &cursor, model.sorted[at]));
    tree_remove_at(&model.tree, &model.pool, &cursor);
    model.count--;
    memmove(&model.sorted[at], &model.sorted[at + 1],
            (model.count - at) * sizeof(struct tree_pair));
}

static void check_find(struct tree_pair key) {
    struct tree_cursor cursor;
    struct tree_pair next;
    uint32_t rank = rank_of(key);
    UNIT_CHECK(tree_find(&model.tree, &model.pool, &cursor, key), ==, rank > 0);
    if (model.count == 0) {
        return;
    }
    uint32_t at = rank > 0 ? rank - 1 : 0;
    UNIT_CHECK(tree_pair(&model.tree, &model.pool, &cursor).second, ==, model.sorted[at].second);
    UNIT_CHECK(tree_peek(&model.tree, &model.pool, &cursor, &next), ==, at + 1 < model.count);
    UNIT_CHECK(tree_step(&model.tree, &model.pool, &cursor), ==, at + 1 < model.count);
    at += at + 1 < model.count;
    UNIT_CHECK(tree_pair(&model.tree, &model.pool, &cursor).first, ==, model.sorted[at].first);
    UNIT_CHECK(tree_pair(&model.tree, &model.pool, &cursor).second, ==, model.sorted[at].second);
    struct tree_pair most = {key.first, UINT64_MAX};
    UNIT_CHECK(tree_find_first(&model.tree, &model.pool, &cursor, key.first), ==,
               rank_of(most) > 0);
    UNIT_CHECK(tree_last(&model.tree, &model.pool).first, ==, model.sorted[model.count - 1].first);
}

static void change_pairs(bool is_wide) {
    begin(is_wide);
    for (int i = 0; i < 60000; i++) {
        bool is_growing = i / 6000 % 2 == 0;
        uint64_t kind = check_random_below(&model.random, 10);
        if (kind < (is_growing ? 8 : 1)) {
            insert(draw_pair());
        } else if (model.count > 0) {
            erase((uint32_t)check_random_below(&model.random, model.count));
        }
        if (i % 16 == 0) {
            check_find(draw_pair());
        }
        if (i % 200 == 0) {
            check();
        }
    }
}

static void pairs_stay_in_order_through_any_changes(void) {
    change_pairs(false);
    change_pairs(true);
}

static void move_pairs(bool is_wide) {
    begin(is_wide);
    for (int i = 0; i < 500; i++) {
        insert(draw_pair());
    }
    for (int i = 0; i < 5000; i++) {
        uint32_t at = (uint32_t)check_random_below(&model.random, model.count);
        struct tree_pair to = model.sorted[at];
        to.second += check_random_below(&model.random, 30);
        uint32_t rank = rank_of(to);
        if (rank != at + 1) {
            to = (struct tree_pair){100 + (uint64_t)i, 0};  // far from here
        }
        struct tree_cursor cursor;
        tree_find(&model.tree, &model.pool, &cursor, model.sorted[at]);
        tree_move_at(&model.tree, &model.pool, &cursor, to);
        model.count--;
        memmove(&model.sorted[at], &model.sorted[at + 1], (model.count - at) * sizeof(to));
        rank = rank_of(to);
        memmove(&model.sorted[rank + 1], &model.sorted[rank], (model.count - rank) * sizeof(to));
        model.sorted[rank] = to;
        model.count++;
        check_find(to);
    }
    check();
}

static void the_pair_at_a_cursor_moves_to_its_place(void) {
    move_pairs(false);
    move_pairs(true);
}

static void ascending_and_descending_pairs_fill_most_of_their_nodes(void) {
    for (int kind = 0; kind < 4; kind++) {
        bool descending = kind % 2 != 0, is_wide = kind / 2 != 0;
        begin(is_wide);
        for (uint64_t i = 0; i < PAIRS_MAX; i++) {
            tree_insert(&model.tree, &model.pool,
                        (struct tree_pair){descending ? PAIRS_MAX - i : i, 0});
            model.count++;
        }
        check();
        uint32_t leaves = PAIRS_MAX / tree_leaf_most(is_wide);
        UNIT_CHECK(NODES - model.pool.free_count, <=, leaves * (CONFIG_TINY ? 5 : 2));
    }
}

static void an_empty_tree_has_one_node_and_can_be_filled_again(void) {
    begin(false);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 400; i++) {
            insert(draw_pair());
        }
        while (model.count > 0) {
            erase(round == 0 ? 0 : round == 1 ? model.count - 1 : model.count / 2);
        }
        check();
        UNIT_CHECK(model.tree.level, ==, 0);
        UNIT_CHECK(model.pool.free_count, ==, NODES - 1);
    }
}

static void a_tree_that_goes_leaves_no_node_behind(void) {
    for (int is_wide = 0; is_wide < 2; is_wide++) {
        begin(is_wide != 0);
        for (int i = 0; i < 2000; i++) {
            insert(draw_pair());
        }
        tree_fini(&model.tree, &model.pool);
        UNIT_CHECK(model.pool.free_count, ==, NODES);
        assert_true(tree_pool_validate(&model.pool, 0));
    }
}

static void the_largest_numbers_are_found_again(void) {
    for (int is_wide = 0; is_wide < 2; is_wide++) {
        uint64_t most = is_wide != 0 ? UINT64_MAX - 1 : TREE_NARROW_MAX;
        begin(is_wide != 0);
        for (uint64_t i = 0; i < 200; i++) {
            insert((struct tree_pair){most - i % 3, most - i});
            insert((struct tree_pair){i % 3, i});
        }
        check();
        check_find((struct tree_pair){most, most});
        check_find((struct tree_pair){most - 1, 0});
        check_find((struct tree_pair){2, most});
    }
}

static const struct unit_case cases[] = {
    UNIT(pairs_stay_in_order_through_any_changes),
    UNIT(the_pair_at_a_cursor_moves_to_its_place),
    UNIT(ascending_and_descending_pairs_fill_most_of_their_nodes),
    UNIT(an_empty_tree_has_one_node_and_can_be_filled_again),
    UNIT(a_tree_that_goes_leaves_no_node_behind),
    UNIT(the_largest_numbers_are_found_again),
};
UNIT_MAIN(cases)
