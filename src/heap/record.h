// record.h - what allot knows of a first-class heap.                        layer 5
//
// A heap has slabs and large blocks of its own and, for each class, a stack of
// free blocks as a thread's cache has. One thread at a time owns it; only the
// owner touches stacks, bins and counters, and no step of his is atomic until a
// stack has to be refilled or flushed. A shared heap is owned by whoever holds
// `use`. A heap in given memory has neither slabs nor stacks; all calls take `use`.
//
//   granules   KIND_HEAP, whatever the class: a plain free takes the slow path
//   span       of each granule says the heap and the class, of a slab's first
//              the rest, too (as.owned)
//   mixed      one granule is shared by small blocks of all classes, unless there
//              is one class only, so that a heap of a few blocks takes a few KiB:
//              | 48 | 112      | 48 | 16 | ...     | never used |
//              one byte for each 16 bytes of it: 0, or at the start of a block
//              its class, with HEAP_UNIT_FREE if it is free
//
// Other threads set the bits of what they free and put its slab in the heap's
// queue, or mark the unit; the bytes are added to `remote`. Nobody waits.
//
// Records are pages of memory for records. They are used again and never
// unmapped: a free that comes too late reads a record and finds out.
//
// Invariants (heap_validate checks them)
//   [H1] base - room - what `remote` holds = the bytes of all blocks that are
//        neither free in their slab nor in a stack
//   [H2] room_low >= 0, and at most HEAP_PEAK_STEP below room_noted or 0
//   [H3] a slab is on the list of its class iff PARTIAL, and is `slab` iff LEASED
//   [H4] held_bytes is the sum over the spans in `all` outside the reserve, the
//        reserve, and kept_bytes, which is the sum over the lists of kept spans
#ifndef ALLOT_HEAP_RECORD_H
#define ALLOT_HEAP_RECORD_H

#include "allot.h"
#include "base/compiler.h"
#include "heap/budget.h"
#include "os/lock.h"
#include "page/region.h"
#include "slab/sizeclass.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HEAP_KINDS = SIZECLASS_SPAN_FIRST,  // larger blocks are KIND_LARGE
    HEAP_UNIT_LOG2 = 4,
    HEAP_UNITS = 1 << (GRANULE_LOG2 - HEAP_UNIT_LOG2),
    HEAP_UNIT_FREE = 0x80,
    HEAP_MIXED_MAX = 512,  // largest block in the mixed granule
    HEAP_STACK_LOG2_MIN = 2,
    HEAP_STACK_LOG2_MAX = 6,
    HEAP_NAME_BYTES = 32,
    HEAP_PEAK_STEP = 4096,  // bytes of growth between looks at the peak
    HEAP_REMOTE_SHIFT = 16,
    HEAP_KEPT_LISTS = 5,  // of spans of 1, 2, 4, ... granules
};
#define HEAP_PAGE_BYTES ((size_t)4096)
#define HEAP_NO_LIMIT BUDGET_NO_LIMIT
#define HEAP_BLOCK_MAX ((size_t)1 << 60)  // so that sums of bytes do not overflow
_Static_assert(HEAP_KINDS <= HEAP_UNIT_FREE, "a unit holds a class and a mark");
_Static_assert(sizeof((struct allot_heap_stats *)0)->name == HEAP_NAME_BYTES, "names are as long");

struct heap_stacks {
    void **top[HEAP_KINDS];
    void **end[HEAP_KINDS];
};

struct heap_bin {
    uint32_t slab;     // refilled from; 0: none
    uint32_t partial;  // slabs with free blocks, by list_next
    uint16_t word;     // of `slab`: where to look next
    uint8_t slots_log2;
    bool has_stack;
};

struct allot_heap {
    struct heap_stacks *stacks;  // own, or heap_no_stacks: all calls take the slow path
    const uint8_t *direct;       // size to class up to SIZECLASS_DIRECT_MAX
    const uint8_t *stepped;      // beyond, see heap_step: no class before it is large enough
    const struct sizeclass *classes;
    int64_t room;      // bytes that may be allocated yet                     [owner]
    int64_t room_low;  // below it: the limit, or a look at the peak is due   [owner]
    uint64_t malloc_calls, free_calls;  // others read them for statistics    [owner]
    _Atomic(uint64_t) owner;            // registry_thread_id; 0: no one      [anyone]
    int64_t room_noted;                 // at the highest peak                 [owner]

    // Frees by others: how many are at work, and above HEAP_REMOTE_SHIFT the bytes
    // that the owner has not taken back into `room` yet.            [anyone, owner]
    _Atomic(uint64_t) remote CACHE_ALIGNED;
    _Atomic(uint64_t) remote_blocks;
    _Atomic(uint32_t) queue;       // slabs that others freed into, by queue_next
    _Atomic(uint32_t) mixed_free;  // free blocks of the mixed granule
    _Atomic(bool) is_purge_wanted;
    _Atomic(bool) is_gated;  // frees by others wait a moment

    struct lock use CACHE_ALIGNED;  // of a shared heap: the owner's part
    struct lock span_lock;          // `all`, the reserve, what is kept, held_bytes
    bool is_shared, is_charged, refuses_overflow, has_grace;
    _Atomic(bool) has_odd_sizes;  // a block is larger than the class of its size [owner]
    bool is_uniform;              // one class: no mixed granule, and the reserve begins with a slab
    uint8_t kind_end;             // no class from here on
    uint8_t epoch;                // of forks
    int64_t base;                 // the limit with grace, or HEAP_NO_LIMIT
    uint64_t refused_calls;
    size_t limit_bytes, grace_bytes, soft_bytes;
    allot_heap_report report;
    void *context;
    struct allot_heap *parent;
    struct budget budget;
    _Atomic(uint32_t) child_count;
    uint32_t all;                                   // spans, by all_next
    uint32_t reserve, reserve_count, reserve_from;  // granules; none below `from` is free
    uint32_t mixed;                                 // the granule, or 0
    _Atomic(uint32_t) mixed_used;                   // its units so far; others read it
    uint32_t slow_count;
    _Atomic(size_t) held_bytes;
    uint32_t idle_ms;                // how long what is not used stays; 0: not at all
    uint32_t kept[HEAP_KEPT_LISTS];  // spans that are not used; the last one given first
    _Atomic(size_t) kept_bytes;
    uint64_t idle_calls;     // calls when somebody looked                    [owner]
    uint32_t idle_since_ms;  // no calls since                                [owner]
    bool is_settled;         // and all was given back                        [owner]
    char *bump, *bump_end;   // memory for stacks
    void *pages;             // taken for them, linked by the first word
    void **spare[HEAP_STACK_LOG2_MAX + 1];
    void *own_classes;               // a page, or NULL
    struct allot_heap *next, *prev;  // of all heaps
    struct allot_heap *next_given;   // of heaps in given memory
    struct given *given;             // the heap lives in memory of its user
    char name[HEAP_NAME_BYTES];
    struct heap_bin bins[HEAP_KINDS];
    struct heap_stacks own;
    _Atomic(uint8_t) units[HEAP_UNITS];
};
_Static_assert(sizeof(struct allot_heap) + 256 <= HEAP_PAGE_BYTES, "a heap starts on one page");

extern struct heap_stacks heap_no_stacks;

// The place in `stepped` of a size up to SIZECLASS_SLAB_MAX.
static ALWAYS_INLINE size_t heap_step(size_t size_bytes) {
    return (size_bytes + ((size_t)1 << SIZECLASS_STEP_LOG2) - 1) >> SIZECLASS_STEP_LOG2;
}

// Whether the heap or one of its ancestors has a limit.
static inline bool heap_has_limit(const struct allot_heap *heap) {
    while (heap != NULL && heap->limit_bytes == 0) {
        heap = heap->parent;
    }
    return heap != NULL;
}

#endif
