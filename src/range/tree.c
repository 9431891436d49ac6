// tree.c - pairs of numbers in order, in nodes that are numbered.          layer 6
#include "range/tree.h"

#include "base/bits.h"
#include "os/check.h"

#include <string.h>

enum {
    TREE_WINDOW_MAX = 3,
    TREE_DEAL_MAX = TREE_WINDOW_MAX * TREE_LEAF_MAX,
    // A neighbour of a full node takes from it if it has so much room.
    TREE_ROOM = CONFIG_TINY ? 2 : 3,
    // A leaf that loses pairs looks at its neighbours whenever it has a multiple of this.
    TREE_LOOK_STEP = CONFIG_TINY ? 1 : 4,
};

// Some adjacent children of a node, and how many they are to become.
struct tree_window {
    uint32_t first_at, from, to;
};

// ---- Nodes ---------------------------------------------------------------------

static uint32_t tree_places(const struct tree_node *node) {
    return node->level == 0 ? TREE_LEAF_MAX : TREE_INNER_MAX;
}

static bool tree_is_full(const struct tree_node *node) {
    return node->count == tree_places(node);
}

static void tree_fill(struct tree_node *node, uint32_t from) {
    uint32_t end = node->level == 0 ? TREE_LEAF_PAIRS : TREE_INNER_PAIRS;
    for (uint32_t i = from; i < end; i++) {
        node->as.pairs[i] = TREE_NO_PAIR;
    }
}

static uint32_t tree_take_node(struct tree_pool *pool, uint32_t level) {
    ALLOT_ASSERT(pool->free_count > 0);
    uint32_t idx = pool->free_first;
    if (idx != TREE_NO_NODE) {
        pool->free_first = tree_node(pool, idx)->next;
    } else {
        idx = pool->carved_count++;
    }
    pool->free_count--;
    struct tree_node *node = tree_node(pool, idx);
    node->count = 0;
    node->level = level;
    tree_fill(node, 0);
    return idx;
}

static void tree_give_node(struct tree_pool *pool, uint32_t idx) {
    tree_node(pool, idx)->next = pool->free_first;
    pool->free_first = idx;
    pool->free_count++;
}

static int64_t tree_distance(const struct tree_pool *pool, const void *address) {
    return (int64_t)((intptr_t)address - (intptr_t)pool);
}

void tree_pool_init(struct tree_pool *pool, void *address, uint32_t node_count) {
    *pool = (struct tree_pool){.nodes_distance = tree_distance(pool, address),
                               .node_count = node_count,
                               .free_count = node_count,
                               .free_first = TREE_NO_NODE};
}

void tree_pool_move(struct tree_pool *pool, void *address, uint32_t node_count) {
    pool->nodes_distance = tree_distance(pool, address);
    pool->free_count += node_count - pool->node_count;
    pool->node_count = node_count;
}

// ---- Finding -------------------------------------------------------------------

// tree_is_up_to; with `by_first`, key.second is UINT64_MAX.
static ALWAYS_INLINE uint32_t tree_counts(const struct tree_pair *pair, struct tree_pair key,
                                          bool by_first) {
    return by_first ? pair->first <= key.first : tree_is_up_to(*pair, key);
}

// How many of seven pairs are up to `key`. Two sums, so that one does not wait for all.
static ALWAYS_INLINE uint32_t tree_count_7(const struct tree_pair *pairs, struct tree_pair key,
                                           bool by_first) {
    uint64_t low = tree_counts(pairs, key, by_first) + tree_counts(pairs + 1, key, by_first) +
                   tree_counts(pairs + 2, key, by_first);
    uint64_t high = tree_counts(pairs + 3, key, by_first) + tree_counts(pairs + 4, key, by_first) +
                    tree_counts(pairs + 5, key, by_first) + tree_counts(pairs + 6, key, by_first);
    COMPILER_APART(low, high);
    return (uint32_t)(low + high);
}

// How many pairs of a leaf are up to `key`: full blocks of eight first, then in the
// next block. Hardly anything is predicted, and the loads wait for one another once.
static ALWAYS_INLINE uint32_t tree_rank(const struct tree_node *leaf, struct tree_pair key,
                                        bool by_first) {
    const struct tree_pair *pairs = leaf->as.pairs;
    uint32_t rank = 0;
    if (leaf->count >= 8) {
        rank = 8 * (tree_counts(pairs + 7, key, by_first) + tree_counts(pairs + 15, key, by_first) +
                    tree_counts(pairs + 23, key, by_first));
    }
    return rank + tree_count_7(pairs + rank, key, by_first);
}

// Which child has the last pair up to `key`: the first also if there is none, so that
// its key need not be looked at.
static ALWAYS_INLINE uint32_t tree_way(const struct tree_node *node, struct tree_pair key,
                                       bool by_first) {
    const struct tree_pair *keys = node->as.inner.keys + 1;
    uint32_t at = 0;
    if (node->count > 8) {
        at = 8 * (tree_counts(keys + 7, key, by_first) + tree_counts(keys + 15, key, by_first));
    }
    return at + tree_count_7(keys + at, key, by_first);
}

static ALWAYS_INLINE bool tree_descend(const struct tree *tree, const struct tree_pool *pool,
                                       struct tree_cursor *cursor, struct tree_pair key,
                                       bool by_first) {
    uint32_t idx = tree->root;
    const struct tree_node *node = tree_node(pool, idx);
    for (uint32_t level = tree->level; level > 0; level--) {
        uint32_t at = tree_way(node, key, by_first);
        cursor->step[level].node = idx;
        cursor->step[level].at = at;
        idx = node->as.inner.children[at];
        node = tree_node(pool, idx);
    }
    uint32_t rank = tree_rank(node, key, by_first);
    cursor->step[0].node = idx;
    cursor->step[0].at = rank - (rank > 0);
    return rank > 0;
}

bool tree_find_slow(const struct tree *tree, const struct tree_pool *pool,
                    struct tree_cursor *cursor, struct tree_pair key) {
    return tree_descend(tree, pool, cursor, key, false);
}

bool tree_find_first_slow(const struct tree *tree, const struct tree_pool *pool,
                          struct tree_cursor *cursor, uint64_t first) {
    struct tree_pair key = {first, UINT64_MAX};
    return tree_descend(tree, pool, cursor, key, true);
}

// To the first pair of the next leaf, from whatever pair of this one.
static COLD bool tree_step_slow(const struct tree *tree, const struct tree_pool *pool,
                                struct tree_cursor *cursor) {
    uint32_t level = 1;
    while (level <= tree->level &&
           cursor->step[level].at + 1u >= tree_node(pool, cursor->step[level].node)->count) {
        level++;
    }
    if (level > tree->level) {
        return false;
    }
    uint32_t at = ++cursor->step[level].at;
    uint32_t idx = tree_node(pool, cursor->step[level].node)->as.inner.children[at];
    while (--level > 0) {
        cursor->step[level].node = idx;
        cursor->step[level].at = 0;
        idx = tree_node(pool, idx)->as.inner.children[0];
    }
    cursor->step[0].node = idx;
    cursor->step[0].at = 0;
    return true;
}

bool tree_step(const struct tree *tree, const struct tree_pool *pool, struct tree_cursor *cursor) {
    if (LIKELY(cursor->step[0].at + 1u < tree_node(pool, cursor->step[0].node)->count)) {
        cursor->step[0].at++;
        return true;
    }
    return tree_step_slow(tree, pool, cursor);
}

bool tree_peek(const struct tree *tree, const struct tree_pool *pool,
               const struct tree_cursor *cursor, struct tree_pair *next) {
    const struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    if (LIKELY(cursor->step[0].at + 1u < leaf->count)) {
        tree_store(next, tree_load(&leaf->as.pairs[cursor->step[0].at + 1]));
        return true;
    }
    struct tree_cursor copy = *cursor;
    bool has_next = tree_step_slow(tree, pool, &copy);
    if (has_next) {
        *next = tree_pair(pool, &copy);
    }
    return has_next;
}

struct tree_pair tree_last(const struct tree *tree, const struct tree_pool *pool) {
    const struct tree_node *node = tree_node(pool, tree->root);
    while (node->level > 0) {
        node = tree_node(pool, node->as.inner.children[node->count - 1]);
    }
    return node->as.pairs[node->count - 1];
}

// ---- Changing ------------------------------------------------------------------

void tree_init(struct tree *tree, struct tree_pool *pool) {
    tree->level = 0;
    tree->root = tree_take_node(pool, 0);
}

// The first pair of the cursor's node of this level is another one. [B2]
static void tree_tell_parents(const struct tree *tree, const struct tree_pool *pool,
                              const struct tree_cursor *cursor, uint32_t level,
                              struct tree_pair first) {
    for (; level < tree->level; level++) {
        uint32_t at = cursor->step[level + 1].at;
        tree_store(&tree_node(pool, cursor->step[level + 1].node)->as.inner.keys[at], first);
        if (at > 0) {
            break;
        }
    }
}

void tree_replace(const struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor,
                  struct tree_pair pair) {
    tree_store(&tree_node(pool, cursor->step[0].node)->as.pairs[cursor->step[0].at], pair);
    if (cursor->step[0].at == 0) {
        tree_tell_parents(tree, pool, cursor, 0, pair);
    }
}

static void tree_open_child(struct tree_node *parent, uint32_t at, uint32_t child) {
    uint32_t behind = parent->count - at;
    memmove(&parent->as.inner.keys[at + 1], &parent->as.inner.keys[at],
            behind * sizeof(struct tree_pair));
    memmove(&parent->as.inner.children[at + 1], &parent->as.inner.children[at],
            behind * sizeof(uint32_t));
    parent->as.inner.children[at] = child;
    parent->count++;
}

static void tree_close_child(struct tree_node *parent, uint32_t at) {
    uint32_t behind = parent->count - at - 1;
    memmove(&parent->as.inner.keys[at], &parent->as.inner.keys[at + 1],
            behind * sizeof(struct tree_pair));
    memmove(&parent->as.inner.children[at], &parent->as.inner.children[at + 1],
            behind * sizeof(uint32_t));
    parent->count--;
    parent->as.inner.keys[parent->count] = TREE_NO_PAIR;
}

// Shares what is in some adjacent children of the cursor's node of level + 1 out
// evenly among one more of them, one less or as many.
static NOINLINE void tree_deal(struct tree_pool *pool, struct tree_node *parent,
                               struct tree_window window) {
    struct tree_pair pairs[TREE_DEAL_MAX];
    uint32_t children[TREE_DEAL_MAX];
    uint32_t total = 0;
    uint32_t *nodes = &parent->as.inner.children[window.first_at];
    for (uint32_t i = 0; i < window.from; i++) {
        const struct tree_node *node = tree_node(pool, nodes[i]);
        memcpy(&pairs[total], node->as.pairs, node->count * sizeof(pairs[0]));
        if (node->level > 0) {
            memcpy(&children[total], node->as.inner.children, node->count * sizeof(children[0]));
        }
        total += node->count;
    }
    if (window.to > window.from) {
        tree_open_child(parent, window.first_at + window.from,
                        tree_take_node(pool, parent->level - 1));
    } else if (window.to < window.from) {
        tree_give_node(pool, nodes[window.to]);
        tree_close_child(parent, window.first_at + window.to);
    }
    uint32_t done = 0;
    for (uint32_t i = 0; i < window.to; i++) {
        struct tree_node *node = tree_node(pool, nodes[i]);
        node->count = total / window.to + (i < total % window.to);
        memcpy(node->as.pairs, &pairs[done], node->count * sizeof(pairs[0]));
        tree_fill(node, node->count);
        if (node->level > 0) {
            memcpy(node->as.inner.children, &children[done], node->count * sizeof(children[0]));
        }
        parent->as.inner.keys[window.first_at + i] = pairs[done];
        done += node->count;
    }
}

static void tree_grow(struct tree *tree, struct tree_pool *pool) {
    ALLOT_ASSERT(tree->level + 1 < TREE_LEVELS_MAX);
    uint32_t root = tree_take_node(pool, tree->level + 1);
    struct tree_node *node = tree_node(pool, root);
    node->as.inner.keys[0] = tree_node(pool, tree->root)->as.pairs[0];
    node->as.inner.children[0] = tree->root;
    node->count = 1;
    tree->root = root;
    tree->level++;
}

// The cursor's leaf is full. One step on the way to change that: room in the
// highest node of those above it that are full. The cursor is void then.
static COLD void tree_make_room(struct tree *tree, struct tree_pool *pool,
                                const struct tree_cursor *cursor) {
    uint32_t level = 0;
    while (level < tree->level && tree_is_full(tree_node(pool, cursor->step[level + 1].node))) {
        level++;
    }
    if (level == tree->level) {
        tree_grow(tree, pool);
        return;
    }
    struct tree_node *parent = tree_node(pool, cursor->step[level + 1].node);
    const uint32_t *children = parent->as.inner.children;
    uint32_t at = cursor->step[level + 1].at, places = level == 0 ? TREE_LEAF_MAX : TREE_INNER_MAX;
    if (parent->count == 1) {
        tree_deal(pool, parent, (struct tree_window){0, 1, 2});
        return;
    }
    uint32_t left = at > 0 ? tree_node(pool, children[at - 1])->count : places;
    uint32_t right = at + 1 < parent->count ? tree_node(pool, children[at + 1])->count : places;
    bool is_left = at > 0 && (at + 1 == parent->count || left < right);
    bool has_room = (is_left ? left : right) + TREE_ROOM <= places;
    tree_deal(pool, parent, (struct tree_window){at - is_left, 2, has_room ? 2 : 3});
}

// Makes room for the pair in its leaf, to whose place the cursor goes. The result is
// that of tree_find. Apart from tree_insert_at, which keeps the pair in registers.
static NOINLINE bool tree_open_leaf(struct tree *tree, struct tree_pool *pool,
                                    struct tree_cursor *cursor, struct tree_pair pair) {
    bool has_before;
    do {
        tree_make_room(tree, pool, cursor);
        has_before = tree_find(tree, pool, cursor, pair);
    } while (UNLIKELY(tree_is_full(tree_node(pool, cursor->step[0].node))));
    return has_before;
}

void tree_insert_at(struct tree *tree, struct tree_pool *pool, struct tree_cursor *cursor,
                    bool has_before, struct tree_pair pair) {
    COMPILER_APART(pair.first, pair.second);
    if (UNLIKELY(tree_is_full(tree_node(pool, cursor->step[0].node)))) {
        has_before = tree_open_leaf(tree, pool, cursor, pair);
    }
    struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    uint32_t at = cursor->step[0].at + has_before;
    uint32_t behind = leaf->count - at;
    if (behind > 0) {  // a call less in small trees
        memmove(&leaf->as.pairs[at + 1], &leaf->as.pairs[at], behind * sizeof(struct tree_pair));
    }
    tree_store(&leaf->as.pairs[at], pair);
    leaf->count++;
    if (at == 0) {
        tree_tell_parents(tree, pool, cursor, 0, pair);
    }
}

void tree_insert(struct tree *tree, struct tree_pool *pool, struct tree_pair pair) {
    struct tree_cursor cursor;
    bool has_before = tree_find(tree, pool, &cursor, pair);
    tree_insert_at(tree, pool, &cursor, has_before, pair);
}

// Whether a node that lost something is to look at its neighbours.
static bool tree_is_low(const struct tree_node *node) {
    return node->count < tree_places(node) * 4 / 5 &&
           (node->level > 0 || node->count % TREE_LOOK_STEP == 0);
}

// Whether it has too little to stay as it is. [B3]
static bool tree_is_lacking(const struct tree_node *node) {
    return node->count < tree_places(node) / 4 || node->count < 1 + (node->level > 0);
}

// A node of this level lost something. Returns whether its parent did so, too.
static bool tree_mend(const struct tree *tree, struct tree_pool *pool,
                      const struct tree_cursor *cursor, uint32_t level) {
    const struct tree_node *node = tree_node(pool, cursor->step[level].node);
    if (LIKELY(!tree_is_low(node))) {
        return false;
    }
    struct tree_node *parent = tree_node(pool, cursor->step[level + 1].node);
    uint32_t at = cursor->step[level + 1].at;
    uint32_t width = parent->count < TREE_WINDOW_MAX ? parent->count : TREE_WINDOW_MAX;
    uint32_t first = at > 0 ? at - 1 : 0;
    first = first + width > parent->count ? parent->count - width : first;
    uint32_t total = 0;
    for (uint32_t i = 0; i < width; i++) {
        total += tree_node(pool, parent->as.inner.children[first + i])->count;
    }
    bool is_less = total <= (width - 1) * (tree_places(node) * 15 / 16);
    if (is_less || tree_is_lacking(node)) {
        tree_deal(pool, parent, (struct tree_window){first, width, width - is_less});
        tree_tell_parents(tree, pool, cursor, level + 1, parent->as.inner.keys[0]);
    }
    return is_less;
}

void tree_remove_at(struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor) {
    struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    uint32_t at = cursor->step[0].at;
    leaf->count--;
    uint32_t behind = leaf->count - at;
    if (behind > 0) {
        memmove(&leaf->as.pairs[at], &leaf->as.pairs[at + 1], behind * sizeof(struct tree_pair));
    }
    leaf->as.pairs[leaf->count] = TREE_NO_PAIR;
    if (at == 0 && leaf->count > 0) {
        tree_tell_parents(tree, pool, cursor, 0, leaf->as.pairs[0]);
    }
    uint32_t level = 0;
    while (level < tree->level && tree_mend(tree, pool, cursor, level)) {
        level++;
    }
    while (tree->level > 0 && tree_node(pool, tree->root)->count == 1) {
        uint32_t old = tree->root;
        tree->root = tree_node(pool, old)->as.inner.children[0];
        tree->level--;
        tree_give_node(pool, old);
    }
}

// Whether `to` may stand at the cursor. Where it is the end of a leaf and only the
// other leaf could tell, it may not.
static bool tree_fits(const struct tree *tree, const struct tree_pool *pool,
                      const struct tree_cursor *cursor, struct tree_pair to) {
    const struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    const struct tree_pair *at = &leaf->as.pairs[cursor->step[0].at];
    bool is_alone = tree->level == 0;
    bool is_above =
        cursor->step[0].at > 0 ? !tree_is_up_to(to, at[-1]) : is_alone || !tree_is_up_to(to, at[0]);
    bool is_below = cursor->step[0].at + 1u < leaf->count ? tree_is_up_to(to, at[1])
                                                          : is_alone || tree_is_up_to(to, at[0]);
    return is_above && is_below;
}

void tree_move_at(struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor,
                  struct tree_pair to) {
    if (tree_fits(tree, pool, cursor, to)) {
        tree_replace(tree, pool, cursor, to);
    } else {
        tree_remove_at(tree, pool, cursor);
        tree_insert(tree, pool, to);
    }
}

uint32_t tree_nodes_for(const struct tree *tree, const struct tree_pool *pool,
                        struct tree_pair pair) {
    struct tree_cursor cursor;
    tree_find(tree, pool, &cursor, pair);
    uint32_t level = 0;
    while (level <= tree->level && tree_is_full(tree_node(pool, cursor.step[level].node))) {
        level++;
    }
    return level > tree->level ? level + 1 : level;
}

// ---- Checking ------------------------------------------------------------------

static bool tree_is_node_right(const struct tree *tree, const struct tree_pool *pool,
                               uint32_t idx) {
    if (idx >= pool->carved_count) {
        return false;
    }
    const struct tree_node *node = tree_node(pool, idx);
    bool is_root = idx == tree->root;
    if (node->count > tree_places(node) || (!is_root && node->count < 1 + (node->level > 0)) ||
        (is_root && node->level > 0 && node->count < 2)) {
        return false;  // [B3]
    }
    for (uint32_t i = 1; i < (node->level > 0 ? TREE_INNER_PAIRS : TREE_LEAF_PAIRS); i++) {
        bool is_growing = !tree_is_up_to(node->as.pairs[i], node->as.pairs[i - 1]);
        bool is_none = node->as.pairs[i].first == UINT64_MAX;
        if (i < node->count ? !is_growing : !is_none) {
            return false;  // [B1]
        }
    }
    return true;
}

// From a node of the cursor down to its first leaf: each node's first pair is the
// key above it. [B2]
static bool tree_validate_way(const struct tree *tree, const struct tree_pool *pool,
                              struct tree_cursor *cursor, uint32_t level) {
    while (level > 0) {
        const struct tree_node *node = tree_node(pool, cursor->step[level].node);
        uint32_t at = cursor->step[level].at, child = node->as.inner.children[at];
        level--;
        if (!tree_is_node_right(tree, pool, child) || tree_node(pool, child)->level != level) {
            return false;
        }
        struct tree_pair first = tree_node(pool, child)->as.pairs[0];
        if (first.first != node->as.inner.keys[at].first ||
            first.second != node->as.inner.keys[at].second) {
            return false;
        }
        cursor->step[level].node = child;
        cursor->step[level].at = 0;
    }
    return true;
}

uint32_t tree_validate(const struct tree *tree, const struct tree_pool *pool,
                       uint64_t *pair_count) {
    struct tree_cursor cursor = {.step = {{0}}};
    uint32_t level = tree->level, node_count = 1 + level;
    struct tree_pair last = {0, 0};
    *pair_count = 0;
    if (level >= TREE_LEVELS_MAX || !tree_is_node_right(tree, pool, tree->root)) {
        return 0;
    }
    cursor.step[level].node = tree->root;
    while (level <= tree->level && tree_validate_way(tree, pool, &cursor, level)) {
        const struct tree_node *leaf = tree_node(pool, cursor.step[0].node);
        if (*pair_count > 0 && tree_is_up_to(leaf->as.pairs[0], last)) {
            return 0;  // [B1]
        }
        *pair_count += leaf->count;
        last = leaf->count > 0 ? leaf->as.pairs[leaf->count - 1] : last;
        level = 1;
        while (level <= tree->level &&
               cursor.step[level].at + 1u >= tree_node(pool, cursor.step[level].node)->count) {
            level++;
        }
        if (level <= tree->level) {
            cursor.step[level].at++;
            node_count += level;
        }
    }
    return level > tree->level ? node_count : 0;
}

bool tree_pool_validate(const struct tree_pool *pool, uint32_t used_count) {
    uint32_t listed = 0;
    for (uint32_t idx = pool->free_first; idx != TREE_NO_NODE; idx = tree_node(pool, idx)->next) {
        if (idx >= pool->carved_count || ++listed > pool->free_count) {
            return false;
        }
    }
    return pool->carved_count <= pool->node_count && listed + used_count == pool->carved_count &&
           pool->free_count == pool->node_count - used_count;
}
