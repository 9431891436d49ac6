// trace.h - by which calls a place in the code was reached.                layer 7
//
// The frame pointers of the calling thread's stack are followed, as far as they
// lie on it; code that keeps none ends the trace after the call itself. Nothing is
// unwound, locked or allocated, and nothing but the thread's own stack is read.
#ifndef ALLOT_GUARD_TRACE_H
#define ALLOT_GUARD_TRACE_H

#include "cache/cache.h"

#include <stdint.h>

enum { TRACE_FRAMES = 10 };

struct trace {
    uint32_t next;  // in its bucket
    uint32_t hash;
    uintptr_t returns[TRACE_FRAMES];  // return addresses, innermost first; 0: no more
};

// Makes the store of traces; once. Without memory for it there will be none.
void trace_init(void);

// What is known of the calling thread; NULL if there is no memory for it.
struct cache_watch *trace_watch(void);

// The number of the trace that begins in the function with this frame, FRAME_HERE.
// Equal ones are kept once, for good. 0: there is no memory.
uint32_t trace_take(const uintptr_t *frame);

// NULL for 0.
const struct trace *trace_at(uint32_t number);

#endif
