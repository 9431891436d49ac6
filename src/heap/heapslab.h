// heapslab.h - the blocks of a heap: slabs, the mixed granule, large ones.  layer 5
#ifndef ALLOT_HEAP_HEAPSLAB_H
#define ALLOT_HEAP_HEAPSLAB_H

#include "heap/record.h"

#include <stdbool.h>
#include <stddef.h>

// Takes up to `want` free blocks of a class: the first stands in end[-1], and so
// on. Small heaps get one at a time, from the mixed granule. Returns how many; 0: no memory.
unsigned heapslab_take(struct allot_heap *heap, unsigned kind, void **end, unsigned want);

// Gives blocks of a class back. One that is free already or none is reported.
void heapslab_give(struct allot_heap *heap, unsigned kind, void *const *blocks, unsigned count);

// One block of KIND_LARGE.
void *heapslab_take_large(struct allot_heap *heap, size_t size_bytes, size_t align_bytes,
                          bool *is_zero);
void heapslab_give_large(struct allot_heap *heap, void *block);

// What lies at an address in a heap's granule.
struct heapslab_place {
    struct allot_heap *heap;
    char *block;        // NULL: no block
    size_t size_bytes;  // usable
    unsigned kind;      // KIND_LARGE, or a class
    bool is_free;       // in its slab; in a stack it is not
};
struct heapslab_place heapslab_find(const void *address);

// Frees a block for a thread that does not own the heap. Returns false if it is free
// already, or none.
bool heapslab_give_remote(void *block);

// The bytes that others freed since the last time. Any time: those not taken yet.
int64_t heapslab_take_remote(struct allot_heap *heap);
int64_t heapslab_pending_bytes(const struct allot_heap *heap);

// While the gate is shut, frees by others wait: for moments only.
void heapslab_shut_gate(struct allot_heap *heap);
void heapslab_open_gate(struct allot_heap *heap);

// Slabs that others freed into are listed, or go back if they are empty.
void heapslab_drain(struct allot_heap *heap);

// Gives back every span without a block in use. Stacks hold blocks in use.
void heapslab_trim(struct allot_heap *heap);

// Gives back all spans, whatever they hold.
void heapslab_drop(struct allot_heap *heap);

// Visits blocks that are not free; frees by others wait meanwhile. False: the
// visitor ended it.
bool heapslab_walk(struct allot_heap *heap, bool (*visit)(void *, size_t, void *), void *context);

void heapslab_validate(const struct allot_heap *heap);

#endif
