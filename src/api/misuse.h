// misuse.h - what a wrong pointer is, in words.                            layer 7
#ifndef ALLOT_API_MISUSE_H
#define ALLOT_API_MISUSE_H

#include "slab/slab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether the address is a block that the program holds. For slab blocks in
// threads' caches the answer may be yes although they were freed.
bool misuse_is_block(const void *address);

// Says what is wrong with the address that was passed to `function`, and
// aborts or returns as the option demands.
void misuse_pointer(const char *function, const void *address);

// The same for a size that the block cannot have had.
void misuse_size(const char *function, const void *block, size_t size_bytes, size_t usable_bytes);

// What a flush finds: slab_report.
void misuse_slab(void *block, enum slab_fault fault);

// Misuses that were reported.
uint64_t misuse_count(void);

#endif
