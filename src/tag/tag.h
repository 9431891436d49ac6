// tag.h - accounts: who allocated each block, and how much in all.          layer 6
//
// An account is a tag, or a place in a program that allocates for a tag. Its number
// stands beside the bits of each block's slab, or in the record of a large block;
// no block is larger for it. Slabs of such blocks are of KIND_TAGGED: their stack is
// always full for plain frees, which so take the slow path, at no price for others.
// All accounts share them.
//
//   ledger   a thread's stacks of tagged blocks, and before them (cache_ledger)
//   rows     one for each account: what the thread took and gave. Only grow
//
// Only the owner writes a ledger. An account's figures are the sums of its rows, so
// that a block may be freed by any thread. Ledgers belong to caches: the next thread
// that gets the cache goes on with its ledger.
//
// Invariants
//   [T1] beside the bit of a block that a program holds stands its account
//   [T2] taken - given, summed over all rows of an account, is what it holds
#ifndef ALLOT_TAG_TAG_H
#define ALLOT_TAG_TAG_H

#include "allot.h"
#include "base/compiler.h"
#include "cache/cache.h"
#include "heap/budget.h"
#include "heap/registry.h"
#include "page/region.h"
#include "slab/slab.h"
#include "slab/twin.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TAG_NAME_BYTES = 32, TAG_ACCOUNTS_MAX = UINT16_MAX };

// Whether fast paths may use a row: not if there is a limit, or guard mode watches, or
// nobody looked yet.
enum tag_row_kind { TAG_ROW_SLOW, TAG_ROW_OF_TAG, TAG_ROW_OF_SITE };

// Of one account in one ledger.
struct tag_row {
    uint64_t taken_bytes, taken_blocks;
    uint64_t given_bytes, given_blocks;
    int64_t due_bytes;  // taken - given beyond which the slow path looks at the peak
    uint64_t is_plain;  // enum tag_row_kind
    uint64_t remote_blocks;
    uint64_t unused;
};

struct tag {
    char name[TAG_NAME_BYTES];
    uint32_t id, parent;
    bool has_limits, has_grace;
    bool is_charged;  // it, or an ancestor, has limits
    bool is_watched;  // by guard mode: its blocks are not in slabs
    struct budget budget;
    size_t limit_bytes, grace_bytes;
    _Atomic(size_t) soft_bytes;
    allot_tag_report report;
    void *context;
    _Atomic(int64_t) own_bytes;  // of a charged one: live
    _Atomic(int64_t) step_bytes;
    _Atomic(uint64_t) peak_bytes, refused_calls;
    struct tag *next_charged;
};

struct tag_account {
    struct tag *tag;
    const struct allot_site *site;  // a copy that stays; NULL: the tag's own
    _Atomic(uint32_t) next;         // of the tag; 0: none
    uint32_t next_of_site;
    struct tag_row late;  // of threads without a ledger             [atomic adds]
    _Atomic(uint64_t) marked_bytes, marked_blocks;
    _Atomic(uint64_t) held_bytes;  // when it was last read
    uint64_t tree_bytes;           // likewise, of a tag       [tagread_begin to tagread_end]
};

struct tag_sum {
    uint64_t live_bytes, live_blocks, taken_blocks, given_blocks, remote_blocks;
};

// Guard mode watches the tags of these names and all below them; NULL: all tags. Before
// there are any; the text stays.
void tag_watch(const char *names);

// Whether the tag has one of the names, which have : between them.
bool tag_is_named(const struct tag *tag, const char *names);

// A tag. `limits` may be NULL. 0: no memory, or too many.
uint32_t tag_create(const char *name, uint32_t parent, const struct allot_tag_limits *limits);

uint32_t tag_count(void);  // of accounts, with number 0
struct tag_account *tag_account(uint32_t account);

// The account of a site in a tag; the tag itself if there is no room for another.
uint32_t tag_site(struct allot_site *site, uint32_t tag);

// Either may be NULL: as it is.
void tag_set_limit(struct tag *tag, const size_t *limit_bytes, const bool *has_grace);

// What an account holds; sums over a tag's accounts are those of the tag.
void tag_add(uint32_t account, struct tag_sum *sum);

// A block of a class; NULL with errno = ENOMEM, also if a limit refuses.
void *tag_take_slow(uint32_t account, unsigned kind, bool *is_zero);

void *tag_take_large(uint32_t account, size_t size_bytes, size_t align_bytes, bool *is_zero);

// False: it is free, or no block.
bool tag_give_slow(void *block, size_t granule);

// A large block with an account is about to be given back.
void tag_give_large(const void *block);

// A block of the account is to have other usable bytes. False: a limit refuses.
bool tag_resize(uint32_t account, size_t from_bytes, size_t to_bytes);

// Blocks in nobody's slabs, which say themselves whose they are. Account 0 counts
// nothing. False: a limit refuses.
bool tag_note_taken(uint32_t account, size_t bytes);
void tag_note_given(uint32_t account, size_t bytes);

// The next block that the thread takes for the account, if a limit is to be asked, counts
// instead of one of so many bytes that it will give back then. 0: it does not.
void tag_lend(uint32_t account, size_t bytes);

// The account of a block; 0: none, or it is no block.
uint32_t tag_find(const void *block);

// In the child of a fork.
void tag_repair(void);

// Where the account of a block stands.
static ALWAYS_INLINE _Atomic(uint16_t) *tag_place(const void *block, const struct span *span) {
    uint32_t offset = (uint32_t)(uintptr_t)block & (GRANULE_BYTES - 1);
    uint64_t inside = offset + span->as.tagged.skip_bytes;
    return span->as.tagged.accounts - (inside * span->as.tagged.reciprocal >> 32);
}

// registry_set_scope, and fast paths know the row of the scope.
static ALWAYS_INLINE uint32_t tag_set_scope(uint32_t account) {
    uint32_t before = registry_set_scope(account);
    struct cache_ledger *ledger = cache_tagged;
    if (account != 0 && LIKELY(account < ledger->row_count) &&
        LIKELY(ledger->rows[account].is_plain != 0)) {
        ledger->scope = account;
        ledger->scope_row = &ledger->rows[account];
    }
    return before;
}

// A block from the stack, counted; NULL: take the slow path. Nothing here waits for
// the account that the block had, nor jumps by it.
static ALWAYS_INLINE void *tag_pop_for(struct cache_ledger *ledger, struct tag_row *row,
                                       uint32_t account, size_t kind) {
    void **top = ledger->cache.top[kind];
    void *block = ledger->cache.hot[kind];
    if (UNLIKELY(block == NULL)) {
        return NULL;
    }
    atomic_store_explicit(*cache_place(top), (uint16_t)account, memory_order_relaxed);
    ledger->cache.hot[kind] = top[-1];
    compiler_slot_down(&ledger->cache.top[kind]);
    compiler_count_by(&row->taken_bytes, sizeclass_table[kind].size_bytes);
    compiler_count_up(&row->taken_blocks);
    return block;
}

// Gives a block of a granule of KIND_TAGGED to the stack; false: take the slow path.
// What is no block is found when it leaves the stack.
static ALWAYS_INLINE bool tag_push(void *block, size_t granule) {
    struct cache_ledger *ledger = cache_tagged;
    const struct span *span = region_span((uint32_t)granule);
    _Atomic(uint16_t) *place = tag_place(block, span);
    uint32_t account = atomic_load_explicit(place, memory_order_relaxed);
    if (UNLIKELY(account >= ledger->row_count)) {
        return false;
    }
    // Nobody allocates for account 0: its row is not plain.
    struct tag_row *row = &ledger->rows[account];
    size_t kind = span->as.tagged.kind;
    void **top = ledger->cache.top[kind];
    if (UNLIKELY(row->is_plain == 0) || UNLIKELY(top >= ledger->cache.end[kind])) {
        return false;
    }
    *top = ledger->cache.hot[kind];
    ledger->cache.hot[kind] = block;
    *cache_place(top + 1) = place;
    compiler_slot_up(&ledger->cache.top[kind]);
    compiler_count_by(&row->given_bytes, span->as.tagged.size_bytes);
    compiler_count_up(&row->given_blocks);
    uint16_t lessee = atomic_load_explicit(&span->lessee, memory_order_relaxed);
    if (UNLIKELY(lessee != ledger->cache.number)) {
        compiler_count_up(&row->remote_blocks);
    }
    return true;
}

static ALWAYS_INLINE void *tag_pop(uint32_t account, unsigned kind) {
    struct cache_ledger *ledger = cache_tagged;
    if (UNLIKELY(account >= ledger->row_count)) {
        return NULL;
    }
    struct tag_row *row = &ledger->rows[account];
    return LIKELY(row->is_plain != 0) ? tag_pop_for(ledger, row, account, kind) : NULL;
}

// The same for the scope of the thread; stacks of kinds that are no slab's are empty.
static ALWAYS_INLINE void *tag_pop_in_scope(size_t kind) {
    struct cache_ledger *ledger = cache_tagged;
    struct tag_row *row = ledger->scope_row;
    return row != NULL ? tag_pop_for(ledger, row, ledger->scope, kind) : NULL;
}

static ALWAYS_INLINE void *tag_take(uint32_t account, unsigned kind, bool *is_zero) {
    void *block = LIKELY(sizeclass_is_slab(kind)) ? tag_pop(account, kind) : NULL;
    return LIKELY(block != NULL) ? block : tag_take_slow(account, kind, is_zero);
}

#endif
