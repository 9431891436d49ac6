// test_bits.c - powers of two and bit counts.
#include "base/bits.h"

#include "unit.h"

static void powers_of_two_are_recognised(void) {
    assert_false(bits_is_power(0));
    for (unsigned i = 0; i < 64; i++) {
        size_t power = (size_t)1 << i;
        assert_true(bits_is_power(power));
        assert_true(i < 1 || !bits_is_power(power | 1));
        assert_true(i < 2 || !bits_is_power(power - 1));
    }
}

static void rounding_meets_the_next_multiple(void) {
    for (size_t unit = 1; unit <= 64; unit *= 2) {
        for (size_t value = 0; value < 1000; value++) {
            size_t up = bits_round_up(value, unit);
            size_t down = bits_round_down(value, unit);
            UNIT_CHECK(up % unit, ==, 0);
            UNIT_CHECK(down % unit, ==, 0);
            UNIT_CHECK(up - value, <, unit);
            UNIT_CHECK(value - down, <, unit);
        }
    }
}

static void logarithm_and_lowest_bit_are_those_of_each_power(void) {
    for (unsigned i = 0; i < 64; i++) {
        uint64_t power = (uint64_t)1 << i;
        UNIT_CHECK(bits_log2(power), ==, i);
        UNIT_CHECK(bits_log2(power | (power - 1)), ==, i);
        UNIT_CHECK(bits_lowest(power), ==, i);
        UNIT_CHECK(bits_lowest(UINT64_MAX << i), ==, i);
    }
}

static unsigned count_one_by_one(uint64_t value) {
    unsigned count = 0;
    for (; value != 0; value >>= 1) {
        count += value & 1;
    }
    return count;
}

static void bits_are_counted(void) {
    struct check_random random = {check_seed()};
    UNIT_CHECK(bits_count(0), ==, 0);
    UNIT_CHECK(bits_count(UINT64_MAX), ==, 64);
    for (uint64_t value = 0; value < 65536; value++) {
        UNIT_CHECK(bits_count(value), ==, count_one_by_one(value));
    }
    for (int i = 0; i < 100000; i++) {
        uint64_t value = check_random_next(&random);
        UNIT_CHECK(bits_count(value), ==, count_one_by_one(value));
    }
}

static const struct unit_case cases[] = {
    UNIT(powers_of_two_are_recognised),
    UNIT(rounding_meets_the_next_multiple),
    UNIT(logarithm_and_lowest_bit_are_those_of_each_power),
    UNIT(bits_are_counted),
};
UNIT_MAIN(cases)
