// cache.c - refill and flush of a thread's free blocks.                    layer 4
#include "cache/cache.h"

#include "base/bits.h"
#include "os/check.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/holes.h"
#include "slab/large.h"

#include <string.h>

enum {
    // A full stack grows every so many times, else half of it is flushed.
    CACHE_GROW_EVERY = 4,
    // Refills of fewer blocks come from the lease of all threads, unless threads that
    // need many meet there often: a thread that needs little does not hold a slab of
    // its own.
    CACHE_COMMON_BELOW = CONFIG_TINY ? 4 : 33,
    CACHE_BUSY_MAX = 16,
    CACHE_SCAVENGE_EVERY = CONFIG_TINY ? 8 : 256,  // slow paths
    CACHE_TICK_EVERY = 32,                         // slow paths
    CACHE_SLOTS_MAX = 128,
    CACHE_GUESTS = 4,
    // A thread keeps this part of the memory in use at most, but may always keep
    // CACHE_BUDGET_MIN bytes.
    CACHE_BUDGET_SHARE = 16,
    CACHE_BUDGET_MIN = 1536 * KIB,
    CACHE_CHUNK_BYTES = 1024,  // memory for stacks is taken in such pieces
    // A class that is only given back to holds less than twice either of these.
    CACHE_GIVEN_SLOTS = 16,
    CACHE_GIVEN_BYTES = 32 * KIB,
};

static void *cache_no_block[1];
struct cache cache_none = {
    .top = {[0 ... SIZECLASS_END - 1] = cache_no_block},
    .end = {[0 ... SIZECLASS_END - 1] = cache_no_block},
};
THREAD_LOCAL struct cache *cache_self = &cache_none;
struct cache_ledger cache_no_ledger;
THREAD_LOCAL struct cache_ledger *cache_tagged = &cache_no_ledger;
THREAD_LOCAL uint32_t cache_scope;
struct cache_policy cache_policy = {.thread_bytes = MIB};

static void cache_count(_Atomic(uint64_t) *counter, uint64_t by) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static void **cache_bottom(const struct cache *cache, unsigned kind) {
    return cache->end[kind] - (CACHE_BIN(cache, kind).limit - 1);
}

static void cache_set_top(struct cache *cache, unsigned kind, void **top) {
    __atomic_store_n(&cache->top[kind], top, __ATOMIC_RELAXED);
    cache->hot[kind] = *top;
}

// So that all blocks of the stack stand in its slots.
static void cache_spill(struct cache *cache, unsigned kind) {
    *cache->top[kind] = cache->hot[kind];
}

void cache_init(struct cache *cache, uint16_t number, uint16_t shard) {
    for (unsigned k = 0; k < SIZECLASS_END; k++) {
        cache->top[k] = cache->end[k] = cache_no_block;
    }
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        CACHE_BIN(cache, k).lease.lessee = number;
    }
    memcpy(cache->direct, sizeclass_direct, sizeof cache->direct);
    cache->number = number;
    cache->shard = shard;
    cache->bump = (char *)(cache + 1);
    cache->bump_end = (char *)cache + CACHE_RECORD_BYTES;
    cache->purge_seen = atomic_load_explicit(&cache_policy.purge_request, memory_order_relaxed);
}

void cache_setup(void) {
    memcpy(cache_none.direct, sizeclass_direct, sizeof cache_none.direct);
}

// ---- Stacks

static void **cache_take_stack(struct cache *cache, unsigned slots_log2) {
    void **stack = cache->spare[slots_log2];
    if (stack != NULL) {
        cache->spare[slots_log2] = (void **)*stack;
        return stack;
    }
    size_t bytes = sizeof(void *) << slots_log2;
    if ((size_t)(cache->bump_end - cache->bump) < bytes) {
        size_t more = bytes > CACHE_CHUNK_BYTES ? bytes : CACHE_CHUNK_BYTES;
        more = cache->twin != 0 ? CACHE_TWIN_CHUNK_BYTES : more;
        char *memory = region_take_meta(cache->twin != 0 ? more + CACHE_PLACE_BYTES : more);
        if (memory == NULL) {
            return NULL;
        }
        cache->bump = memory;
        cache->bump_end = memory + more;
    }
    stack = (void **)cache->bump;
    cache->bump += bytes;
    return stack;
}

_Static_assert(CACHE_SLOTS_MAX * sizeof(void *) <= CACHE_TWIN_CHUNK_BYTES, "a stack fits");

static void cache_shift(const struct cache *cache, void **to, void **from, size_t count) {
    memmove(to, from, count * sizeof *to);
    if (cache->twin != 0) {
        memmove(cache_place(to), cache_place(from), count * sizeof *to);
    }
}

static void cache_give_stack(struct cache *cache, void **stack, unsigned slots_log2) {
    *stack = (void *)cache->spare[slots_log2];
    cache->spare[slots_log2] = stack;
}

static void cache_set_limit(struct cache *cache, unsigned kind, void **bottom, unsigned limit) {
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    size_t size = sizeclass_table[kind].size_bytes;
    cache->held_bytes += (size_t)limit * size - (size_t)bin->limit * size;
    __atomic_store_n(&bin->limit, (uint16_t)limit, __ATOMIC_RELAXED);
    void **end = limit > 0 ? bottom + limit - 1 : cache_no_block;
    __atomic_store_n(&cache->end[kind], end, __ATOMIC_RELAXED);
}

// A stack of `limit` slots, a power of two, with the same blocks. On failure
// nothing has changed.
static bool cache_resize_stack(struct cache *cache, unsigned kind, unsigned limit) {
    ALLOT_ASSERT(bits_is_power(limit));
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    unsigned slots_log2 = bits_log2(limit);
    void **old = bin->limit > 0 ? cache_bottom(cache, kind) : NULL;
    if (old != NULL && slots_log2 <= bin->slots_log2) {
        cache_set_limit(cache, kind, old, limit);
        return true;
    }
    void **stack = cache_take_stack(cache, slots_log2);
    if (stack == NULL) {
        return false;
    }
    size_t count = 0;
    stack[0] = NULL;
    if (old != NULL) {
        cache_spill(cache, kind);
        count = (size_t)(cache->top[kind] - old);
        cache_shift(cache, stack + 1, old + 1, count);
    }
    cache_set_top(cache, kind, stack + count);
    if (old != NULL) {
        cache_give_stack(cache, old, bin->slots_log2);
    }
    bin->slots_log2 = (uint8_t)slots_log2;
    cache_set_limit(cache, kind, stack, limit);
    return true;
}

static size_t cache_budget(void) {
    size_t most = atomic_load_explicit(&cache_policy.thread_bytes, memory_order_relaxed);
    size_t share = pageheap_used_bytes() / CACHE_BUDGET_SHARE;
    share = share > CACHE_BUDGET_MIN ? share : CACHE_BUDGET_MIN;
    return share < most ? share : most;
}

static bool cache_is_within_budget(const struct cache *cache, size_t more_bytes) {
    return cache->held_bytes + more_bytes <= cache_budget();
}

static void cache_widen(struct cache *cache, unsigned kind) {
    const struct cache_bin *bin = &CACHE_BIN(cache, kind);
    const struct sizeclass *class = &sizeclass_table[kind];
    if (bin->limit < class->slots_max &&
        cache_is_within_budget(cache, (size_t)bin->limit * class->size_bytes)) {
        cache_resize_stack(cache, kind, bin->limit * 2u);
    }
}

static bool cache_suits_giver(unsigned limit, unsigned kind) {
    return limit <= CACHE_GIVEN_SLOTS &&
           limit * sizeclass_table[kind].size_bytes <= CACHE_GIVEN_BYTES;
}

static bool cache_open(struct cache *cache, unsigned kind) {
    return CACHE_BIN(cache, kind).limit > 0 ||
           cache_resize_stack(cache, kind, sizeclass_table[kind].slots_first);
}

// ---- What the thread took and gave

static unsigned cache_fill(const struct cache *cache, unsigned kind) {
    return CACHE_BIN(cache, kind).limit > 0
               ? (unsigned)(cache->top[kind] - cache_bottom(cache, kind))
               : 0;
}

static void cache_settle_bin(struct cache *cache, unsigned kind) {
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    size_t size = sizeclass_table[kind].size_bytes;
    unsigned fill = cache_fill(cache, kind);
    if (fill < bin->settled) {
        cache_account(cache, (bin->settled - fill) * size, 0);
    } else {
        cache_account(cache, 0, (fill - bin->settled) * size);
    }
    bin->settled = (uint8_t)fill;
}

void cache_settle(struct cache *cache) {
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        cache_settle_bin(cache, k);
    }
}

// ---- Give back

static void cache_give(struct cache *cache, unsigned kind, void *const *blocks, unsigned count) {
    if (sizeclass_is_slab(kind)) {
        unsigned remote = slab_give(kind + cache->twin, blocks, count, cache->number);
        cache_count(&cache->remote_blocks, remote);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        cache_give_uncached(kind, blocks[i]);
    }
}

// Gives back the oldest `count` blocks of a stack.
static void cache_flush(struct cache *cache, unsigned kind, unsigned count) {
    void *blocks[CACHE_SLOTS_MAX];
    void **bottom = cache_bottom(cache, kind);
    unsigned have = (unsigned)(cache->top[kind] - bottom);
    if (count == 0) {
        return;
    }
    cache_settle_bin(cache, kind);
    cache_spill(cache, kind);
    memcpy(blocks, bottom + 1, count * sizeof *blocks);
    cache_shift(cache, bottom + 1, bottom + 1 + count, have - count);
    cache_set_top(cache, kind, cache->top[kind] - count);
    CACHE_BIN(cache, kind).settled = (uint8_t)(have - count);
    cache_give(cache, kind, blocks, count);
    cache_count(&cache->flush_calls, 1);
}

// Gives the stack itself back, too.
static void cache_close(struct cache *cache, unsigned kind) {
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    if (bin->limit > 0) {
        void **bottom = cache_bottom(cache, kind);
        cache_flush(cache, kind, (unsigned)(cache->top[kind] - bottom));
        cache_set_top(cache, kind, cache_no_block);
        cache_set_limit(cache, kind, NULL, 0);
        cache_give_stack(cache, bottom, bin->slots_log2);
    }
    if (sizeclass_is_slab(kind)) {
        slab_leave(kind + cache->twin, &bin->lease);
    }
    bin->want = bin->flush_count = 0;
    bin->has_flushed = bin->was_taken = bin->was_given = false;
}

void cache_empty(struct cache *cache) {
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        cache_close(cache, k);
    }
}

// A class that was not used since the last time gives back half of its blocks
// and half of its room; one that is only given back to keeps little: its blocks
// would hold on to slabs that are about to become free.
static void cache_scavenge_bin(struct cache *cache, unsigned k, bool is_over) {
    struct cache_bin *bin = &CACHE_BIN(cache, k);
    bool is_idle = !bin->was_taken && !bin->was_given;
    bool only_given = !bin->was_taken && !cache_suits_giver(bin->limit, k);
    bin->was_taken = bin->was_given = false;
    bin->busy_count = 0;
    if (bin->limit == 0 || !(is_idle || only_given || is_over)) {
        return;
    }
    unsigned have = (unsigned)(cache->top[k] - cache_bottom(cache, k));
    unsigned limit = bin->limit > sizeclass_table[k].slots_first ? bin->limit / 2 : bin->limit;
    unsigned keep = is_idle ? have / 2 : have;
    keep = keep < limit - 1 ? keep : limit - 1;
    cache_flush(cache, k, have > keep ? have - keep : 0);
    cache_set_limit(cache, k, cache_bottom(cache, k), limit);
    if (is_idle && keep == 0) {
        cache_close(cache, k);
    }
}

static void cache_scavenge(struct cache *cache) {
    bool is_over = !cache_is_within_budget(cache, 0);
    cache->slow_count = 0;
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        cache_scavenge_bin(cache, k, is_over);
    }
}

// What every slow path does now and then.
static void cache_housekeep(struct cache *cache) {
    uint32_t request = atomic_load_explicit(&cache_policy.purge_request, memory_order_relaxed);
    if (UNLIKELY(cache->purge_seen != request)) {
        cache->purge_seen = request;
        cache_empty(cache);
    }
    cache->slow_count++;
    if (cache->slow_count % CACHE_TICK_EVERY == 0) {
        pageheap_tick();
        holes_tick(cache->shard);
    }
    if (cache->slow_count >= CACHE_SCAVENGE_EVERY) {
        cache_scavenge(cache);
    }
}

// The first few blocks of a class go past the stack: most threads need few of
// most classes. Small blocks do so when they are given back only, for their
// neighbours in the cache line belong to others.
static bool cache_is_guest(struct cache_bin *bin) {
    bool is_guest = bin->limit == 0 && bin->flush_count < CACHE_GUESTS;
    bin->flush_count += is_guest;
    return is_guest;
}

void cache_push_slow(struct cache *cache, unsigned kind, void *block) {
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    cache_housekeep(cache);
    bin->was_given = true;
    if (cache_is_guest(bin) || !cache_open(cache, kind)) {
        cache_account(cache, 0, sizeclass_table[kind].size_bytes);
        cache_give(cache, kind, &block, 1);
        return;
    }
    if (cache_push(cache, kind, block)) {
        return;
    }
    bin->has_flushed = true;
    bool may_grow = bin->was_taken || cache_suits_giver(bin->limit, kind);
    if (++bin->flush_count % CACHE_GROW_EVERY == 0 && may_grow) {
        cache_widen(cache, kind);
        if (cache_push(cache, kind, block)) {
            return;
        }
    }
    unsigned have = (unsigned)(cache->top[kind] - cache_bottom(cache, kind));
    cache_flush(cache, kind, have - (bin->limit - 1u) / 2);
    cache_push(cache, kind, block);
}

// ---- Refill

// Refills double until they fill half of the stack, or are large.
static unsigned cache_want(struct cache *cache, unsigned kind) {
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    const struct sizeclass *class = &sizeclass_table[kind];
    unsigned want = bin->want > 0 ? bin->want * 2u : class->slots_first / 2u;
    want = want < class->refill_max ? want : class->refill_max;
    while (want > 1 && want >= bin->limit &&
           !cache_is_within_budget(cache, (size_t)(want * 2 - bin->limit) * class->size_bytes)) {
        want /= 2;
    }
    want = want > 1 ? want : 1;
    bin->want = (uint8_t)want;
    if (want >= bin->limit && !cache_resize_stack(cache, kind, want * 2)) {
        bin->want = (uint8_t)(bin->limit / 2);
        return bin->limit - 1u;
    }
    return want;
}

void *cache_take_uncached(unsigned kind, bool *is_zero) {
    if (sizeclass_is_span(kind)) {
        return large_take(kind, 0, sizeclass_table[kind].size_bytes, 1, is_zero);
    }
    void *block[1];
    return slab_take_common(kind, 0, 0, block + 1, 1) == 1 ? block[0] : NULL;
}

void cache_give_uncached(unsigned kind, void *block) {
    if (!sizeclass_is_span(kind)) {
        slab_give(kind, &block, 1, 0);
    } else if (large_is_block(block)) {
        large_give(block);
    } else {
        slab_fault(block, SLAB_BAD_POINTER);
    }
}

void *cache_take_past(struct cache *cache, unsigned kind, bool *is_zero) {
    if (cache == NULL) {
        return cache_take_uncached(kind, is_zero);
    }
    size_t size = sizeclass_table[kind].size_bytes;
    void *block[1] = {NULL};
    if (sizeclass_is_span(kind)) {
        block[0] = large_take(kind, cache->shard, size, 1, is_zero);
    } else {
        slab_take_common(kind + cache->twin, cache->shard, cache->number, block + 1, 1);
    }
    cache_account(cache, block[0] != NULL ? size : 0, 0);
    return block[0];
}

void cache_give_past(struct cache *cache, unsigned kind, void *block) {
    cache_account(cache, 0, sizeclass_table[kind].size_bytes);
    cache_give_uncached(kind, block);
}

void *cache_refill(struct cache *cache, unsigned kind, bool *is_zero) {
    struct cache_bin *bin = &CACHE_BIN(cache, kind);
    cache_housekeep(cache);
    bin->was_taken = true;
    bool shares_line = sizeclass_table[kind].size_bytes < CACHE_LINE_BYTES;
    if (!sizeclass_is_slab(kind) || (!shares_line && cache_is_guest(bin)) ||
        !cache_open(cache, kind)) {
        return cache_take_past(cache, kind, is_zero);
    }
    cache_settle_bin(cache, kind);
    if (bin->has_flushed) {
        bin->has_flushed = false;  // a larger stack would have helped
        cache_widen(cache, kind);
    }
    unsigned want = cache_want(cache, kind);
    void **bottom = cache_bottom(cache, kind);
    void **end = bottom + 1 + want;
    unsigned from = kind + cache->twin;
    bool is_common = bin->lease.slab == 0 && want < CACHE_COMMON_BELOW;
    if (is_common && want == sizeclass_table[kind].refill_max &&
        slab_is_common_busy(from, cache->shard)) {
        bin->busy_count++;
        is_common = bin->busy_count < CACHE_BUSY_MAX;
    }
    unsigned count = is_common ? slab_take_common(from, cache->shard, cache->number, end, want)
                               : slab_take(from, cache->shard, &bin->lease, end, want);
    if (count < want) {
        memmove(bottom + 1, end - count, count * sizeof *bottom);
    }
    cache_count(&cache->refill_calls, 1);
    if (count == 0) {
        return NULL;
    }
    cache_set_top(cache, kind, bottom + count - 1);
    bin->settled = (uint8_t)(count - 1);
    cache_account(cache, sizeclass_table[kind].size_bytes, 0);
    return bottom[count];
}

// ---- Looking

// The owner may be at work: a count that cannot be right is left out.
void cache_add_stats(const struct cache *cache, struct cache_stats *stats) {
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        size_t limit = __atomic_load_n(&CACHE_BIN(cache, k).limit, __ATOMIC_RELAXED);
        void **end = __atomic_load_n(&cache->end[k], __ATOMIC_RELAXED);
        void **top = __atomic_load_n(&cache->top[k], __ATOMIC_RELAXED);
        size_t room = (size_t)(end - top);
        size_t count = limit > 0 && room < limit ? limit - 1 - room : 0;
        stats->blocks += count;
        stats->bytes += count * sizeclass_table[k].size_bytes;
        stats->slab_bytes += sizeclass_is_slab(k) ? count * sizeclass_table[k].size_bytes : 0;
    }
}

bool cache_holds(const struct cache *cache, unsigned kind, const void *block) {
    if (CACHE_BIN(cache, kind).limit == 0) {
        return false;
    }
    if (cache->hot[kind] == block) {
        return true;
    }
    for (void **at = cache_bottom(cache, kind) + 1; at < cache->top[kind]; at++) {
        if (*at == block) {
            return true;
        }
    }
    return false;
}

static bool cache_can_trust(unsigned kind, const void *block) {
    size_t granule = region_granule(block);
    unsigned page_kind = sizeclass_is_twin(kind) ? KIND_TAGGED : kind;
    if (!region_contains(granule) || region_kind(granule) != page_kind) {
        return false;
    }
    if (sizeclass_is_span(kind)) {
        return large_is_block(block);
    }
    return slab_is_taken(kind, block);
}

// The owner may have been at work on the stack: what it says of itself has to
// agree.
static unsigned cache_count_trusted(const struct cache *cache, unsigned kind) {
    const struct cache_bin *bin = &CACHE_BIN(cache, kind);
    if (bin->limit == 0 || bin->limit > CACHE_SLOTS_MAX) {
        return 0;
    }
    void **bottom = cache_bottom(cache, kind);
    ptrdiff_t count = cache->top[kind] - bottom;
    return count > 0 && count < bin->limit && *bottom == NULL ? (unsigned)count : 0;
}

void cache_salvage(struct cache *cache) {
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        unsigned count = cache_count_trusted(cache, k);
        void **blocks = count > 0 ? cache_bottom(cache, k) + 1 : NULL;
        if (count > 0) {
            cache_spill(cache, k);
        }
        for (unsigned i = 0; i < count; i++) {
            if (cache_can_trust(k + cache->twin, blocks[i])) {
                cache_give_uncached(k + cache->twin, blocks[i]);
            }
        }
    }
}

void cache_validate(const struct cache *cache) {
    size_t held = 0;
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        const struct cache_bin *bin = &CACHE_BIN(cache, k);
        if (bin->limit == 0) {
            ALLOT_ASSERT(cache->top[k] == cache_no_block && cache->end[k] == cache_no_block);
            continue;
        }
        void **bottom = cache_bottom(cache, k);
        ALLOT_ASSERT(cache->top[k] >= bottom && cache->top[k] <= cache->end[k]);  // [K1]
        ALLOT_ASSERT(*bottom == NULL);                                            // [K1]
        for (void **at = bottom + 1; at < cache->top[k]; at++) {
            ALLOT_ASSERT(*at != NULL);  // [K1]
        }
        ALLOT_ASSERT((cache->hot[k] == NULL) == (cache->top[k] == bottom));  // [K1]
        held += (size_t)bin->limit * sizeclass_table[k].size_bytes;
    }
    ALLOT_ASSERT(held == cache->held_bytes);  // [K2]
}
