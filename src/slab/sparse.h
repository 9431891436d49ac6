// sparse.h - which blocks are worth moving.                                layer 3
//
// A program that moves blocks of sparsely used slabs to denser ones frees slabs.
// A block is worth it if
//   - its slab is PARTIAL: nobody takes new blocks from it, and it is not full;
//   - its slab is no denser than the average of its class's slabs that are not full;
//   - those have as many free blocks as a slab has, so that one can become free.
// A slab that is filled this way becomes FULL and one that is emptied is released:
// moving comes to an end. The averages are those of the last walk over all slabs.
#ifndef ALLOT_SLAB_SPARSE_H
#define ALLOT_SLAB_SPARSE_H

#include <stdbool.h>

// Whether moving this block would help. Any address; false if it is no block.
bool sparse_is_worth_moving(const void *block);

#endif
