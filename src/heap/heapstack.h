// heapstack.h - a heap's free blocks, one stack per class.                  layer 5
//
// As in a thread's cache: pointers out of band, NULL at the bottom. The caller owns
// the heap. Bytes are not counted here.
#ifndef ALLOT_HEAP_HEAPSTACK_H
#define ALLOT_HEAP_HEAPSTACK_H

#include "heap/record.h"

#include <stddef.h>

// A page of memory for records, for stacks or classes; contents indeterminate.
// NULL if there is none.
void *heapstack_take_page(void);
void heapstack_give_page(void *page);

// A page that was never anything but a record: zero, or as the last heap left it.
struct allot_heap *heapstack_take_record(void);
void heapstack_give_record(struct allot_heap *heap);

// The usual classes, or with `sizes` others. False: no memory.
bool heapstack_set_classes(struct allot_heap *heap, const size_t *sizes, size_t count);

// Touches as many pages as stacks of all classes may take. False: no memory.
bool heapstack_touch(const struct allot_heap *heap);

// A block of the class; NULL: no memory.
void *heapstack_pop(struct allot_heap *heap, unsigned kind);

void heapstack_push(struct allot_heap *heap, unsigned kind, void *block);

// Gives all blocks back to their slabs.
void heapstack_empty(struct allot_heap *heap);

// And every empty slab to the page heap, or to what the heap keeps.
void heapstack_settle(struct allot_heap *heap);

// Likewise, and nothing is kept. Returns the bytes that left the heap.
size_t heapstack_trim(struct allot_heap *heap);

// Lets go of what was kept for idle_ms; of all, if the heap was not used for so long. What
// leaves it goes back to the system. Returns its bytes.
size_t heapstack_retire(struct allot_heap *heap);

// In the child of a fork: pages out of use are lost.
void heapstack_repair(void);

#endif
