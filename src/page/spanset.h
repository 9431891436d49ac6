// spanset.h - the free spans of a shard.                                   layer 2
//
// A span of up to 64 granules has a bin of its own size; larger ones share
// eight bins per doubling, which are searched for the smallest that fits. Dirty
// spans (may be resident) and clean ones (read as zero) have bins of their own;
// dirty ones are also on a list by age.
//
// Invariants (spanset_validate checks them)
//   [P1] a free span's record is the same at its first and last granule
//   [P2] no two free spans of equal dirtiness and shard are neighbours
//   [P3] dirty_count is the sum over the age list, and the list is in order
//
// The caller holds the shard's lock.
#ifndef ALLOT_PAGE_SPANSET_H
#define ALLOT_PAGE_SPANSET_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPANSET_EXACT_BINS = 64,
    SPANSET_BINS = 256,
    // Free spans beyond this are the first to go back to the system.
    SPANSET_LARGE_COUNT = (int)((8 * MIB + MIB) >> GRANULE_LOG2),
};

struct spanset_bins {
    uint64_t filled[SPANSET_BINS / 64];
    uint32_t first[SPANSET_BINS];
};

struct spanset {
    unsigned owner;  // the shard
    struct spanset_bins clean, dirty;
    uint32_t oldest, newest;          // dirty spans
    size_t dirty_count, clean_count;  // granules
};

struct span_traits {
    bool is_dirty, is_zero;
    uint32_t since_ms;  // freed, or purged; 0: never used
};

// Puts granules of kind KIND_NONE in as a span of their own.
void spanset_insert(struct spanset *set, uint32_t first, uint32_t count, struct span_traits traits,
                    bool as_oldest);

// Puts granules in together with their free neighbours.
void spanset_coalesce(struct spanset *set, uint32_t first, uint32_t count,
                      struct span_traits traits);

// Takes a span out. Its kind stays KIND_NONE.
struct span_traits spanset_remove(struct spanset *set, uint32_t first);

// Takes [start, start + count) out of the span `first`; their kind is then
// KIND_INSIDE.
struct span_traits spanset_cut(struct spanset *set, uint32_t first, uint32_t start, uint32_t count);

// The smallest of the first few spans that hold `count` granules at a multiple of
// `align`, the lowest among equals; 0 if there is none.
uint32_t spanset_search(const struct spanset *set, bool is_dirty, uint32_t count, uint32_t align);

// Whether the granule is an end of a free span of this set.
bool spanset_is_mergeable(const struct spanset *set, uint32_t granule, bool is_dirty);

// Forgets all spans.
void spanset_clear(struct spanset *set);

void spanset_validate(const struct spanset *set);

#endif
