// given.h - an allocator that lies wholly in memory that a caller gives.   layer 5
//
//   memory                                                      memory + size
//   | gap | struct given | lists | ends | starts | unit 1 | ... | unit n | gap |
//
// A unit has 16 bytes; a run of units is a live block or free. Two bits per
// unit, in tables in front of the first one, say where runs start and end. A
// block has no header: writing beyond its end reaches other blocks, or the
// links in a free run, and these are checked before they are followed.
//
// It makes no system call (except to end the process, when a link was written
// to), keeps no other state, and reads and writes nothing outside the memory,
// whatever the addresses that it is asked about. The caller locks.
//
// Cost: to allocate, resize, free or find a block follows at most 8 links and
// searches the tables a bounded number of times, with at most 10 steps up and
// down each (a step per factor 64 of the memory: 3 for 1 MiB), however many
// blocks there are.
//
// Overhead: size_bytes - what can be allocated
//   <= size_bytes / 63 + 128 * log2(size_bytes / 16),
// that is 1.0 KiB of 8 KiB, 18 KiB of 1 MiB, 1.6 % from 4 MiB on. 224 bytes that
// begin at a multiple of 16 are the smallest memory that suffices. Blocks are
// rounded up to units.
#ifndef ALLOT_HEAP_GIVEN_H
#define ALLOT_HEAP_GIVEN_H

#include <stdbool.h>
#include <stddef.h>

struct given;

enum given_fault {
    GIVEN_OK,
    GIVEN_DOUBLE_FREE,  // the start of a unit in free memory
    GIVEN_BAD_POINTER,  // inside a block, at no unit, or elsewhere
};

struct given_stats {
    size_t size_bytes;     // all that was given = live + free + own
    size_t live_bytes;     // usable bytes of live blocks
    size_t live_blocks;    // their number
    size_t free_bytes;     // in all free runs
    size_t largest_bytes;  // the largest free run
    size_t own_bytes;      // tables, and what is lost at both ends
};

// Makes [memory, memory + size_bytes), of any alignment and content, an
// allocator with no blocks. NULL if it is too small; nothing was written then.
// Cost: proportional to the tables.
struct given *given_init(void *memory, size_t size_bytes);

// A block at a multiple of `align_bytes`, a power of two, and of 16; 0 bytes are
// a block, too. Good fit: of the first 8 free runs that may do, the first that
// does, else one from a list in which all do. NULL: there is none; nothing has
// changed. A run that fits can be overlooked if 8 others of nearly its size do
// not fit, or if it fits only just and the alignment exceeds 16.
void *given_take(struct given *given, size_t size_bytes, size_t align_bytes);

// Whether it is the start of a live block.
bool given_is_block(const struct given *given, const void *address);

// Of a live block: its size rounded up to units.
size_t given_usable_bytes(const struct given *given, const void *block);

// Makes the block free together with its free neighbours. Anything but
// GIVEN_OK: it was no live block, and nothing has changed.
enum given_fault given_give(struct given *given, void *block);

// Changes the size of a live block where it is; what it gives up is free. False:
// there is no room behind it; nothing has changed.
bool given_resize(struct given *given, void *block, size_t size_bytes);

// The live block whose usable bytes the address is one of, or NULL.
void *given_find(const struct given *given, const void *address);

// Whether the address is in the given memory, tables included.
bool given_contains(const struct given *given, const void *address);

// Cost: a step for each free run of the size of the largest.
void given_read_stats(const struct given *given, struct given_stats *stats);

// Shows the live blocks by address until `visit` returns false; returns whether
// it never did. `visit` may take, resize and give blocks, also the one that it
// is shown; blocks before that one are not shown again.
bool given_walk(struct given *given, bool (*visit)(void *block, size_t usable_bytes, void *context),
                void *context);

// Asserts what doc/design.md says of the tables, [G1] to [G5].
// Cost: proportional to the memory.
void given_validate(const struct given *given);

#endif
