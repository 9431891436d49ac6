// buffers.h - allot's buffers for a workload that links no allocator.
//
// With buffers=1 a workload finds the functions in the process, and so has to run
// with allot preloaded; with buffers=0 it does the same work with malloc and free.
#ifndef BENCH_BUFFERS_H
#define BENCH_BUFFERS_H

#include "bench.h"

#include <allot.h>

static struct {
    allot_buffer *(*create)(const struct allot_buffer_options *);
    struct allot_slice (*malloc)(allot_buffer *, size_t);
    int (*free)(allot_buffer *, struct allot_slice);
    ptrdiff_t (*read)(allot_buffer *, struct allot_slice *, int, size_t);
    bool (*get_stats)(allot_buffer *, struct allot_buffer_stats *);
    allot_slices *(*list_create)(allot_buffer *);
    int (*list_destroy)(allot_slices *);
    size_t (*list_bytes)(const allot_slices *);
    ptrdiff_t (*list_read)(allot_slices *, int, size_t);
    int (*list_move)(allot_slices *, allot_slices *, size_t);
    int (*list_consume)(allot_slices *, size_t);
} buffers;

static inline void buffers_load(void) {
    *(void **)&buffers.create = bench_find("allot_buffer_create");
    *(void **)&buffers.malloc = bench_find("allot_buffer_malloc");
    *(void **)&buffers.free = bench_find("allot_buffer_free");
    *(void **)&buffers.read = bench_find("allot_buffer_read");
    *(void **)&buffers.get_stats = bench_find("allot_buffer_get_stats");
    *(void **)&buffers.list_create = bench_find("allot_slices_create");
    *(void **)&buffers.list_destroy = bench_find("allot_slices_destroy");
    *(void **)&buffers.list_bytes = bench_find("allot_slices_bytes");
    *(void **)&buffers.list_read = bench_find("allot_slices_read");
    *(void **)&buffers.list_move = bench_find("allot_slices_move");
    *(void **)&buffers.list_consume = bench_find("allot_slices_consume");
}

static inline struct allot_buffer_stats buffers_stats(allot_buffer *buffer) {
    struct allot_buffer_stats stats = {.size_bytes = sizeof stats};
    if (!buffers.get_stats(buffer, &stats)) {
        bench_die("the library's statistics are of another version");
    }
    return stats;
}

#endif
