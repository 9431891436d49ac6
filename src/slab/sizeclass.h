// sizeclass.h - bytes to size class and back.                              layer 3
//
// A class is named by the kind that its granules have in the page map.
//   slab classes   8; 16 .. 128 by 16; eight per doubling to 8 KiB; four to 32 KiB
//   span classes   one block in one span, four per doubling of granules, to 512 KiB
// Requests beyond are large blocks of their own.
//
// Invariants
//   [C1] sizeclass_of(n) is the smallest class with size >= n
//   [C2] a slab of class k starts at a multiple of its slab size
#ifndef ALLOT_SLAB_SIZECLASS_H
#define ALLOT_SLAB_SIZECLASS_H

#include "base/compiler.h"
#include "base/config.h"
#include "page/region.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIZECLASS_FIRST = KIND_CLASS_FIRST,
    SIZECLASS_SLABS = 65,  // 8; 8 to 128; 6 doublings x 8 to 8 KiB; 2 x 4 to 32 KiB
    SIZECLASS_SPANS = 14,  // 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32 granules
    SIZECLASS_SPAN_FIRST = SIZECLASS_FIRST + SIZECLASS_SLABS,
    SIZECLASS_END = SIZECLASS_SPAN_FIRST + SIZECLASS_SPANS,
    // A slab class has a twin: its blocks have accounts, and the page map says
    // KIND_TAGGED.
    SIZECLASS_TWIN = SIZECLASS_SLABS + SIZECLASS_SPANS,  // from a class to its twin
    SIZECLASS_TWINS_END = SIZECLASS_END + SIZECLASS_SLABS,
    // Up to here a table has an entry for each byte; the fast path reads it.
    SIZECLASS_DIRECT_MAX = 1024,
    SIZECLASS_STEP_LOG2 = 7,  // granularity of the second table
};
#define SIZECLASS_SLAB_MAX (32 * KIB)
#define SIZECLASS_SPAN_GRANULES_MAX 32
// Room to start a block of a span at some multiple of 64 bytes: blocks that
// start at equal offsets of pages compete for the same cache sets.
#define SIZECLASS_COLOUR_BYTES (4 * KIB)
#define SIZECLASS_SPAN_MAX \
    (((size_t)SIZECLASS_SPAN_GRANULES_MAX << GRANULE_LOG2) - SIZECLASS_COLOUR_BYTES)

struct sizeclass {
    uint32_t size_bytes;
    uint32_t reciprocal;     // ceil(2^32 / size): offset * reciprocal >> 32 = index
    uint32_t slab_bytes;     // a power of two (slab classes)
    uint32_t granule_count;  // of a slab or span
    uint32_t block_count;
    uint16_t word_count;
    uint16_t listed_count;  // free blocks from which a full slab is partial
    uint16_t slots_max;     // of a thread's stack, with the sentinel
    uint16_t slots_first;
    uint16_t refill_max;  // most blocks that a thread takes at once, a power of two
    uint64_t last_word;   // bits of the last word
};

extern struct sizeclass sizeclass_table[SIZECLASS_TWINS_END];
extern uint8_t sizeclass_direct[SIZECLASS_DIRECT_MAX + 1];
extern uint8_t sizeclass_stepped[(SIZECLASS_SLAB_MAX >> SIZECLASS_STEP_LOG2) + 1];
extern uint8_t sizeclass_granules[SIZECLASS_SPAN_GRANULES_MAX + 1];

// Fills the tables; once.
void sizeclass_init(void);

// The class of slabs of blocks of this size, a multiple of 8 up to 32 KiB.
void sizeclass_set_slab(struct sizeclass *class, size_t size);

static ALWAYS_INLINE bool sizeclass_is_slab(unsigned kind) {
    return kind - SIZECLASS_FIRST < SIZECLASS_SLABS;
}

static ALWAYS_INLINE bool sizeclass_is_span(unsigned kind) {
    return kind - SIZECLASS_SPAN_FIRST < SIZECLASS_SPANS;
}

static ALWAYS_INLINE bool sizeclass_is_twin(unsigned kind) {
    return kind >= SIZECLASS_END;
}

// Granules of a span that holds a block of `size_bytes` at any colour.
static ALWAYS_INLINE size_t sizeclass_span_granules(size_t size_bytes) {
    return (size_bytes + SIZECLASS_COLOUR_BYTES + GRANULE_BYTES - 1) >> GRANULE_LOG2;
}

// Size class of a request; `size_bytes` <= SIZECLASS_SPAN_MAX.
static ALWAYS_INLINE unsigned sizeclass_of(size_t size_bytes) {
    if (size_bytes <= SIZECLASS_DIRECT_MAX) {
        return sizeclass_direct[size_bytes];
    }
    if (size_bytes <= SIZECLASS_SLAB_MAX) {
        size_t step = ((size_t)1 << SIZECLASS_STEP_LOG2) - 1;
        return sizeclass_stepped[(size_bytes + step) >> SIZECLASS_STEP_LOG2];
    }
    return sizeclass_granules[sizeclass_span_granules(size_bytes)];
}

// The smallest slab class whose blocks are all aligned to `align_bytes` (a
// power of two up to GRANULE_BYTES); 0 if there is none.
unsigned sizeclass_of_aligned(size_t align_bytes, size_t size_bytes);

#endif
