// holes.h - free pages inside slabs that are in use.                       layer 3
//
// A slab goes back when its last block does; one block in use keeps all of it.
// Where the free blocks of a slab that nobody takes from cover whole pages, the
// pages go back to the system and the slab stays: it is taken from again when
// its class has no other slab.
#ifndef ALLOT_SLAB_HOLES_H
#define ALLOT_SLAB_HOLES_H

#include <stddef.h>
#include <stdint.h>

// Gives back what the free blocks of all such slabs cover, until so many bytes
// are reached or the clock passes `until_ns`. Returns the bytes.
size_t holes_purge(size_t target_bytes, uint64_t until_ns);

// The same of a few slabs from which nobody took for the purge delay. Cheap if
// there are none.
void holes_tick(unsigned shard);

// The same of all such slabs.
void holes_sweep(void);

struct holes_stats {
    size_t bytes;  // of free blocks in slabs that are in use, not resident
    uint64_t purge_calls, purge_bytes;
};

// Walks all slabs.
void holes_read_stats(struct holes_stats *stats);

#endif
