// bits.h - powers of two and bit counts.                                   layer 0
#ifndef ALLOT_BASE_BITS_H
#define ALLOT_BASE_BITS_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static ALWAYS_INLINE bool bits_is_power(size_t value) {
    return value != 0 && (value & (value - 1)) == 0;
}

// `unit` is a power of two. The caller excludes overflow.
static ALWAYS_INLINE size_t bits_round_up(size_t value, size_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

static ALWAYS_INLINE size_t bits_round_down(size_t value, size_t unit) {
    return value & ~(unit - 1);
}

// Floor of log2; `value` is not 0.
static ALWAYS_INLINE unsigned bits_log2(uint64_t value) {
    return 63u - (unsigned)__builtin_clzll(value);
}

// Index of the lowest bit that is set; `value` is not 0.
static ALWAYS_INLINE unsigned bits_lowest(uint64_t value) {
    return (unsigned)__builtin_ctzll(value);
}

// Baseline x86-64 has no instruction for it: sums of 2, 4, 8 bits, then all.
static ALWAYS_INLINE unsigned bits_count(uint64_t value) {
    value -= (value >> 1) & 0x5555555555555555u;
    value = (value & 0x3333333333333333u) + ((value >> 2) & 0x3333333333333333u);
    value = (value + (value >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (unsigned)((value * 0x0101010101010101u) >> 56);
}

#endif
