// report.h - what is wrong with a guarded block, and whose it is, in words.  layer 7
#ifndef ALLOT_GUARD_REPORT_H
#define ALLOT_GUARD_REPORT_H

#include "guard/pen.h"

#include <stdbool.h>
#include <stddef.h>

enum report_kind { REPORT_NONE, REPORT_BEFORE, REPORT_BEHIND, REPORT_AFTER_FREE };

// Bytes that nobody may have written, from the first to the last that was changed.
struct report_damage {
    enum report_kind kind;
    ptrdiff_t first, last;  // from the start of the block
};

// Each says it in one piece and counts it as a misuse. `guarded` may be a copy; its
// block may be NULL: nothing is known. `now` is a trace; 0: none.
void report_damage(const struct guarded *guarded, const struct report_damage *damage,
                   bool may_abort);
void report_pointer(const char *function, const void *address, const struct guarded *guarded,
                    uint32_t now);
void report_size(const struct guarded *guarded, size_t size_bytes, uint32_t now);

// Whose an address is: neither counted nor fatal. For signal handlers, too: false
// if another report is just being made.
bool report_address(const void *address, const struct guarded *guarded);

// In the child of a fork.
void report_repair(void);

#endif
