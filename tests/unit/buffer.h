// buffer.h - what the tests of buffers share.
#ifndef TESTS_UNIT_BUFFER_H
#define TESTS_UNIT_BUFFER_H

#include "allot.h"
#include "base/config.h"
#include "unit.h"

#include <errno.h>

CHECK_UNUSED static allot_buffer *buffer_make(size_t first_bytes, size_t array_max_bytes) {
    allot_buffer *buffer = allot_buffer_create(
        &(struct allot_buffer_options){.struct_size = sizeof(struct allot_buffer_options),
                                       .first_bytes = first_bytes,
                                       .array_max_bytes = array_max_bytes});
    assert_non_null(buffer);
    return buffer;
}

CHECK_UNUSED static struct allot_buffer_stats buffer_stats(allot_buffer *buffer) {
    struct allot_buffer_stats stats = {.size_bytes = sizeof(stats)};
    assert_true(allot_buffer_get_stats(buffer, &stats));
    return stats;
}

CHECK_UNUSED static struct allot_slice buffer_slice(allot_buffer *buffer, size_t size_bytes) {
    struct allot_slice slice = allot_buffer_malloc(buffer, size_bytes);
    assert_non_null(slice.data);
    UNIT_CHECK(slice.size_bytes, ==, size_bytes);
    return slice;
}

CHECK_UNUSED static struct allot_slice buffer_part(struct allot_slice slice, size_t at, size_t n) {
    return (struct allot_slice){(char *)slice.data + at, n};
}

CHECK_UNUSED static void buffer_free(allot_buffer *buffer, struct allot_slice slice) {
    errno = 0;
    assert_int_equal(allot_buffer_free(buffer, slice), 0);
    assert_int_equal(errno, 0);
}

/// Nothing is handed out, and each array is one free range.
CHECK_UNUSED static void buffer_check_empty(allot_buffer *buffer) {
    struct allot_buffer_stats stats = buffer_stats(buffer);
    UNIT_CHECK(stats.live_bytes, ==, 0);
    UNIT_CHECK(stats.free_bytes, ==, stats.reserved_bytes);
    UNIT_CHECK(stats.range_count, ==, stats.array_count);
    UNIT_CHECK(stats.shared_count, ==, 0);
    UNIT_CHECK(stats.malloc_bytes, ==, stats.freed_bytes);
    assert_true(allot_buffer_validate(buffer));
}

#endif
