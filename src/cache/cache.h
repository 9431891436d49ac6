// cache.h - a thread's free blocks.                                        layer 4
//
// For each size class a stack of pointers, out of band: malloc pops, free
// pushes; neither touches the block or its slab.
//
//   stack:  | NULL | oldest | ... | newest but one | .... |      |
//                                                    ^ top  ^ end: last slot to fill
//   hot:    newest, whose slot is written when another comes on top of it
//
// malloc's result comes from a place that is known before the stack's top is: it
// need not wait for what an earlier free, of another class, wrote to a slot.
//
// The NULL at the bottom is what `hot` becomes when the stack is empty. A thread
// without a cache has cache_none, where every stack is empty and full at once:
// the fast paths need no test for it. An empty stack is refilled from slabs, a
// full one gives its older half back to them.
//
// Only the owner writes a cache. Others read `top` and the counters for
// statistics.
//
// Invariants (cache_validate checks them)
//   [K1] bottom <= top <= end < bottom + slots; *bottom == NULL; no other slot
//        below top is NULL; hot is NULL only where top is bottom
//   [K2] held_bytes is the sum of limit x size over the classes in use
#ifndef ALLOT_CACHE_CACHE_H
#define ALLOT_CACHE_CACHE_H

#include "base/compiler.h"
#include "slab/sizeclass.h"
#include "slab/slab.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CACHE_STACK_LOG2_MAX = 7 };

// The part of a stack that only slow paths use.
struct cache_bin {
    struct slab_lease lease;
    uint16_t limit;      // slots to use, with the bottom; 0: no stack yet
    uint8_t slots_log2;  // slots that the stack has
    uint8_t want;        // blocks of the last refill
    uint8_t flush_count;
    uint8_t busy_count;    // refills that met others at the common lease, since the last scavenge
    uint8_t settled;       // blocks in the stack when they were last accounted for
    bool has_flushed : 1;  // since the last refill
    bool was_taken : 1;    // refilled since the last scavenge
    bool was_given : 1;    // flushed since the last scavenge
};

// What a thread has taken and given, in bytes: both only grow, each is at least
// what is shown, and their difference is exact after cache_settle.
struct cache_use {
    uint64_t allocated_bytes, freed_bytes;
};

struct guarded;  // layer 7

// What guard mode knows of the thread.
struct cache_watch {
    uintptr_t stack_low, stack_high;  // its stack, or that of a coroutine
    uint32_t stack_looks;
    bool is_stack_sure;      // it stays as long as the thread does
    uint64_t random;         // chooses the blocks that are sampled
    int64_t sample_left;     // blocks until the next one
    struct guarded *sample;  // taken, and not yet allocated
};

struct cache {
    void **top[SIZECLASS_END];
    void **end[SIZECLASS_END];
    void *hot[SIZECLASS_END];                  // the block of the slot at top
    uint8_t direct[SIZECLASS_DIRECT_MAX + 1];  // size to class: a copy beside the stacks
    bool is_counting;                          // every call takes the slow path
    bool is_bypassed;                          // likewise, and past the stacks
    uint8_t twin;                              // its slabs are those of class + twin
    uint16_t number;                           // of the thread, from 1
    uint16_t shard;
    uint32_t slow_count;  // since the last scavenge
    uint32_t purge_seen;  // cache_policy.purge_request
    size_t held_bytes;
    char *bump, *bump_end;                   // memory for stacks
    void **spare[CACHE_STACK_LOG2_MAX + 1];  // stacks out of use, by log2 of their slots
    struct cache_ledger *ledger;             // the thread's blocks with accounts, or NULL
    struct cache *next;                      // [registry]
    struct cache *next_parked;               // [registry]
    uintptr_t thread;                        // [registry]
    _Atomic(uint16_t) turn;                  // threads that had this record  [registry]
    _Atomic(uint64_t) malloc_calls, free_calls, large_calls;  // counted if is_counting
    _Atomic(uint64_t) refill_calls, flush_calls, remote_blocks;
    struct cache_use use;       // [owner]
    struct cache_watch *watch;  // [owner] NULL until guard mode looks at the thread
    struct cache_bin bins[SIZECLASS_SLABS + SIZECLASS_SPANS];
};

#define CACHE_BIN(cache, kind) ((cache)->bins[(kind)-SIZECLASS_FIRST])

// A thread's blocks with accounts, and what it took and gave for each account.
struct cache_ledger {
    struct tag_row *rows;  // layer 6: only their address is kept here
    uint32_t row_count;
    uint32_t scope;             // account of scope_row
    struct tag_row *scope_row;  // the scope's, if blocks may be taken without a look at limits
    uint64_t lent_bytes;        // tag_lend
    struct cache_ledger *next;
    struct cache cache;
};
extern struct cache_ledger cache_no_ledger;  // of threads without one

// Beside each slot of a ledger's stack, at this distance, stands where the account of
// the block is to be written. No multiple of a page: loads would wait for stores.
enum { CACHE_TWIN_CHUNK_BYTES = 4096, CACHE_PLACE_BYTES = CACHE_TWIN_CHUNK_BYTES + 128 };
static ALWAYS_INLINE _Atomic(uint16_t) **cache_place(void **slot) {
    return (_Atomic(uint16_t) **)(void *)((char *)slot + CACHE_PLACE_BYTES);
}

// Reserved in memory for records, the rest of it holds the first stacks.
#define CACHE_RECORD_BYTES ((size_t)4736)
_Static_assert(sizeof(struct cache) + 160 <= CACHE_RECORD_BYTES, "the first stacks have room");
_Static_assert(CACHE_RECORD_BYTES % CACHE_LINE_BYTES == 0, "threads share no line");

extern struct cache cache_none;
extern THREAD_LOCAL struct cache *cache_self;           // what the fast paths use
extern THREAD_LOCAL struct cache_ledger *cache_tagged;  // what those of blocks with accounts use
// The account of what the thread allocates, or 0. If there is one, cache_self is
// cache_none: a malloc that knows nothing of accounts takes the slow path.
extern THREAD_LOCAL uint32_t cache_scope;

struct cache_policy {
    _Atomic(size_t) thread_bytes;     // most that one thread may keep
    _Atomic(uint32_t) purge_request;  // changes when caches shall be emptied
};
extern struct cache_policy cache_policy;

// So that cache_none knows the classes, too; once, when sizeclass_direct is filled.
void cache_setup(void);

// A block of the class from the stack; NULL if it is empty.
static ALWAYS_INLINE void *cache_pop(struct cache *cache, size_t kind) {
    void *block = cache->hot[kind];
    COMPILER_RESULT(block);
    if (LIKELY(block != NULL)) {
        cache->hot[kind] = cache->top[kind][-1];
        compiler_slot_down(&cache->top[kind]);
    }
    return block;
}

// False if the stack is full.
static ALWAYS_INLINE bool cache_push(struct cache *cache, size_t kind, void *block) {
    void **top = cache->top[kind];
    if (UNLIKELY(top >= cache->end[kind])) {
        return false;
    }
    *top = cache->hot[kind];
    cache->hot[kind] = block;
    compiler_slot_up(&cache->top[kind]);
    return true;
}

// Prepares a record of CACHE_RECORD_BYTES, zero except for next.
void cache_init(struct cache *cache, uint16_t number, uint16_t shard);

// Refills the stack of a class and takes one block. NULL: there is no memory.
// `is_zero` tells whether the block reads as zero.
void *cache_refill(struct cache *cache, unsigned kind, bool *is_zero);

// Pushes on a stack that is full.
void cache_push_slow(struct cache *cache, unsigned kind, void *block);

// Gives back every block and lease.
void cache_empty(struct cache *cache);

// A block for a thread that has no cache.
void *cache_take_uncached(unsigned kind, bool *is_zero);
void cache_give_uncached(unsigned kind, void *block);

// A block past the stacks of the thread's cache, which may be NULL.
void *cache_take_past(struct cache *cache, unsigned kind, bool *is_zero);
void cache_give_past(struct cache *cache, unsigned kind, void *block);

// The thread took or gave so many bytes otherwise than through its stacks.
static ALWAYS_INLINE void cache_account(struct cache *cache, size_t taken_bytes,
                                        size_t given_bytes) {
    if (cache != NULL) {
        cache->use.allocated_bytes += taken_bytes;
        cache->use.freed_bytes += given_bytes;
    }
}

// Accounts for what went through the stacks: what a class has less than the last
// time was allocated, what it has more was freed. Slow paths do so for theirs.
void cache_settle(struct cache *cache);

struct cache_stats {
    uint64_t bytes, blocks;
    uint64_t slab_bytes;  // of them in slabs
};
void cache_add_stats(const struct cache *cache, struct cache_stats *stats);

// Gives back the blocks of a thread that does not exist in this process, as far
// as they can be trusted. In the child of a fork.
void cache_salvage(struct cache *cache);

// Whether the address is in one of the stacks of this cache.
bool cache_holds(const struct cache *cache, unsigned kind, const void *block);

void cache_validate(const struct cache *cache);

#endif
