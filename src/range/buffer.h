// buffer.h - slices cut out of arrays.                                     layer 7
//
//   arrays    | slot 0        |     | slot 1                |   ...
//   offsets   0               '     2^40                    '   2 * 2^40
//   range     all numbers that are no free byte of an array are in use
//
// One range allocator serves all arrays. It works on offsets, slot * 2^40 + place
// in the array: so the best fit is the best in all arrays, old arrays are
// filled first, and what is free in two arrays never merges. From an address to
// its array leads a table in order of addresses.
//
// Invariants (buffer_validate checks them, tests cite the tags):
//   [U4] places lists each array once, in order of addresses
//   [U5] a free range lies in one array; free + live = reserved
//   [U6] a byte with further references is in use
#ifndef ALLOT_RANGE_BUFFER_H
#define ALLOT_RANGE_BUFFER_H

#include "allot.h"
#include "range/range.h"
#include "range/share.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUFFER_OFFSET_BITS = 40, BUFFER_SLOTS_MAX = 1 << 22 };

// No array is larger: at least one number lies between any two.
#define BUFFER_ARRAY_MAX_BYTES (((size_t)1 << BUFFER_OFFSET_BITS) - 1)

struct buffer_array {
    char *data;  // NULL: the slot is not used
    size_t size_bytes;
    uint64_t idle_since_ms;  // when it was first seen untouched
    bool is_touched;         // something was freed in it since the last look
    bool is_purged;          // empty, and its pages went back
};

struct buffer_place {
    char *data, *end;
    uint32_t slot;
};

// Free ranges of offsets, with memory for them.
struct buffer_space {
    struct range range;
    struct tree_node *nodes;
};

struct buffer {
    struct buffer_space space;
    struct share_map shares;
    struct buffer_array *arrays;  // by slot
    struct buffer_place *places;  // by address
    uint32_t slot_count;          // slots below it may be used
    uint32_t slot_capacity;       // of both tables
    uint32_t array_count;
    uint32_t place_hint;  // where the last slice was found

    size_t first_bytes, array_max_bytes, limit_bytes, keep_bytes;  // as in the options
    uint64_t idle_ms;
    uint64_t next_look_ms;    // for idle arrays
    uint32_t frees_to_clock;  // frees until the clock is read again

    uint64_t reserved_bytes, live_bytes, peak_bytes;
    uint64_t malloc_count, free_count, malloc_bytes, free_bytes;  // totals
    uint64_t grow_count, drop_count, purge_bytes;                 // totals
};

// The options have no zeros left that mean a default. Returns 0 or ENOMEM.
int buffer_init(struct buffer *buffer, const struct allot_buffer_options *options);
void buffer_fini(struct buffer *buffer);

// `n` adjacent bytes, n > 0. NULL if there is no memory; nothing has changed.
void *buffer_take(struct buffer *buffer, size_t n);

// The best fit for `least` bytes, and as much of it as is wanted, at most `most`.
// Where nothing fits, `most` bytes of a further array. NULL as buffer_take.
void *buffer_take_some(struct buffer *buffer, size_t *got, size_t least, size_t most);

// The bytes that buffer_take would give. NULL if there is no memory.
void *buffer_peek(struct buffer *buffer, size_t n);

// Moves what was taken last, n bytes, to the best fit in a free range of less than `most`
// bytes, if there is one other than that behind them. Returns where they are.
void *buffer_settle(struct buffer *buffer, void *data, size_t n, size_t most);

// One reference less, or more, for each of the bytes. Returns 0; EINVAL if some
// byte is not in use, ENOMEM, EOVERFLOW: nothing has changed. A part of what was
// taken last can always be given.
int buffer_give(struct buffer *buffer, void *data, size_t n);
int buffer_retain(struct buffer *buffer, void *data, size_t n);

// Everything that was handed out is free. Returns 0; ENOMEM: nothing changed.
int buffer_recycle(struct buffer *buffer);

// Returns empty arrays, and the pages of free ranges in others. Returns bytes.
size_t buffer_trim(struct buffer *buffer);

// Calls visit for each free range, arrays in order of their age.
void buffer_walk(struct buffer *buffer, allot_buffer_visit visit, void *context);

// Whether all of the bytes, at least one, lie in one array, and their offset.
bool buffer_locate(struct buffer *buffer, uint64_t *offset, const char *data, size_t n);

void buffer_read_stats(const struct buffer *buffer, struct allot_buffer_stats *stats);

// Checks [U1] to [U6].
bool buffer_validate(const struct buffer *buffer);

#endif
