// trace.c - by which calls a place in the code was reached.                layer 7
#include "guard/trace.h"

#include "base/config.h"
#include "guard/maps.h"
#include "heap/registry.h"
#include "os/frame.h"
#include "page/region.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { TRACE_LOOKS_MAX = 32 };  // of one thread at the list of mappings

// The kernel lets nothing else grow into the room below the first thread's stack.
#define TRACE_FIRST_STACK_BYTES (128 * MIB)

struct cache_watch *trace_watch(void) {
    struct cache *cache = registry_find();
    if (cache != NULL && cache->watch == NULL) {
        cache->watch = region_take_meta(sizeof *cache->watch);
    }
    return cache != NULL ? cache->watch : NULL;
}

// Finds the mapping around `frame`. Up to the thread's control block, which its C
// library puts above its stack, or to the end of the first thread's, all of it is
// there as long as the thread is. Another stack, as coroutines have, may go.
static void trace_look(struct cache_watch *watch, uintptr_t frame) {
    struct maps_place place;
    watch->stack_looks++;
    if (!maps_find(&place, frame)) {
        return;
    }
    uintptr_t thread = (uintptr_t)pthread_self();
    bool is_first = strcmp(place.path, "[stack]") == 0;
    bool is_own = thread > frame && thread < place.high;
    watch->stack_low = is_first ? place.high - TRACE_FIRST_STACK_BYTES : place.low;
    watch->stack_high = is_own ? thread : place.high;
    watch->is_stack_sure = is_first || is_own;
}

static bool trace_knows(const struct cache_watch *watch, uintptr_t frame) {
    return frame >= watch->stack_low && frame < watch->stack_high;
}

// The end of what can be read from `frame` on.
static uintptr_t trace_end(uintptr_t frame) {
    struct cache_watch *watch = trace_watch();
    if (watch == NULL) {
        return frame;
    }
    if (!trace_knows(watch, frame) && watch->stack_looks < TRACE_LOOKS_MAX) {
        trace_look(watch, frame);
    }
    return watch->is_stack_sure && trace_knows(watch, frame) ? watch->stack_high : frame;
}

void trace_take(struct trace *trace, const uintptr_t *frame) {
    // The caller's own frame can be read in any case.
    uintptr_t end = trace_end((uintptr_t)frame);
    unsigned count = 0;
    while (FRAME_IS_KNOWN && count < TRACE_FRAMES) {
        uintptr_t next = frame[0];
        trace->returns[count++] = frame[1];
        bool is_on_stack = next > (uintptr_t)frame && next % sizeof *frame == 0 && next < end &&
                           end - next >= 2 * sizeof *frame;
        if (!is_on_stack) {
            break;
        }
        frame = (const uintptr_t *)next;
    }
    memset(trace->returns + count, 0, (TRACE_FRAMES - count) * sizeof trace->returns[0]);
}
