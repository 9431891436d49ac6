// trace.c - by which calls a place in the code was reached.                layer 7
#include "guard/trace.h"

#include "base/config.h"
#include "guard/maps.h"
#include "heap/registry.h"
#include "os/frame.h"
#include "page/region.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum { TRACE_LOOKS_MAX = 32 };  // of one thread at the list of mappings

enum { TRACE_BUCKETS = 1 << 14, TRACE_CHUNK = 512, TRACE_CHUNKS = 4096 };

// In memory for records: who does not watch does not have it.
static struct trace_store {
    _Atomic(uint32_t) count;
    _Atomic(uint32_t) buckets[TRACE_BUCKETS];
    _Atomic(struct trace *) chunks[TRACE_CHUNKS];
} * trace_store;

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

static void trace_follow(struct trace *trace, const uintptr_t *frame) {
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

// ---- The store: only grows, without locks

void trace_init(void) {
    trace_store = region_take_meta(sizeof *trace_store);
}

static uint32_t trace_hash(const struct trace *trace) {
    uint64_t hash = 0;
    for (unsigned i = 0; i < TRACE_FRAMES; i++) {
        hash = (hash ^ trace->returns[i]) * 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static struct trace *trace_place(uint32_t number) {
    struct trace *chunk =
        atomic_load_explicit(&trace_store->chunks[number / TRACE_CHUNK], memory_order_acquire);
    return chunk != NULL ? &chunk[number % TRACE_CHUNK] : NULL;
}

// The first of a chunk makes it; 0 is no number.
static uint32_t trace_make(void) {
    uint32_t number = atomic_fetch_add_explicit(&trace_store->count, 1, memory_order_relaxed) + 1;
    if (number >= TRACE_CHUNK * TRACE_CHUNKS) {
        atomic_fetch_sub_explicit(&trace_store->count, 1, memory_order_relaxed);
        return 0;
    }
    if (trace_place(number) == NULL) {
        struct trace *none = NULL;
        struct trace *chunk = region_take_meta(TRACE_CHUNK * sizeof *chunk);
        if (chunk == NULL) {
            return 0;
        }
        atomic_compare_exchange_strong_explicit(&trace_store->chunks[number / TRACE_CHUNK], &none,
                                                chunk, memory_order_acq_rel, memory_order_relaxed);
    }
    return number;
}

static uint32_t trace_find(uint32_t from, const struct trace *wanted) {
    for (uint32_t at = from; at != 0; at = trace_place(at)->next) {
        const struct trace *trace = trace_place(at);
        if (trace->hash == wanted->hash &&
            memcmp(trace->returns, wanted->returns, sizeof trace->returns) == 0) {
            return at;
        }
    }
    return 0;
}

uint32_t trace_take(const uintptr_t *frame) {
    struct trace trace;
    if (trace_store == NULL) {
        return 0;
    }
    trace_follow(&trace, frame);
    trace.hash = trace_hash(&trace);
    _Atomic(uint32_t) *bucket = &trace_store->buckets[trace.hash % TRACE_BUCKETS];
    uint32_t first = atomic_load_explicit(bucket, memory_order_acquire);
    uint32_t found = trace_find(first, &trace);
    uint32_t fresh = found == 0 ? trace_make() : 0;
    if (fresh == 0) {
        return found;
    }
    trace.next = first;
    *trace_place(fresh) = trace;
    while (!atomic_compare_exchange_weak_explicit(bucket, &first, fresh, memory_order_release,
                                                  memory_order_acquire)) {
        trace_place(fresh)->next = first;
    }
    return fresh;
}

const struct trace *trace_at(uint32_t number) {
    return number != 0 ? trace_place(number) : NULL;
}
