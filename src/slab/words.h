// words.h - bits of slabs with more blocks than a record has room for.      layer 3
#ifndef ALLOT_SLAB_WORDS_H
#define ALLOT_SLAB_WORDS_H

#include <stdatomic.h>
#include <stdint.h>

// Words for the bits of a slab outside its record, contents indeterminate; up
// to 32. NULL if there is no memory.
uint64_t *words_take(unsigned word_count);
void words_give(_Atomic(uint64_t) *words, unsigned word_count);

// In the child of a fork.
void words_repair(void);

#endif
