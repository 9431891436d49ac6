// region.h - the address space that allot manages, and its page map.       layer 2
//
//   base                                                            limit
//   | granule 0 | granule 1 | ... | top ...committed... |   reserved  |
//     never used
//
//   kind[g]    one byte: what lies in granule g (the page map)
//   spans[g]   one record of 64 bytes, valid at the first granule of a span
//
// Everything that is known about a block follows from (p - base) >> 14. Records
// lie in a mapping of their own with inaccessible pages around each table, so
// that an overrun of a block never reaches them.
//
// Where address space is short (RLIMIT_AS, small machines), no large region is
// reserved: the window is then only an interval of addresses, and pieces of it
// are mapped as they are needed.
//
// Invariants
//   [R1] kind[g] is readable for every g < granule_limit, which only grows
//   [R2] kind[g] == KIND_NONE iff g belongs to no span that is in use
#ifndef ALLOT_PAGE_REGION_H
#define ALLOT_PAGE_REGION_H

#include "base/compiler.h"
#include "base/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// What a granule holds. Size classes follow KIND_TAGGED.
enum {
    KIND_NONE = 0,    // free, or not ours
    KIND_INSIDE = 1,  // in use, not the first granule of a large block; or on its way
    KIND_LARGE = 2,   // first granule of a large block
    KIND_HEAP = 3,    // of a first-class heap: the granule's record says more
    KIND_PEN = 4,     // of guarded blocks: likewise
    KIND_TAGGED = 5,  // of a slab of blocks with accounts: the record says its class
    KIND_CLASS_FIRST = 6,
};

enum span_state {
    SPAN_NONE,
    SPAN_FREE,     // in the page heap's bins
    SPAN_QUICK,    // freed a moment ago, kept whole by the page heap
    SPAN_LARGE,    // one block
    SPAN_LEASED,   // a slab from which some thread refills
    SPAN_FULL,     // a slab without enough free blocks to be listed
    SPAN_PARTIAL,  // a slab with free blocks, on the list of its class
    SPAN_RESERVE,  // a free granule of a heap's reserve
};

enum { SPAN_INLINE_WORDS = 4, SPAN_STATE_BITS = 8 };

struct allot_heap;  // a first-class heap, layer 5: only its address is kept here
struct pen;         // of guarded blocks, layer 7: likewise

struct span {
    union {
        // A slab's free blocks: 1 = free. Anyone: fetch_or to give, fetch_and
        // by the lessee to take.
        _Atomic(uint64_t) bits[SPAN_INLINE_WORDS];
        struct {  // SPAN_FREE; both ends hold state and count
            COMPILER_LATE(uint32_t) bin_next, bin_prev;
            COMPILER_LATE(uint32_t) newer, older;  // dirty spans by age
            COMPILER_LATE(uint32_t) since_ms;      // freed, or purged
            COMPILER_LATE(bool) is_dirty, is_zero;
        } free;
        struct {  // KIND_LARGE and classes of one block
            size_t usable_bytes;
            COMPILER_LATE(uint32_t) offset_bytes;  // of the block in its first granule
            uint16_t account;                      // who allocated it; 0: nobody said
            COMPILER_LATE(bool) is_moved;          // its pages came from elsewhere (os_move)
        } large;
        struct {  // KIND_TAGGED, of each granule: so that a free need not look further
            _Atomic(uint16_t) *accounts;      // of the slab's first block; others before it
            uint32_t size_bytes, reciprocal;  // of the class
            uint32_t skip_bytes;              // from the slab's start to the granule's
            uint32_t kind;                    // the class that it is the twin of
        } tagged;
        struct {                  // KIND_HEAP: of each granule the heap, of the first the rest
            size_t usable_bytes;  // of a large block
            COMPILER_LATE(uint32_t) queue_next;  // freed into by other threads
            _Atomic(uint32_t) is_queued;
            struct allot_heap *heap;
            COMPILER_LATE(uint32_t) all_next, all_prev;  // spans of the heap
        } owned;
        struct pen *pen;  // KIND_PEN: of each granule
    } as;
    _Atomic(uint64_t) *words;       // of a slab: as.bits, or outside if there are more
    _Atomic(uint32_t) state;        // enum span_state; of a slab with its generation above
    uint32_t granule_count;         // [holder of the span]
    uint32_t list_next, list_prev;  // partial list                  [lock of the class]
    _Atomic(uint16_t) lessee;       // who leased it last: a hint for statistics. Of KIND_TAGGED
                                    // in each granule
    uint8_t kind;                   // size class of a slab
    bool is_listed;                 // on the list of its class      [lock of the class]
    uint8_t list_epoch;             // of registry forks, when it was listed
    uint8_t list_mark;              // the year, and whether it is thin: see slab.c
    uint16_t generation;            // of slabs in this place            [lessee at creation]
};
_Static_assert(sizeof(struct span) == 64, "one record is one cache line");

struct region {
    uintptr_t base;
    size_t granule_limit;  // atomic; see COMPILER_LOAD
    uint8_t *kind;
    struct span *spans;
};
extern struct region region_state CACHE_ALIGNED;

// Granule of an address; >= granule_limit if it is not in the region.
static ALWAYS_INLINE size_t region_granule(const void *address) {
    return ((uintptr_t)address - region_state.base) >> GRANULE_LOG2;
}

static ALWAYS_INLINE bool region_contains(size_t granule) {
    return granule < COMPILER_LOAD(region_state.granule_limit);
}

static ALWAYS_INLINE char *region_address(uint32_t granule) {
    return (char *)(region_state.base + ((uintptr_t)granule << GRANULE_LOG2));
}

static ALWAYS_INLINE struct span *region_span(uint32_t granule) {
    return &region_state.spans[granule];
}

static ALWAYS_INLINE uint8_t region_kind(size_t granule) {
    return COMPILER_LOAD(region_state.kind[granule]);
}

// The first granule from `granule` on whose address is a multiple of `align`
// granules, a power of two.
static ALWAYS_INLINE size_t region_align(size_t granule, size_t align) {
    size_t base = region_state.base >> GRANULE_LOG2;
    return ((granule + base + align - 1) & ~(align - 1)) - base;
}

// Kinds are bytes that any thread may look at while the holder of the granules
// writes them.
static inline void region_set_kind(uint32_t first, uint32_t count, unsigned kind) {
    if (!COMPILER_TSAN) {
        memset(region_state.kind + first, (int)kind, count);
        return;
    }
    for (uint32_t g = first; g < first + count; g++) {
        __atomic_store_n(&region_state.kind[g], (uint8_t)kind, __ATOMIC_RELAXED);
    }
}

struct region_options {
    size_t reserve_bytes;
    bool is_thp_always, is_thp_never;
    bool use_huge_pages;
};

// Reserves the window. False if the system gives no memory at all; may be tried
// again. Call once at a time.
bool region_init(const struct region_options *options);

bool region_is_ready(void);

// Takes at least `count` fresh granules, zero and committed, whose address is a
// multiple of `align` granules; a multiple of the chunk. Returns the first granule and
// sets `got_count`; 0 if there is no memory.
uint32_t region_extend(uint32_t count, uint32_t align, unsigned owner, uint32_t *got_count);

// Which `owner` took the granule; UINT_MAX if nobody did.
unsigned region_owner(uint32_t granule);

// Any granule: was it ever handed out? Others may have mappings in a window.
bool region_owns(size_t granule);

// What is given back goes in multiples of this; beyond a granule it is not sure
// to read as zero.
size_t region_purge_unit(void);

// Granules that were ever handed out lie below this.
uint32_t region_top(void);

// Memory for records, zero, aligned to 64 bytes, never given back. NULL if
// there is none.
void *region_take_meta(size_t size_bytes);

struct region_stats {
    size_t reserved_bytes, committed_bytes, meta_bytes;
    uint64_t map_calls;
};
void region_read_stats(struct region_stats *stats);

// In the child of a fork, before anything else.
void region_repair(void);

#endif
