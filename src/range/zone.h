// zone.h - an allocator in memory that several processes map.              layer 6
//
//   | struct zone | map | slabs | nodes | page 0 | page 1 | ...       |
//
// Pages of 4 KiB come from a range of their numbers. Equal blocks of up to 8 KiB share a
// slab, some adjacent pages; larger ones are pages. Positions are distances
// from the zone, so that it may be mapped at several addresses.
//
// A process may be killed anywhere. What is so is said by the map and by the bits of the
// slabs alone, and each operation changes that by one store; the rest follows from it
// and is made again (zone_rebuild).
//
// Invariants (zone_validate checks them, tests cite the tags):
//   [Z1] a page is free, or of one slab, or of one large block
//   [Z2] the range has the free pages as free, and no others
//   [Z3] a slab counts its free blocks; bits beyond its blocks are 0
//   [Z4] a class lists its slabs that have free blocks, each once
//   [Z5] a record of a slab is used or in the list of free ones
#ifndef ALLOT_RANGE_ZONE_H
#define ALLOT_RANGE_ZONE_H

#include "allot.h"
#include "base/compiler.h"
#include "range/range.h"
#include "range/zonelock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ZONE_PAGE_LOG2 = 12,
    ZONE_PAGE_BYTES = 1 << ZONE_PAGE_LOG2,
    ZONE_SMALL_MAX_BYTES = 8192,
    ZONE_CLASS_COUNT = 32,
    ZONE_SLAB_WORDS = 4,
    ZONE_PAGES_MAX = (1 << 30) - 1,
    ZONE_VERSION = 1,
};
#define ZONE_NO_SLAB UINT32_MAX
#define ZONE_MAGIC UINT64_C(0x6c6f6f70746c6c61)

struct zone_slab {
    uint64_t bits[ZONE_SLAB_WORDS];  // 1: free
    uint32_t first_page, page_count;
    uint32_t next, previous;  // of its class; or next free record
    uint16_t block_count, free_count;
    uint8_t class_idx;
    bool is_used;
} CACHE_ALIGNED;
_Static_assert(sizeof(struct zone_slab) == CACHE_LINE_BYTES, "one line for an operation");

struct zone_class {
    uint32_t first;                     // slab with free blocks
    uint32_t empty_count;               // slabs of which all is free
    uint64_t taken_count, given_count;  // blocks, totals
};

struct zone {
    _Atomic(uint64_t) magic;  // ZONE_MAGIC once all else is made
    uint32_t version, page_count;
    uint64_t size_bytes;
    uint64_t slabs_at, nodes_at, pages_at;  // bytes from here
    uint32_t node_count;
    bool is_unlocked;
    _Atomic(uint64_t) root;  // a position for the users
    uint64_t refused_count, rebuilt_count;
    uint64_t large_pages, large_taken_count, large_given_count;
    uint32_t page_carved_count;  // pages beyond were never in use, and the map says nothing of them
    uint32_t slab_carved_count, slab_free_first;
    struct range range;  // of pages
    struct zonelock lock CACHE_ALIGNED;
    struct zone_class classes[ZONE_CLASS_COUNT];
};

// A live block.
struct zone_block {
    struct zone_slab *slab;  // NULL: pages
    uint32_t index;          // in the slab; or the first page
    uint32_t page_count;     // of a large one
};

// Makes memory at a multiple of a page a zone in which all is free. False: it is too small;
// nothing was written then.
bool zone_init(struct zone *zone, size_t size_bytes, bool is_unlocked);

// Whether there is a zone in these bytes: 0, ENOENT if not, ENOTSUP if it is of another
// version, ERANGE if it is larger, EBADMSG if it contradicts itself.
int zone_check(const struct zone *zone, size_t size_bytes);

// The position of a block, aligned to 16. 0: there is no room.
uint64_t zone_take(struct zone *zone, size_t size_bytes);

// Finds the block that begins at a position: 0, ERANGE if that is outside of the pages, EDOM
// if a block in use lies around it, EALREADY if it is free.
int zone_find(const struct zone *zone, struct zone_block *block, uint64_t at);

size_t zone_usable_bytes(const struct zone_block *block);

// The usable bytes of a block of this size; 0 if there are none so large.
size_t zone_rounded_bytes(size_t size_bytes);

// Makes a block free that zone_find has found.
void zone_give(struct zone *zone, const struct zone_block *block);

// The first live block at or behind a position. False: there is none.
bool zone_find_next(const struct zone *zone, uint64_t *at, size_t *usable_bytes);

// All that follows from the map and the bits. What an interrupted operation left in the
// map is free. Cost: proportional to the zone.
void zone_rebuild(struct zone *zone);

void zone_read_stats(const struct zone *zone, struct allot_region_pool_stats *stats);

bool zone_validate(const struct zone *zone);

#endif
