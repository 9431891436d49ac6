// budget.h - limits that form a tree.                                      layer 5
//
// Every block of a charged heap or tag counts in it and in all its ancestors.
// Growth happens under the lock of the root, so that a refusal is never due to
// another request that is itself about to be refused; shrinking takes no lock.
#ifndef ALLOT_HEAP_BUDGET_H
#define ALLOT_HEAP_BUDGET_H

#include "os/lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDGET_NO_LIMIT ((int64_t)1 << 62)

// Live bytes of one and its descendants, in a tree where limits add up.
struct budget {
    struct budget *parent;
    struct budget *root;
    struct lock lock;             // of the root: growth anywhere in the tree
    _Atomic(int64_t) used_bytes;  // may shrink at any time
    int64_t limit_bytes;          // with grace; BUDGET_NO_LIMIT        [root's lock]
};

// Makes a root, or a child.
void budget_init(struct budget *budget, struct budget *parent);

// False, and nothing has changed, if a limit would be exceeded.
bool budget_grow(struct budget *budget, int64_t bytes);

void budget_shrink(struct budget *budget, int64_t bytes);

void budget_set_limit(struct budget *budget, int64_t limit_bytes);

// What a limit and the grace beyond it come to; 0: none.
int64_t budget_limit_of(size_t limit_bytes, size_t grace_bytes);

#endif
