// holes.c - free pages inside slabs that are in use.                       layer 3
#include "slab/holes.h"

#include "base/bits.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/sizeclass.h"
#include "slab/slab.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    HOLES_WORDS_MAX = GRANULE_BYTES / 8 / 64,
    HOLES_TICK_SLABS = 4,               // most slabs that a tick gives back pages of
    HOLES_YEARS = 2,                    // per purge delay
    HOLES_KINDS = SIZECLASS_SLABS * 2,  // with the twins
};

static struct {
    _Atomic(unsigned) left[PAGEHEAP_SHARDS_MAX];  // kinds that ticks have not looked at this year
    _Atomic(uint64_t) year_began_ms;
    _Atomic(uint64_t) purge_calls, purge_bytes;
} holes_state;

// The free blocks of a slab.
struct holes {
    const struct sizeclass *class;
    char *blocks;
    uint64_t words[HOLES_WORDS_MAX];
};

static unsigned holes_kind(unsigned i) {
    i %= HOLES_KINDS;
    return i < SIZECLASS_SLABS ? SIZECLASS_FIRST + i : SIZECLASS_END + i - SIZECLASS_SLABS;
}

static bool holes_is_free(const struct holes *holes, uint32_t index) {
    return (holes->words[index / 64] >> index % 64 & 1) != 0;
}

// The first block from `index` on that is free, or not.
static uint32_t holes_find(const struct holes *holes, uint32_t index, bool is_free) {
    while (index < holes->class->block_count && holes_is_free(holes, index) != is_free) {
        index++;
    }
    return index;
}

// Whole pages that the next free blocks from `index` on cover; false: there are no
// more free blocks.
static bool holes_next(const struct holes *holes, uint32_t *index, char **from, char **to) {
    const struct sizeclass *class = holes->class;
    uint32_t first = holes_find(holes, *index, true);
    if (first == class->block_count) {
        return false;
    }
    *index = holes_find(holes, first, false);
    size_t end =
        *index < class->block_count ? (size_t)*index * class->size_bytes : class->slab_bytes;
    size_t page = region_purge_unit();
    *from =
        (char *)bits_round_up((uintptr_t)holes->blocks + (size_t)first * class->size_bytes, page);
    *to = (char *)bits_round_down((uintptr_t)holes->blocks + end, page);
    return true;
}

static size_t holes_purge_pages(const struct holes *holes) {
    char *from, *to;
    size_t purged = 0;
    for (uint32_t i = 0; holes_next(holes, &i, &from, &to);) {
        if (from < to && os_purge(from, (size_t)(to - from)) == 0) {
            purged += (size_t)(to - from);
            atomic_fetch_add_explicit(&holes_state.purge_calls, 1, memory_order_relaxed);
        }
    }
    atomic_fetch_add_explicit(&holes_state.purge_bytes, purged, memory_order_relaxed);
    return purged;
}

// The slab is leased. Its free blocks are taken, as a thread would do, and given
// again, in the orders that slab.h asks for.
static size_t holes_purge_slab(unsigned kind, uint32_t slab) {
    struct holes holes = {.class = &sizeclass_table[kind], .blocks = region_address(slab)};
    _Atomic(uint64_t) *words = region_span(slab)->words;
    for (unsigned i = 0; i < holes.class->word_count; i++) {
        holes.words[i] = atomic_exchange_explicit(&words[i], 0, memory_order_acq_rel);
    }
    size_t purged = holes_purge_pages(&holes);
    for (unsigned i = 0; i < holes.class->word_count; i++) {
        atomic_fetch_or_explicit(&words[i], holes.words[i], memory_order_seq_cst);
    }
    slab_put_back(kind, slab);
    return purged;
}

size_t holes_purge(size_t target_bytes, uint64_t until_ns) {
    size_t purged = 0;
    unsigned lists =
        region_purge_unit() <= GRANULE_BYTES ? HOLES_KINDS * pageheap_shard_count() * 2 : 0;
    slab_end_year();
    for (unsigned i = 0; i < lists && purged <= target_bytes && os_now_ns() < until_ns;) {
        unsigned kind = holes_kind(i / 2);
        uint32_t slab = slab_take_oldest(kind, i / 2 / HOLES_KINDS, 1, i % 2 != 0);
        purged += slab != 0 ? holes_purge_slab(kind, slab) : 0;
        i += slab == 0;
    }
    return purged;
}

// True if slabs may have become old since the last time.
static bool holes_pass_time(void) {
    uint64_t delay_ms = pageheap_delay_now_ms();
    if (delay_ms == UINT64_MAX || region_purge_unit() > GRANULE_BYTES) {
        return false;
    }
    uint64_t now_ms = os_now_ms();
    uint64_t began_ms = atomic_load_explicit(&holes_state.year_began_ms, memory_order_relaxed);
    if (now_ms - began_ms >= delay_ms / HOLES_YEARS &&
        atomic_compare_exchange_strong(&holes_state.year_began_ms, &began_ms, now_ms)) {
        slab_end_year();
        for (unsigned i = 0; i < PAGEHEAP_SHARDS_MAX; i++) {
            atomic_store_explicit(&holes_state.left[i], HOLES_KINDS, memory_order_relaxed);
        }
    }
    return true;
}

static unsigned holes_purge_old(unsigned kind, unsigned shard, unsigned slabs) {
    unsigned count = 0;
    for (uint32_t slab = 1; count < slabs && slab != 0; count += slab != 0) {
        slab = slab_take_oldest(kind, shard, HOLES_YEARS + 1, false);
        if (slab != 0) {
            holes_purge_slab(kind, slab);
        }
    }
    return count;
}

void holes_tick(unsigned shard) {
    unsigned slabs = HOLES_TICK_SLABS;
    if (!holes_pass_time()) {
        return;
    }
    // Slabs grow old with the year only: what was looked at need not be again.
    unsigned before = atomic_load_explicit(&holes_state.left[shard], memory_order_relaxed);
    unsigned left = before;
    for (; left > 0 && slabs > 0; left -= slabs > 0) {
        slabs -= holes_purge_old(holes_kind(left - 1), shard, slabs);
    }
    if (left != before) {
        atomic_compare_exchange_strong(&holes_state.left[shard], &before, left);
    }
}

void holes_sweep(void) {
    unsigned lists = holes_pass_time() ? HOLES_KINDS * pageheap_shard_count() : 0;
    for (unsigned i = 0; i < lists; i++) {
        holes_purge_old(holes_kind(i), i / HOLES_KINDS, UINT_MAX);
    }
}

static void holes_add_stats(unsigned kind, uint32_t slab, void *context) {
    struct holes_stats *stats = context;
    struct holes holes = {.class = &sizeclass_table[kind], .blocks = region_address(slab)};
    char *from, *to;
    if (!slab_is_thin(slab)) {
        return;
    }
    const _Atomic(uint64_t) *words = __atomic_load_n(&region_span(slab)->words, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < holes.class->word_count; i++) {
        holes.words[i] = atomic_load_explicit(&words[i], memory_order_relaxed);
    }
    for (uint32_t i = 0; holes_next(&holes, &i, &from, &to);) {
        stats->bytes += from < to ? (size_t)(to - from) : 0;
    }
}

void holes_read_stats(struct holes_stats *stats) {
    *stats = (struct holes_stats){
        .purge_calls = atomic_load_explicit(&holes_state.purge_calls, memory_order_relaxed),
        .purge_bytes = atomic_load_explicit(&holes_state.purge_bytes, memory_order_relaxed),
    };
    pageheap_hold();
    slab_each(holes_add_stats, stats);
    pageheap_let_go();
}
