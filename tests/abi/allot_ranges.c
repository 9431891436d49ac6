// allot_ranges.c - ranges as the library has them, compiled as one file: the fuzz target with
// inputs that are drawn.
#include "../support/check.h"

#include <allot.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_BYTES = 4001 };

static void ranges_do_what_a_bitmap_does(void) {
    static uint8_t input[INPUT_BYTES];
    struct check_random random = {check_seed()};
    int count = check_is_long() ? 10000 : 300;
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < INPUT_BYTES; at++) {
            input[at] = (uint8_t)check_random_next(&random);
        }
        input[0] &= i % 3 == 0 ? 0xff : 0x07;  // two of three on the heap
        uint8_t length_mask = (uint8_t)(0xff >> check_random_below(&random, 8));
        for (size_t at = 4; at < INPUT_BYTES; at += 4) {
            input[at] &= length_mask;
        }
        CHECK_INT(LLVMFuzzerTestOneInput(input, INPUT_BYTES), ==, 0);
    }
}

// Many free ranges: the array of nodes moves, at first by copying, then by its pages.
static void very_many_free_ranges_are_all_found_again(void) {
    enum { COUNT = CHECK_TSAN ? 100000 : 1000000 };
    allot_range *range = allot_range_create(&(struct allot_range_options){
        .struct_size = sizeof(struct allot_range_options), .size = (uint64_t)COUNT * 10});
    CHECK(range != NULL);
    CHECK_UINT(allot_range_alloc(range, (uint64_t)COUNT * 10, 1), ==, 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_INT(allot_range_free(range, i * 7919 % COUNT * 10, 1 + i % 5), ==, 0);
    }
    CHECK_UINT(allot_range_count(range), ==, COUNT);
    CHECK(allot_range_validate(range));
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t at = i * 10 + 1 + allot_range_size(range) % 5;
        while (allot_range_free(range, at, 10 * (i + 1) - at) != 0 && at < 10 * (i + 1)) {
            at++;
        }
    }
    CHECK_UINT(allot_range_count(range), ==, 1);
    CHECK_UINT(allot_range_largest(range), ==, (uint64_t)COUNT * 10);
    allot_range_destroy(range);
}

static const struct check_case cases[] = {
    CHECK_CASE(ranges_do_what_a_bitmap_does),
    CHECK_CASE(very_many_free_ranges_are_all_found_again),
};
CHECK_MAIN(cases)
