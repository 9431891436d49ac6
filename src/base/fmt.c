// fmt.c - text without stdio.                                              layer 0
#include "base/fmt.h"

enum { FMT_DIGITS_MAX = 20 };

static const char *const fmt_units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
enum { FMT_UNIT_COUNT = sizeof fmt_units / sizeof fmt_units[0] };

void fmt_init(struct fmt *fmt, char *text, size_t size_bytes) {
    *fmt = (struct fmt){.text = text, .size_bytes = size_bytes};
    if (size_bytes > 0) {
        text[0] = 0;
    }
}

void fmt_span(struct fmt *fmt, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++, fmt->length++) {
        if (fmt->length + 1 < fmt->size_bytes) {
            fmt->text[fmt->length] = text[i];
            fmt->text[fmt->length + 1] = 0;
        }
    }
}

void fmt_text(struct fmt *fmt, const char *text) {
    size_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    fmt_span(fmt, text, length);
}

static void fmt_digits(struct fmt *fmt, uint64_t number, unsigned base) {
    char digits[FMT_DIGITS_MAX];
    size_t count = 0;
    do {
        digits[FMT_DIGITS_MAX - ++count] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    fmt_span(fmt, digits + FMT_DIGITS_MAX - count, count);
}

void fmt_number(struct fmt *fmt, uint64_t number) {
    fmt_digits(fmt, number, 10);
}

void fmt_hex(struct fmt *fmt, uint64_t number) {
    fmt_text(fmt, "0x");
    fmt_digits(fmt, number, 16);
}

void fmt_bytes(struct fmt *fmt, uint64_t bytes) {
    unsigned unit = 0;
    while (unit + 1 < FMT_UNIT_COUNT && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    fmt_number(fmt, bytes);
    fmt_text(fmt, fmt_units[unit]);
}

void fmt_bytes_short(struct fmt *fmt, uint64_t bytes) {
    unsigned unit = 0;
    uint64_t tenths = bytes * 10;
    while (unit + 1 < FMT_UNIT_COUNT && tenths >= 10240) {
        tenths = (tenths + 512) / 1024;
        unit++;
    }
    fmt_number(fmt, tenths / 10);
    if (unit > 0 && tenths < 1000) {
        fmt_text(fmt, ".");
        fmt_number(fmt, tenths % 10);
    }
    fmt_text(fmt, " ");
    fmt_text(fmt, fmt_units[unit]);
}

size_t fmt_length(const struct fmt *fmt) {
    return fmt->length < fmt->size_bytes ? fmt->length : fmt->size_bytes - 1;
}

size_t fmt_length_until(const char *text, char end) {
    size_t length = 0;
    while (text[length] != 0 && text[length] != end) {
        length++;
    }
    return length;
}

bool fmt_parse_number(const char **text, uint64_t *number) {
    const char *at = *text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) {
            return false;
        }
    }
    bool found = at != *text;
    *text = at;
    *number = value;
    return found;
}
