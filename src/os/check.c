// check.c - how the process stops.                                         layer 1
#include "os/check.h"

#include "base/fmt.h"
#include "os/os.h"

#include <stdlib.h>

enum { CHECK_STDERR = 2 };

void check_say(const char *line) {
    char text[CHECK_LINE_BYTES];
    struct fmt fmt;
    fmt_init(&fmt, text, sizeof text);
    fmt_text(&fmt, line);
    fmt_text(&fmt, "\n");
    os_write(CHECK_STDERR, text, fmt_length(&fmt));
}

void check_abort(const char *line) {
    check_say(line);
    abort();
}
