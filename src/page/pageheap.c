// pageheap.c - spans of granules.                                          layer 2
//
//   take:  quick spans -> dirty bins -> clean bins -> other shards -> region
//   give:  quick spans -> (pushed out) coalesce -> dirty bin, newest
//   purge: oldest dirty -> MADV_DONTNEED, no lock held -> coalesce -> clean bin
//
// Invariant (pageheap_validate checks it and those of spanset.h)
//   [P4] the granules of a free span have kind KIND_NONE, those of a quick span
//        KIND_INSIDE
#include "page/pageheap.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/lock.h"
#include "os/os.h"
#include "os/pressure.h"
#include "page/region.h"
#include "page/spanset.h"

#include <string.h>

enum {
    PAGEHEAP_QUICK_SLOTS = CONFIG_TINY ? 1 : 4,
    PAGEHEAP_QUICK_MAX = SPANSET_LARGE_COUNT,
    PAGEHEAP_PURGE_BATCH = 16,
    PAGEHEAP_PURGE_BATCHES = 4,
    PAGEHEAP_LIVE_SHARE = 8,      // dirty may be this part of what is in use
    PAGEHEAP_REFAULT_MS = 500,    // taken again so soon: purged in vain
    PAGEHEAP_PATIENCE_MS = 2000,  // how long that is remembered
    PAGEHEAP_LEARN = 8,           // times what was purged in vain may be dirty then
    PAGEHEAP_EXTRA_MIN = (16 << 20) >> GRANULE_LOG2,  // granules; may always be learnt
    PAGEHEAP_PATIENCE = 4,  // and how much longer dirty memory may then wait
    PAGEHEAP_HURRY = 8,     // how much shorter it may where a memory limit is near
    // Who has less to give back does not ask for the limit.
    PAGEHEAP_HURRY_MIN = (4 << 20) >> GRANULE_LOG2,
    // Memory that is made resident ahead: this part of what is in use, in steps
    // of 64 to 128 KiB; larger steps save little more.
    PAGEHEAP_POPULATE_SHARE = 32,
    PAGEHEAP_POPULATE_MIN = CONFIG_TINY ? 1 : 4,
    PAGEHEAP_POPULATE_MAX = 8,
};

struct pageheap {
    struct lock lock;
    bool needs_rebuild;    // after fork
    uint32_t quick_count;  // oldest first
    uint32_t quick[PAGEHEAP_QUICK_SLOTS];
    struct spanset free;
    size_t used_count;  // granules in spans in use; read without the lock, too
    size_t quick_granules;
    size_t peak_count;
    size_t recent_peak_count;  // of used; decays
    size_t extra_count;        // dirty granules allowed beyond the policy
    uint32_t extra_until_ms;
    uint32_t last_tick_ms;
    uint64_t purge_calls, purged_granules, take_calls;
} CACHE_ALIGNED;

static struct {
    unsigned shard_count;
    uint64_t purge_delay_ms;
    size_t dirty_limit_count;  // of one shard
    size_t dirty_limit_bytes;
    bool is_tight;  // a memory limit is near
    struct pageheap shards[PAGEHEAP_SHARDS_MAX];
} pageheap_state;

static uint32_t pageheap_now(void) {
    return (uint32_t)os_now_ms();
}

static struct pageheap *pageheap_of(uint32_t granule) {
    return &pageheap_state.shards[region_owner(granule)];
}

static unsigned pageheap_index(const struct pageheap *heap) {
    return (unsigned)(heap - pageheap_state.shards);
}

static void pageheap_use(struct pageheap *heap, size_t count) {
    __atomic_store_n(&heap->used_count, heap->used_count + count, __ATOMIC_RELAXED);
}

static void pageheap_unuse(struct pageheap *heap, size_t count) {
    __atomic_store_n(&heap->used_count, heap->used_count - count, __ATOMIC_RELAXED);
}

// ---- After fork

static void pageheap_forget(struct pageheap *heap) {
    spanset_clear(&heap->free);
    heap->quick_count = 0;
    heap->quick_granules = 0;
    __atomic_store_n(&heap->used_count, 0, __ATOMIC_RELAXED);
}

static void pageheap_drop_quick(const struct pageheap *heap, uint32_t top) {
    for (uint32_t i = 0; i < heap->quick_count && i < PAGEHEAP_QUICK_SLOTS; i++) {
        uint32_t first = heap->quick[i];
        const struct span *span = region_span(first);
        uint32_t count = first < top ? span->granule_count : 0;
        if (count > 0 && count <= top - first &&
            atomic_load_explicit(&span->state, memory_order_relaxed) == SPAN_QUICK) {
            region_set_kind(first, count, KIND_NONE);
        }
    }
}

// The page map alone is trusted: runs of KIND_NONE that belong to the shard are
// free. What was on its way between two owners at the fork stays unused.
static void pageheap_rebuild(struct pageheap *heap) {
    unsigned shard = pageheap_index(heap);
    uint32_t top = region_top();
    pageheap_drop_quick(heap, top);
    pageheap_forget(heap);
    heap->needs_rebuild = false;
    for (uint32_t g = 1; g < top;) {
        uint32_t from = g;
        bool is_free = region_kind(g) == KIND_NONE;
        while (g < top && region_owner(g) == shard && (region_kind(g) == KIND_NONE) == is_free) {
            g++;
        }
        if (g == from) {
            g++;
        } else if (is_free) {
            struct span_traits traits = {true, false, pageheap_now()};
            spanset_insert(&heap->free, from, g - from, traits, false);
        } else {
            pageheap_use(heap, g - from);
        }
    }
}

static void pageheap_enter(struct pageheap *heap) {
    lock_take(&heap->lock);
    if (UNLIKELY(heap->needs_rebuild)) {
        pageheap_rebuild(heap);
    }
}

static void pageheap_leave(struct pageheap *heap) {
    lock_give(&heap->lock);
}

void pageheap_repair(void) {
    pressure_repair();
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        lock_reset(&pageheap_state.shards[i].lock);
        pageheap_state.shards[i].needs_rebuild = true;
    }
}

// ---- Purge

static bool pageheap_is_tight(void) {
    return __atomic_load_n(&pageheap_state.is_tight, __ATOMIC_RELAXED);
}

// What was purged was wanted again a moment later.
static bool pageheap_is_patient(const struct pageheap *heap, uint32_t now_ms) {
    return !pageheap_is_tight() && heap->extra_count > 0 &&
           (int32_t)(heap->extra_until_ms - now_ms) > 0;
}

// What the limit rises by. It falls with what is in use: nobody would give the
// rest back if this were the last call.
static size_t pageheap_extra(const struct pageheap *heap) {
    size_t most = heap->used_count * PAGEHEAP_LEARN;
    most = most > PAGEHEAP_EXTRA_MIN ? most : PAGEHEAP_EXTRA_MIN;
    return heap->extra_count < most ? heap->extra_count : most;
}

static size_t pageheap_dirty_limit(const struct pageheap *heap, uint32_t now_ms) {
    size_t limit = __atomic_load_n(&pageheap_state.dirty_limit_count, __ATOMIC_RELAXED);
    size_t share = pageheap_is_tight() ? 0 : heap->used_count / PAGEHEAP_LIVE_SHARE;
    limit = share > limit ? share : limit;
    return limit + (pageheap_is_patient(heap, now_ms) ? pageheap_extra(heap) : 0);
}

uint64_t pageheap_purge_delay_ms(void) {
    return __atomic_load_n(&pageheap_state.purge_delay_ms, __ATOMIC_RELAXED);
}

uint64_t pageheap_delay_now_ms(void) {
    uint64_t delay = pageheap_purge_delay_ms();
    return delay != PAGEHEAP_NEVER && pageheap_is_tight() ? delay / PAGEHEAP_HURRY : delay;
}

static bool pageheap_is_old(uint32_t first, uint32_t now_ms, bool is_patient) {
    uint64_t delay = pageheap_delay_now_ms();
    delay = is_patient && delay != PAGEHEAP_NEVER ? delay * PAGEHEAP_PATIENCE : delay;
    return delay != PAGEHEAP_NEVER &&
           (uint32_t)(now_ms - region_span(first)->as.free.since_ms) >= delay;
}

struct pageheap_batch {
    uint32_t first[PAGEHEAP_PURGE_BATCH];
    uint32_t count[PAGEHEAP_PURGE_BATCH];
    unsigned length;
};

static void pageheap_collect(struct pageheap *heap, struct pageheap_batch *batch, size_t keep,
                             uint32_t now_ms) {
    batch->length = 0;
    while (batch->length < PAGEHEAP_PURGE_BATCH && heap->free.oldest != 0 &&
           (heap->free.dirty_count > keep ||
            pageheap_is_old(heap->free.oldest, now_ms, pageheap_is_patient(heap, now_ms)))) {
        uint32_t first = heap->free.oldest;
        uint32_t count = region_span(first)->granule_count;
        spanset_remove(&heap->free, first);
        region_set_kind(first, count, KIND_INSIDE);
        batch->first[batch->length] = first;
        batch->count[batch->length++] = count;
    }
}

// Whole pages only; false if nothing could be given back.
static bool pageheap_purge_span(uint32_t first, uint32_t count) {
    size_t page = region_purge_unit();
    uintptr_t from = bits_round_up((uintptr_t)region_address(first), page);
    uintptr_t to = bits_round_down((uintptr_t)region_address(first + count), page);
    return from < to && os_purge((void *)from, to - from) == 0;
}

// Takes the batch out, works without the lock, and puts it back as clean.
static size_t pageheap_purge_batch(struct pageheap *heap, size_t keep, uint32_t now_ms) {
    struct pageheap_batch batch;
    pageheap_collect(heap, &batch, keep, now_ms);
    if (batch.length == 0) {
        return 0;
    }
    bool is_purged[PAGEHEAP_PURGE_BATCH];
    size_t purged = 0;
    pageheap_leave(heap);
    for (unsigned i = 0; i < batch.length; i++) {
        is_purged[i] = pageheap_purge_span(batch.first[i], batch.count[i]);
    }
    pageheap_enter(heap);
    for (unsigned i = 0; i < batch.length; i++) {
        // What cannot be purged counts as clean, so that it is not tried for ever.
        bool is_zero = is_purged[i] && region_purge_unit() <= GRANULE_BYTES;
        struct span_traits traits = {false, is_zero, now_ms};
        spanset_coalesce(&heap->free, batch.first[i], batch.count[i], traits);
        purged += is_purged[i] ? batch.count[i] : 0;
    }
    heap->purge_calls += batch.length;
    heap->purged_granules += purged;
    return purged;
}

static void pageheap_push_quick_out(struct pageheap *heap, uint32_t now_ms) {
    uint32_t first = heap->quick[0];
    uint32_t count = region_span(first)->granule_count;
    heap->quick_count--;
    memmove(heap->quick, heap->quick + 1, heap->quick_count * sizeof heap->quick[0]);
    heap->quick_granules -= count;
    spanset_coalesce(&heap->free, first, count, (struct span_traits){true, false, now_ms});
}

static void pageheap_drain_quick(struct pageheap *heap, uint32_t now_ms) {
    while (heap->quick_count > 0) {
        pageheap_push_quick_out(heap, now_ms);
    }
}

// A few batches at most: the work of a call is bounded.
static void pageheap_balance(struct pageheap *heap, uint32_t now_ms) {
    heap->extra_count = pageheap_is_patient(heap, now_ms) ? heap->extra_count : 0;
    for (int i = 0; i < PAGEHEAP_PURGE_BATCHES; i++) {
        size_t limit = pageheap_dirty_limit(heap, now_ms);
        size_t keep = limit - limit / 8;
        keep = keep > heap->quick_granules ? keep - heap->quick_granules : 0;
        bool is_over = heap->free.dirty_count + heap->quick_granules > limit;
        if (pageheap_purge_batch(heap, is_over ? keep : SIZE_MAX, now_ms) == 0) {
            return;
        }
    }
}

// No lock is held: it may read files.
static void pageheap_look_at_limit(size_t dirty_count) {
    bool is_asked =
        dirty_count >= PAGEHEAP_HURRY_MIN && pageheap_purge_delay_ms() != PAGEHEAP_NEVER;
    __atomic_store_n(&pageheap_state.is_tight, is_asked && pressure_is_near(), __ATOMIC_RELAXED);
}

void pageheap_tick(void) {
    size_t dirty_count = 0;
    uint32_t now_ms = pageheap_now();
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        struct pageheap *heap = &pageheap_state.shards[i];
        pageheap_enter(heap);
        pageheap_drain_quick(heap, now_ms);
        dirty_count += heap->free.dirty_count;
        pageheap_balance(heap, now_ms);
        pageheap_leave(heap);
    }
    pageheap_look_at_limit(dirty_count);
}

size_t pageheap_purge(size_t target_bytes, uint64_t until_ns) {
    size_t purged = 0;
    size_t target = target_bytes >> GRANULE_LOG2;
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        struct pageheap *heap = &pageheap_state.shards[i];
        uint32_t now_ms = pageheap_now();
        pageheap_enter(heap);
        pageheap_drain_quick(heap, now_ms);
        while (heap->free.oldest != 0 && purged <= target && os_now_ns() < until_ns) {
            size_t want = target - purged + 1;
            size_t keep = heap->free.dirty_count > want ? heap->free.dirty_count - want : 0;
            size_t before = heap->free.dirty_count;
            purged += pageheap_purge_batch(heap, keep, now_ms);
            if (heap->free.dirty_count >= before) {
                break;
            }
        }
        pageheap_leave(heap);
    }
    return purged << GRANULE_LOG2;
}

// ---- Take

static void pageheap_account_taken(struct pageheap *heap, size_t count) {
    pageheap_use(heap, count);
    heap->take_calls++;
    size_t resident = heap->used_count + heap->free.dirty_count + heap->quick_granules;
    heap->peak_count = resident > heap->peak_count ? resident : heap->peak_count;
}

// Memory that was purged a moment ago is wanted again: allow more to be dirty.
static void pageheap_learn(struct pageheap *heap, struct span_traits traits, uint32_t count) {
    if (traits.is_dirty || traits.since_ms == 0) {
        return;
    }
    uint32_t now_ms = pageheap_now();
    if (now_ms - traits.since_ms > PAGEHEAP_REFAULT_MS) {
        return;
    }
    heap->extra_count = pageheap_is_patient(heap, now_ms) ? heap->extra_count : 0;
    size_t most = heap->recent_peak_count;
    heap->extra_count += (size_t)PAGEHEAP_LEARN * count;
    heap->extra_count = heap->extra_count < most ? heap->extra_count : most;
    heap->extra_until_ms = now_ms + PAGEHEAP_PATIENCE_MS;
}

static void pageheap_cut(struct pageheap *heap, uint32_t first, uint32_t start, uint32_t count,
                         bool *is_zero) {
    struct span_traits traits = spanset_cut(&heap->free, first, start, count);
    pageheap_learn(heap, traits, count);
    *is_zero = traits.is_zero;
}

static uint32_t pageheap_take_bins(struct pageheap *heap, bool is_dirty, uint32_t count,
                                   uint32_t align, bool *is_zero) {
    uint32_t first = spanset_search(&heap->free, is_dirty, count, align);
    if (first == 0) {
        return 0;
    }
    uint32_t start = (uint32_t)region_align(first, align);
    pageheap_cut(heap, first, start, count, is_zero);
    return start;
}

static uint32_t pageheap_take_quick(struct pageheap *heap, uint32_t count) {
    for (uint32_t i = heap->quick_count; i-- > 0;) {
        uint32_t first = heap->quick[i];
        if (region_span(first)->granule_count == count) {
            heap->quick_count--;
            memmove(heap->quick + i, heap->quick + i + 1,
                    (heap->quick_count - i) * sizeof heap->quick[0]);
            heap->quick_granules -= count;
            return first;
        }
    }
    return 0;
}

static bool pageheap_extend(struct pageheap *heap, uint32_t count, uint32_t align) {
    uint32_t got_count;
    uint32_t first = region_extend(count, align, pageheap_index(heap), &got_count);
    if (first == 0) {
        return false;
    }
    spanset_coalesce(&heap->free, first, got_count, (struct span_traits){false, true, 0});
    return true;
}

// Quick and dirty spans.
static uint32_t pageheap_take_resident(struct pageheap *heap, uint32_t count, uint32_t align,
                                       bool *is_zero) {
    uint32_t first = align == 1 ? pageheap_take_quick(heap, count) : 0;
    if (first != 0) {
        *is_zero = false;
        return first;
    }
    return heap->free.dirty_count >= count ? pageheap_take_bins(heap, true, count, align, is_zero)
                                           : 0;
}

static uint32_t pageheap_finish(struct pageheap *heap, uint32_t first, uint32_t count) {
    if (first != 0) {
        region_span(first)->granule_count = count;
        pageheap_account_taken(heap, count);
        if (heap->used_count > heap->recent_peak_count) {
            heap->recent_peak_count = heap->used_count;
        }
    }
    return first;
}

// Dirty memory of another shard comes before fresh memory for this one.
static uint32_t pageheap_take_elsewhere(unsigned own, uint32_t count, uint32_t align,
                                        bool *is_zero) {
    for (unsigned i = 1; i < pageheap_state.shard_count; i++) {
        struct pageheap *heap = &pageheap_state.shards[(own + i) % pageheap_state.shard_count];
        if (__atomic_load_n(&heap->free.dirty_count, __ATOMIC_RELAXED) < count ||
            !lock_try(&heap->lock)) {
            continue;
        }
        uint32_t first =
            heap->needs_rebuild ? 0 : pageheap_take_bins(heap, true, count, align, is_zero);
        pageheap_finish(heap, first, count);
        lock_give(&heap->lock);
        if (first != 0) {
            return first;
        }
    }
    return 0;
}

// Everything dirty becomes clean, so that neighbours merge: the last resort.
static void pageheap_purge_shard(struct pageheap *heap) {
    uint32_t now_ms = pageheap_now();
    pageheap_drain_quick(heap, now_ms);
    while (heap->free.oldest != 0) {
        size_t before = heap->free.dirty_count;
        pageheap_purge_batch(heap, 0, now_ms);
        if (heap->free.dirty_count >= before) {
            return;
        }
    }
}

static uint32_t pageheap_take_clean_locked(struct pageheap *heap, uint32_t count, uint32_t align,
                                           bool *is_zero) {
    uint32_t first = pageheap_take_bins(heap, false, count, align, is_zero);
    if (first == 0 && pageheap_extend(heap, count, align)) {
        first = pageheap_take_bins(heap, false, count, align, is_zero);
    }
    return first;
}

// How many granules to make resident at once: as much as may be idle without
// being felt.
static uint32_t pageheap_batch_count(const struct pageheap *heap) {
    size_t share = heap->used_count / PAGEHEAP_POPULATE_SHARE;
    share = share < PAGEHEAP_POPULATE_MAX ? share : PAGEHEAP_POPULATE_MAX;
    return share >= PAGEHEAP_POPULATE_MIN ? (uint32_t)share : 0;
}

// The lock is held, but not while the system works. What is not asked for is
// dirty: resident, and reused first.
static uint32_t pageheap_take_batch(struct pageheap *heap, uint32_t count, uint32_t align) {
    uint32_t batch = pageheap_batch_count(heap);
    bool is_zero;
    if (batch == 0) {
        return 0;
    }
    batch = batch > count ? batch : count;
    uint32_t first = pageheap_take_clean_locked(heap, batch, align, &is_zero);
    if (first == 0) {
        return 0;
    }
    pageheap_leave(heap);
    os_populate(region_address(first), (size_t)batch << GRANULE_LOG2);
    pageheap_enter(heap);
    if (batch > count) {
        struct span_traits traits = {true, is_zero, pageheap_now()};
        spanset_coalesce(&heap->free, first + count, batch - count, traits);
    }
    return first;
}

// The system has no more: what any shard has, given back so that it merges.
static NOINLINE uint32_t pageheap_take_last(unsigned own, uint32_t count, uint32_t align,
                                            bool *is_zero) {
    uint32_t first = 0;
    for (unsigned i = 0; i < pageheap_state.shard_count && first == 0; i++) {
        struct pageheap *heap = &pageheap_state.shards[(own + i) % pageheap_state.shard_count];
        pageheap_enter(heap);
        pageheap_purge_shard(heap);
        first = pageheap_take_bins(heap, false, count, align, is_zero);
        pageheap_finish(heap, first, count);
        pageheap_leave(heap);
    }
    return first;
}

uint32_t pageheap_take(unsigned shard, uint32_t count, uint32_t align, enum pageheap_use use,
                       bool *is_zero) {
    struct pageheap *heap = &pageheap_state.shards[shard];
    pageheap_enter(heap);
    uint32_t first =
        use != PAGEHEAP_SPARSE ? pageheap_take_resident(heap, count, align, is_zero) : 0;
    if (first == 0 && pageheap_state.shard_count > 1 && use != PAGEHEAP_SPARSE) {
        pageheap_leave(heap);
        first = pageheap_take_elsewhere(shard, count, align, is_zero);
        if (first != 0) {
            return first;
        }
        pageheap_enter(heap);
    }
    if (first == 0 && use == PAGEHEAP_DENSE) {
        first = pageheap_take_batch(heap, count, align);
    }
    if (first == 0) {
        first = pageheap_take_clean_locked(heap, count, align, is_zero);
    }
    pageheap_finish(heap, first, count);
    pageheap_leave(heap);
    return first != 0 ? first : pageheap_take_last(shard, count, align, is_zero);
}

// ---- Give

// All quick spans together are no larger than one may be.
static bool pageheap_has_quick_room(const struct pageheap *heap, uint32_t count) {
    return heap->quick_count < PAGEHEAP_QUICK_SLOTS &&
           heap->quick_granules + count <= PAGEHEAP_QUICK_MAX;
}

static void pageheap_push_quick(struct pageheap *heap, uint32_t first, uint32_t count) {
    atomic_store_explicit(&region_span(first)->state, SPAN_QUICK, memory_order_relaxed);
    heap->quick[heap->quick_count++] = first;
    heap->quick_granules += count;
}

void pageheap_give(uint32_t first) {
    struct pageheap *heap = pageheap_of(first);
    struct span *span = region_span(first);
    uint32_t count = span->granule_count;
    pageheap_enter(heap);
    ALLOT_ASSERT(heap->used_count >= count);
    ALLOT_ASSERT(region_kind(first) != KIND_NONE);
    ALLOT_ASSERT(atomic_load(&span->state) != SPAN_QUICK);
    pageheap_unuse(heap, count);
    __atomic_store_n(&region_state.kind[first], KIND_INSIDE, __ATOMIC_RELAXED);
    if (pageheap_has_quick_room(heap, count)) {
        pageheap_push_quick(heap, first, count);
        pageheap_leave(heap);
        return;
    }
    uint32_t now_ms = pageheap_now();
    while (heap->quick_count > 0 && !pageheap_has_quick_room(heap, count)) {
        pageheap_push_quick_out(heap, now_ms);
    }
    if (pageheap_has_quick_room(heap, count)) {
        pageheap_push_quick(heap, first, count);
    } else {
        spanset_coalesce(&heap->free, first, count, (struct span_traits){true, false, now_ms});
    }
    pageheap_balance(heap, now_ms);
    if (heap->recent_peak_count > heap->used_count && now_ms - heap->last_tick_ms > 100) {
        heap->recent_peak_count -= (heap->recent_peak_count - heap->used_count) / 8;
        heap->last_tick_ms = now_ms;
    }
    pageheap_leave(heap);
}

void pageheap_shrink(uint32_t first, uint32_t count) {
    struct pageheap *heap = pageheap_of(first);
    struct span *span = region_span(first);
    pageheap_enter(heap);
    uint32_t rest = span->granule_count - count;
    uint32_t now_ms = pageheap_now();
    span->granule_count = count;
    pageheap_unuse(heap, rest);
    spanset_coalesce(&heap->free, first + count, rest, (struct span_traits){true, false, now_ms});
    pageheap_balance(heap, now_ms);
    pageheap_leave(heap);
}

bool pageheap_grow(uint32_t first, uint32_t count, bool *is_zero) {
    struct pageheap *heap = pageheap_of(first);
    struct span *span = region_span(first);
    pageheap_enter(heap);
    uint32_t next = first + span->granule_count;
    uint32_t need = count - span->granule_count;
    bool is_clean = spanset_is_mergeable(&heap->free, next, false);
    bool is_free = is_clean || spanset_is_mergeable(&heap->free, next, true);
    bool fits = is_free && region_span(next)->granule_count >= need;
    if (fits) {
        pageheap_cut(heap, next, next, need, is_zero);
        span->granule_count = count;
        pageheap_finish(heap, first, count);
        pageheap_unuse(heap, count - need);
    }
    pageheap_leave(heap);
    return fits;
}

bool pageheap_renew(uint32_t first, uint32_t from_count) {
    size_t count = region_span(first)->granule_count - from_count;
    return os_renew(region_address(first + from_count), count << GRANULE_LOG2) == 0;
}

void pageheap_abandon(uint32_t first) {
    struct pageheap *heap = pageheap_of(first);
    pageheap_enter(heap);
    pageheap_unuse(heap, region_span(first)->granule_count);
    pageheap_leave(heap);
}

// ---- State

void pageheap_init(unsigned shard_count) {
    shard_count = shard_count < PAGEHEAP_SHARDS_MAX ? shard_count : PAGEHEAP_SHARDS_MAX;
    pageheap_state.shard_count = shard_count > 0 ? shard_count : 1;
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        pageheap_state.shards[i].free.owner = i;
    }
    pageheap_set_policy(pageheap_state.purge_delay_ms, pageheap_state.dirty_limit_bytes);
}

unsigned pageheap_shard_count(void) {
    return pageheap_state.shard_count;
}

void pageheap_set_policy(uint64_t purge_delay_ms, size_t dirty_limit_bytes) {
    unsigned shards = pageheap_state.shard_count > 0 ? pageheap_state.shard_count : 1;
    size_t limit_count = (dirty_limit_bytes >> GRANULE_LOG2) / shards;
    __atomic_store_n(&pageheap_state.purge_delay_ms, purge_delay_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&pageheap_state.dirty_limit_bytes, dirty_limit_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&pageheap_state.dirty_limit_count, limit_count, __ATOMIC_RELAXED);
}

size_t pageheap_used_bytes(void) {
    size_t count = 0;
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        count += __atomic_load_n(&pageheap_state.shards[i].used_count, __ATOMIC_RELAXED);
    }
    return count << GRANULE_LOG2;
}

void pageheap_read_stats(struct pageheap_stats *stats) {
    *stats = (struct pageheap_stats){0};
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        struct pageheap *heap = &pageheap_state.shards[i];
        pageheap_enter(heap);
        stats->used_bytes += heap->used_count << GRANULE_LOG2;
        stats->dirty_bytes += (heap->free.dirty_count + heap->quick_granules) << GRANULE_LOG2;
        stats->clean_bytes += heap->free.clean_count << GRANULE_LOG2;
        stats->peak_bytes += heap->peak_count << GRANULE_LOG2;
        stats->purge_bytes += heap->purged_granules << GRANULE_LOG2;
        stats->purge_calls += heap->purge_calls;
        stats->take_calls += heap->take_calls;
        pageheap_leave(heap);
    }
}

void pageheap_hold(void) {
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        pageheap_enter(&pageheap_state.shards[i]);
    }
}

void pageheap_let_go(void) {
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        pageheap_leave(&pageheap_state.shards[i]);
    }
}

void pageheap_validate(void) {
    for (unsigned i = 0; i < pageheap_state.shard_count; i++) {
        struct pageheap *heap = &pageheap_state.shards[i];
        pageheap_enter(heap);
        spanset_validate(&heap->free);
        pageheap_leave(heap);
    }
}
