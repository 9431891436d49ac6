// buffers.h - allot's buffers for a workload that links no allocator.
//
// With buffers=1 a workload finds the functions in the process, and so has to run
// with allot preloaded; with buffers=0 it does the same work with malloc and free.
#ifndef BENCH_BUFFERS_H
#define BENCH_BUFFERS_H

#include "bench.h"

#include <allot.h>
#include <dlfcn.h>

static struct {
    allot_buffer *(*create)(const struct allot_buffer_options *);
    struct allot_slice (*malloc)(allot_buffer *, size_t);
    int (*free)(allot_buffer *, struct allot_slice);
    int (*free_rest)(allot_buffer *, struct allot_slice *, size_t);
    bool (*get_stats)(allot_buffer *, struct allot_buffer_stats *);
} buffers;

static inline void *buffers_find(const char *name) {
    void *function = dlsym(RTLD_DEFAULT, name);
    if (function == NULL) {
        bench_die("allot is not preloaded: buffers=0, or LD_PRELOAD=.../liballot.so.1");
    }
    return function;
}

static inline void buffers_load(void) {
    *(void **)&buffers.create = buffers_find("allot_buffer_create");
    *(void **)&buffers.malloc = buffers_find("allot_buffer_malloc");
    *(void **)&buffers.free = buffers_find("allot_buffer_free");
    *(void **)&buffers.free_rest = buffers_find("allot_buffer_free_rest");
    *(void **)&buffers.get_stats = buffers_find("allot_buffer_get_stats");
}

static inline struct allot_buffer_stats buffers_stats(allot_buffer *buffer) {
    struct allot_buffer_stats stats = {.size_bytes = sizeof stats};
    if (!buffers.get_stats(buffer, &stats)) {
        bench_die("the library's statistics are of another version");
    }
    return stats;
}

#endif
