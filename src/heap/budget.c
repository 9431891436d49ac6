// budget.c - limits that form a tree.                                      layer 5
#include "heap/budget.h"

void budget_init(struct budget *budget, struct budget *parent) {
    budget->parent = parent;
    budget->root = parent != NULL ? parent->root : budget;
    budget->limit_bytes = BUDGET_NO_LIMIT;
}

static bool budget_fits(const struct budget *budget, int64_t bytes) {
    for (; budget != NULL; budget = budget->parent) {
        int64_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
        if (bytes > budget->limit_bytes - used) {
            return false;
        }
    }
    return true;
}

static void budget_add(struct budget *budget, int64_t bytes) {
    for (; budget != NULL; budget = budget->parent) {
        atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    }
}

bool budget_grow(struct budget *budget, int64_t bytes) {
    struct lock *lock = &budget->root->lock;
    lock_take(lock);
    bool fits = budget_fits(budget, bytes);
    if (fits) {
        budget_add(budget, bytes);
    }
    lock_give(lock);
    return fits;
}

void budget_shrink(struct budget *budget, int64_t bytes) {
    budget_add(budget, -bytes);
}

void budget_set_limit(struct budget *budget, int64_t limit_bytes) {
    struct lock *lock = &budget->root->lock;
    lock_take(lock);
    budget->limit_bytes = limit_bytes;
    lock_give(lock);
}

int64_t budget_limit_of(size_t limit_bytes, size_t grace_bytes) {
    if (limit_bytes == 0 || limit_bytes >= (size_t)BUDGET_NO_LIMIT / 2) {
        return BUDGET_NO_LIMIT;
    }
    return (int64_t)(limit_bytes + (grace_bytes < SIZE_MAX / 4 ? grace_bytes : SIZE_MAX / 4));
}
