// guard.c - blocks that are watched: all of them, or some.                 layer 7
#include "guard/guard.h"

#include "allot.h"
#include "api/misuse.h"
#include "base/bits.h"
#include "guard/pen.h"
#include "guard/report.h"
#include "guard/trace.h"
#include "heap/registry.h"
#include "os/frame.h"
#include "os/lock.h"
#include "os/os.h"
#include "slab/large.h"
#include "tag/tag.h"

#include <errno.h>
#include <string.h>

enum {
    GUARD_REDZONE = 0xb6,
    GUARD_FREED = 0x9d,
    GUARD_CLOSED_BYTES = 4096,  // what an inaccessible block counts for in the quarantine
    GUARD_SAMPLES_MAX = 4096,   // live ones, each of which has a page or more
    GUARD_SAMPLES_FREED = 1024,
};
#define GUARD_QUARANTINE_BYTES (CONFIG_TINY ? 256 * KIB : 64 * MIB)

enum guard_mode guard_mode;

static struct {
    uint64_t sample_every;
    _Atomic(size_t) live_bytes, live_blocks;
    struct lock lock;  // of the quarantine
    struct guarded *oldest, *newest;
    size_t held_bytes, held_most;
    struct lock walk;
    _Atomic(struct guarded *) pinned;  // by the walk
} guard_state;

void guard_init(enum guard_mode mode, uint64_t sample_every) {
    guard_mode = mode;
    if (mode != GUARD_NONE) {
        trace_init();
    }
    guard_state.sample_every = sample_every;
    guard_state.held_most = mode != GUARD_SAMPLE ? GUARD_QUARANTINE_BYTES
                                                 : (size_t)GUARD_SAMPLES_FREED * GUARD_CLOSED_BYTES;
}

// ---- Which blocks

// Numbers with a geometric distribution around the mean, so that no pattern of the
// program's escapes: -log2 of a random number, between powers of two by a line.
static int64_t guard_draw(uint64_t *random, uint64_t mean) {
    *random ^= *random << 13;  // xorshift (Marsaglia, 2003)
    *random ^= *random >> 7;
    *random ^= *random << 17;
    unsigned log2 = bits_log2(*random);
    uint64_t fraction = (*random << (63 - log2) << 1) >> 48;         // of 2^16
    uint64_t minus_log2 = ((64 - (uint64_t)log2) << 16) - fraction;  // times 2^16
    return (int64_t)((minus_log2 * 45426 >> 16) * mean >> 16) + 1;   // ln 2 = 45426 / 2^16
}

// The blocks that went by since the last one that came here. A stack is refilled for as
// many; one with an account comes here before it looks at its stack.
static unsigned guard_passed(const struct cache *cache, size_t size_bytes) {
    unsigned kind = size_bytes <= SIZECLASS_SPAN_MAX ? sizeclass_of(size_bytes) : 0;
    if (kind == 0 || (cache_scope != 0 && !sizeclass_is_slab(kind))) {
        return 1;
    }
    if (cache_scope != 0) {
        cache = &cache_tagged->cache;
        if (cache_tagged->row_count > 0 && cache->hot[kind] != NULL) {
            return 0;
        }
    }
    unsigned want = CACHE_BIN(cache, kind).want;
    return want > 0 ? want : 1;
}

static bool guard_is_sampled(const struct cache *cache, struct cache_watch *watch,
                             size_t size_bytes) {
    if (watch->random == 0) {
        watch->random = (os_now_ns() ^ (uintptr_t)cache) | 1;
        watch->sample_left = guard_draw(&watch->random, guard_state.sample_every);
    }
    unsigned passed = guard_passed(cache, size_bytes);
    watch->sample_left -= passed;
    if (watch->sample_left > 0 || passed == 0) {
        return false;
    }
    watch->sample_left = guard_draw(&watch->random, guard_state.sample_every);
    return atomic_load_explicit(&guard_state.live_blocks, memory_order_relaxed) < GUARD_SAMPLES_MAX;
}

// ---- Damage

// The first byte from `from` on that is not `want`; `to` if there is none.
static const char *guard_first(const char *from, const char *to, char want) {
    uint64_t wanted, word;
    memset(&wanted, want, sizeof wanted);
    for (; (size_t)(to - from) >= sizeof word; from += sizeof word) {
        memcpy(&word, from, sizeof word);
        if (word != wanted) {
            break;
        }
    }
    while (from < to && *from == want) {
        from++;
    }
    return from;
}

static bool guard_look(const struct guarded *guarded, struct report_damage *damage,
                       enum report_kind kind, const char *from, const char *to) {
    char want = (char)(kind == REPORT_AFTER_FREE ? GUARD_FREED : GUARD_REDZONE);
    const char *first = guard_first(from, to, want);
    if (first >= to) {
        return false;
    }
    const char *last = to - 1;
    while (*last == want) {
        last--;
    }
    *damage = (struct report_damage){kind, first - guarded->block, last - guarded->block};
    return true;
}

// Nobody else changes the record.
static bool guard_is_damaged(const struct guarded *guarded, bool is_freed,
                             struct report_damage *damage) {
    const char *end = guarded->block + guarded->size_bytes;
    if (guarded->is_closed) {
        return false;
    }
    return (is_freed && guard_look(guarded, damage, REPORT_AFTER_FREE, guarded->block, end)) ||
           guard_look(guarded, damage, REPORT_BEHIND, end, guarded->high) ||
           guard_look(guarded, damage, REPORT_BEFORE, guarded->low, guarded->block);
}

// The record is BUSY.
static void guard_examine(struct guarded *guarded, bool is_freed, bool may_abort) {
    struct report_damage damage;
    if (!guarded->is_reported && guard_is_damaged(guarded, is_freed, &damage)) {
        guarded->is_reported = true;
        report_damage(guarded, &damage, may_abort);
    }
}

// ---- Quarantine

static size_t guard_weight(const struct guarded *guarded) {
    size_t bytes = guarded->is_closed ? GUARD_CLOSED_BYTES : (size_t)(guarded->high - guarded->low);
    return bytes + sizeof *guarded;
}

// The oldest, if more than `most_bytes` are held. A fork may copy any step.
static struct guarded *guard_pop(size_t most_bytes) {
    lock_take(&guard_state.lock);
    struct guarded *guarded = guard_state.held_bytes > most_bytes ? guard_state.oldest : NULL;
    if (guarded != NULL) {
        guard_state.oldest = guarded->next;
        size_t weight = guard_weight(guarded);
        guard_state.held_bytes -= weight < guard_state.held_bytes ? weight : guard_state.held_bytes;
    }
    lock_give(&guard_state.lock);
    return guarded;
}

// A walk may have the record pinned, and lose the processor meanwhile: nobody waits for it.
static void guard_push(struct guarded *guarded) {
    lock_take(&guard_state.lock);
    guarded->next = NULL;
    if (guard_state.oldest == NULL) {
        guard_state.oldest = guarded;
    } else {
        guard_state.newest->next = guarded;
    }
    guard_state.newest = guarded;
    guard_state.held_bytes += guard_weight(guarded);
    lock_give(&guard_state.lock);
}

static bool guard_shorten(size_t most_bytes) {
    bool is_shorter = false;
    for (struct guarded *guarded; (guarded = guard_pop(most_bytes)) != NULL;) {
        uint32_t state = GUARDED_QUARANTINED;
        if (!atomic_compare_exchange_strong_explicit(&guarded->state, &state, GUARDED_BUSY,
                                                     memory_order_acquire, memory_order_relaxed)) {
            guard_push(guarded);  // pinned
            break;
        }
        guard_examine(guarded, true, true);
        pen_give(guarded);
        is_shorter = true;
    }
    return is_shorter;
}

// The record is BUSY, or HANDED and not pinned.
static void guard_put_away(struct guarded *guarded, bool may_abort) {
    guard_examine(guarded, false, may_abort);
    if (!pen_close(guarded)) {
        memset(guarded->block, GUARD_FREED, guarded->size_bytes);
    }
    atomic_store_explicit(&guarded->state, GUARDED_QUARANTINED, memory_order_release);
    guard_push(guarded);
    guard_shorten(guard_state.held_most);
}

// ---- Blocks

// What an ordinary block in its place would count for, for its tag.
static size_t guard_charge(const struct guarded *guarded) {
    size_t size = guarded->size_bytes;
    size_t align = (size_t)1 << guarded->align_log2;
    unsigned kind = align > 1                    ? sizeclass_of_aligned(align, size)
                    : size <= SIZECLASS_SPAN_MAX ? sizeclass_of(size)
                                                 : 0;
    return kind != 0 ? sizeclass_table[kind].size_bytes : large_good_size(size);
}

static void guard_count(const struct guarded *guarded, bool is_taken) {
    struct cache *cache = registry_find();
    size_t bytes = guarded->size_bytes;
    atomic_fetch_add_explicit(&guard_state.live_bytes, is_taken ? bytes : 0 - bytes,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&guard_state.live_blocks, is_taken ? 1 : (size_t)-1,
                              memory_order_relaxed);
    cache_account(cache, is_taken ? bytes : 0, is_taken ? 0 : bytes);
    if (cache != NULL && cache->is_counting) {
        _Atomic(uint64_t) *calls = is_taken ? &cache->malloc_calls : &cache->free_calls;
        atomic_store_explicit(calls, atomic_load_explicit(calls, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    }
}

static struct guarded *guard_take(size_t align_bytes, size_t size_bytes) {
    struct cache *cache = registry_cache();
    unsigned shard = cache != NULL ? cache->shard : 0;
    bool is_fenced = guard_mode == GUARD_SAMPLE;
    struct guarded *guarded = pen_take(shard, align_bytes, size_bytes, is_fenced);
    if (guarded == NULL && guard_shorten(0)) {
        guarded = pen_take(shard, align_bytes, size_bytes, is_fenced);
    }
    return guarded;
}

// Where there is no memory for it, a sampled block is an ordinary one.
bool guard_wants_slow(size_t align_bytes, size_t size_bytes) {
    if (guard_mode != GUARD_SAMPLE) {
        registry_cache();  // a thread may begin in a scope
        return guard_mode == GUARD_ALL ||
               (cache_scope != 0 && tag_account(cache_scope)->tag->is_watched);
    }
    struct cache_watch *watch = trace_watch();
    if (watch == NULL || !guard_is_sampled(registry_find(), watch, size_bytes)) {
        return false;
    }
    int saved = errno;
    watch->sample = guard_take(align_bytes, size_bytes);
    errno = saved;
    return watch->sample != NULL;
}

static struct guarded *guard_take_wanted(size_t align_bytes, size_t size_bytes) {
    if (guard_mode != GUARD_SAMPLE) {
        return size_bytes <= LARGE_MAX_BYTES ? guard_take(align_bytes, size_bytes) : NULL;
    }
    return trace_watch()->sample;
}

// What the record shall say. False: a limit refuses, and the record is given back.
static bool guard_fill(struct guarded *guarded, size_t align_bytes, size_t size_bytes,
                       uint32_t account) {
    guarded->size_bytes = size_bytes;
    guarded->is_reported = false;
    guarded->given = 0;
    guarded->align_log2 = (uint8_t)bits_log2(align_bytes);
    guarded->account = (uint16_t)account;
    if (!tag_note_taken(account, guard_charge(guarded))) {
        pen_give(guarded);
        return false;
    }
    return true;
}

static void *guard_publish(struct guarded *guarded) {
    char *block = guarded->block;
    size_t behind = (size_t)(guarded->high - block) - guarded->size_bytes;
    memset(guarded->low, GUARD_REDZONE, (size_t)(block - guarded->low));
    memset(block + guarded->size_bytes, GUARD_REDZONE, behind);
    guard_count(guarded, true);
    atomic_store_explicit(&guarded->state, GUARDED_LIVE, memory_order_release);
    return block;
}

NOINLINE void *guard_allocate(size_t align_bytes, size_t size_bytes, bool is_zeroed) {
    const uintptr_t *frame = FRAME_HERE();
    int saved = errno;
    struct guarded *guarded = guard_take_wanted(align_bytes, size_bytes);
    if (guarded == NULL || !guard_fill(guarded, align_bytes, size_bytes, cache_scope)) {
        errno = ENOMEM;
        return NULL;
    }
    guarded->taken = trace_take(frame);
    if (is_zeroed) {
        memset(guarded->block, 0, size_bytes);
    }
    void *block = guard_publish(guarded);
    errno = saved;
    return block;
}

static bool guard_is_live(const struct guarded *guarded, const void *block) {
    uint32_t state = guarded != NULL && guarded->block == block
                         ? atomic_load_explicit(&guarded->state, memory_order_acquire)
                         : GUARDED_FREE;
    return (state & ~(uint32_t)GUARDED_PINNED) == GUARDED_LIVE;
}

// The live block at this address; NULL if there is none, which is reported.
static struct guarded *guard_find(const char *function, const void *block, const uintptr_t *frame) {
    struct guarded *guarded = pen_find(block);
    if (guard_is_live(guarded, block)) {
        return guarded;
    }
    report_pointer(function, block, guarded, trace_take(frame));
    return NULL;
}

// Of several threads that free a block one wins. Keeps GUARDED_PINNED.
static bool guard_seize(struct guarded *guarded) {
    uint32_t state = GUARDED_LIVE;
    while (!atomic_compare_exchange_weak_explicit(&guarded->state, &state,
                                                  GUARDED_BUSY | (state & GUARDED_PINNED),
                                                  memory_order_acquire, memory_order_relaxed)) {
        if ((state & ~(uint32_t)GUARDED_PINNED) != GUARDED_LIVE) {
            return false;
        }
    }
    return true;
}

// True if a walk has the record pinned, and will put the block away.
static bool guard_hand_over(struct guarded *guarded) {
    uint32_t state = GUARDED_BUSY | GUARDED_PINNED;
    return atomic_compare_exchange_strong_explicit(&guarded->state, &state,
                                                   GUARDED_HANDED | GUARDED_PINNED,
                                                   memory_order_release, memory_order_acquire);
}

static void guard_release(struct guarded *guarded, const uintptr_t *frame) {
    if (!guard_seize(guarded)) {  // another thread was faster
        guard_find("free", guarded->block, frame);
        return;
    }
    guarded->given = trace_take(frame);
    guard_count(guarded, false);
    tag_note_given(guarded->account, guard_charge(guarded));
    if (!guard_hand_over(guarded)) {
        guard_put_away(guarded, true);
    }
}

NOINLINE void guard_free(void *block) {
    const uintptr_t *frame = FRAME_HERE();
    int saved = errno;
    struct guarded *guarded = guard_find("free", block, frame);
    if (guarded != NULL) {
        guard_release(guarded, frame);
    }
    errno = saved;
}

NOINLINE void guard_free_sized(void *block, size_t size_bytes) {
    const uintptr_t *frame = FRAME_HERE();
    int saved = errno;
    struct guarded *guarded = guard_find("free", block, frame);
    if (guarded != NULL && size_bytes != guarded->size_bytes) {
        report_size(guarded, size_bytes, trace_take(frame));
    } else if (guarded != NULL) {
        guard_release(guarded, frame);
    }
    errno = saved;
}

// The new block counts instead of the old one.
static bool guard_fill_again(struct guarded *fresh, const struct guarded *old, size_t size_bytes) {
    tag_lend(old->account, guard_charge(old));
    bool is_filled = guard_fill(fresh, 1, size_bytes, old->account);
    tag_lend(old->account, 0);
    return is_filled;
}

// Always moves: who keeps the old pointer is found.
NOINLINE void *guard_realloc(void *block, size_t size_bytes) {
    const uintptr_t *frame = FRAME_HERE();
    int saved = errno;
    struct guarded *guarded = guard_find("realloc", block, frame);
    if (guarded == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    struct guarded *fresh = guard_take(1, size_bytes);
    if (fresh == NULL || !guard_fill_again(fresh, guarded, size_bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    fresh->taken = trace_take(frame);
    size_t kept = guarded->size_bytes < size_bytes ? guarded->size_bytes : size_bytes;
    memcpy(fresh->block, block, kept);
    void *result = guard_publish(fresh);
    guard_release(guarded, frame);
    errno = saved;
    return result;
}

uint32_t guard_account(const void *block) {
    const struct guarded *guarded = pen_find(block);
    return guard_is_live(guarded, block) ? guarded->account : 0;
}

NOINLINE size_t guard_usable_bytes(const char *function, const void *block) {
    const struct guarded *guarded = guard_find(function, block, FRAME_HERE());
    return guarded != NULL ? guarded->size_bytes : 0;
}

// ---- The walk

// The state of a block that is live or in quarantine, whose memory and record stay
// as they are until guard_unpin, except that it may be freed; GUARDED_FREE of any other.
static uint32_t guard_pin(struct guarded *guarded) {
    uint32_t state = atomic_load_explicit(&guarded->state, memory_order_relaxed);
    if (state != GUARDED_LIVE && state != GUARDED_QUARANTINED) {
        return GUARDED_FREE;
    }
    atomic_store_explicit(&guard_state.pinned, guarded, memory_order_relaxed);
    bool is_pinned =
        atomic_compare_exchange_strong_explicit(&guarded->state, &state, state | GUARDED_PINNED,
                                                memory_order_acquire, memory_order_relaxed);
    return is_pinned ? state : GUARDED_FREE;
}

static void guard_unpin(struct guarded *guarded) {
    uint32_t before =
        atomic_fetch_and_explicit(&guarded->state, ~(uint32_t)GUARDED_PINNED, memory_order_acq_rel);
    if (before == (GUARDED_HANDED | GUARDED_PINNED)) {
        guard_put_away(guarded, false);
    }
}

// 1 if the block is damaged.
static unsigned guard_visit(struct guarded *guarded) {
    uint32_t state = guard_pin(guarded);
    if (state == GUARDED_FREE) {
        return 0;
    }
    struct report_damage damage;
    struct guarded copy = {.state = GUARDED_FREE};
    bool is_damaged = guard_is_damaged(guarded, state == GUARDED_QUARANTINED, &damage);
    bool is_new = is_damaged && !guarded->is_reported;
    if (is_new) {
        guarded->is_reported = true;
        copy.block = guarded->block;
        copy.size_bytes = guarded->size_bytes;
        copy.account = guarded->account;
        copy.taken = guarded->taken;
        copy.given = state == GUARDED_QUARANTINED ? guarded->given : 0;
    }
    guard_unpin(guarded);
    if (is_new) {
        report_damage(&copy, &damage, false);
    }
    return is_damaged;
}

size_t allot_check(void) {
    size_t damaged = 0;
    lock_take(&guard_state.walk);
    for (struct guarded *at = pen_next(NULL); at != NULL; at = pen_next(at)) {
        damaged += guard_visit(at);
    }
    atomic_store_explicit(&guard_state.pinned, NULL, memory_order_relaxed);
    lock_give(&guard_state.walk);
    return damaged;
}

void guard_each(void (*visit)(uint32_t account, uint64_t bytes)) {
    lock_take(&guard_state.walk);
    for (struct guarded *at = pen_next(NULL); at != NULL; at = pen_next(at)) {
        uint32_t state = guard_pin(at);
        if (state == GUARDED_LIVE) {
            visit(at->account, (uint64_t)(at->high - at->low));
        }
        if (state != GUARDED_FREE) {
            guard_unpin(at);
        }
    }
    atomic_store_explicit(&guard_state.pinned, NULL, memory_order_relaxed);
    lock_give(&guard_state.walk);
}

bool allot_guard_report(const void *address) {
    size_t granule = region_granule(address);
    if (!region_contains(granule) || region_kind(granule) != KIND_PEN) {
        return false;
    }
    const struct guarded *guarded = pen_find(address);
    return guarded != NULL && guarded->block != NULL && report_address(address, guarded);
}

void guard_read_stats(struct guard_stats *stats) {
    stats->live_bytes = atomic_load_explicit(&guard_state.live_bytes, memory_order_relaxed);
    stats->live_blocks = atomic_load_explicit(&guard_state.live_blocks, memory_order_relaxed);
    lock_take(&guard_state.lock);
    stats->held_bytes = guard_state.held_bytes;
    lock_give(&guard_state.lock);
}

void guard_finish(void) {
    if (guard_mode != GUARD_NONE && allot_check() > 0) {
        misuse_end();
    }
}

void guard_repair(void) {
    pen_repair();
    report_repair();
    lock_reset(&guard_state.lock);
    lock_reset(&guard_state.walk);
    struct guarded *pinned = atomic_load_explicit(&guard_state.pinned, memory_order_relaxed);
    if (pinned != NULL) {
        guard_unpin(pinned);  // the walk that would have put a freed one away is not here
    }
}
