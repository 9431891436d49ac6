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
//   [Z4] a class lists its slabs that have free blocks, each once; a block is taken
//        from the first, so that only that one can become full and leave
//   [Z5] a record of a slab is used or in the list of free ones
#ifndef ALLOT_RANGE_ZONE_H
#define ALLOT_RANGE_ZONE_H

#include "allot.h"
#include "base/bits.h"
#include "base/compiler.h"
#include "range/range.h"
#include "range/zonelock.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ZONE_PAGE_LOG2 = 12,
    ZONE_PAGE_BYTES = 1 << ZONE_PAGE_LOG2,
    ZONE_SMALL_MAX_BYTES = 8192,
    ZONE_SIZE_STEP_BYTES = 16,  // all blocks are multiples
    ZONE_CLASS_COUNT = 32,
    ZONE_CLASS_LARGE = ZONE_CLASS_COUNT,  // pages
    ZONE_SLAB_WORDS = 4,
    ZONE_NUMBER_BITS = 30,
    ZONE_PAGES_MAX = 1 << 29,
    ZONE_VERSION = 1,
};

// What the map says of a page: a kind, and a number.
enum zone_kind {
    ZONE_FREE = 0,
    ZONE_INSIDE,  // of a large block
    ZONE_SLAB,    // number of the slab
    ZONE_LARGE,   // how many pages begin here
};
#define ZONE_NO_SLAB 0  // slabs are numbered by their distance from the zone
#define ZONE_MAGIC UINT64_C(0x6c6f6f70746c6c61)

struct zone_slab {
    uint64_t bits[ZONE_SLAB_WORDS];  // 1: free
    uint64_t at;                     // position of the first block
    uint32_t next;                   // of its class; or free record
    uint32_t reciprocal;             // of the bytes of a block
    uint16_t block_bytes, block_count, free_count;
    uint8_t class_idx, page_count;
    bool is_used;
} CACHE_ALIGNED;
_Static_assert(sizeof(struct zone_slab) == CACHE_LINE_BYTES, "one line for an operation");

struct zone_class {
    uint32_t first;                     // slab with free blocks
    uint64_t taken_count, given_count;  // blocks, totals
};

struct zone {
    _Atomic(uint64_t) magic;  // ZONE_MAGIC once all else is made
    uint32_t version, page_count;
    uint64_t size_bytes;
    uint64_t slabs_at, nodes_at, pages_at;  // bytes from here
    uint32_t node_count;
    _Atomic(uint64_t) root;  // a position for the users
    uint64_t refused_count, rebuilt_count;
    uint64_t large_pages, large_taken_count, large_given_count;
    uint32_t page_carved_count;  // pages beyond were never in use, and the map says nothing of them
    uint32_t slab_carved_count, slab_free_first;
    uint32_t empty_count;  // slabs of which all is free, and whose pages are not yet
    struct range range;    // of pages
    struct zonelock lock CACHE_ALIGNED;
    struct zone_class classes[ZONE_CLASS_COUNT + 1];  // the last has never a slab
    uint8_t class_by_size[ZONE_SMALL_MAX_BYTES / ZONE_SIZE_STEP_BYTES + 1];
};

static ALWAYS_INLINE uint32_t *zone_map(const struct zone *zone) {
    return (uint32_t *)(uintptr_t)(zone + 1);
}

static ALWAYS_INLINE struct zone_slab *zone_slab(const struct zone *zone, uint32_t number) {
    return (struct zone_slab *)(uintptr_t)zone + number;
}

// Makes memory at a multiple of a page a zone in which all is free. False: it is too small;
// nothing was written then.
bool zone_init(struct zone *zone, size_t size_bytes);

// Whether there is a zone in these bytes: 0, ENOENT if not, ENOTSUP if it is of another
// version, ERANGE if it is larger, EBADMSG if it contradicts itself.
int zone_check(const struct zone *zone, size_t size_bytes);

// Finds the live block that begins at a position, and its usable bytes: 0, ERANGE if that is
// outside of the pages, EDOM if a block in use lies around it, EALREADY if it is free.
int zone_find(const struct zone *zone, size_t *usable_bytes, uint64_t at);

// The usable bytes of a block of this size.
size_t zone_rounded_bytes(const struct zone *zone, size_t size_bytes);

// The pages of slabs of which all is free become free.
void zone_drop_empty(struct zone *zone);

// The first live block at or behind a position. False: there is none.
bool zone_find_next(const struct zone *zone, uint64_t *at, size_t *usable_bytes);

// All that follows from the map and the bits. What an interrupted operation left in the
// map is free. Cost: proportional to the zone.
void zone_rebuild(struct zone *zone);

void zone_read_stats(const struct zone *zone, struct allot_region_pool_stats *stats);

bool zone_validate(const struct zone *zone);

// ---- Fast paths ------------------------------------------------------------------

uint64_t zone_take_slow(struct zone *zone, uint32_t class_idx, size_t size_bytes);
int zone_give_slow(struct zone *zone, uint64_t at);

// Constant, so that it needs no lock.
static ALWAYS_INLINE uint32_t zone_class_of(const struct zone *zone, size_t size_bytes) {
    return LIKELY(size_bytes <= ZONE_SMALL_MAX_BYTES)
               ? zone->class_by_size[(size_bytes + ZONE_SIZE_STEP_BYTES - 1) / ZONE_SIZE_STEP_BYTES]
               : ZONE_CLASS_LARGE;
}

static ALWAYS_INLINE uint64_t zone_take_from(struct zone *zone, struct zone_class *class,
                                             struct zone_slab *slab) {
    uint32_t word = 0;
    while (slab->bits[word] == 0) {  // [Z3] there is a bit
        word++;
    }
    uint64_t bits = slab->bits[word];
    slab->bits[word] = bits & (bits - 1);
    class->taken_count++;
    if (UNLIKELY(slab->free_count == slab->block_count)) {
        zone->empty_count--;
    }
    if (--slab->free_count == 0) {
        class->first = slab->next;
    }
    return slab->at + (word * 64 + bits_lowest(bits)) * (uint64_t)slab->block_bytes;
}

// The position of a block, aligned to 16. 0: there is no room.
static ALWAYS_INLINE uint64_t zone_take(struct zone *zone, uint32_t class_idx, size_t size_bytes) {
    struct zone_class *class = &zone->classes[class_idx];
    return LIKELY(class->first != ZONE_NO_SLAB)
               ? zone_take_from(zone, class, zone_slab(zone, class->first))
               : zone_take_slow(zone, class_idx, size_bytes);
}

// What the map says of the page around a position.
static ALWAYS_INLINE uint32_t zone_entry(const struct zone *zone, uint64_t at) {
    uint64_t page = (at - zone->pages_at) >> ZONE_PAGE_LOG2;
    return LIKELY(page < zone->page_carved_count) ? zone_map(zone)[page] : ZONE_FREE;
}

// Which block of a slab begins at a position. The low half of the product is a fraction,
// less than that of one byte if nothing is left.
static ALWAYS_INLINE int zone_find_in_slab(const struct zone_slab *slab, uint32_t *index,
                                           uint64_t at) {
    uint64_t blocks = (at - slab->at) * slab->reciprocal;
    *index = (uint32_t)(blocks >> 32);
    if (UNLIKELY((uint32_t)blocks >= slab->reciprocal) || UNLIKELY(*index >= slab->block_count)) {
        return EDOM;
    }
    return UNLIKELY((slab->bits[*index / 64] >> *index % 64 & 1) != 0) ? EALREADY : 0;
}

// Makes a block free. As zone_find; nothing has changed then.
static ALWAYS_INLINE int zone_give(struct zone *zone, uint64_t at) {
    uint32_t entry = zone_entry(zone, at), index;
    if (UNLIKELY(entry >> ZONE_NUMBER_BITS != ZONE_SLAB)) {
        return zone_give_slow(zone, at);
    }
    uint32_t number = entry & ((1u << ZONE_NUMBER_BITS) - 1);
    struct zone_slab *slab = zone_slab(zone, number);
    int error = zone_find_in_slab(slab, &index, at);
    if (UNLIKELY(error != 0)) {
        return error;
    }
    struct zone_class *class = &zone->classes[slab->class_idx];
    slab->bits[index / 64] |= UINT64_C(1) << index % 64;
    class->given_count++;
    if (slab->free_count++ == 0) {
        slab->next = class->first;
        class->first = number;
    }
    if (UNLIKELY(slab->free_count == slab->block_count)) {
        zone->empty_count++;
    }
    return 0;
}

#endif
