// trace.h - by which calls a place in the code was reached.                layer 7
//
// The frame pointers of the calling thread's stack are followed, as far as they
// lie on it; code that keeps none ends the trace after the call itself. Nothing is
// unwound, locked or allocated, and nothing but the thread's own stack is read.
#ifndef ALLOT_GUARD_TRACE_H
#define ALLOT_GUARD_TRACE_H

#include <stdint.h>

enum { TRACE_FRAMES = 10 };

struct trace {
    uintptr_t returns[TRACE_FRAMES];  // return addresses, innermost first; 0: no more
};

// What is known of the calling thread; NULL if there is no memory for it.
struct cache_watch *trace_watch(void);

// `frame` is the FRAME_HERE of the caller.
void trace_take(struct trace *trace, const uintptr_t *frame);

#endif
