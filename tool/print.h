// print.h - numbers as people read them, colours, messages, nearest names.
#ifndef TOOL_PRINT_H
#define TOOL_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum quantity { QUANTITY_NS, QUANTITY_BYTES, QUANTITY_COUNT };

// Small texts are returned by value: print_number(...).chars lives to the end
// of the expression that it stands in.
struct text {
    char chars[64];
};

// Three significant digits and a unit: "12.3 ms", "1.50 GiB", "1,234,567".
struct text print_number(enum quantity quantity, uint64_t value);

// "12.1 - 12.9", in the unit that print_number chooses for `middle`.
struct text print_range(enum quantity quantity, uint64_t middle, uint64_t low, uint64_t high);

enum style { STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD };

struct paper {
    FILE *file;
    bool has_colour;  // a terminal, and neither NO_COLOR nor TERM=dumb is set
};

// The paper for `path`, for stderr if it is "-" or NULL. file is NULL and
// errno set if it cannot be written.
struct paper print_open(const char *path, FILE *otherwise);

// 0, or -1 with errno where something could not be written.
int print_close(struct paper *paper);

// The codes that switch a style on and all styles off: "" without colour.
const char *print_on(const struct paper *paper, enum style style);
const char *print_off(const struct paper *paper);

// One line "allot: ..." on stderr.
void print_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

// "exit status 3", "signal 9 (Killed)".
struct text print_status(int wait_status);

// The status that a shell shows: the exit status, or 128 + signal.
int print_shell_status(int wait_status);

// A command line as an array of JSON strings.
json_t *print_json_words(char *const *words);

// Whichever of `names` needs the fewest edits to become `name`; NULL if that
// would be a guess. `names` ends with NULL.
const char *print_nearest(const char *name, const char *const *names);

#endif
