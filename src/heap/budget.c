// budget.c - limits that form a tree.                                      layer 5
#include "heap/budget.h"

void budget_init(struct allot_heap *heap, struct allot_heap *parent) {
    heap->budget.parent = parent;
    heap->budget.root = parent != NULL ? parent->budget.root : heap;
    heap->budget.limit_bytes = HEAP_NO_LIMIT;
}

static bool budget_fits(const struct allot_heap *heap, int64_t bytes) {
    for (; heap != NULL; heap = heap->budget.parent) {
        int64_t used = atomic_load_explicit(&heap->budget.used_bytes, memory_order_relaxed);
        if (bytes > heap->budget.limit_bytes - used) {
            return false;
        }
    }
    return true;
}

static void budget_add(struct allot_heap *heap, int64_t bytes) {
    for (; heap != NULL; heap = heap->budget.parent) {
        atomic_fetch_add_explicit(&heap->budget.used_bytes, bytes, memory_order_relaxed);
    }
}

bool budget_grow(struct allot_heap *heap, int64_t bytes) {
    struct lock *lock = &heap->budget.root->budget.lock;
    lock_take(lock);
    bool fits = budget_fits(heap, bytes);
    if (fits) {
        budget_add(heap, bytes);
    }
    lock_give(lock);
    return fits;
}

void budget_shrink(struct allot_heap *heap, int64_t bytes) {
    budget_add(heap, -bytes);
}

void budget_set_limit(struct allot_heap *heap, int64_t limit_bytes) {
    struct lock *lock = &heap->budget.root->budget.lock;
    lock_take(lock);
    heap->budget.limit_bytes = limit_bytes;
    lock_give(lock);
}

bool budget_has_limit(const struct allot_heap *heap) {
    while (heap != NULL && heap->limit_bytes == 0) {
        heap = heap->budget.parent;
    }
    return heap != NULL;
}
