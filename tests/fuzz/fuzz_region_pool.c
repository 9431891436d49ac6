// fuzz_region_pool.c - a region pool against a map of its bytes, driven by bytes: for libFuzzer.
//
// The first byte chooses the size of the region. Then four bytes are an operation: kind, block,
// and a size or a place.
#include "range/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REGION_MAX_BYTES = 128 << 10, UNIT_BYTES = 16, BLOCKS = 256 };

static _Alignas(4096) unsigned char region[REGION_MAX_BYTES];
static bool is_owned[REGION_MAX_BYTES / UNIT_BYTES];
static struct {
    unsigned char *block;
    size_t usable_bytes;
} held[BLOCKS];
static uint64_t live_blocks, live_bytes;

#define DEMAND(condition)                                      \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "%d: %s\n", __LINE__, #condition); \
            abort();                                           \
        }                                                      \
    } while (0)

// All units of a block change hands.
static void own(size_t i, bool to_owned) {
    size_t first = (size_t)(held[i].block - region) / UNIT_BYTES;
    for (size_t unit = first; unit < first + held[i].usable_bytes / UNIT_BYTES; unit++) {
        DEMAND(is_owned[unit] != to_owned);
        is_owned[unit] = to_owned;
    }
    live_blocks += to_owned ? 1 : UINT64_MAX;
    live_bytes += to_owned ? held[i].usable_bytes : 0 - (uint64_t)held[i].usable_bytes;
}

static void take(allot_region_pool *pool, size_t i, size_t size_bytes) {
    held[i].block = allot_region_pool_malloc(pool, size_bytes);
    if (held[i].block != NULL) {
        held[i].usable_bytes = allot_region_pool_usable_size(pool, held[i].block);
        DEMAND(held[i].usable_bytes >= size_bytes);
        memset(held[i].block, (int)i, held[i].usable_bytes);
        own(i, true);
    }
}

static void give(allot_region_pool *pool, size_t i) {
    for (size_t k = 0; k < held[i].usable_bytes; k++) {
        DEMAND(held[i].block[k] == (unsigned char)i);
    }
    DEMAND(allot_region_pool_free(pool, held[i].block) == 0);
    own(i, false);
    held[i].block = NULL;
}

// Any place: refused, unless it is that of a block.
static void give_place(allot_region_pool *pool, size_t place) {
    unsigned char *address = region + place % REGION_MAX_BYTES;
    size_t i = 0;
    while (i < BLOCKS && held[i].block != address) {
        i++;
    }
    if (i < BLOCKS) {
        give(pool, i);
    } else {
        DEMAND(allot_region_pool_free(pool, address) == -1);
        DEMAND(errno == ERANGE || errno == EDOM || errno == EALREADY);
    }
}

static void check(allot_region_pool *pool) {
    struct allot_region_pool_stats stats = {.size_bytes = sizeof(stats)};
    DEMAND(allot_region_pool_stats(pool, &stats));
    DEMAND(stats.live_blocks == live_blocks && stats.live_bytes == live_bytes);
    DEMAND(allot_region_pool_validate(pool));
}

static void operate(allot_region_pool *pool, const uint8_t *data) {
    size_t i = data[1], number = (size_t)data[2] | (size_t)data[3] << 8;
    switch (data[0] % 8) {
    case 0: zone_rebuild((struct zone *)pool); break;
    case 1: give_place(pool, number * 2); break;
    case 2: check(pool); break;
    default:
        if (held[i].block != NULL) {
            give(pool, i);
        } else {
            take(pool, i, number >> data[0] / 8 % 16);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    memset(held, 0, sizeof(held));
    memset(is_owned, 0, sizeof(is_owned));
    live_blocks = live_bytes = 0;
    size_t region_bytes = size > 0 ? (size_t)(data[0] + 1) << 9 : 0;
    allot_region_pool *pool = allot_region_pool_create(region, region_bytes);
    if (pool == NULL) {
        DEMAND(errno == ENOMEM);
        return 0;
    }
    for (size_t i = 1; i + 4 <= size; i += 4) {
        operate(pool, data + i);
    }
    check(pool);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (held[i].block != NULL) {
            give(pool, i);
        }
    }
    check(pool);
    return 0;
}
