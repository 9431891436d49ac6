// ranges.c - ranges of numbers from outside: bytes, memory for nodes, a lock. layer 7
#include "allot.h"
#include "base/bits.h"
#include "os/check.h"
#include "os/lock.h"
#include "range/range.h"

#include <errno.h>
#include <string.h>

enum {
    // From here on a block lies at a multiple of a cache line wherever it is moved.
    RANGES_REALLOC_BYTES = 64 * 1024,
    // A range grows by a 16th: that much of its memory may lie unused.
    RANGES_GROW_MIN = 8,
    RANGES_GROW_LOG2 = 4,
};

struct allot_range {
    struct range range;  // in granules
    struct lock lock;
    bool is_shared;
    bool is_given;  // all is in memory of the caller's, where nothing here may be a pointer
    uint8_t granule_log2;
    void *nodes;  // unless is_given
} CACHE_ALIGNED;

// ---- Making --------------------------------------------------------------------

static allot_range *ranges_create_in(void *memory, size_t memory_size, uint64_t size) {
    uintptr_t begin = (uintptr_t)memory;
    size_t skip = bits_round_up(begin, CACHE_LINE_BYTES) - begin;
    size_t least = skip + sizeof(allot_range) + RANGE_NODES_MIN * sizeof(struct tree_node);
    if (memory_size < least) {
        errno = ENOMEM;
        return NULL;
    }
    allot_range *range = (allot_range *)(void *)((char *)memory + skip);
    size_t node_count = (memory_size - skip - sizeof(*range)) / TREE_NODE_BYTES;
    node_count = node_count < RANGE_NODES_MAX ? node_count : RANGE_NODES_MAX;
    *range = (allot_range){.is_given = true};
    range_init(&range->range, size, range + 1, (uint32_t)node_count);
    return range;
}

static allot_range *ranges_create_on_heap(uint64_t size) {
    allot_range *range = allot_aligned_zeroed(CACHE_LINE_BYTES, sizeof(*range));
    void *nodes = allot_aligned(CACHE_LINE_BYTES, RANGE_NODES_MIN * sizeof(struct tree_node));
    if (range == NULL || nodes == NULL) {
        allot_free(range);
        allot_free(nodes);
        return NULL;
    }
    range->nodes = nodes;
    range_init(&range->range, size, nodes, RANGE_NODES_MIN);
    return range;
}

allot_range *allot_range_create(const struct allot_range_options *options) {
    uint64_t granule = options == NULL || options->granularity == 0 ? 1 : options->granularity;
    if (options == NULL || options->struct_size != sizeof(*options) || !bits_is_power(granule) ||
        options->size == UINT64_MAX) {
        errno = EINVAL;
        return NULL;
    }
    unsigned log2 = bits_log2(granule);
    uint64_t size = options->size >> log2;
    allot_range *range = options->memory != NULL
                             ? ranges_create_in(options->memory, options->memory_size, size)
                             : ranges_create_on_heap(size);
    if (range != NULL) {
        range->is_shared = options->shared;
        range->granule_log2 = (uint8_t)log2;
    }
    return range;
}

void allot_range_destroy(allot_range *range) {
    if (range != NULL && !range->is_given) {
        allot_free(range->nodes);
        allot_free(range);
    }
}

// ---- One at a time ---------------------------------------------------------------

static void ranges_enter(allot_range *range) {
    if (range->is_shared) {
        lock_take(&range->lock);
    }
}

static void ranges_leave(allot_range *range) {
    if (range->is_shared) {
        lock_give(&range->lock);
    }
}

// A larger copy of the nodes; NULL, and the old one is as it was. Large blocks are
// extended or moved by the page tables.
static void *ranges_resize(void *nodes, uint32_t node_count, uint32_t new_count) {
    size_t new_bytes = (size_t)new_count * TREE_NODE_BYTES;
    size_t old_bytes = (size_t)node_count * TREE_NODE_BYTES;
    if (old_bytes >= RANGES_REALLOC_BYTES) {
        return allot_realloc(nodes, new_bytes);
    }
    void *larger = allot_aligned(CACHE_LINE_BYTES, new_bytes);
    if (larger != NULL) {
        memcpy(larger, nodes, old_bytes);
        allot_free(nodes);
    }
    return larger;
}

// More nodes. If there is no memory for them, the operation will say so in case that
// it needs them.
static COLD void ranges_grow(allot_range *range, uint64_t least) {
    uint32_t old_count = range->range.pool.node_count;
    uint32_t more = (old_count >> RANGES_GROW_LOG2) + RANGES_GROW_MIN;
    if (range->is_given || least > RANGE_NODES_MAX) {
        return;
    }
    more = more > least ? more : (uint32_t)least;
    if (old_count > RANGE_NODES_MAX - more) {
        return;
    }
    int saved = errno;
    void *nodes = ranges_resize(range->nodes, old_count, old_count + more);
    errno = saved;
    if (nodes != NULL) {
        ALLOT_ASSERT((uintptr_t)nodes % CACHE_LINE_BYTES == 0);
        range->nodes = nodes;
        range_set_nodes(&range->range, nodes, old_count + more);
    }
}

static void ranges_begin(allot_range *range) {
    ranges_enter(range);
    if (UNLIKELY(range_is_tight(&range->range))) {
        ranges_grow(range, 0);
    }
}

static int ranges_end(allot_range *range, int error) {
    ranges_leave(range);
    if (LIKELY(error == 0)) {
        return 0;
    }
    errno = error;
    return -1;
}

// ---- In granules -----------------------------------------------------------------

// Rounded up; what would overflow becomes more than there is.
static uint64_t ranges_granules(const allot_range *range, uint64_t n) {
    uint64_t mask = ((uint64_t)1 << range->granule_log2) - 1;
    return (n >> range->granule_log2) + ((n & mask) != 0);
}

static bool ranges_is_aligned(const allot_range *range, uint64_t offset) {
    return offset >> range->granule_log2 << range->granule_log2 == offset;
}

uint64_t allot_range_alloc(allot_range *range, uint64_t n, uint64_t align) {
    uint64_t offset = 0;
    if (UNLIKELY(align != 0 && !bits_is_power(align))) {
        errno = EINVAL;
        return ALLOT_RANGE_NONE;
    }
    uint64_t granules = align >> range->granule_log2;
    ranges_begin(range);
    int error =
        range_take(&range->range, &offset, ranges_granules(range, n), granules > 0 ? granules : 1);
    return ranges_end(range, error) == 0 ? offset << range->granule_log2 : ALLOT_RANGE_NONE;
}

int allot_range_alloc_at(allot_range *range, uint64_t offset, uint64_t n) {
    if (UNLIKELY(!ranges_is_aligned(range, offset))) {
        errno = EDOM;
        return -1;
    }
    ranges_begin(range);
    return ranges_end(range, range_take_at(&range->range, offset >> range->granule_log2,
                                           ranges_granules(range, n)));
}

int allot_range_free(allot_range *range, uint64_t offset, uint64_t n) {
    if (UNLIKELY(!ranges_is_aligned(range, offset))) {
        errno = EDOM;
        return -1;
    }
    ranges_begin(range);
    return ranges_end(
        range, range_give(&range->range, offset >> range->granule_log2, ranges_granules(range, n)));
}

int allot_range_grow(allot_range *range, uint64_t size) {
    if (size == UINT64_MAX) {
        errno = EINVAL;
        return -1;
    }
    uint64_t granules = size >> range->granule_log2;
    ranges_begin(range);
    uint64_t node_count = range_nodes_to_resize(&range->range, granules);
    if (UNLIKELY(node_count > range->range.pool.free_count)) {
        ranges_grow(range, node_count - range->range.pool.free_count);
    }
    return ranges_end(range, range_resize(&range->range, granules));
}

// ---- Looking -------------------------------------------------------------------

// A range for looking at is const to its user; its lock is not.
static allot_range *ranges_look(const allot_range *range) {
    allot_range *held = (allot_range *)(uintptr_t)range;
    ranges_enter(held);
    return held;
}

static uint64_t ranges_look_end(allot_range *range, uint64_t granules) {
    ranges_leave(range);
    return granules << range->granule_log2;
}

uint64_t allot_range_size(const allot_range *range) {
    allot_range *held = ranges_look(range);
    return ranges_look_end(held, held->range.size);
}

uint64_t allot_range_largest(const allot_range *range) {
    allot_range *held = ranges_look(range);
    return ranges_look_end(held, range_largest(&held->range));
}

uint64_t allot_range_free_bytes(const allot_range *range) {
    allot_range *held = ranges_look(range);
    return ranges_look_end(held, held->range.free_total);
}

uint64_t allot_range_count(const allot_range *range) {
    allot_range *held = ranges_look(range);
    uint64_t count = held->range.free_count;
    ranges_leave(held);
    return count;
}

size_t allot_range_metadata_bytes(const allot_range *range) {
    allot_range *held = ranges_look(range);
    size_t bytes = sizeof(*held) + (size_t)held->range.pool.node_count * TREE_NODE_BYTES;
    ranges_leave(held);
    return bytes;
}

bool allot_range_walk(const allot_range *range, allot_range_visit visit, void *context) {
    allot_range *held = ranges_look(range);
    unsigned log2 = held->granule_log2;
    uint64_t from = 0, at = 0, n = 0, size = held->range.size;
    bool goes_on = true;
    while (goes_on && from < size) {
        if (!range_next_free(&held->range, from, &at, &n)) {
            at = size;
            n = 0;
        }
        if (at > from) {
            goes_on = visit(context, from << log2, (at - from) << log2, false);
        }
        if (goes_on && n > 0) {
            goes_on = visit(context, at << log2, n << log2, true);
        }
        from = at + n;
    }
    ranges_leave(held);
    return goes_on;
}

bool allot_range_validate(const allot_range *range) {
    allot_range *held = ranges_look(range);
    bool is_right = range_validate(&held->range);
    ranges_leave(held);
    return is_right;
}
