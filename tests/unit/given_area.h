// given_area.h - memory between canaries, and what is always true of an allocator in it.
#ifndef TESTS_UNIT_GIVEN_AREA_H
#define TESTS_UNIT_GIVEN_AREA_H

#include "heap/given.h"

#include "base/bits.h"
#include "base/config.h"
#include "unit.h"

#include <stdlib.h>

enum { UNIT_BYTES = 16, MARGIN_BYTES = 128, CANARY = 0xa5 };

CHECK_UNUSED static struct given_stats stats(const struct given *given) {
    struct given_stats now;
    given_read_stats(given, &now);
    UNIT_CHECK(now.live_bytes + now.free_bytes + now.own_bytes, ==, now.size_bytes);
    UNIT_CHECK(now.largest_bytes, <=, now.free_bytes);
    return now;
}

// Nothing is live and what is free is one run.
CHECK_UNUSED static void check_empty(const struct given *given) {
    struct given_stats now = stats(given);
    given_validate(given);
    UNIT_CHECK(now.live_blocks, ==, 0);
    UNIT_CHECK(now.live_bytes, ==, 0);
    UNIT_CHECK(now.largest_bytes, ==, now.free_bytes);
}

// Memory between canaries, in a block of its own for the sanitizer.
struct given_area {
    unsigned char *bytes, *memory;
    size_t size_bytes;
};

CHECK_UNUSED static struct given_area area_make(size_t offset, size_t size_bytes) {
    struct given_area area = {.size_bytes = size_bytes};
    area.bytes = malloc(2 * MARGIN_BYTES + size_bytes);
    assert_non_null(area.bytes);
    memset(area.bytes, CANARY, 2 * MARGIN_BYTES + size_bytes);
    area.memory = area.bytes + bits_round_up((uintptr_t)area.bytes, 64) - (uintptr_t)area.bytes;
    area.memory += 16 + offset;
    return area;
}

CHECK_UNUSED static void area_check(const struct given_area *area) {
    size_t before = (size_t)(area->memory - area->bytes);
    for (size_t i = 0; i < 2 * MARGIN_BYTES; i++) {
        UNIT_CHECK(area->bytes[i < before ? i : i + area->size_bytes], ==, CANARY);
    }
}

CHECK_UNUSED static void area_end(struct given_area *area) {
    area_check(area);
    free(area->bytes);
}

CHECK_UNUSED static void *take(struct given *given, size_t size_bytes) {
    return given_take(given, size_bytes, 1);
}

#endif
