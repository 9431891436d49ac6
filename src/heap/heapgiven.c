// heapgiven.c - heaps in memory that their users give.                     layer 5
#include "heap/heapgiven.h"

#include "base/bits.h"
#include "os/lock.h"

#include <errno.h>
#include <string.h>

static struct {
    struct lock lock;
    _Atomic(struct allot_heap *) first;
} heapgiven_state;

static struct allot_heap *heapgiven_first(void) {
    return atomic_load_explicit(&heapgiven_state.first, memory_order_relaxed);
}

// The lock is held.
static bool heapgiven_is_used(uintptr_t from, size_t size_bytes) {
    for (const struct allot_heap *at = heapgiven_first(); at != NULL; at = at->next_given) {
        uintptr_t other = (uintptr_t)at;
        size_t bytes = atomic_load_explicit(&at->held_bytes, memory_order_relaxed);
        if (from < other ? other - from < size_bytes : from - other < bytes) {
            return true;
        }
    }
    return false;
}

// Nothing is written before it is known to be nobody's.
static struct allot_heap *heapgiven_place(uintptr_t from, size_t size_bytes) {
    struct allot_heap *heap = (struct allot_heap *)from;
    struct given *given = given_init((char *)(heap + 1), size_bytes - sizeof(struct allot_heap));
    if (given == NULL) {
        return NULL;
    }
    memset((void *)heap, 0, sizeof *heap);
    heap->given = given;
    heap->next_given = heapgiven_first();
    atomic_store_explicit(&heap->held_bytes, size_bytes, memory_order_relaxed);
    return heap;
}

int heapgiven_create(struct allot_heap **heap, void *memory, size_t size_bytes) {
    uintptr_t from = bits_round_up((uintptr_t)memory, CACHE_LINE_BYTES);
    size_t gap = from - (uintptr_t)memory;
    if (from < (uintptr_t)memory || size_bytes < gap ||
        size_bytes - gap < sizeof(struct allot_heap)) {
        return ERANGE;
    }
    lock_take(&heapgiven_state.lock);
    bool is_used = heapgiven_is_used(from, size_bytes - gap);
    *heap = is_used ? NULL : heapgiven_place(from, size_bytes - gap);
    if (*heap != NULL) {
        atomic_store_explicit(&heapgiven_state.first, *heap, memory_order_release);
    }
    lock_give(&heapgiven_state.lock);
    return is_used ? EEXIST : *heap != NULL ? 0 : ERANGE;
}

void heapgiven_unlink(struct allot_heap *heap) {
    lock_take(&heapgiven_state.lock);
    struct allot_heap *at = heapgiven_first();
    if (at == heap) {
        atomic_store_explicit(&heapgiven_state.first, heap->next_given, memory_order_relaxed);
    } else {
        while (at->next_given != heap) {
            at = at->next_given;
        }
        at->next_given = heap->next_given;
    }
    lock_give(&heapgiven_state.lock);
}

struct allot_heap *heapgiven_find(const void *address) {
    if (atomic_load_explicit(&heapgiven_state.first, memory_order_acquire) == NULL) {
        return NULL;
    }
    lock_take(&heapgiven_state.lock);
    struct allot_heap *at = heapgiven_first();
    while (at != NULL && !given_contains(at->given, address)) {
        at = at->next_given;
    }
    lock_give(&heapgiven_state.lock);
    return at;
}

void heapgiven_repair(void) {
    lock_reset(&heapgiven_state.lock);
}
