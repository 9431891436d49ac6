// pattern.h - what a block is filled with: a text derived of its address, its size and its owner,
// so that bytes of another block, another time or another thread are recognised.
#ifndef TESTS_STRESS_PATTERN_H
#define TESTS_STRESS_PATTERN_H

#include "../support/check.h"

#define PATTERN_WHOLE_BYTES 1024  // larger blocks are written at both ends and once a page

struct pattern_block {
    unsigned char *bytes;
    size_t size;
    uint64_t owner;
};

CHECK_UNUSED static uint64_t pattern_key(const void *bytes, size_t size, uint64_t owner) {
    return check_mix((uintptr_t)bytes ^ check_mix(size + (owner << 40)));
}

CHECK_UNUSED static unsigned char pattern_byte(uint64_t key, size_t position) {
    return (unsigned char)((key >> (position % 8 * 8)) + position / 8);
}

/// The position after `position` that is written and checked.
CHECK_UNUSED static size_t pattern_next(size_t position, size_t size) {
    bool is_inside =
        position >= PATTERN_WHOLE_BYTES / 2 && position + PATTERN_WHOLE_BYTES / 2 < size;
    size_t next = is_inside ? position + 4093 : position + 1;
    return is_inside && next + PATTERN_WHOLE_BYTES / 2 > size ? size - PATTERN_WHOLE_BYTES / 2
                                                              : next;
}

CHECK_UNUSED static void pattern_fill(const struct pattern_block *block) {
    uint64_t key = pattern_key(block->bytes, block->size, block->owner);
    for (size_t i = 0; i < block->size; i = pattern_next(i, block->size)) {
        block->bytes[i] = pattern_byte(key, i);
    }
}

/// The bytes at the block's present address are the first `size` of those that were written when
/// it stood at `written_at` with `written_size`.
CHECK_UNUSED static void pattern_check_moved(const struct pattern_block *block, size_t size,
                                             const void *written_at, size_t written_size) {
    uint64_t key = pattern_key(written_at, written_size, block->owner);
    for (size_t i = 0; i < size; i = pattern_next(i, written_size)) {
        if (block->bytes[i] != pattern_byte(key, i)) {
            CHECK_FAIL("byte %zu of the block of %zu bytes at %p (owner %" PRIu64
                       ") is 0x%02x, not 0x%02x",
                       i, written_size, (void *)block->bytes, block->owner, block->bytes[i],
                       pattern_byte(key, i));
        }
    }
}

CHECK_UNUSED static void pattern_check(const struct pattern_block *block) {
    pattern_check_moved(block, block->size, block->bytes, block->size);
}

#endif
