// budget.h - limits that form a tree.                                      layer 5
//
// Every block of a charged heap counts in the heap and in all its ancestors.
// Growth happens under the lock of the root, so that a refusal is never due to
// another request that is itself about to be refused; shrinking takes no lock.
#ifndef ALLOT_HEAP_BUDGET_H
#define ALLOT_HEAP_BUDGET_H

#include "heap/record.h"

#include <stdbool.h>
#include <stdint.h>

// Makes `heap` a root, or a child.
void budget_init(struct allot_heap *heap, struct allot_heap *parent);

// False, and nothing has changed, if a limit would be exceeded.
bool budget_grow(struct allot_heap *heap, int64_t bytes);

void budget_shrink(struct allot_heap *heap, int64_t bytes);

void budget_set_limit(struct allot_heap *heap, int64_t limit_bytes);

// Whether the heap or one of its ancestors has a limit.
bool budget_has_limit(const struct allot_heap *heap);

#endif
