// test_fmt.c - text without stdio.
#include "base/fmt.h"

#include "unit.h"

#include <inttypes.h>

// What a function writes for one number.
static const char *written(void (*function)(struct fmt *, uint64_t), uint64_t number) {
    static char text[64];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    function(&fmt, number);
    UNIT_CHECK(fmt_length(&fmt), ==, strlen(text));
    return text;
}

static void numbers_are_written_as_printf_does(void) {
    struct check_random random = {check_seed()};
    char want[64];
    assert_string_equal(written(fmt_number, 0), "0");
    assert_string_equal(written(fmt_number, UINT64_MAX), "18446744073709551615");
    assert_string_equal(written(fmt_hex, 0), "0x0");
    assert_string_equal(written(fmt_hex, UINT64_MAX), "0xffffffffffffffff");
    for (int i = 0; i < 10000; i++) {
        uint64_t number = check_random_next(&random) >> i % 64;
        snprintf(want, sizeof want, "%" PRIu64, number);
        assert_string_equal(written(fmt_number, number), want);
        snprintf(want, sizeof want, "0x%" PRIx64, number);
        assert_string_equal(written(fmt_hex, number), want);
    }
}

static void bytes_have_the_largest_unit_that_divides_them(void) {
    assert_string_equal(written(fmt_bytes, 0), "0B");
    assert_string_equal(written(fmt_bytes, 17), "17B");
    assert_string_equal(written(fmt_bytes, 1023), "1023B");
    assert_string_equal(written(fmt_bytes, 1024), "1KiB");
    assert_string_equal(written(fmt_bytes, 1025), "1025B");
    assert_string_equal(written(fmt_bytes, 65536), "64KiB");
    assert_string_equal(written(fmt_bytes, 3145728), "3MiB");
    assert_string_equal(written(fmt_bytes, (uint64_t)5 << 30), "5GiB");
    assert_string_equal(written(fmt_bytes, (uint64_t)1 << 40), "1TiB");
    assert_string_equal(written(fmt_bytes, (uint64_t)1 << 50), "1024TiB");
}

static void short_bytes_have_three_digits(void) {
    assert_string_equal(written(fmt_bytes_short, 0), "0 B");
    assert_string_equal(written(fmt_bytes_short, 999), "999 B");
    assert_string_equal(written(fmt_bytes_short, 1023), "1023 B");
    assert_string_equal(written(fmt_bytes_short, 1024), "1.0 KiB");
    assert_string_equal(written(fmt_bytes_short, 1536), "1.5 KiB");
    assert_string_equal(written(fmt_bytes_short, 12902000), "12.3 MiB");
    assert_string_equal(written(fmt_bytes_short, 200 << 20), "200 MiB");
    assert_string_equal(written(fmt_bytes_short, (uint64_t)3 << 30), "3.0 GiB");
}

static void what_does_not_fit_is_cut(void) {
    char text[8] = "XXXXXXX";
    struct fmt fmt;
    fmt_init(&fmt, text, 5);
    assert_string_equal(text, "");
    fmt_text(&fmt, "abc");
    assert_string_equal(text, "abc");
    fmt_text(&fmt, "def");
    assert_string_equal(text, "abcd");
    UNIT_CHECK(fmt.length, ==, 6);
    UNIT_CHECK(fmt_length(&fmt), ==, 4);
    fmt_number(&fmt, 123);
    assert_string_equal(text, "abcd");
    UNIT_CHECK(text[5], ==, 'X');
}

static void a_span_may_be_part_of_a_text(void) {
    char text[16];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    fmt_span(&fmt, "abcdef", 3);
    fmt_span(&fmt, "", 0);
    fmt_text(&fmt, "-");
    assert_string_equal(text, "abc-");
}

static bool parse(const char *text, uint64_t *number, size_t *used) {
    const char *at = text;
    bool found = fmt_parse_number(&at, number);
    *used = (size_t)(at - text);
    return found;
}

static void numbers_are_read_up_to_the_first_other_sign(void) {
    uint64_t number;
    size_t used;
    assert_true(parse("0", &number, &used) && number == 0 && used == 1);
    assert_true(parse("007KiB", &number, &used) && number == 7 && used == 3);
    assert_true(parse("18446744073709551615", &number, &used) && number == UINT64_MAX);
    assert_false(parse("18446744073709551616", &number, &used));
    assert_false(parse("99999999999999999999999", &number, &used));
    assert_false(parse("", &number, &used));
    assert_false(parse("-1", &number, &used));
    assert_false(parse("KiB", &number, &used));
}

static const struct unit_case cases[] = {
    UNIT(numbers_are_written_as_printf_does), UNIT(bytes_have_the_largest_unit_that_divides_them),
    UNIT(short_bytes_have_three_digits),      UNIT(what_does_not_fit_is_cut),
    UNIT(a_span_may_be_part_of_a_text),       UNIT(numbers_are_read_up_to_the_first_other_sign),
};
UNIT_MAIN(cases)
