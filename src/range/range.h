// range.h - which numbers from 0 to a size are free.                       layer 6
//
// The free ranges, maximal and disjoint, are kept twice: as (offset, size) and as
// (size, offset). The first order finds neighbours, the second the best fit. What
// is not free is in use; nothing is stored for it, so any part of it, of one
// allocation or of several, can become free. Trees are narrow where 32 bits suffice
// for any of the numbers, and become wide ones when the size grows beyond that.
//
// A struct range and its nodes may lie in memory that is mapped at different
// addresses: it holds no pointer and no lock, and takes no memory. Whoever owns it
// gives it nodes, at any time more of them (range_set_nodes).
//
// Invariants (range_validate checks them)
//   [N1] free ranges are not empty, lie below the size and do not touch
//   [N2] by_size has the pairs of by_offset, turned around, and no others
//   [N3] free_total is the sum of the free ranges, free_count their number
//   [N4] nodes suffice for the next operation, or it returns ENOMEM unchanged
#ifndef ALLOT_RANGE_RANGE_H
#define ALLOT_RANGE_RANGE_H

#include "range/tree.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RANGE_NODES_MIN = 2,          // a leaf for each order
    RANGE_NODES_MAX = INT32_MAX,  // 1 TiB of them
};

struct range {
    struct tree_pool pool;
    struct tree by_offset, by_size;
    uint64_t size;        // below UINT64_MAX
    uint64_t free_total;  // numbers
    uint64_t free_count;  // ranges
};

// All functions below that return int return 0, or an errno value, and then nothing has
// changed.

// Makes a range of which all is free. `nodes`: an array of node_count nodes, at
// least RANGE_NODES_MIN, aligned to a cache line; its contents do not matter.
void range_init(struct range *range, uint64_t size, void *nodes, uint32_t node_count);

// The nodes have moved, with their contents, to an array of node_count, which are
// not fewer.
void range_set_nodes(struct range *range, void *nodes, uint32_t node_count);

// One range more in each order, and one in by_size again.
static ALWAYS_INLINE uint32_t range_nodes_most(const struct range *range) {
    return tree_nodes_most(&range->by_offset) + 2 * tree_nodes_most(&range->by_size);
}

// While both orders fit into a leaf each and the next operation cannot fill them, no
// node is needed.
static ALWAYS_INLINE bool range_is_small(const struct range *range) {
    return range->by_offset.level + range->by_size.level == 0 &&
           range->free_count + 2 <= tree_leaf_most(range->by_offset.is_wide);
}

// Whether the next operation could be in want of nodes.
static ALWAYS_INLINE bool range_is_tight(const struct range *range) {
    return UNLIKELY(range->pool.free_count < range_nodes_most(range)) && !range_is_small(range);
}

// Takes n adjacent numbers, the first a multiple of `align` (a power of two), from
// the smallest free range that has them, the lowest of equal ones. EINVAL if n is 0,
// ENOSPC if no free range has them, ENOMEM for want of nodes.
int range_take(struct range *range, uint64_t *offset, uint64_t n, uint64_t align);

// Takes [offset, offset + n). EINVAL if n is 0, ERANGE if it ends beyond the size,
// EEXIST if any of it is in use, ENOMEM.
int range_take_at(struct range *range, uint64_t offset, uint64_t n);

// Makes [offset, offset + n) free. EINVAL if n is 0, ERANGE if it ends beyond the
// size, EALREADY if all of it is free, EEXIST if some of it is, ENOMEM.
int range_give(struct range *range, uint64_t offset, uint64_t n);

// How many nodes range_resize should find free: 0 unless trees become wide ones, which are
// made beside them. With less it may return ENOMEM.
uint64_t range_nodes_to_resize(const struct range *range, uint64_t size);

// Changes the size; what is added is free. EINVAL if it is UINT64_MAX, EBUSY if what
// is cut off is not free, ENOMEM.
int range_resize(struct range *range, uint64_t size);

// The size of the largest free range.
uint64_t range_largest(const struct range *range);

// Finds the free range at or behind `from`; false if there is none.
bool range_next_free(const struct range *range, uint64_t from, uint64_t *offset, uint64_t *n);

// Whether all of [offset, offset + n) is in use; n is not 0, and the end not beyond
// the size.
bool range_is_used(const struct range *range, uint64_t offset, uint64_t n);

bool range_validate(const struct range *range);

#endif
