// tree.c - pairs of numbers in order, in nodes that are numbered.          layer 6
#include "range/tree.h"

#include "os/check.h"

#include <string.h>

enum {
    TREE_WINDOW_MAX = 3,
    TREE_DEAL_MAX = TREE_WINDOW_MAX * TREE_NARROW_LEAF,
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

static ALWAYS_INLINE uint32_t tree_places(const struct tree_node *node, bool is_wide) {
    if (node->level == 0) {
        return tree_leaf_most(is_wide);
    }
    return CONFIG_TINY ? 4 : is_wide ? TREE_WIDE_INNER : TREE_NARROW_INNER;
}

static ALWAYS_INLINE bool tree_is_full(const struct tree_node *node, bool is_wide) {
    return node->count == tree_places(node, is_wide);
}

// The pairs of a leaf, the keys of another node.
static ALWAYS_INLINE uint64_t *tree_words(const struct tree_node *node) {
    const uint64_t *words = node->as.words + (node->level > 0 ? TREE_KEYS_WORD : 0);
    return (uint64_t *)(uintptr_t)words;
}

static struct tree_pair tree_first(const struct tree *tree, const struct tree_node *node) {
    return tree_pair_of(tree_get(tree_words(node), 0, tree->is_wide), tree->is_wide);
}

static void tree_clear(struct tree_node *node) {
    uint32_t begin = node->level > 0 ? TREE_KEYS_WORD : 0;
    for (uint32_t i = begin; i < TREE_WORDS; i++) {
        node->as.words[i] = UINT64_MAX;
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
    node->level = (uint16_t)level;
    tree_clear(node);
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

// Whether the pair at these words is up to `key`.
static ALWAYS_INLINE uint64_t tree_counts(const uint64_t *words, uint128 key, bool is_wide) {
    return is_wide ? tree_get(words, 0, true) <= key : words[0] <= (uint64_t)key;
}

// How many of some pairs, each `step` words behind the other, are up to `key`.
static ALWAYS_INLINE uint64_t tree_count_3(const uint64_t *words, size_t step, uint128 key,
                                           bool is_wide) {
    return tree_counts(words, key, is_wide) + tree_counts(words + step, key, is_wide) +
           tree_counts(words + 2 * step, key, is_wide);
}

// Two sums, so that one does not wait for all.
static ALWAYS_INLINE uint64_t tree_count_7(const uint64_t *words, size_t step, uint128 key,
                                           bool is_wide) {
    uint64_t low = tree_count_3(words, step, key, is_wide);
    uint64_t high = tree_count_3(words + 3 * step, step, key, is_wide) +
                    tree_counts(words + 6 * step, key, is_wide);
    COMPILER_APART(low, high);
    return low + high;
}

// How many pairs of a leaf are up to `key`: full blocks of eight first, then in the
// next block. Hardly anything is predicted, and the loads wait for one another once.
static ALWAYS_INLINE uint32_t tree_rank(const struct tree_node *leaf, uint128 key, bool is_wide) {
    const uint64_t *words = leaf->as.words;
    size_t width = 1 + is_wide;
    uint64_t rank = 0;
    if (leaf->count >= 8) {
        rank = 8 * (is_wide ? tree_count_3(words + 14, 16, key, true)
                            : tree_count_7(words + 7, 8, key, false));
    }
    return (uint32_t)(rank + tree_count_7(words + rank * width, width, key, is_wide));
}

// Which child has the last pair up to `key`: the first also if there is none, so that
// its key need not be looked at.
static ALWAYS_INLINE uint32_t tree_way(const struct tree_node *node, uint128 key, bool is_wide) {
    const uint64_t *words = node->as.words + TREE_KEYS_WORD + 1 + is_wide;
    uint64_t at = 0;
    if (is_wide) {
        at = 7 * (tree_counts(words + 12, key, true) + tree_counts(words + 26, key, true));
        words += 2 * at;
        return (uint32_t)(at + tree_count_3(words, 2, key, true) +
                          tree_count_3(words + 6, 2, key, true));
    }
    if (node->count > 8) {
        at = 8 * (tree_counts(words + 7, key, false) + tree_count_3(words + 15, 8, key, false));
    }
    return (uint32_t)(at + tree_count_7(words + at, 1, key, false));
}

static ALWAYS_INLINE bool tree_descend(const struct tree *tree, const struct tree_pool *pool,
                                       struct tree_cursor *cursor, uint128 key, bool is_wide) {
    uint32_t idx = tree->root;
    const struct tree_node *node = tree_node(pool, idx);
    for (uint32_t level = tree->level; level > 0; level--) {
        uint32_t at = tree_way(node, key, is_wide);
        cursor->step[level].node = idx;
        cursor->step[level].at = at;
        idx = node->as.children[at];
        node = tree_node(pool, idx);
    }
    uint32_t rank = tree_rank(node, key, is_wide);
    cursor->step[0].node = idx;
    cursor->step[0].at = rank - (rank > 0);
    return rank > 0;
}

bool tree_find_slow(const struct tree *tree, const struct tree_pool *pool,
                    struct tree_cursor *cursor, struct tree_pair key) {
    return tree->is_wide
               ? tree_descend(tree, pool, cursor, tree_number(key, true), true)
               : tree_descend(tree, pool, cursor, (uint64_t)tree_number(key, false), false);
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
    uint32_t idx = tree_node(pool, cursor->step[level].node)->as.children[at];
    while (--level > 0) {
        cursor->step[level].node = idx;
        cursor->step[level].at = 0;
        idx = tree_node(pool, idx)->as.children[0];
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
        uint128 number = tree_get(leaf->as.words, cursor->step[0].at + 1, tree->is_wide);
        *next = tree_pair_of(number, tree->is_wide);
        return true;
    }
    struct tree_cursor copy = *cursor;
    bool has_next = tree_step_slow(tree, pool, &copy);
    if (has_next) {
        *next = tree_pair(tree, pool, &copy);
    }
    return has_next;
}

struct tree_pair tree_last(const struct tree *tree, const struct tree_pool *pool) {
    const struct tree_node *node = tree_node(pool, tree->root);
    while (node->level > 0) {
        node = tree_node(pool, node->as.children[node->count - 1]);
    }
    return tree_pair_of(tree_get(node->as.words, node->count - 1u, tree->is_wide), tree->is_wide);
}

// ---- Changing ------------------------------------------------------------------

void tree_init(struct tree *tree, struct tree_pool *pool, bool is_wide) {
    tree->level = 0;
    tree->is_wide = is_wide;
    tree->root = tree_take_node(pool, 0);
}

// The first pair of the cursor's node of this level is another one. [B2]
static NOINLINE void tree_tell_parents(const struct tree *tree, const struct tree_pool *pool,
                                       const struct tree_cursor *cursor, uint32_t level,
                                       uint128 first) {
    for (; level < tree->level; level++) {
        uint32_t at = cursor->step[level + 1].at;
        struct tree_node *parent = tree_node(pool, cursor->step[level + 1].node);
        tree_put(tree_words(parent), at, first, tree->is_wide);
        if (at > 0) {
            break;
        }
    }
}

void tree_replace(const struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor,
                  struct tree_pair pair) {
    uint128 number = tree_number(pair, tree->is_wide);
    struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    tree_put(leaf->as.words, cursor->step[0].at, number, tree->is_wide);
    if (cursor->step[0].at == 0) {
        tree_tell_parents(tree, pool, cursor, 0, number);
    }
}

// Moves n pairs within a node.
static ALWAYS_INLINE void tree_shift(uint64_t *words, uint32_t to, uint32_t from, uint32_t n,
                                     bool is_wide) {
    if (n > 0) {  // a call less in small trees
        memmove(words + (to << is_wide), words + (from << is_wide),
                sizeof(uint64_t) * n << is_wide);
    }
}

static void tree_open_child(struct tree_node *parent, uint32_t at, uint32_t child, bool is_wide) {
    uint32_t behind = parent->count - at;
    tree_shift(tree_words(parent), at + 1, at, behind, is_wide);
    memmove(&parent->as.children[at + 1], &parent->as.children[at], behind * sizeof(uint32_t));
    parent->as.children[at] = child;
    parent->count++;
}

static void tree_close_child(struct tree_node *parent, uint32_t at, bool is_wide) {
    uint32_t behind = parent->count - at - 1u;
    tree_shift(tree_words(parent), at, at + 1, behind, is_wide);
    memmove(&parent->as.children[at], &parent->as.children[at + 1], behind * sizeof(uint32_t));
    parent->count--;
    tree_put(tree_words(parent), parent->count, TREE_NONE, is_wide);
}

// Pairs from `from` to the end of a node are no more.
static void tree_end(struct tree_node *node, uint32_t from, bool is_wide) {
    const uint64_t *end = node->as.words + TREE_WORDS;
    for (uint64_t *word = tree_words(node) + (from << is_wide); word < end; word++) {
        *word = UINT64_MAX;
    }
}

// Shares what is in some adjacent children of the cursor's node of level + 1 out
// evenly among one more of them, one less or as many.
static NOINLINE void tree_deal(struct tree_pool *pool, struct tree_node *parent,
                               struct tree_window window, bool is_wide) {
    uint64_t words[2 * TREE_DEAL_MAX];
    uint32_t children[TREE_DEAL_MAX];
    uint32_t *nodes = &parent->as.children[window.first_at];
    size_t pair_bytes = sizeof(uint64_t) << is_wide;
    uint32_t total = 0;
    for (uint32_t i = 0; i < window.from; i++) {
        const struct tree_node *node = tree_node(pool, nodes[i]);
        memcpy(words + (total << is_wide), tree_words(node), node->count * pair_bytes);
        if (node->level > 0) {
            memcpy(&children[total], node->as.children, node->count * sizeof(children[0]));
        }
        total += node->count;
    }
    if (window.to > window.from) {
        tree_open_child(parent, window.first_at + window.from,
                        tree_take_node(pool, parent->level - 1u), is_wide);
    } else if (window.to < window.from) {
        tree_give_node(pool, nodes[window.to]);
        tree_close_child(parent, window.first_at + window.to, is_wide);
    }
    uint32_t done = 0;
    for (uint32_t i = 0; i < window.to; i++) {
        struct tree_node *node = tree_node(pool, nodes[i]);
        node->count = (uint16_t)(total / window.to + (i < total % window.to));
        memcpy(tree_words(node), words + (done << is_wide), node->count * pair_bytes);
        tree_end(node, node->count, is_wide);
        if (node->level > 0) {
            memcpy(node->as.children, &children[done], node->count * sizeof(children[0]));
        }
        tree_put(tree_words(parent), window.first_at + i, tree_get(words, done, is_wide), is_wide);
        done += node->count;
    }
}

static void tree_grow(struct tree *tree, struct tree_pool *pool) {
    ALLOT_ASSERT(tree->level + 1 < TREE_LEVELS_MAX);
    uint32_t root = tree_take_node(pool, tree->level + 1u);
    struct tree_node *node = tree_node(pool, root);
    struct tree_pair first = tree_first(tree, tree_node(pool, tree->root));
    tree_put(tree_words(node), 0, tree_number(first, tree->is_wide), tree->is_wide);
    node->as.children[0] = tree->root;
    node->count = 1;
    tree->root = root;
    tree->level++;
}

// The cursor's leaf is full. One step on the way to change that: room in the
// highest node of those above it that are full. The cursor is void then.
static COLD void tree_make_room(struct tree *tree, struct tree_pool *pool,
                                const struct tree_cursor *cursor) {
    uint32_t level = 0;
    bool is_wide = tree->is_wide;
    while (level < tree->level &&
           tree_is_full(tree_node(pool, cursor->step[level + 1].node), is_wide)) {
        level++;
    }
    if (level == tree->level) {
        tree_grow(tree, pool);
        return;
    }
    struct tree_node *parent = tree_node(pool, cursor->step[level + 1].node);
    const uint32_t *children = parent->as.children;
    uint32_t at = cursor->step[level + 1].at;
    uint32_t places = tree_places(tree_node(pool, children[at]), is_wide);
    if (parent->count == 1) {
        tree_deal(pool, parent, (struct tree_window){0, 1, 2}, is_wide);
        return;
    }
    uint32_t left = at > 0 ? tree_node(pool, children[at - 1])->count : places;
    uint32_t right = at + 1 < parent->count ? tree_node(pool, children[at + 1])->count : places;
    bool is_left = at > 0 && (at + 1 == parent->count || left < right);
    bool has_room = (is_left ? left : right) + TREE_ROOM <= places;
    tree_deal(pool, parent, (struct tree_window){at - is_left, 2, has_room ? 2 : 3}, is_wide);
}

// Makes room for the pair in its leaf, to whose place the cursor goes. The result is
// that of tree_find.
static NOINLINE bool tree_open_leaf(struct tree *tree, struct tree_pool *pool,
                                    struct tree_cursor *cursor, struct tree_pair pair) {
    bool has_before;
    do {
        tree_make_room(tree, pool, cursor);
        has_before = tree_find(tree, pool, cursor, pair);
    } while (UNLIKELY(tree_is_full(tree_node(pool, cursor->step[0].node), tree->is_wide)));
    return has_before;
}

// The cursor is where the pair belongs.
static ALWAYS_INLINE void tree_insert_in(struct tree *tree, struct tree_pool *pool,
                                         struct tree_cursor *cursor, uint128 number, bool is_wide) {
    if (UNLIKELY(tree_is_full(tree_node(pool, cursor->step[0].node), is_wide))) {
        cursor->step[0].at += tree_open_leaf(tree, pool, cursor, tree_pair_of(number, is_wide));
    }
    struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    uint32_t at = cursor->step[0].at;
    tree_shift(leaf->as.words, at + 1, at, leaf->count - at, is_wide);
    tree_put(leaf->as.words, at, number, is_wide);
    leaf->count++;
    if (UNLIKELY(at == 0) && tree->level > 0) {
        tree_tell_parents(tree, pool, cursor, 0, number);
    }
}

void tree_insert_at(struct tree *tree, struct tree_pool *pool, struct tree_cursor *cursor,
                    bool has_before, struct tree_pair pair) {
    cursor->step[0].at += has_before;
    if (tree->is_wide) {
        tree_insert_in(tree, pool, cursor, tree_number(pair, true), true);
    } else {
        tree_insert_in(tree, pool, cursor, tree_number(pair, false), false);
    }
}

void tree_insert(struct tree *tree, struct tree_pool *pool, struct tree_pair pair) {
    struct tree_cursor cursor;
    bool has_before = tree_find(tree, pool, &cursor, pair);
    tree_insert_at(tree, pool, &cursor, has_before, pair);
}

// Whether a node that lost something is to look at its neighbours.
static bool tree_is_low(const struct tree_node *node, bool is_wide) {
    return node->count < tree_places(node, is_wide) * 4 / 5 &&
           (node->level > 0 || node->count % TREE_LOOK_STEP == 0);
}

// Whether it has too little to stay as it is. [B3]
static bool tree_is_lacking(const struct tree_node *node, bool is_wide) {
    return node->count < tree_places(node, is_wide) / 4 || node->count < 1 + (node->level > 0);
}

// A node of this level lost something. Returns whether its parent did so, too.
static NOINLINE bool tree_mend(const struct tree *tree, struct tree_pool *pool,
                               const struct tree_cursor *cursor, uint32_t level) {
    const struct tree_node *node = tree_node(pool, cursor->step[level].node);
    struct tree_node *parent = tree_node(pool, cursor->step[level + 1].node);
    uint32_t at = cursor->step[level + 1].at;
    uint32_t width = parent->count < TREE_WINDOW_MAX ? parent->count : TREE_WINDOW_MAX;
    uint32_t first = at > 0 ? at - 1 : 0;
    first = first + width > parent->count ? parent->count - width : first;
    uint32_t total = 0;
    for (uint32_t i = 0; i < width; i++) {
        total += tree_node(pool, parent->as.children[first + i])->count;
    }
    bool is_less = total <= (width - 1) * (tree_places(node, tree->is_wide) * 15 / 16);
    if (is_less || tree_is_lacking(node, tree->is_wide)) {
        tree_deal(pool, parent, (struct tree_window){first, width, width - is_less}, tree->is_wide);
        struct tree_pair lowest = tree_first(tree, parent);
        tree_tell_parents(tree, pool, cursor, level + 1, tree_number(lowest, tree->is_wide));
    }
    return is_less;
}

static ALWAYS_INLINE void tree_remove_in(struct tree *tree, struct tree_pool *pool,
                                         const struct tree_cursor *cursor, bool is_wide) {
    struct tree_node *leaf = tree_node(pool, cursor->step[0].node);
    uint32_t at = cursor->step[0].at;
    leaf->count--;
    tree_shift(leaf->as.words, at, at + 1, leaf->count - at, is_wide);
    tree_put(leaf->as.words, leaf->count, TREE_NONE, is_wide);
    if (UNLIKELY(at == 0) && tree->level > 0 && leaf->count > 0) {
        tree_tell_parents(tree, pool, cursor, 0, tree_get(leaf->as.words, 0, is_wide));
    }
    uint32_t level = 0;
    while (level < tree->level &&
           UNLIKELY(tree_is_low(tree_node(pool, cursor->step[level].node), is_wide)) &&
           tree_mend(tree, pool, cursor, level)) {
        level++;
    }
    while (UNLIKELY(level > 0) && tree->level > 0 && tree_node(pool, tree->root)->count == 1) {
        uint32_t old = tree->root;
        tree->root = tree_node(pool, old)->as.children[0];
        tree->level--;
        tree_give_node(pool, old);
    }
}

void tree_remove_at(struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor) {
    if (tree->is_wide) {
        tree_remove_in(tree, pool, cursor, true);
    } else {
        tree_remove_in(tree, pool, cursor, false);
    }
}

void tree_fini(struct tree *tree, struct tree_pool *pool) {
    struct tree_cursor cursor;
    while (tree_node(pool, tree->root)->count > 0) {
        tree_find(tree, pool, &cursor, (struct tree_pair){0, 0});
        tree_remove_at(tree, pool, &cursor);
    }
    tree_give_node(pool, tree->root);
}

// From one place of a leaf to another one, `to` counted without the pair itself.
static ALWAYS_INLINE void tree_move_within(struct tree_node *leaf, uint32_t from, uint32_t to,
                                           uint128 number, bool is_wide) {
    bool is_up = to > from;
    uint32_t n = is_up ? to - from : from - to, low = is_up ? from : to;
    tree_shift(leaf->as.words, low + !is_up, low + is_up, n, is_wide);
    tree_put(leaf->as.words, to, number, is_wide);
}

// Both places are found before anything changes: the second search need not wait.
static ALWAYS_INLINE void tree_move_in(struct tree *tree, struct tree_pool *pool,
                                       const struct tree_cursor *cursor, uint128 to, bool is_wide) {
    struct tree_cursor target;
    bool has_before = tree_descend(tree, pool, &target, to, is_wide);
    struct tree_node *leaf = tree_node(pool, target.step[0].node);
    target.step[0].at += has_before;
    if (target.step[0].node == cursor->step[0].node) {
        uint32_t from = cursor->step[0].at, at = target.step[0].at;
        at -= at > from;
        tree_move_within(leaf, from, at, to, is_wide);
        if (UNLIKELY(from == 0 || at == 0)) {
            tree_tell_parents(tree, pool, cursor, 0, tree_get(leaf->as.words, 0, is_wide));
        }
    } else if (LIKELY(!tree_is_full(leaf, is_wide))) {
        tree_insert_in(tree, pool, &target, to, is_wide);
        tree_remove_in(tree, pool, cursor, is_wide);
    } else {
        tree_remove_in(tree, pool, cursor, is_wide);
        tree_insert(tree, pool, tree_pair_of(to, is_wide));
    }
}

void tree_move_at(struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor,
                  struct tree_pair to) {
    if (tree->is_wide) {
        tree_move_in(tree, pool, cursor, tree_number(to, true), true);
    } else {
        tree_move_in(tree, pool, cursor, (uint64_t)tree_number(to, false), false);
    }
}

uint32_t tree_nodes_for(const struct tree *tree, const struct tree_pool *pool,
                        struct tree_pair pair) {
    struct tree_cursor cursor;
    tree_find(tree, pool, &cursor, pair);
    uint32_t level = 0;
    while (level <= tree->level &&
           tree_is_full(tree_node(pool, cursor.step[level].node), tree->is_wide)) {
        level++;
    }
    return level > tree->level ? level + 1 : level;
}

// ---- Checking ------------------------------------------------------------------

// [B1]
static bool tree_are_words_right(const struct tree_node *node, bool is_wide) {
    const uint64_t *words = tree_words(node);
    uint32_t end = (TREE_WORDS - (uint32_t)(words - node->as.words)) >> is_wide;
    for (uint32_t i = 1; i < end; i++) {
        uint128 number = tree_get(words, i, is_wide);
        bool is_growing = number > tree_get(words, i - 1, is_wide);
        if (i < node->count ? !is_growing : number != tree_none(is_wide)) {
            return false;
        }
    }
    return true;
}

static bool tree_is_node_right(const struct tree *tree, const struct tree_pool *pool,
                               uint32_t idx) {
    if (idx >= pool->carved_count) {
        return false;
    }
    const struct tree_node *node = tree_node(pool, idx);
    bool is_root = idx == tree->root, is_wide = tree->is_wide;
    if (node->count > tree_places(node, is_wide) ||
        (!is_root && node->count < 1 + (node->level > 0)) ||
        (is_root && node->level > 0 && node->count < 2)) {
        return false;  // [B3]
    }
    return tree_are_words_right(node, is_wide);
}

// From a node of the cursor down to its first leaf: each node's first pair is the
// key above it. [B2]
static bool tree_validate_way(const struct tree *tree, const struct tree_pool *pool,
                              struct tree_cursor *cursor, uint32_t level) {
    while (level > 0) {
        const struct tree_node *node = tree_node(pool, cursor->step[level].node);
        uint32_t at = cursor->step[level].at, child = node->as.children[at];
        level--;
        if (!tree_is_node_right(tree, pool, child) || tree_node(pool, child)->level != level) {
            return false;
        }
        uint128 first = tree_number(tree_first(tree, tree_node(pool, child)), tree->is_wide);
        if (first != tree_get(tree_words(node), at, tree->is_wide)) {
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
    uint128 last = 0;
    *pair_count = 0;
    if (level >= TREE_LEVELS_MAX || !tree_is_node_right(tree, pool, tree->root)) {
        return 0;
    }
    cursor.step[level].node = tree->root;
    while (level <= tree->level && tree_validate_way(tree, pool, &cursor, level)) {
        const struct tree_node *leaf = tree_node(pool, cursor.step[0].node);
        uint128 first = tree_number(tree_first(tree, leaf), tree->is_wide);
        if (*pair_count > 0 && first <= last) {
            return 0;  // [B1]
        }
        *pair_count += leaf->count;
        last = leaf->count > 0 ? tree_get(leaf->as.words, leaf->count - 1u, tree->is_wide) : last;
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
