// heapgiven.h - heaps in memory that their users give.                     layer 5
//
// The record lies at the beginning of the memory, the rest is `given`. Every call
// takes the heap's lock; none makes a system call unless two threads meet there.
#ifndef ALLOT_HEAP_HEAPGIVEN_H
#define ALLOT_HEAP_HEAPGIVEN_H

#include "heap/given.h"
#include "heap/record.h"

#include <stdbool.h>
#include <stddef.h>

// A heap in this memory whose record is zero but for `given` and held_bytes. Returns
// 0; EEXIST if another heap uses part of the memory, ERANGE if it is too small:
// nothing was written.
int heapgiven_create(struct allot_heap **heap, void *memory, size_t size_bytes);

void heapgiven_unlink(struct allot_heap *heap);

// The heap in whose memory an address lies, or NULL. Cost: heaps in given memory.
struct allot_heap *heapgiven_find(const void *address);

void heapgiven_repair(void);

#endif
