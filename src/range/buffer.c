// buffer.c - slices cut out of arrays.                                     layer 7
#include "range/buffer.h"

#include "base/bits.h"
#include "os/check.h"
#include "os/os.h"
#include "page/region.h"

#include <errno.h>
#include <string.h>

enum {
    BUFFER_SLOTS_FIRST = 8,
    BUFFER_NODES_FIRST = RANGE_NODES_MIN,
    BUFFER_FREES_PER_CLOCK = 16,  // a read of the clock costs as much as a free
    BUFFER_LOOK_MAX_MS = 1000,
};

// Offsets of all slots.
#define BUFFER_NUMBERS ((uint64_t)BUFFER_SLOTS_MAX << BUFFER_OFFSET_BITS)
#define BUFFER_PLACE_MASK (((uint64_t)1 << BUFFER_OFFSET_BITS) - 1)

// Arrays from here on begin with a page: then all of their pages can go back.
#define BUFFER_PAGED_BYTES (64 * KIB)

// ---- Free ranges -----------------------------------------------------------------

// Twice as many nodes. False: there is no memory.
static bool buffer_add_nodes(struct buffer_space *space) {
    uint32_t count = space->range.pool.node_count;
    uint32_t more = count <= RANGE_NODES_MAX / 2 ? 2 * count : RANGE_NODES_MAX;
    struct tree_node *nodes = allot_aligned(CACHE_LINE_BYTES, (size_t)more * sizeof(*nodes));
    if (nodes == NULL) {
        return false;
    }
    memcpy(nodes, space->nodes, (size_t)count * sizeof(*nodes));
    range_set_nodes(&space->range, nodes, more);
    allot_free(space->nodes);
    space->nodes = nodes;
    return true;
}

// Room for more free ranges, if the next change might need it. False: there is no
// memory.
static ALWAYS_INLINE bool buffer_make_room(struct buffer_space *space) {
    while (UNLIKELY(range_is_tight(&space->range))) {
        if (!buffer_add_nodes(space)) {
            return false;
        }
    }
    return true;
}

// Room for so many changes, one after another. False: there is no memory.
static bool buffer_make_room_for(struct buffer_space *space, uint32_t change_count) {
    // Both trees may get a level more on the way.
    while (space->range.pool.free_count <
           (uint64_t)change_count * (range_nodes_most(&space->range) + 2)) {
        if (!buffer_add_nodes(space)) {
            return false;
        }
    }
    return true;
}

// Offsets of which none is free. False: there is no memory.
static bool buffer_init_space(struct buffer_space *space) {
    space->nodes = allot_aligned(CACHE_LINE_BYTES, BUFFER_NODES_FIRST * sizeof(*space->nodes));
    if (space->nodes == NULL) {
        return false;
    }
    range_init(&space->range, BUFFER_NUMBERS, space->nodes, BUFFER_NODES_FIRST);
    return range_take_at(&space->range, 0, BUFFER_NUMBERS) == 0;
}

static int buffer_give_offsets(struct buffer_space *space, uint64_t offset, uint64_t n) {
    buffer_make_room(space);  // else there may be just enough
    return range_give(&space->range, offset, n);
}

static bool buffer_is_free(const struct buffer *buffer, uint64_t offset, uint64_t n) {
    uint64_t found, size;
    return range_next_free(&buffer->space.range, offset, &found, &size) && found == offset &&
           size == n;
}

// ---- Where a slice is ---------------------------------------------------------

static uint64_t buffer_base(uint32_t slot) {
    return (uint64_t)slot << BUFFER_OFFSET_BITS;
}

static struct buffer_array *buffer_array_of(const struct buffer *buffer, uint64_t offset) {
    return &buffer->arrays[offset >> BUFFER_OFFSET_BITS];
}

static char *buffer_data(const struct buffer *buffer, uint64_t offset) {
    return buffer_array_of(buffer, offset)->data + (offset & BUFFER_PLACE_MASK);
}

// Index of the first place that ends beyond the address.
static uint32_t buffer_search(const struct buffer *buffer, const char *data) {
    uint32_t low = 0;
    uint32_t high = buffer->array_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if ((uintptr_t)data < (uintptr_t)buffer->places[middle].end) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool buffer_contains(const struct buffer_place *place, const char *data) {
    return (uintptr_t)data - (uintptr_t)place->data <
           (uintptr_t)place->end - (uintptr_t)place->data;
}

bool buffer_locate(struct buffer *buffer, uint64_t *offset, const char *data, size_t n) {
    uint32_t at = buffer->place_hint;
    if (at >= buffer->array_count || !buffer_contains(&buffer->places[at], data)) {
        at = buffer_search(buffer, data);
        if (at == buffer->array_count || !buffer_contains(&buffer->places[at], data)) {
            return false;
        }
        buffer->place_hint = at;
    }
    const struct buffer_place *place = &buffer->places[at];
    *offset = buffer_base(place->slot) + (uint64_t)(data - place->data);
    return n <= (size_t)(place->end - data);
}

// ---- Arrays --------------------------------------------------------------------

static bool buffer_grow_tables(struct buffer *buffer) {
    if (buffer->slot_capacity == BUFFER_SLOTS_MAX) {
        return false;
    }
    uint32_t capacity = buffer->slot_capacity > 0 ? 2 * buffer->slot_capacity : BUFFER_SLOTS_FIRST;
    struct buffer_array *arrays = allot_realloc(buffer->arrays, capacity * sizeof(*arrays));
    if (arrays == NULL) {
        return false;
    }
    buffer->arrays = arrays;
    struct buffer_place *places = allot_realloc(buffer->places, capacity * sizeof(*places));
    if (places == NULL) {
        return false;  // arrays has more room than is counted
    }
    buffer->places = places;
    buffer->slot_capacity = capacity;
    return true;
}

// The lowest slot that is not used; BUFFER_SLOTS_MAX if there is no memory.
static uint32_t buffer_take_slot(struct buffer *buffer) {
    uint32_t slot = 0;
    while (slot < buffer->slot_count && buffer->arrays[slot].data != NULL) {
        slot++;
    }
    if (slot == buffer->slot_capacity && !buffer_grow_tables(buffer)) {
        return BUFFER_SLOTS_MAX;
    }
    return slot;
}

static void buffer_add_place(struct buffer *buffer, uint32_t slot, char *data, size_t size_bytes) {
    uint32_t at = buffer_search(buffer, data);
    memmove(buffer->places + at + 1, buffer->places + at,
            (buffer->array_count - at) * sizeof(*buffer->places));
    buffer->places[at] = (struct buffer_place){data, data + size_bytes, slot};
    buffer->array_count++;
}

static void buffer_remove_place(struct buffer *buffer, const char *data) {
    uint32_t at = buffer_search(buffer, data);
    buffer->array_count--;
    memmove(buffer->places + at, buffer->places + at + 1,
            (buffer->array_count - at) * sizeof(*buffer->places));
}

// A further array, all of it free. False: no memory or the limit; nothing has
// changed.
static bool buffer_add(struct buffer *buffer, size_t size_bytes) {
    if (size_bytes > buffer->limit_bytes - buffer->reserved_bytes) {
        return false;
    }
    uint32_t slot = buffer_take_slot(buffer);
    if (slot == BUFFER_SLOTS_MAX) {
        return false;
    }
    char *data = size_bytes < BUFFER_PAGED_BYTES ? allot_malloc(size_bytes)
                                                 : allot_aligned(os_page_bytes(), size_bytes);
    if (data == NULL || buffer_give_offsets(&buffer->space, buffer_base(slot), size_bytes) != 0) {
        allot_free(data);
        return false;
    }
    buffer->arrays[slot] =
        (struct buffer_array){.data = data, .size_bytes = size_bytes, .is_touched = true};
    buffer->slot_count = slot < buffer->slot_count ? buffer->slot_count : slot + 1;
    buffer_add_place(buffer, slot, data, size_bytes);
    buffer->reserved_bytes += size_bytes;
    buffer->grow_count++;
    return true;
}

// Returns an array if all of it is free.
static bool buffer_drop(struct buffer *buffer, uint32_t slot) {
    struct buffer_array *array = &buffer->arrays[slot];
    if (array->data == NULL || !buffer_is_free(buffer, buffer_base(slot), array->size_bytes)) {
        return false;
    }
    range_take_at(&buffer->space.range, buffer_base(slot), array->size_bytes);
    buffer_remove_place(buffer, array->data);
    allot_free(array->data);
    array->data = NULL;
    buffer->reserved_bytes -= array->size_bytes;
    buffer->drop_count++;
    while (buffer->slot_count > 0 && buffer->arrays[buffer->slot_count - 1].data == NULL) {
        buffer->slot_count--;
    }
    return true;
}

static size_t buffer_drop_empty(struct buffer *buffer) {
    uint64_t before = buffer->reserved_bytes;
    for (uint32_t slot = buffer->slot_count; slot-- > 0;) {
        buffer_drop(buffer, slot);
    }
    return (size_t)(before - buffer->reserved_bytes);
}

// Twice the largest array so far, up to the largest that is wanted, or more
// where a slice needs it.
static size_t buffer_next_bytes(const struct buffer *buffer, size_t n) {
    size_t next = buffer->first_bytes;
    for (uint32_t slot = 0; slot < buffer->slot_count; slot++) {
        const struct buffer_array *array = &buffer->arrays[slot];
        if (array->data != NULL && array->size_bytes >= next) {
            next = 2 * array->size_bytes;
        }
    }
    while (next < n && next < buffer->array_max_bytes) {
        next *= 2;
    }
    next = next < buffer->array_max_bytes ? next : buffer->array_max_bytes;
    return next > n ? next : n;
}

// Makes room for n adjacent bytes. Where the usual array cannot be had, a
// smaller one, and empty arrays, which are all too small, go back.
static bool buffer_grow(struct buffer *buffer, size_t n) {
    if (n > BUFFER_ARRAY_MAX_BYTES) {
        return false;
    }
    return buffer_add(buffer, buffer_next_bytes(buffer, n)) || buffer_add(buffer, n) ||
           (buffer_drop_empty(buffer) > 0 && buffer_add(buffer, n));
}

// ---- What goes back ------------------------------------------------------------

// Returns the whole pages within the bytes; they read as zero afterwards.
static size_t buffer_purge(struct buffer *buffer, char *data, size_t size_bytes) {
    size_t unit = region_purge_unit();
    size_t skipped = bits_round_up((uintptr_t)data, unit) - (uintptr_t)data;
    if (size_bytes < unit || size_bytes - unit < skipped) {
        return 0;
    }
    size_t purged = bits_round_down(size_bytes - skipped, unit);
    if (os_purge(data + skipped, purged) != 0) {
        return 0;
    }
    buffer->purge_bytes += purged;
    return purged;
}

// An array that nobody has touched for the idle time: it goes back if it is
// empty; its pages alone if what would be left is less than is to be kept.
static void buffer_return(struct buffer *buffer, uint32_t slot) {
    struct buffer_array *array = &buffer->arrays[slot];
    uint64_t unused = buffer->reserved_bytes - buffer->live_bytes;
    if (!buffer_is_free(buffer, buffer_base(slot), array->size_bytes)) {
        return;
    }
    if (unused - array->size_bytes >= buffer->keep_bytes) {
        buffer_drop(buffer, slot);
    } else if (!array->is_purged) {
        buffer_purge(buffer, array->data, array->size_bytes);
        array->is_purged = true;
    }
}

static void buffer_look(struct buffer *buffer) {
    buffer->frees_to_clock = BUFFER_FREES_PER_CLOCK;
    uint64_t now_ms = os_now_ms();
    if (now_ms < buffer->next_look_ms) {
        return;
    }
    uint64_t pause_ms = buffer->idle_ms / 4 + 1;
    buffer->next_look_ms = now_ms + (pause_ms < BUFFER_LOOK_MAX_MS ? pause_ms : BUFFER_LOOK_MAX_MS);
    for (uint32_t slot = buffer->slot_count; slot-- > 0;) {
        struct buffer_array *array = &buffer->arrays[slot];
        if (array->is_touched) {
            array->is_touched = false;
            array->idle_since_ms = now_ms;
        } else if (array->data != NULL && now_ms - array->idle_since_ms >= buffer->idle_ms) {
            buffer_return(buffer, slot);
        }
    }
}

// ---- Slices --------------------------------------------------------------------

// n adjacent bytes, which are in use then. False: there is no memory. There is
// room for the next change before, so that part of them can be given in any case.
static bool buffer_take_offset(struct buffer *buffer, uint64_t *offset, size_t n) {
    if (UNLIKELY(!buffer_make_room(&buffer->space))) {
        return false;
    }
    if (LIKELY(range_take(&buffer->space.range, offset, n, 1) == 0)) {
        return true;
    }
    return buffer_grow(buffer, n) && buffer_make_room(&buffer->space) &&
           range_take(&buffer->space.range, offset, n, 1) == 0;
}

static void *buffer_count_take(struct buffer *buffer, uint64_t offset, size_t n) {
    buffer_array_of(buffer, offset)->is_purged = false;
    buffer->malloc_count++;
    buffer->malloc_bytes += n;
    buffer->live_bytes += n;
    if (buffer->live_bytes > buffer->peak_bytes) {
        buffer->peak_bytes = buffer->live_bytes;
    }
    return buffer_data(buffer, offset);
}

void *buffer_take(struct buffer *buffer, size_t n) {
    uint64_t offset;
    return buffer_take_offset(buffer, &offset, n) ? buffer_count_take(buffer, offset, n) : NULL;
}

void *buffer_take_some(struct buffer *buffer, size_t *got, size_t least, size_t most) {
    struct range *range = &buffer->space.range;
    uint64_t offset, behind, size;
    *got = range_largest(range) >= least ? least : most;
    if (!buffer_take_offset(buffer, &offset, *got)) {
        *got = least;
        if (!buffer_take_offset(buffer, &offset, *got)) {
            return NULL;
        }
    }
    if (*got < most && buffer_make_room(&buffer->space) &&
        range_next_free(range, offset + *got, &behind, &size) && behind == offset + *got) {
        size_t more = size < most - *got ? (size_t)size : most - *got;
        *got += range_take_at(range, behind, more) == 0 ? more : 0;
    }
    return buffer_count_take(buffer, offset, *got);
}

void *buffer_peek(struct buffer *buffer, size_t n) {
    uint64_t offset;
    if (!buffer_take_offset(buffer, &offset, n)) {
        return NULL;
    }
    struct buffer_array *array = buffer_array_of(buffer, offset);
    array->is_purged = false;
    array->is_touched = true;
    range_give(&buffer->space.range, offset, n);
    return buffer_data(buffer, offset);
}

void *buffer_settle(struct buffer *buffer, void *data, size_t n, size_t most) {
    struct range *range = &buffer->space.range;
    uint64_t from, to, behind, size;
    if (range_largest(range) < n || !buffer_make_room(&buffer->space) ||
        !buffer_locate(buffer, &from, data, n) || range_take(range, &to, n, 1) != 0) {
        return data;
    }
    bool has_rest = range_next_free(range, to + n, &behind, &size) && behind == to + n;
    bool is_hole = n + (has_rest ? size : 0) < most && to != from + n;
    if (!is_hole || buffer_give_offsets(&buffer->space, from, n) != 0) {
        range_give(range, to, n);
        return data;
    }
    buffer_array_of(buffer, to)->is_purged = false;
    buffer_array_of(buffer, from)->is_touched = true;
    return memcpy(buffer_data(buffer, to), data, n);
}

static void buffer_count_free(struct buffer *buffer, uint64_t offset, uint64_t n) {
    buffer_array_of(buffer, offset)->is_touched = true;
    buffer->live_bytes -= n;
    buffer->free_bytes += n;
}

// Frees what has no further references. Returns 0 or ENOMEM: nothing has changed. Where
// there are several pieces, none of them may fail after the first.
static int buffer_give_gaps(struct buffer *buffer, uint64_t first, uint64_t end) {
    uint64_t gap_end;
    uint32_t count = 0;
    for (uint64_t at = first; share_find_gap(&buffer->shares, &at, end, &gap_end); at = gap_end) {
        count++;
    }
    if (count > 1 && !buffer_make_room_for(&buffer->space, count)) {
        return ENOMEM;
    }
    for (uint64_t at = first; share_find_gap(&buffer->shares, &at, end, &gap_end); at = gap_end) {
        if (buffer_give_offsets(&buffer->space, at, gap_end - at) != 0) {
            ALLOT_ASSERT(count == 1);
            return ENOMEM;
        }
        buffer_count_free(buffer, at, gap_end - at);
    }
    return 0;
}

// Some of the bytes have further references.
static int buffer_give_shared(struct buffer *buffer, uint64_t first, uint64_t end) {
    if (!range_is_used(&buffer->space.range, first, end - first)) {
        return EINVAL;
    }
    int error = share_cut(&buffer->shares, first, end);
    error = error == 0 ? buffer_give_gaps(buffer, first, end) : error;
    if (error == 0) {
        share_release(&buffer->shares, first, end);
    }
    return error;
}

static int buffer_give_located(struct buffer *buffer, uint64_t offset, size_t n) {
    if (UNLIKELY(buffer->shares.entry_count > 0) &&
        share_has(&buffer->shares, offset, offset + n)) {
        return buffer_give_shared(buffer, offset, offset + n);
    }
    int error = buffer_give_offsets(&buffer->space, offset, n);
    if (LIKELY(error == 0)) {
        buffer_count_free(buffer, offset, n);
    }
    return error == 0 || error == ENOMEM ? error : EINVAL;
}

int buffer_give(struct buffer *buffer, void *data, size_t n) {
    uint64_t offset;
    if (n == 0) {
        return 0;
    }
    if (UNLIKELY(!buffer_locate(buffer, &offset, data, n))) {
        return EINVAL;
    }
    int error = buffer_give_located(buffer, offset, n);
    if (UNLIKELY(error != 0)) {
        return error;
    }
    buffer->free_count++;
    if (UNLIKELY(--buffer->frees_to_clock == 0)) {
        buffer_look(buffer);
    }
    return 0;
}

int buffer_retain(struct buffer *buffer, void *data, size_t n) {
    uint64_t offset;
    if (n == 0) {
        return 0;
    }
    if (!buffer_locate(buffer, &offset, data, n) ||
        !range_is_used(&buffer->space.range, offset, n)) {
        return EINVAL;
    }
    return share_retain(&buffer->shares, offset, offset + n);
}

// ---- All of a buffer -----------------------------------------------------------

int buffer_init(struct buffer *buffer, const struct allot_buffer_options *options) {
    *buffer = (struct buffer){
        .first_bytes = options->first_bytes,
        .array_max_bytes = options->array_max_bytes,
        .limit_bytes = options->limit_bytes,
        .keep_bytes = options->keep_bytes,
        .idle_ms = options->idle_ns / 1000000u,
        .frees_to_clock = BUFFER_FREES_PER_CLOCK,
    };
    return buffer_init_space(&buffer->space) ? 0 : ENOMEM;
}

void buffer_fini(struct buffer *buffer) {
    for (uint32_t slot = 0; slot < buffer->slot_count; slot++) {
        allot_free(buffer->arrays[slot].data);
    }
    share_clear(&buffer->shares);
    allot_free(buffer->arrays);
    allot_free(buffer->places);
    allot_free(buffer->space.nodes);
}

int buffer_recycle(struct buffer *buffer) {
    struct buffer_space space;
    bool is_whole = buffer_init_space(&space);
    for (uint32_t slot = 0; is_whole && slot < buffer->slot_count; slot++) {
        const struct buffer_array *array = &buffer->arrays[slot];
        is_whole = array->data == NULL ||
                   buffer_give_offsets(&space, buffer_base(slot), array->size_bytes) == 0;
    }
    if (!is_whole) {
        allot_free(space.nodes);
        return ENOMEM;
    }
    allot_free(buffer->space.nodes);
    buffer->space = space;
    range_set_nodes(&buffer->space.range, space.nodes, space.range.pool.node_count);
    share_clear(&buffer->shares);
    for (uint32_t slot = 0; slot < buffer->slot_count; slot++) {
        buffer->arrays[slot].is_touched = true;
    }
    buffer->free_bytes += buffer->live_bytes;
    buffer->live_bytes = 0;
    return 0;
}

// ---- Free ranges ---------------------------------------------------------------

void buffer_walk(struct buffer *buffer, allot_buffer_visit visit, void *context) {
    uint64_t from = 0;
    uint64_t offset, n;
    bool goes_on = true;
    while (goes_on && range_next_free(&buffer->space.range, from, &offset, &n)) {
        goes_on = visit(context, (struct allot_slice){buffer_data(buffer, offset), (size_t)n});
        from = offset + n;
    }
}

struct buffer_trim {
    struct buffer *buffer;
    size_t bytes;
};

static bool buffer_trim_range(void *context, struct allot_slice range) {
    struct buffer_trim *trim = context;
    trim->bytes += buffer_purge(trim->buffer, range.data, range.size_bytes);
    return true;
}

size_t buffer_trim(struct buffer *buffer) {
    struct buffer_trim trim = {buffer, buffer_drop_empty(buffer)};
    buffer_walk(buffer, buffer_trim_range, &trim);
    return trim.bytes;
}

// ---- Figures and checks -----------------------------------------------------

void buffer_read_stats(const struct buffer *buffer, struct allot_buffer_stats *stats) {
    *stats = (struct allot_buffer_stats){
        .size_bytes = sizeof(*stats),
        .reserved_bytes = buffer->reserved_bytes,
        .live_bytes = buffer->live_bytes,
        .free_bytes = buffer->reserved_bytes - buffer->live_bytes,
        .peak_bytes = buffer->peak_bytes,
        .largest_bytes = range_largest(&buffer->space.range),
        .array_count = buffer->array_count,
        .range_count = buffer->space.range.free_count,
        .shared_count = buffer->shares.entry_count,
        .malloc_calls = buffer->malloc_count,
        .malloc_bytes = buffer->malloc_bytes,
        .free_calls = buffer->free_count,
        .freed_bytes = buffer->free_bytes,
        .grow_calls = buffer->grow_count,
        .drop_calls = buffer->drop_count,
        .purged_bytes = buffer->purge_bytes,
    };
}

// [U5] [U6]
static bool buffer_check_ranges(const struct buffer *buffer) {
    uint64_t from = 0;
    uint64_t offset, n;
    while (range_next_free(&buffer->space.range, from, &offset, &n)) {
        uint64_t slot = offset >> BUFFER_OFFSET_BITS;
        if (slot >= buffer->slot_count || buffer->arrays[slot].data == NULL ||
            (offset & BUFFER_PLACE_MASK) + n > buffer->arrays[slot].size_bytes ||
            share_has(&buffer->shares, offset, offset + n)) {
            return false;
        }
        from = offset + n;
    }
    return buffer->space.range.free_total + buffer->live_bytes == buffer->reserved_bytes;
}

// [U4]
static bool buffer_check_places(const struct buffer *buffer) {
    uint64_t reserved = 0;
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < buffer->slot_count; slot++) {
        const struct buffer_array *array = &buffer->arrays[slot];
        uint32_t at = array->data != NULL ? buffer_search(buffer, array->data) : 0;
        if (array->data != NULL && (at == buffer->array_count || buffer->places[at].slot != slot ||
                                    buffer->places[at].data != array->data ||
                                    buffer->places[at].end != array->data + array->size_bytes)) {
            return false;
        }
        count += array->data != NULL;
        reserved += array->data != NULL ? array->size_bytes : 0;
    }
    for (uint32_t at = 1; at < buffer->array_count; at++) {
        if ((uintptr_t)buffer->places[at].data < (uintptr_t)buffer->places[at - 1].end) {
            return false;
        }
    }
    return count == buffer->array_count && reserved == buffer->reserved_bytes;
}

bool buffer_validate(const struct buffer *buffer) {
    return buffer_check_ranges(buffer) && buffer_check_places(buffer) &&
           share_validate(&buffer->shares) && range_validate(&buffer->space.range);
}
