// fmt.h - text without stdio.                                              layer 0
//
// Writes into the caller's array, never allocates, never fails: what does not
// fit is cut, and the text always ends with a NUL.
#ifndef ALLOT_BASE_FMT_H
#define ALLOT_BASE_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fmt {
    char *text;
    size_t length;  // as if nothing had been cut
    size_t size_bytes;
};

void fmt_init(struct fmt *fmt, char *text, size_t size_bytes);
void fmt_text(struct fmt *fmt, const char *text);
void fmt_span(struct fmt *fmt, const char *text, size_t length);
void fmt_number(struct fmt *fmt, uint64_t number);
void fmt_hex(struct fmt *fmt, uint64_t number);  // with 0x

// The largest unit that divides it: 64KiB, 3MiB, 17B.
void fmt_bytes(struct fmt *fmt, uint64_t bytes);

// Three significant digits with a unit: 12.3 MiB. For people.
void fmt_bytes_short(struct fmt *fmt, uint64_t bytes);

// Bytes that were written, without the NUL.
size_t fmt_length(const struct fmt *fmt);

// The bytes of `text` before the first `end`, or all of them.
size_t fmt_length_until(const char *text, char end);

// Decimal digits at `text`. Advances it. False if there are none or the number
// does not fit.
bool fmt_parse_number(const char **text, uint64_t *number);

#endif
