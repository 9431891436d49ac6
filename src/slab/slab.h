// slab.h - equal blocks in one span, described by bits.                    layer 3
//
//   | block 0 | block 1 | block 2 | ...          | block n-1 | tail |
//   at a multiple of the slab's size                (unused, < one block)
//
// A slab is shared by all threads. What is known of it is one bit per block,
// out of line: 1 = free. Blocks in threads' caches count as taken.
//
//   LEASED   one thread, or the class's common lease, refills from it
//   FULL     nobody's, too few free blocks to be listed
//   PARTIAL  free blocks, on the list of its class (or about to be)
//
// Invariants (slab_validate checks them)
//   [S1] bits beyond block_count are 0
//   [S2] a slab is on a list only while PARTIAL
//   [S3] no slab stays FULL while its free blocks reach listed_count, once all
//        calls have returned
//
// [S3] rests on two orders that meet. A giver sets bits, then reads the state.
// A lessee that leaves writes the state FULL, then reads the bits. Both pairs
// are sequentially consistent, so at least one of the two sees the other: the
// giver finds FULL and lists the slab, or the lessee finds the bits.
#ifndef ALLOT_SLAB_SLAB_H
#define ALLOT_SLAB_SLAB_H

#include "base/compiler.h"
#include "page/region.h"
#include "slab/sizeclass.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A place in a slab to refill from. slab = 0: none.
struct slab_lease {
    uint32_t slab;    // first granule
    uint16_t word;    // where to look next
    uint16_t lessee;  // number of the thread; 0: of all threads
};

enum slab_fault { SLAB_DOUBLE_FREE, SLAB_BAD_POINTER };

// Called for a block that was given although it is free, or that is none.
typedef void slab_report(void *block, enum slab_fault fault);

void slab_init(slab_report *report);

// Reports a fault that another module found.
void slab_fault(void *block, enum slab_fault fault);

// Takes up to `want` blocks. The first stands in end[-1], the next in end[-2],
// and so on: the lowest address comes off a stack first. Returns how many.
unsigned slab_take(unsigned kind, unsigned shard, struct slab_lease *lease, void **end,
                   unsigned want);

// The same from the lease that all threads of the shard have in common: a
// thread that needs few blocks does not hold a slab of its own.
unsigned slab_take_common(unsigned kind, unsigned shard, uint16_t lessee, void **end,
                          unsigned want);

// Whether another thread is at it in this moment.
bool slab_is_common_busy(unsigned kind, unsigned shard);

// Gives blocks back. Returns how many of them lay in slabs that another thread
// than `lessee` leased last.
unsigned slab_give(unsigned kind, void *const *blocks, unsigned count, uint16_t lessee);

// Ends a lease.
void slab_leave(unsigned kind, struct slab_lease *lease);

// Time passes: slabs that are listed from now on are younger than others.
void slab_end_year(void);

// Leases the slab that was listed longest ago, at least so many years; 0: there
// is none. Of the thin ones, whose free pages went back, or of the others.
uint32_t slab_take_oldest(unsigned kind, unsigned shard, unsigned years, bool is_thin);

// Ends such a lease. The slab is now thin: it is taken from where there is no other.
void slab_put_back(unsigned kind, uint32_t slab);

// Whether it is listed as thin, a moment ago.
bool slab_is_thin(uint32_t slab);

// Whether the block at this address is free in its slab. The address must be a
// multiple of the block size in the slab.
bool slab_is_free(unsigned kind, const void *block);

// Whether the address is that of a block that is not free in its slab.
static ALWAYS_INLINE bool slab_is_taken(unsigned kind, const void *address) {
    const struct sizeclass *class = &sizeclass_table[kind];
    uintptr_t offset = (uintptr_t)address - region_state.base;
    uint32_t inside = (uint32_t)offset & (class->slab_bytes - 1);
    uint32_t index = (uint32_t)((uint64_t)inside * class->reciprocal >> 32);
    if (UNLIKELY(index * class->size_bytes != inside || index >= class->block_count)) {
        return false;
    }
    uint32_t slab = (uint32_t)((offset - inside) >> GRANULE_LOG2);
    const _Atomic(uint64_t) *words = __atomic_load_n(&region_span(slab)->words, __ATOMIC_RELAXED);
    uint64_t word = atomic_load_explicit(&words[index / 64], memory_order_relaxed);
    return (word >> index % 64 & 1) == 0;
}

struct slab_place {
    uint32_t slab;
    uint32_t index;         // of the block
    uint32_t offset_bytes;  // in the block
    bool is_block;          // false: in the tail
};
struct slab_place slab_find(unsigned kind, const void *address);

// Calls visit for every slab; slabs may come and go meanwhile.
typedef void slab_visit(unsigned kind, uint32_t slab, void *context);
void slab_each(slab_visit *visit, void *context);

struct slab_stats {
    uint64_t taken_bytes, taken_blocks;  // in slabs: taken by threads
    uint64_t free_bytes;                 // in slabs: free
    uint64_t slab_count;
};

// Walks all slabs.
void slab_read_stats(struct slab_stats *stats);

// Of one class.
struct slab_class_stats {
    uint64_t slab_count, nonfull_count;  // slabs; those of them with free blocks
    uint64_t taken_blocks;               // by threads, their caches included
    uint64_t nonfull_free;               // free blocks, all in the nonfull slabs
};

// Walks all slabs; `stats` has SIZECLASS_SLABS entries.
void slab_read_classes(struct slab_class_stats *stats);

struct slab_look {
    unsigned kind;
    unsigned free_count;  // blocks of the slab that are free
    bool is_partial;      // nobody takes from it, and it has free blocks
};

// The slab around a block that is in use. False: the address is none of a slab's.
bool slab_look_at(struct slab_look *look, const void *block);

// In the child of a fork: locks and lists are reset; slabs are found again by
// slab_relist.
void slab_repair(void);

// After slab_repair: gives up the leases of threads that do not exist, and puts
// partial slabs on their lists again. Cost: all slabs.
typedef bool slab_is_leased(unsigned kind, uint32_t slab);
void slab_relist(slab_is_leased *is_leased);

void slab_validate(void);

#endif
