// sizeclass.c - the tables of size classes.                                layer 3
#include "slab/sizeclass.h"

#include "base/bits.h"
#include "os/check.h"

enum {
    SIZECLASS_BLOCKS_MIN = 8,
    // A full slab is listed again when this part of it is free.
    SIZECLASS_LISTED_SHARE = 8,
    SIZECLASS_SLOTS_MAX = CONFIG_TINY ? 8 : 128,
    SIZECLASS_SLOTS_MIN = 4,
    SIZECLASS_SLOTS_FIRST = CONFIG_TINY ? 4 : 8,
    SIZECLASS_FIRST_BYTES = 2048,
    SIZECLASS_CACHE_BYTES = 262144,  // of one class in one thread
    SIZECLASS_REFILL_BYTES = 16384,
};

struct sizeclass sizeclass_table[SIZECLASS_TWINS_END];
uint8_t sizeclass_direct[SIZECLASS_DIRECT_MAX + 1];
uint8_t sizeclass_stepped[(SIZECLASS_SLAB_MAX >> SIZECLASS_STEP_LOG2) + 1];
uint8_t sizeclass_granules[SIZECLASS_SPAN_GRANULES_MAX + 1];

static size_t sizeclass_next_size(size_t size) {
    if (size < 16) {
        return size + 8;
    }
    if (size < 128) {
        return size + 16;
    }
    size_t power = (size_t)1 << bits_log2(size);
    return size + (size < 8 * KIB ? power / 8 : power / 4);
}

static size_t sizeclass_next_granules(size_t count) {
    size_t power = (size_t)1 << bits_log2(count);
    return count < 4 ? count + 1 : count + power / 4;
}

// The smallest power of two that holds enough blocks and wastes at most 1/32
// at its end, but at most 64 KiB for that.
static size_t sizeclass_slab_bytes(size_t size) {
    size_t slab = GRANULE_BYTES;
    while (slab / size < SIZECLASS_BLOCKS_MIN || (slab % size * 32 > slab && slab < 64 * KIB)) {
        slab *= 2;
    }
    return slab;
}

static void sizeclass_set_slots(struct sizeclass *class) {
    size_t slots = SIZECLASS_SLOTS_MIN;
    while (slots < SIZECLASS_SLOTS_MAX && slots * class->size_bytes < SIZECLASS_CACHE_BYTES) {
        slots *= 2;
    }
    size_t first = slots;
    while (first > 2 &&
           (first > SIZECLASS_SLOTS_FIRST || first * class->size_bytes > SIZECLASS_FIRST_BYTES)) {
        first /= 2;
    }
    class->slots_max = (uint16_t)slots;
    class->slots_first = (uint16_t)first;
    size_t refill = slots / 2;
    while (refill > 1 && refill * class->size_bytes > SIZECLASS_REFILL_BYTES) {
        refill /= 2;
    }
    class->refill_max = (uint16_t)refill;
}

void sizeclass_set_slab(struct sizeclass *class, size_t size) {
    size_t slab = sizeclass_slab_bytes(size);
    size_t blocks = slab / size;
    class->size_bytes = (uint32_t)size;
    class->reciprocal = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
    class->slab_bytes = (uint32_t)slab;
    class->granule_count = (uint32_t)(slab >> GRANULE_LOG2);
    class->block_count = (uint32_t)blocks;
    class->word_count = (uint16_t)((blocks + 63) / 64);
    class->last_word = blocks % 64 != 0 ? ((uint64_t)1 << blocks % 64) - 1 : UINT64_MAX;
    size_t listed = blocks / SIZECLASS_LISTED_SHARE;
    class->listed_count = (uint16_t)(listed > 0 ? listed : 1);
    sizeclass_set_slots(class);
}

static void sizeclass_set_span(struct sizeclass *class, size_t granules) {
    class->granule_count = (uint32_t)granules;
    class->size_bytes = (uint32_t)((granules << GRANULE_LOG2) - SIZECLASS_COLOUR_BYTES);
    class->block_count = 1;
    class->slots_max = granules <= 8 ? 4 : 2;
    class->slots_first = 2;
    class->refill_max = 1;
}

void sizeclass_init(void) {
    size_t size = 0;
    size_t direct = 0;
    size_t stepped = 0;
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_SPAN_FIRST; k++) {
        size = sizeclass_next_size(size);
        sizeclass_set_slab(&sizeclass_table[k], size);
        sizeclass_table[k + SIZECLASS_TWIN] = sizeclass_table[k];
        for (; direct <= size && direct <= SIZECLASS_DIRECT_MAX; direct++) {
            sizeclass_direct[direct] = (uint8_t)k;
        }
        for (; stepped << SIZECLASS_STEP_LOG2 <= size; stepped++) {
            sizeclass_stepped[stepped] = (uint8_t)k;
        }
    }
    ALLOT_ASSERT(size == SIZECLASS_SLAB_MAX);
    size_t granules = 2;
    size_t filled = 0;
    for (unsigned k = SIZECLASS_SPAN_FIRST; k < SIZECLASS_END; k++) {
        granules = sizeclass_next_granules(granules);
        sizeclass_set_span(&sizeclass_table[k], granules);
        for (; filled <= granules; filled++) {
            sizeclass_granules[filled] = (uint8_t)k;
        }
    }
    ALLOT_ASSERT(granules == SIZECLASS_SPAN_GRANULES_MAX);
}

unsigned sizeclass_of_aligned(size_t align_bytes, size_t size_bytes) {
    if (align_bytes > GRANULE_BYTES || size_bytes > SIZECLASS_SLAB_MAX) {
        return 0;
    }
    size_t size = bits_round_up(size_bytes > 0 ? size_bytes : 1, align_bytes);
    unsigned kind = size <= SIZECLASS_SLAB_MAX ? sizeclass_of(size) : SIZECLASS_SPAN_FIRST;
    while (kind < SIZECLASS_SPAN_FIRST &&
           (sizeclass_table[kind].size_bytes & (align_bytes - 1)) != 0) {
        kind++;
    }
    return kind < SIZECLASS_SPAN_FIRST ? kind : 0;
}
