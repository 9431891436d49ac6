// test_heap_sizes.c - first-class heaps: resizing, freeing by size, and the peak.
#include "heap/heap.h"

#include "allot.h"
#include "unit.h"

enum { BLOCKS_MAX = 4000 };

static struct allot_heap_options plain(void) {
    return (struct allot_heap_options){.size_bytes = sizeof(struct allot_heap_options)};
}

static allot_heap *create(const struct allot_heap_options *options) {
    allot_heap *heap = allot_heap_create(options);
    assert_non_null(heap);
    return heap;
}

static struct allot_heap_stats stats_of(const allot_heap *heap) {
    struct allot_heap_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_heap_stats(heap, &stats));
    return stats;
}

static uint64_t live(const allot_heap *heap) {
    return stats_of(heap).live_bytes;
}

static void the_peak_is_exact_after_every_call(void) {
    void *block[256] = {0};
    size_t most = 0;
    struct allot_heap_options options = plain();
    for (int round = 0; round < 2; round++) {
        options.limit_bytes = round == 0 ? 0 : 40000;
        allot_heap *heap = create(&options);
        most = 0;
        for (unsigned i = 0; i < 20000; i++) {
            unsigned at = i * 7919 % 256;
            if (block[at] != NULL) {
                allot_heap_free(heap, block[at]);
                block[at] = NULL;
            } else if (i / 2000 % 2 == 0) {
                block[at] = allot_heap_malloc(heap, 1 + i % 700);
            }
            most = live(heap) > most ? live(heap) : most;
            UNIT_CHECK(stats_of(heap).peak_bytes, ==, most);
        }
        memset((void *)block, 0, sizeof block);
        UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    }
}

static void a_resized_block_can_be_freed_by_its_new_size(void) {
    struct allot_heap_options options = plain();
    allot_heap *heap = create(&options);
    for (size_t from = 1; from <= 2100; from += 13) {
        for (size_t to = 1; to <= 2100; to += 17) {
            bool knows = (from + to) % 2 == 0;
            char *block = allot_heap_malloc(heap, from);
            size_t kept = from < to ? from : to;
            memset(block, 0x6b, from);
            block = knows ? allot_heap_realloc_sized(heap, block, from, to)
                          : allot_heap_realloc(heap, block, to);
            assert_non_null(block);
            UNIT_CHECK(block[0], ==, 0x6b);
            UNIT_CHECK(block[kept - 1], ==, 0x6b);
            memset(block, 0x5a, to);
            UNIT_CHECK(live(heap), ==, allot_usable_size(block));
            allot_heap_free_sized(heap, block, to);
            UNIT_CHECK(live(heap), ==, 0);
        }
    }
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void a_block_that_had_to_stay_larger_is_freed_by_its_size(void) {
    static void *block[BLOCKS_MAX];
    struct allot_heap_options options = plain();
    options.reserve_bytes = options.limit_bytes = 64 * KIB;
    options.refuse_overflow = true;
    allot_heap *heap = create(&options);
    size_t count = 0;
    while ((block[count] = allot_heap_malloc(heap, 1024)) != NULL) {
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        block[i] = allot_heap_realloc_sized(heap, block[i], 1024, 48);
        assert_non_null(block[i]);
    }
    for (size_t i = 0; i < count; i++) {
        allot_heap_free_sized(heap, block[i], 48);
    }
    UNIT_CHECK(live(heap), ==, 0);
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

// Each size comes from the smallest class that holds it; what no class holds is large.
static void check_every_size(const size_t *classes, size_t count) {
    struct allot_heap_options options = plain();
    options.classes = classes;
    options.class_count = count;
    allot_heap *heap = create(&options);
    size_t at = 0;
    for (size_t size = 1; size <= 33 * KIB; size++) {
        at += at < count && classes[at] < size;
        char *block = allot_heap_malloc(heap, size);
        assert_non_null(block);
        if (at < count) {
            UNIT_CHECK(live(heap), ==, classes[at]);
        }
        UNIT_CHECK(live(heap), >=, size);
        UNIT_CHECK(live(heap), ==, allot_usable_size(block));
        allot_heap_free_sized(heap, block, size);
        UNIT_CHECK(live(heap), ==, 0);
    }
    heap_validate(heap);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void of_ones_own_classes_the_smallest_that_fits_is_taken(void) {
    static const size_t few[] = {48, 1040, 1056, 1152, 1168, 3008, 32752};
    static const size_t one[] = {16};
    static const size_t last[] = {32768};
    size_t many[ALLOT_HEAP_CLASSES_MAX];
    for (size_t i = 0; i < ALLOT_HEAP_CLASSES_MAX; i++) {
        many[i] = (i + 1) * 496;
    }
    check_every_size(few, sizeof few / sizeof *few);
    check_every_size(one, 1);
    check_every_size(last, 1);
    check_every_size(many, ALLOT_HEAP_CLASSES_MAX);
}

static void an_alignment_that_no_class_has_makes_a_block_large(void) {
    static const size_t classes[] = {48, 96, 2064};
    struct allot_heap_options options = plain();
    options.classes = classes;
    for (size_t count = 1; count <= 3; count++) {
        options.class_count = count;
        allot_heap *heap = create(&options);
        for (size_t align = 1; align <= 32 * KIB; align *= 2) {
            for (size_t size = 1; size <= 40 * KIB; size = size * 3 / 2 + 1) {
                char *block = allot_heap_aligned(heap, align, size);
                assert_non_null(block);
                UNIT_CHECK((uintptr_t)block % align, ==, 0);
                UNIT_CHECK(allot_usable_size(block), >=, size);
                allot_heap_free(heap, block);
                UNIT_CHECK(live(heap), ==, 0);
            }
        }
        heap_validate(heap);
        UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
    }
}

static void growth_counts_the_new_size_instead_of_the_old_one(void) {
    struct allot_heap_options options = plain();
    options.limit_bytes = 100 * KIB;
    allot_heap *heap = create(&options);
    void *block = allot_heap_malloc(heap, 60 * KIB);
    block = allot_heap_realloc(heap, block, 100 * KIB);
    assert_non_null(block);
    UNIT_CHECK(live(heap), ==, 100 * KIB);
    assert_null(allot_heap_realloc(heap, block, 100 * KIB + 1));
    UNIT_CHECK(live(heap), ==, 100 * KIB);
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static void making_a_block_smaller_never_fails(void) {
    struct allot_heap_options options = plain();
    options.reserve_bytes = options.limit_bytes = 64 * KIB;
    options.refuse_overflow = true;
    allot_heap *heap = create(&options);
    char *block = allot_heap_malloc(heap, 48 * KIB);
    memset(block, 7, 48 * KIB);
    while (allot_heap_malloc(heap, 16) != NULL) {
    }
    for (size_t size = 40 * KIB; size > 0; size /= 3) {
        block = allot_heap_realloc(heap, block, size);
        assert_non_null(block);
        UNIT_CHECK(block[size - 1], ==, 7);
    }
    UNIT_CHECK(allot_heap_destroy(heap), ==, 0);
}

static const struct unit_case cases[] = {
    UNIT(the_peak_is_exact_after_every_call),
    UNIT(a_resized_block_can_be_freed_by_its_new_size),
    UNIT(a_block_that_had_to_stay_larger_is_freed_by_its_size),
    UNIT(of_ones_own_classes_the_smallest_that_fits_is_taken),
    UNIT(an_alignment_that_no_class_has_makes_a_block_large),
    UNIT(growth_counts_the_new_size_instead_of_the_old_one),
    UNIT(making_a_block_smaller_never_fails),
};

int main(int argc, char **argv) {
    return unit_main(cases, sizeof cases / sizeof cases[0], argc, argv);
}
