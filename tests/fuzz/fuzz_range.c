// fuzz_range.c - a range against a bitmap, driven by bytes: for libFuzzer.
//
// The first byte chooses granularity and memory (given, and how little of it). Then
// four bytes are an operation: kind, place, place, length.
#include "allot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 512 };

static bool is_used[PLACES];
static unsigned char given[16 * 1024];

#define DEMAND(condition)                                      \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
            abort();                                           \
        }                                                      \
    } while (0)

static uint64_t count_used(uint64_t at, uint64_t n) {
    uint64_t count = 0;
    for (uint64_t i = at; i < at + n; i++) {
        count += is_used[i];
    }
    return count;
}

// The size of the smallest run of free places that holds n; 0 if none does.
static uint64_t best_fit(uint64_t n, uint64_t *at) {
    uint64_t best = 0, length = 0;
    for (uint64_t i = 0; i <= PLACES; i++) {
        if (i < PLACES && !is_used[i]) {
            length++;
            continue;
        }
        if (length >= n && (best == 0 || length < best)) {
            best = length;
            *at = i - length;
        }
        length = 0;
    }
    return best;
}

static void take(allot_range *range, uint64_t n, unsigned log2) {
    uint64_t want = 0, best = n > 0 ? best_fit(n, &want) : 0;
    errno = 0;
    uint64_t offset = allot_range_alloc(range, n << log2, 1);
    if (offset == ALLOT_RANGE_NONE) {
        DEMAND(errno == (n == 0 ? EINVAL : best == 0 ? ENOSPC : ENOMEM));
    } else {
        DEMAND(best > 0 && offset == want << log2);
        memset(&is_used[want], true, n);
    }
}

static void change(allot_range *range, bool to_used, uint64_t at, uint64_t n, unsigned log2) {
    errno = 0;
    int result = to_used ? allot_range_alloc_at(range, at << log2, n << log2)
                         : allot_range_free(range, at << log2, n << log2);
    bool is_inside = at + n <= PLACES;
    uint64_t used = is_inside ? count_used(at, n) : 0;
    bool may = n > 0 && is_inside && used == (to_used ? 0 : n);
    DEMAND(may ? result == 0 || errno == ENOMEM : result == -1 && errno != ENOMEM);
    if (result == 0) {
        memset(&is_used[at], to_used, n);
    }
}

static void check(const allot_range *range, unsigned log2) {
    DEMAND(allot_range_validate(range));
    DEMAND(allot_range_free_bytes(range) >> log2 == PLACES - count_used(0, PLACES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    unsigned log2 = data[0] & 7;
    struct allot_range_options options = {.struct_size = sizeof(options),
                                          .size = (uint64_t)PLACES << log2,
                                          .granularity = (uint64_t)1 << log2,
                                          .memory = data[0] & 8 ? given : NULL,
                                          .memory_size = (size_t)(1 + (data[0] >> 4)) * 1024};
    allot_range *range = allot_range_create(&options);
    if (range == NULL) {
        DEMAND(errno == ENOMEM);
        return 0;
    }
    memset(is_used, false, sizeof(is_used));
    for (size_t i = 1; i + 4 <= size; i += 4) {
        uint64_t at = (uint64_t)(data[i + 1] | (data[i + 2] & 3) << 8), n = data[i + 3];
        switch (data[i] % 4) {
        case 0: take(range, n, log2); break;
        case 1: change(range, true, at, n, log2); break;
        default: change(range, false, at, n >> (data[i] / 4 % 8), log2); break;
        }
        if (i % 64 == 1) {
            check(range, log2);
        }
    }
    check(range, log2);
    allot_range_destroy(range);
    return 0;
}
