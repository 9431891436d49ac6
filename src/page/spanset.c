// spanset.c - the free spans of a shard.                                   layer 2
#include "page/spanset.h"

#include "base/bits.h"
#include "os/check.h"
#include "page/region.h"

#include <string.h>

enum { SPANSET_SEARCH_MAX = 16 };

static unsigned spanset_bin(uint32_t count) {
    if (count <= SPANSET_EXACT_BINS) {
        return count - 1;
    }
    unsigned log2 = bits_log2(count);
    return SPANSET_EXACT_BINS + (log2 - 6) * 8 + (count >> (log2 - 3) & 7);
}

static struct spanset_bins *spanset_bins_of(struct spanset *set, bool is_dirty) {
    return is_dirty ? &set->dirty : &set->clean;
}

static void spanset_write_ends(uint32_t first, uint32_t count, uint32_t state) {
    struct span *head = region_span(first);
    struct span *tail = region_span(first + count - 1);
    head->granule_count = count;
    tail->granule_count = count;
    atomic_store_explicit(&tail->state, state, memory_order_relaxed);
    atomic_store_explicit(&head->state, state, memory_order_relaxed);
    tail->as.free.is_dirty = head->as.free.is_dirty;
}

static void spanset_link_age(struct spanset *set, uint32_t first, bool as_oldest) {
    struct span *span = region_span(first);
    span->as.free.newer = as_oldest ? set->oldest : 0;
    span->as.free.older = as_oldest ? 0 : set->newest;
    if (span->as.free.newer != 0) {
        region_span(span->as.free.newer)->as.free.older = first;
    } else {
        set->newest = first;
    }
    if (span->as.free.older != 0) {
        region_span(span->as.free.older)->as.free.newer = first;
    } else {
        set->oldest = first;
    }
}

static void spanset_unlink_age(struct spanset *set, const struct span *span) {
    if (span->as.free.newer != 0) {
        region_span(span->as.free.newer)->as.free.older = span->as.free.older;
    } else {
        set->newest = span->as.free.older;
    }
    if (span->as.free.older != 0) {
        region_span(span->as.free.older)->as.free.newer = span->as.free.newer;
    } else {
        set->oldest = span->as.free.newer;
    }
}

void spanset_insert(struct spanset *set, uint32_t first, uint32_t count, struct span_traits traits,
                    bool as_oldest) {
    struct span *span = region_span(first);
    struct spanset_bins *bins = spanset_bins_of(set, traits.is_dirty);
    unsigned bin = spanset_bin(count);
    span->as.free.is_dirty = traits.is_dirty;
    span->as.free.is_zero = traits.is_zero;
    span->as.free.since_ms = traits.since_ms;
    spanset_write_ends(first, count, SPAN_FREE);
    span->as.free.bin_prev = 0;
    span->as.free.bin_next = bins->first[bin];
    if (bins->first[bin] != 0) {
        region_span(bins->first[bin])->as.free.bin_prev = first;
    }
    bins->first[bin] = first;
    bins->filled[bin / 64] |= (uint64_t)1 << bin % 64;
    if (traits.is_dirty) {
        set->dirty_count += count;
        spanset_link_age(set, first, as_oldest);
    } else {
        set->clean_count += count;
    }
}

struct span_traits spanset_remove(struct spanset *set, uint32_t first) {
    struct span *span = region_span(first);
    struct span_traits traits = {span->as.free.is_dirty, span->as.free.is_zero,
                                 span->as.free.since_ms};
    struct spanset_bins *bins = spanset_bins_of(set, traits.is_dirty);
    unsigned bin = spanset_bin(span->granule_count);
    if (span->as.free.bin_next != 0) {
        region_span(span->as.free.bin_next)->as.free.bin_prev = span->as.free.bin_prev;
    }
    if (span->as.free.bin_prev != 0) {
        region_span(span->as.free.bin_prev)->as.free.bin_next = span->as.free.bin_next;
    } else {
        bins->first[bin] = span->as.free.bin_next;
        if (bins->first[bin] == 0) {
            bins->filled[bin / 64] &= ~((uint64_t)1 << bin % 64);
        }
    }
    if (traits.is_dirty) {
        set->dirty_count -= span->granule_count;
        spanset_unlink_age(set, span);
    } else {
        set->clean_count -= span->granule_count;
    }
    return traits;
}

bool spanset_is_mergeable(const struct spanset *set, uint32_t granule, bool is_dirty) {
    if (!region_contains(granule) || region_owner(granule) != set->owner ||
        region_kind(granule) != KIND_NONE) {
        return false;
    }
    const struct span *span = region_span(granule);
    return atomic_load_explicit(&span->state, memory_order_relaxed) == SPAN_FREE &&
           span->as.free.is_dirty == is_dirty;
}

void spanset_coalesce(struct spanset *set, uint32_t first, uint32_t count,
                      struct span_traits traits) {
    region_set_kind(first, count, KIND_NONE);
    if (spanset_is_mergeable(set, first - 1, traits.is_dirty)) {
        uint32_t left_count = region_span(first - 1)->granule_count;
        first -= left_count;
        count += left_count;
        traits.is_zero &= spanset_remove(set, first).is_zero;
    }
    if (spanset_is_mergeable(set, first + count, traits.is_dirty)) {
        uint32_t right = first + count;
        count += region_span(right)->granule_count;
        traits.is_zero &= spanset_remove(set, right).is_zero;
    }
    // A span beyond the limit goes back first: no batch of small ones may shield it.
    bool as_oldest = traits.is_dirty && count > SPANSET_LARGE_COUNT;
    spanset_insert(set, first, count, traits, as_oldest);
}

static uint32_t spanset_search_bin(uint32_t first, uint32_t count, uint32_t align) {
    if (align == 1 && region_span(first)->granule_count == count) {
        return first;  // the most recent one
    }
    uint32_t best = 0;
    uint32_t best_count = UINT32_MAX;
    int tries = 0;
    for (uint32_t g = first; g != 0 && tries < SPANSET_SEARCH_MAX; tries++) {
        const struct span *span = region_span(g);
        size_t start = region_align(g, align);
        uint32_t have = span->granule_count;
        bool fits = start + count <= (size_t)g + have;
        if (fits && (have < best_count || (have == best_count && g < best))) {
            best = g;
            best_count = have;
        }
        g = span->as.free.bin_next;
    }
    return best;
}

uint32_t spanset_search(const struct spanset *set, bool is_dirty, uint32_t count, uint32_t align) {
    const struct spanset_bins *bins = is_dirty ? &set->dirty : &set->clean;
    for (unsigned bin = spanset_bin(count); bin < SPANSET_BINS; bin++) {
        uint64_t filled = bins->filled[bin / 64] >> bin % 64;
        if (filled == 0) {
            bin |= 63;
            continue;
        }
        bin += bits_lowest(filled);
        uint32_t found = spanset_search_bin(bins->first[bin], count, align);
        if (found != 0) {
            return found;
        }
    }
    return 0;
}

struct span_traits spanset_cut(struct spanset *set, uint32_t first, uint32_t start,
                               uint32_t count) {
    uint32_t end = first + region_span(first)->granule_count;
    struct span_traits traits = spanset_remove(set, first);
    if (start > first) {
        spanset_insert(set, first, start - first, traits, true);
    }
    if (start + count < end) {
        spanset_insert(set, start + count, end - start - count, traits, true);
    }
    for (uint32_t g = start; CONFIG_VALIDATE && g < start + count; g++) {
        ALLOT_ASSERT(region_kind(g) == KIND_NONE);  // [P4]
    }
    region_set_kind(start, count, KIND_INSIDE);
    return traits;
}

void spanset_clear(struct spanset *set) {
    memset(&set->clean, 0, sizeof set->clean);
    memset(&set->dirty, 0, sizeof set->dirty);
    set->oldest = set->newest = 0;
    set->dirty_count = set->clean_count = 0;
}

static void spanset_validate_span(const struct spanset *set, uint32_t first, bool is_dirty) {
    const struct span *head = region_span(first);
    const struct span *tail = region_span(first + head->granule_count - 1);
    ALLOT_ASSERT(atomic_load(&head->state) == SPAN_FREE);                             // [P1]
    ALLOT_ASSERT(atomic_load(&tail->state) == SPAN_FREE);                             // [P1]
    ALLOT_ASSERT(tail->granule_count == head->granule_count);                         // [P1]
    ALLOT_ASSERT(head->as.free.is_dirty == is_dirty);                                 // [P1]
    ALLOT_ASSERT(!spanset_is_mergeable(set, first + head->granule_count, is_dirty));  // [P2]
    for (uint32_t g = first; g < first + head->granule_count; g++) {
        ALLOT_ASSERT(region_kind(g) == KIND_NONE);  // [P4]
    }
}

static size_t spanset_validate_bins(const struct spanset *set, bool is_dirty) {
    const struct spanset_bins *bins = is_dirty ? &set->dirty : &set->clean;
    size_t count = 0;
    for (unsigned bin = 0; bin < SPANSET_BINS; bin++) {
        bool is_filled = (bins->filled[bin / 64] >> bin % 64 & 1) != 0;
        ALLOT_ASSERT(is_filled == (bins->first[bin] != 0));
        for (uint32_t g = bins->first[bin]; g != 0; g = region_span(g)->as.free.bin_next) {
            ALLOT_ASSERT(spanset_bin(region_span(g)->granule_count) == bin);
            spanset_validate_span(set, g, is_dirty);
            count += region_span(g)->granule_count;
        }
    }
    return count;
}

void spanset_validate(const struct spanset *set) {
    size_t by_age = 0;
    uint32_t older = 0;
    for (uint32_t g = set->oldest; g != 0; g = region_span(g)->as.free.newer) {
        ALLOT_ASSERT(region_span(g)->as.free.older == older);
        older = g;
        by_age += region_span(g)->granule_count;
    }
    ALLOT_ASSERT(by_age == set->dirty_count);  // [P3]
    ALLOT_ASSERT(spanset_validate_bins(set, true) == by_age);
    ALLOT_ASSERT(spanset_validate_bins(set, false) == set->clean_count);
}
