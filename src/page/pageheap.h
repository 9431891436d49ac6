// pageheap.h - spans of granules: best fit, coalescing, purge.             layer 2
//
// Free spans are dirty (may be resident, reused first) or clean (read as
// zero). The page heap is sharded; a granule belongs for good to the shard that
// took it from the region, and a span is freed to its shard.
#ifndef ALLOT_PAGE_PAGEHEAP_H
#define ALLOT_PAGE_PAGEHEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGEHEAP_SHARDS_MAX = 16 };
#define PAGEHEAP_NEVER UINT64_MAX

// Once, after region_init. `shard_count` is clamped.
void pageheap_init(unsigned shard_count);

unsigned pageheap_shard_count(void);

// May be called at any time; takes effect at the next slow path.
void pageheap_set_policy(uint64_t purge_delay_ms, size_t dirty_limit_bytes);

enum pageheap_use {
    PAGEHEAP_PLAIN,   // resident spans first
    PAGEHEAP_DENSE,   // used from end to end: where the heap grows, its pages and
                      // some more are made resident in one system call
    PAGEHEAP_SPARSE,  // its tail stays untouched: memory that is not resident
};

// Takes `count` granules whose address is a multiple of `align` granules (a power
// of two). Their kind is KIND_INSIDE; the caller sets the record and then the
// kind of the first. `is_zero` tells whether all of it reads as zero. Returns the
// first granule; 0 if there is no memory and nothing has changed.
uint32_t pageheap_take(unsigned shard, uint32_t count, uint32_t align, enum pageheap_use use,
                       bool *is_zero);

// Gives a span back.
void pageheap_give(uint32_t first);

// Gives back the granules from `first + count` on.
void pageheap_shrink(uint32_t first, uint32_t count);

// Takes the granules behind the span, if they are free. False: nothing changed.
// `is_zero` tells whether the new part reads as zero.
bool pageheap_grow(uint32_t first, uint32_t count, bool *is_zero);

// The span was filled by os_move, see os_renew: renews what lies behind its first
// `from_count` granules. False: nothing has changed.
bool pageheap_renew(uint32_t first, uint32_t from_count);

// The span is not to be used again: its memory is in an unknown state.
void pageheap_abandon(uint32_t first);

// Returns dirty spans to the system, oldest first, until `target_bytes` are
// reached or the clock passes `until_ns`. Returns the bytes that went back.
size_t pageheap_purge(size_t target_bytes, uint64_t until_ns);

// Returns what is older than the purge delay. Cheap if there is nothing. Once a second it
// may read files, to see whether a memory limit is near.
void pageheap_tick(void);

// Keeps all spans as they are until pageheap_let_go: for a walk over them.
void pageheap_hold(void);
void pageheap_let_go(void);

// As it was set; UINT64_MAX: never. The other one is shorter while the process's group is
// near its memory limit.
uint64_t pageheap_purge_delay_ms(void);
uint64_t pageheap_delay_now_ms(void);

// Bytes in spans in use, a moment ago. Takes no lock.
size_t pageheap_used_bytes(void);

struct pageheap_stats {
    size_t used_bytes, dirty_bytes, clean_bytes, peak_bytes;  // peak of used + dirty
    uint64_t purge_calls, purge_bytes, take_calls;
};
void pageheap_read_stats(struct pageheap_stats *stats);

// In the child of a fork, when other threads of the parent may have been at
// work: locks are reset at once, and the free spans are found again from the
// page map before the first use.
void pageheap_repair(void);

// Checks every invariant of all shards; builds that validate.
void pageheap_validate(void);

#endif
