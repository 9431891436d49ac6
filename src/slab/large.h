// large.h - blocks that are spans of their own.                            layer 3
//
//   | offset | block ...            | slack |     granules of one span
//     < 4 KiB, a multiple of 64
//
// The offset differs from span to span: blocks that all start at the same place
// in a page would compete for the same sets of the processor's caches.
#ifndef ALLOT_SLAB_LARGE_H
#define ALLOT_SLAB_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Largest request; beyond it arithmetic might overflow.
#define LARGE_MAX_BYTES ((size_t)PTRDIFF_MAX)

// Takes a block. `kind` is KIND_LARGE or a span class, whose size is then taken.
// `align_bytes` is a power of two. NULL if there is no memory; nothing changed.
void *large_take(unsigned kind, unsigned shard, size_t size_bytes, size_t align_bytes,
                 bool *is_zero);

// Gives back a block that large_is_block.
void large_give(void *block);

// Whether a block was given back at this address lately; its usable size, or 0.
size_t large_was_block(const void *address);

// Whether this is the address of a block that is in use.
bool large_is_block(const void *address);

// From this size on it may be that only a part of a block takes memory: it was never
// written from end to end. To ask costs about as much as to clear 32 KiB.
#define LARGE_SPARSE_BYTES (256 * KIB)

// Fills the beginning of a block with zeros, without taking memory for it.
void *large_clear(void *block, size_t size_bytes);

size_t large_usable_bytes(const void *block);

// The usable size of a fresh block of this size.
size_t large_good_size(size_t size_bytes);

// Changes the size of a block in place; one of a span class is KIND_LARGE then.
// False: nothing has changed.
bool large_resize(void *block, size_t size_bytes);

// Moves a KIND_LARGE block to a span with room to grow, by page tables and
// without copying. NULL: it cannot be done here and nothing has changed.
void *large_move(void *block, unsigned shard, size_t size_bytes);

// The block that contains an address of a granule of kind KIND_INSIDE or
// KIND_LARGE; NULL if none does. Cost: a look at each granule before it.
void *large_find(const void *address);

struct large_stats {
    uint64_t used_bytes, used_blocks;
};
void large_read_stats(struct large_stats *stats);

#endif
