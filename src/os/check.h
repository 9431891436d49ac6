// check.h - how the process stops, and what it says then.                  layer 1
#ifndef ALLOT_OS_CHECK_H
#define ALLOT_OS_CHECK_H

#include "base/compiler.h"
#include "base/config.h"

#include <stddef.h>

enum { CHECK_LINE_BYTES = 256 };

// Writes one line to stderr.
void check_say(const char *line);

// Says it and ends the process by SIGABRT.
NORETURN COLD void check_abort(const char *line);

#define CHECK_STRING(x) #x
#define CHECK_LINE(x) CHECK_STRING(x)

// Our own invariants: checked in builds that validate, compiled in all.
#define ALLOT_ASSERT(condition)                                            \
    do {                                                                   \
        if (CONFIG_VALIDATE && UNLIKELY(!(condition))) {                   \
            check_abort("allot: internal error: " #condition " (" __FILE__ \
                        ":" CHECK_LINE(__LINE__) ")");                     \
        }                                                                  \
    } while (0)

#endif
