// options.h - names and texts to settings.                                 layer 7
#ifndef ALLOT_API_OPTIONS_H
#define ALLOT_API_OPTIONS_H

#include "page/region.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum options_misuse { OPTIONS_MISUSE_ABORT, OPTIONS_MISUSE_WARN, OPTIONS_MISUSE_IGNORE };

enum { OPTIONS_TEXT_BYTES = 256 };
#define OPTIONS_NEVER UINT64_MAX

// One field per line of options.def. Times in ns, sizes in bytes, choices by
// their place in the list of values.
struct options {
    uint64_t purge_delay, dirty_limit, thread_cache, total_cache, reserve;
    uint64_t thp, hugetlb, background, misuse, verbose;
    char stats[OPTIONS_TEXT_BYTES], guard[OPTIONS_TEXT_BYTES], leaks[OPTIONS_TEXT_BYTES];
    char tag[OPTIONS_TEXT_BYTES], leaks_quiet[OPTIONS_TEXT_BYTES];
};
extern struct options options_state;

// One block in so many is to be guarded; 0: none, OPTIONS_GUARD_ALL: every one,
// OPTIONS_GUARD_TAG: those of tags, whose names options_guard_tags tells.
#define OPTIONS_GUARD_ALL UINT64_MAX
#define OPTIONS_GUARD_TAG (UINT64_MAX - 1)
uint64_t options_guard_every(void);
const char *options_guard_tags(void);

// Reads the defaults, then what the program was linked with, then the
// environment. What is wrong is kept for options_complain. Only the first call
// does anything.
void options_init(void);

// Says what options_init found wrong, and with verbose=on what is in force.
void options_complain(void);

#endif
