// tree.h - pairs of numbers in order, in nodes that are numbered.          layer 6
//
// A B+-tree. Pairs are ordered by their first number, then by their second; no
// two are equal. All nodes of all trees of a pool are equal in size and lie in
// one array, which the pool finds by its distance from itself: nothing here is an
// address, so that the memory may be mapped at several, or moved as a whole.
//
//   inner  | count level | children ... | keys ... |    keys[i]: the first pair
//   leaf   | count level | pairs ...               |    below children[i]
//
// A narrow tree keeps a pair in one word, 32 bits for each number; a wide one in
// two. Either way a pair is compared as one number. Words beyond `count` are
// TREE_NONE, which is greater than any other: a search compares a fixed number of
// pairs, and nothing in it depends on the count.
//
// A full node first gives to a neighbour; two full ones become three. Of neighbours
// that lost pairs three become two as soon as these have room for a few more, so
// that nodes are three quarters full at work.
//
// Invariants (tree_validate checks them)
//   [B1] pairs grow from left to right; those beyond the count are TREE_NONE
//   [B2] keys[i] is the first pair below children[i]
//   [B3] a leaf has a pair and an inner node two children, except the root
//   [B4] every node is in one tree or in the list of free ones
#ifndef ALLOT_RANGE_TREE_H
#define ALLOT_RANGE_TREE_H

#include "base/bits.h"
#include "base/compiler.h"
#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tree_pair {
    uint64_t first, second;
};

#define TREE_NO_NODE UINT32_MAX

// Greater than any pair, in the words of either form.
#define TREE_NONE (~(uint128)0)

// No number of a pair of a narrow tree is greater.
#define TREE_NARROW_MAX (UINT32_MAX - UINT64_C(1))

enum {
    TREE_NODE_BYTES = 512,
    TREE_WORDS = 63,
    TREE_CHILDREN = 40,                  // places in memory
    TREE_KEYS_WORD = TREE_CHILDREN / 2,  // where keys begin
    TREE_NARROW_LEAF = 63,               // pairs in a leaf: as many as a search counts
    TREE_WIDE_LEAF = 31,
    TREE_NARROW_INNER = 40,  // children of another node, likewise
    TREE_WIDE_INNER = 20,
    TREE_LEVELS_MAX = CONFIG_TINY ? 24 : 12,
};

struct tree_node {
    uint16_t count;  // pairs or children
    uint16_t level;  // 0: a leaf
    uint32_t next;   // while free
    union {
        uint64_t words[TREE_WORDS];
        uint32_t children[TREE_CHILDREN];
    } as;
} CACHE_ALIGNED;
_Static_assert(sizeof(struct tree_node) == TREE_NODE_BYTES, "eight cache lines");

struct tree_pool {
    int64_t nodes_distance;  // from this struct to the array, in bytes
    uint32_t node_count;     // in the array
    uint32_t carved_count;   // ever in use; those beyond were never written
    uint32_t free_count;     // not in a tree, those beyond included
    uint32_t free_first;     // list of those that were in use
};

struct tree {
    uint32_t root;
    uint16_t level;  // of the root
    bool is_wide;
};

// A way from the root to a pair, or to the place of one.
//
// Not two arrays: GCC 12 (-fipa-modref) then takes what a function writes into the
// first to be unchanged in its caller.
struct tree_cursor {
    struct {
        uint32_t node, at;
    } step[TREE_LEVELS_MAX];  // by level
};

static ALWAYS_INLINE struct tree_node *tree_node(const struct tree_pool *pool, uint32_t idx) {
    char *nodes = (char *)(uintptr_t)pool + pool->nodes_distance;
    return (struct tree_node *)(void *)nodes + idx;
}

// ---- Pairs as numbers ------------------------------------------------------------

// How many pairs a leaf can have.
static ALWAYS_INLINE uint32_t tree_leaf_most(bool is_wide) {
    return CONFIG_TINY ? 4 : is_wide ? TREE_WIDE_LEAF : TREE_NARROW_LEAF;
}

static ALWAYS_INLINE uint128 tree_number(struct tree_pair pair, bool is_wide) {
    return is_wide ? (uint128)pair.first << 64 | pair.second : pair.first << 32 | pair.second;
}

// TREE_NONE as tree_get returns it.
static ALWAYS_INLINE uint128 tree_none(bool is_wide) {
    return is_wide ? TREE_NONE : UINT64_MAX;
}

static ALWAYS_INLINE struct tree_pair tree_pair_of(uint128 number, bool is_wide) {
    uint64_t low = (uint64_t)number;
    return is_wide ? (struct tree_pair){(uint64_t)(number >> 64), low}
                   : (struct tree_pair){low >> 32, low & UINT32_MAX};
}

// Word by word, never both in one vector register: half of the time of an
// operation would be waiting for such loads of what was stored a moment ago.
static ALWAYS_INLINE uint128 tree_get(const uint64_t *words, uint32_t at, bool is_wide) {
    if (!is_wide) {
        return words[at];
    }
    words += 2 * (size_t)at;
    uint64_t high = words[0], low = words[1];
    COMPILER_APART(high, low);
    return (uint128)high << 64 | low;
}

static ALWAYS_INLINE void tree_put(uint64_t *words, uint32_t at, uint128 number, bool is_wide) {
    if (!is_wide) {
        words[at] = (uint64_t)number;
        return;
    }
    uint64_t high = (uint64_t)(number >> 64), low = (uint64_t)number;
    COMPILER_APART(high, low);
    words += 2 * (size_t)at;
    words[0] = high;
    words[1] = low;
}

// ---- Trees -----------------------------------------------------------------------

// An array of nodes, `address` a multiple of a cache line.
void tree_pool_init(struct tree_pool *pool, void *address, uint32_t node_count);

// The array is at `address` now and has become larger.
void tree_pool_move(struct tree_pool *pool, void *address, uint32_t node_count);

// Makes an empty tree of one node, which the pool has.
void tree_init(struct tree *tree, struct tree_pool *pool, bool is_wide);

// Removes all pairs, one by one, and gives the last node back.
void tree_fini(struct tree *tree, struct tree_pool *pool);

bool tree_find_slow(const struct tree *tree, const struct tree_pool *pool,
                    struct tree_cursor *cursor, struct tree_pair key);

// To the last pair up to `key`; true if there is one, else to the first pair. A tree of
// one pair, a range that is used as a stack, needs no search.
static inline bool tree_find(const struct tree *tree, const struct tree_pool *pool,
                             struct tree_cursor *cursor, struct tree_pair key) {
    const struct tree_node *root = tree_node(pool, tree->root);
    if (root->count > 1 || tree->level > 0) {
        return tree_find_slow(tree, pool, cursor, key);
    }
    cursor->step[0].node = tree->root;
    cursor->step[0].at = 0;
    uint128 only = tree_get(root->as.words, 0, tree->is_wide);
    return only <= tree_number(key, tree->is_wide);
}

// To the last pair whose first number is up to `first`; else as tree_find.
static inline bool tree_find_first(const struct tree *tree, const struct tree_pool *pool,
                                   struct tree_cursor *cursor, uint64_t first) {
    if (tree->is_wide) {
        return tree_find(tree, pool, cursor, (struct tree_pair){first, UINT64_MAX});
    }
    first = first < TREE_NARROW_MAX ? first : TREE_NARROW_MAX;
    return tree_find(tree, pool, cursor, (struct tree_pair){first, UINT32_MAX});
}

// To the next pair; false if there is none, and the cursor stays.
bool tree_step(const struct tree *tree, const struct tree_pool *pool, struct tree_cursor *cursor);

// The pair at the cursor; the tree is not empty.
static ALWAYS_INLINE struct tree_pair
tree_pair(const struct tree *tree, const struct tree_pool *pool, const struct tree_cursor *cursor) {
    const uint64_t *words = tree_node(pool, cursor->step[0].node)->as.words;
    return tree_pair_of(tree_get(words, cursor->step[0].at, tree->is_wide), tree->is_wide);
}

// The pair that tree_step would go to; false if there is none.
bool tree_peek(const struct tree *tree, const struct tree_pool *pool,
               const struct tree_cursor *cursor, struct tree_pair *next);

// The last pair; the tree is not empty.
struct tree_pair tree_last(const struct tree *tree, const struct tree_pool *pool);

// Writes another pair in the place of the one at the cursor; the order stays.
void tree_replace(const struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor,
                  struct tree_pair pair);

// How many nodes an insertion takes at most, wherever it is.
static inline uint32_t tree_nodes_most(const struct tree *tree) {
    return tree->level + 2;
}

// How many nodes a wide tree has at most after so many insertions: they are two thirds full.
static inline uint64_t tree_nodes_of_wide(uint64_t pair_count) {
    return (CONFIG_TINY ? pair_count : pair_count / (TREE_WIDE_LEAF / 2 + 1)) + TREE_LEVELS_MAX;
}

// How many nodes the insertion of this pair would take at most. What is removed
// before does not make it more.
uint32_t tree_nodes_for(const struct tree *tree, const struct tree_pool *pool,
                        struct tree_pair pair);

// The pool has the nodes that it may take.
void tree_insert(struct tree *tree, struct tree_pool *pool, struct tree_pair pair);

// As tree_insert, at what tree_find(pair) found and returned. The cursor is void then.
void tree_insert_at(struct tree *tree, struct tree_pool *pool, struct tree_cursor *cursor,
                    bool has_before, struct tree_pair pair);

// Removes the pair at the cursor, which is void then.
void tree_remove_at(struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor);

// Makes the pair at the cursor another one, in the place that it belongs to. The pool has
// the nodes that an insertion may take. The cursor is void then.
void tree_move_at(struct tree *tree, struct tree_pool *pool, const struct tree_cursor *cursor,
                  struct tree_pair to);

// Checks the tree; returns its nodes, or 0 if anything is wrong.
uint32_t tree_validate(const struct tree *tree, const struct tree_pool *pool, uint64_t *pair_count);

// Checks the list of free nodes. [B4]
bool tree_pool_validate(const struct tree_pool *pool, uint32_t used_count);

#endif
