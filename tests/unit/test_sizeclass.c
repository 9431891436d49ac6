// test_sizeclass.c - every size through the size classes.
#include "slab/sizeclass.h"

#include "base/bits.h"
#include "slab/large.h"
#include "unit.h"

static const struct sizeclass *class_of(size_t size_bytes) {
    return &sizeclass_table[sizeclass_of(size_bytes)];
}

static void every_size_has_the_smallest_class_that_fits(void) {  // [C1]
    sizeclass_init();
    unsigned want = SIZECLASS_FIRST;
    for (size_t size = 0; size <= SIZECLASS_SPAN_MAX; size++) {
        want += sizeclass_table[want].size_bytes < size;
        UNIT_CHECK(sizeclass_of(size), ==, want);
        UNIT_CHECK(class_of(size)->size_bytes, >=, size);
    }
    UNIT_CHECK(want, ==, SIZECLASS_END - 1);
}

static void waste_is_bounded_at_every_size_to_1_mib(void) {
    sizeclass_init();
    for (size_t size = 129; size <= MIB; size++) {
        bool has_class = size <= SIZECLASS_SPAN_MAX;
        size_t waste = (has_class ? class_of(size)->size_bytes : large_good_size(size)) - size;
        if (size <= 8 * KIB || !has_class) {
            UNIT_CHECK(waste * 8, <=, size);  // 12.5 %
        } else if (size <= SIZECLASS_SLAB_MAX) {
            UNIT_CHECK(waste * 4, <, size);
        } else {
            UNIT_CHECK(waste, <, size / 4 + GRANULE_BYTES);
        }
    }
}

static void classes_grow_and_blocks_of_16_bytes_and_more_are_aligned_to_16(void) {
    sizeclass_init();
    UNIT_CHECK(sizeclass_table[SIZECLASS_FIRST].size_bytes, ==, 8);
    for (unsigned k = SIZECLASS_FIRST + 1; k < SIZECLASS_END; k++) {
        UNIT_CHECK(sizeclass_table[k].size_bytes, >, sizeclass_table[k - 1].size_bytes);
        UNIT_CHECK(sizeclass_table[k].size_bytes % 16, ==, 0);
        UNIT_CHECK(sizeclass_is_slab(k), ==, k < SIZECLASS_SPAN_FIRST);
        UNIT_CHECK(sizeclass_is_span(k), ==, k >= SIZECLASS_SPAN_FIRST);
    }
    for (unsigned k = 0; k < SIZECLASS_FIRST; k++) {
        assert_false(sizeclass_is_slab(k) || sizeclass_is_span(k));
    }
}

static void a_slab_holds_at_least_8_blocks_and_wastes_at_most_a_32nd(void) {
    sizeclass_init();
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_SPAN_FIRST; k++) {
        const struct sizeclass *class = &sizeclass_table[k];
        assert_true(bits_is_power(class->slab_bytes));  // [C2]
        UNIT_CHECK(class->granule_count << GRANULE_LOG2, ==, class->slab_bytes);
        UNIT_CHECK(class->block_count, ==, class->slab_bytes / class->size_bytes);
        UNIT_CHECK(class->block_count, >=, 8);
        size_t tail = class->slab_bytes % class->size_bytes;
        assert_true(tail * 32 <= class->slab_bytes || class->slab_bytes >= 64 * KIB);
        UNIT_CHECK(class->word_count, ==, (class->block_count + 63) / 64);
        unsigned in_last = class->block_count - (class->word_count - 1u) * 64;
        UNIT_CHECK(bits_count(class->last_word), ==, in_last);
        UNIT_CHECK(class->last_word & 1, ==, 1);
        UNIT_CHECK(class->listed_count, >=, 1);
        UNIT_CHECK(class->listed_count, <=, class->block_count);
    }
}

static void the_reciprocal_divides_every_offset_of_every_slab(void) {
    sizeclass_init();
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_SPAN_FIRST; k++) {
        const struct sizeclass *class = &sizeclass_table[k];
        for (uint64_t offset = 0; offset < class->slab_bytes; offset++) {
            UNIT_CHECK(offset * class->reciprocal >> 32, ==, offset / class->size_bytes);
        }
    }
}

static void a_span_class_holds_its_block_at_every_colour(void) {
    sizeclass_init();
    for (unsigned k = SIZECLASS_SPAN_FIRST; k < SIZECLASS_END; k++) {
        const struct sizeclass *class = &sizeclass_table[k];
        UNIT_CHECK((size_t) class->granule_count << GRANULE_LOG2, >=,
                   class->size_bytes + SIZECLASS_COLOUR_BYTES);
        UNIT_CHECK(sizeclass_span_granules(class->size_bytes), ==, class->granule_count);
        UNIT_CHECK(class->block_count, ==, 1);
    }
}

// The definition, class by class.
static unsigned search_aligned(size_t align, size_t size) {
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_SPAN_FIRST; k++) {
        size_t have = sizeclass_table[k].size_bytes;
        if (have >= size && have % align == 0) {
            return k;
        }
    }
    return 0;
}

static void every_alignment_and_size_has_the_smallest_aligned_class(void) {
    sizeclass_init();
    for (size_t align = 1; align <= GRANULE_BYTES; align *= 2) {
        for (size_t size = 0; size <= SIZECLASS_SLAB_MAX + 100; size++) {
            UNIT_CHECK(sizeclass_of_aligned(align, size), ==, search_aligned(align, size));
        }
    }
    UNIT_CHECK(sizeclass_of_aligned(2 * GRANULE_BYTES, 16), ==, 0);
}

static void stacks_have_slots_that_are_powers_of_two(void) {
    sizeclass_init();
    for (unsigned k = SIZECLASS_FIRST; k < SIZECLASS_END; k++) {
        const struct sizeclass *class = &sizeclass_table[k];
        assert_true(bits_is_power(class->slots_max) && bits_is_power(class->slots_first));
        UNIT_CHECK(class->slots_first, >=, 2);
        UNIT_CHECK(class->slots_first, <=, class->slots_max);
        assert_true(bits_is_power(class->refill_max));
        UNIT_CHECK(class->refill_max, <=, class->slots_max / 2);
        assert_true(class->refill_max == 1 ||
                    (size_t) class->refill_max * class->size_bytes <= 16 * KIB);
    }
}

static const struct unit_case cases[] = {
    UNIT(every_size_has_the_smallest_class_that_fits),
    UNIT(waste_is_bounded_at_every_size_to_1_mib),
    UNIT(classes_grow_and_blocks_of_16_bytes_and_more_are_aligned_to_16),
    UNIT(a_slab_holds_at_least_8_blocks_and_wastes_at_most_a_32nd),
    UNIT(the_reciprocal_divides_every_offset_of_every_slab),
    UNIT(a_span_class_holds_its_block_at_every_colour),
    UNIT(every_alignment_and_size_has_the_smallest_aligned_class),
    UNIT(stacks_have_slots_that_are_powers_of_two),
};
UNIT_MAIN(cases)
