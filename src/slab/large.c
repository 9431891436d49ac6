// large.c - blocks that are spans of their own.                            layer 3
#include "slab/large.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/os.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "slab/sizeclass.h"

#include <string.h>

// Sizes are rounded to this.
#define LARGE_UNIT_BYTES (4 * KIB)
// From here on, moving pages is cheaper than copying bytes.
#define LARGE_MOVE_BYTES (2 * MIB)
// A block that grows by realloc gets this share of its size as room: address
// space only, for it comes from memory that was never touched.
enum { LARGE_ROOM_SHARE = 2 };
enum { LARGE_GIVEN_COUNT = 16 };

// The blocks that were given back last, so that a double free can be named
// after the record is gone. Best effort: threads may overwrite each other.
static struct {
    _Atomic(unsigned) next;
    _Atomic(uintptr_t) block[LARGE_GIVEN_COUNT];
    _Atomic(size_t) usable_bytes[LARGE_GIVEN_COUNT];
} large_given;

// Multiplicative hash (Knuth): neighbouring spans get distant offsets.
static uint32_t large_offset(uint32_t first) {
    return (first * 2654435769u) >> 26 << 6;
}
_Static_assert((64 << 6) == SIZECLASS_COLOUR_BYTES, "offsets fill the room for them");

static uint32_t large_granules(size_t size_bytes) {
    size_t rounded = bits_round_up(size_bytes, LARGE_UNIT_BYTES);
    size_t granules = sizeclass_span_granules(rounded);
    return granules <= UINT32_MAX ? (uint32_t)granules : 0;
}

static size_t large_unit_round(size_t size_bytes) {
    return bits_round_up(size_bytes > 0 ? size_bytes : 1, LARGE_UNIT_BYTES);
}

static void *large_publish(unsigned kind, uint32_t first, uint32_t offset, size_t usable) {
    struct span *span = region_span(first);
    __atomic_store_n(&span->as.large.usable_bytes, usable, __ATOMIC_RELAXED);
    span->as.large.offset_bytes = offset;
    span->as.large.is_moved = false;
    __atomic_store_n(&span->as.large.account, 0, __ATOMIC_RELAXED);
    span->kind = (uint8_t)kind;
    atomic_store_explicit(&span->state, SPAN_LARGE, memory_order_release);
    __atomic_store_n(&region_state.kind[first], (uint8_t)kind, __ATOMIC_RELEASE);
    return region_address(first) + offset;
}

void *large_take(unsigned kind, unsigned shard, size_t size_bytes, size_t align_bytes,
                 bool *is_zero) {
    if (size_bytes > LARGE_MAX_BYTES) {
        return NULL;
    }
    bool is_class = sizeclass_is_span(kind);
    uint32_t granules = is_class ? sizeclass_table[kind].granule_count : large_granules(size_bytes);
    size_t align = align_bytes > GRANULE_BYTES ? align_bytes >> GRANULE_LOG2 : 1;
    if (granules == 0 || align > UINT32_MAX) {
        return NULL;
    }
    uint32_t first = pageheap_take(shard, granules, (uint32_t)align, PAGEHEAP_PLAIN, is_zero);
    if (first == 0) {
        return NULL;
    }
    size_t usable = is_class ? sizeclass_table[kind].size_bytes : large_unit_round(size_bytes);
    uint32_t offset = large_offset(first);
    offset =
        align_bytes <= SIZECLASS_COLOUR_BYTES ? (uint32_t)bits_round_down(offset, align_bytes) : 0;
    return large_publish(kind, first, offset, usable);
}

bool large_is_block(const void *address) {
    uint32_t first = (uint32_t)region_granule(address);
    const struct span *span = region_span(first);
    return atomic_load_explicit(&span->state, memory_order_relaxed) == SPAN_LARGE &&
           (const char *)address == region_address(first) + span->as.large.offset_bytes;
}

static void large_remember(const void *block, size_t usable_bytes) {
    unsigned at = atomic_load_explicit(&large_given.next, memory_order_relaxed);
    atomic_store_explicit(&large_given.next, at + 1, memory_order_relaxed);
    at %= LARGE_GIVEN_COUNT;
    atomic_store_explicit(&large_given.block[at], (uintptr_t)block, memory_order_relaxed);
    atomic_store_explicit(&large_given.usable_bytes[at], usable_bytes, memory_order_relaxed);
}

size_t large_was_block(const void *address) {
    for (unsigned i = 0; i < LARGE_GIVEN_COUNT; i++) {
        if (atomic_load_explicit(&large_given.block[i], memory_order_relaxed) ==
            (uintptr_t)address) {
            return atomic_load_explicit(&large_given.usable_bytes[i], memory_order_relaxed);
        }
    }
    return 0;
}

void large_give(void *block) {
    uint32_t first = (uint32_t)region_granule(block);
    large_remember(block, region_span(first)->as.large.usable_bytes);
    if (region_span(first)->as.large.is_moved) {
        pageheap_renew(first, 0);
    }
    pageheap_give(first);
}

// What takes no memory may have content in swap; to drop it costs less than a fault.
static void large_clear_pages(char *from, size_t page_count) {
    bool is_resident[OS_RESIDENT_MAX];
    size_t page_bytes = os_page_bytes();
    size_t end;
    os_resident(from, page_count, is_resident);
    for (size_t at = 0; at < page_count; at = end) {
        for (end = at + 1; end < page_count && is_resident[end] == is_resident[at]; end++) {
        }
        char *run = from + at * page_bytes;
        size_t bytes = (end - at) * page_bytes;
        if (is_resident[at] || os_purge(run, bytes) != 0) {
            memset(run, 0, bytes);
        }
    }
}

void *large_clear(void *block, size_t size_bytes) {
    size_t unit = region_purge_unit();
    if (size_bytes < LARGE_SPARSE_BYTES || unit > GRANULE_BYTES) {
        return memset(block, 0, size_bytes);
    }
    char *from = (char *)bits_round_up((uintptr_t)block, unit);
    char *end = (char *)bits_round_down((uintptr_t)block + size_bytes, unit);
    memset(block, 0, (size_t)(from - (char *)block));
    memset(end, 0, (size_t)((char *)block + size_bytes - end));
    for (; from < end; from += OS_RESIDENT_MAX * unit) {
        size_t pages = (size_t)(end - from) / unit;
        large_clear_pages(from, pages < OS_RESIDENT_MAX ? pages : OS_RESIDENT_MAX);
    }
    return block;
}

size_t large_usable_bytes(const void *block) {
    return region_span((uint32_t)region_granule(block))->as.large.usable_bytes;
}

size_t large_good_size(size_t size_bytes) {
    return large_unit_round(size_bytes);
}

bool large_resize(void *block, size_t size_bytes) {
    uint32_t first = (uint32_t)region_granule(block);
    struct span *span = region_span(first);
    size_t usable = large_unit_round(size_bytes);
    uint32_t granules = large_granules(size_bytes);
    bool is_zero;
    if (granules == 0) {
        return false;
    }
    if (granules > span->granule_count && !pageheap_grow(first, granules, &is_zero)) {
        return false;
    }
    if (region_kind(first) != KIND_LARGE) {
        __atomic_store_n(&region_state.kind[first], KIND_LARGE, __ATOMIC_RELEASE);
    }
    // A block with room to grow keeps it unless it shrinks by a good part.
    bool shrinks = usable < span->as.large.usable_bytes;
    span->as.large.usable_bytes = usable;
    bool is_moved = span->as.large.is_moved;
    if (shrinks && granules < span->granule_count / (is_moved ? 2 : 1) &&
        (!is_moved || pageheap_renew(first, granules))) {
        pageheap_shrink(first, granules);
    }
    return true;
}

void *large_move(void *block, unsigned shard, size_t size_bytes) {
    uint32_t from = (uint32_t)region_granule(block);
    struct span *span = region_span(from);
    size_t used =
        bits_round_up(span->as.large.offset_bytes + span->as.large.usable_bytes, os_page_bytes());
    size_t room = size_bytes + size_bytes / LARGE_ROOM_SHARE;
    uint32_t granules = room > size_bytes ? large_granules(room) : 0;
    bool is_zero;
    if (span->as.large.usable_bytes < LARGE_MOVE_BYTES || granules == 0 ||
        size_bytes > LARGE_MAX_BYTES / 2 || region_purge_unit() > GRANULE_BYTES) {
        return NULL;
    }
    uint32_t to = pageheap_take(shard, granules, 1, PAGEHEAP_SPARSE, &is_zero);
    if (to == 0) {
        return NULL;
    }
    if (os_move(region_address(to), region_address(from), used) != 0) {
        if (pageheap_renew(to, 0)) {
            pageheap_give(to);
        } else {
            pageheap_abandon(to);
        }
        return NULL;
    }
    void *moved =
        large_publish(KIND_LARGE, to, span->as.large.offset_bytes, large_unit_round(size_bytes));
    region_span(to)->as.large.is_moved = true;
    __atomic_store_n(&region_span(to)->as.large.account, span->as.large.account, __ATOMIC_RELAXED);
    large_give(block);
    return moved;
}

void *large_find(const void *address) {
    size_t granule = region_granule(address);
    size_t first = granule;
    while (first > 0 && region_kind(first) == KIND_INSIDE) {
        first--;
    }
    unsigned kind = region_kind(first);
    const struct span *span = region_span((uint32_t)first);
    if ((kind != KIND_LARGE && !sizeclass_is_span(kind)) ||
        granule >= first + span->granule_count) {
        return NULL;
    }
    char *block = region_address((uint32_t)first) + span->as.large.offset_bytes;
    bool is_inside = (const char *)address >= block &&
                     (const char *)address < block + span->as.large.usable_bytes;
    return is_inside ? block : NULL;
}

void large_read_stats(struct large_stats *stats) {
    *stats = (struct large_stats){0};
    uint32_t top = region_top();
    pageheap_hold();
    for (uint32_t g = 1; g < top; g++) {
        unsigned kind = region_kind(g);
        if (kind == KIND_LARGE || sizeclass_is_span(kind)) {
            stats->used_bytes +=
                __atomic_load_n(&region_span(g)->as.large.usable_bytes, __ATOMIC_RELAXED);
            stats->used_blocks++;
        }
    }
    pageheap_let_go();
}
