// buffer_pair.c - what does a slice cost that the first array is too small for?
//
// A buffer begins with an array of 1 KiB; a slice of 8 KiB is allocated and freed,
// again and again. A buffer that adds an array for each and drops it makes a
// system call, or clears memory, per pair. Not measured: more than one live slice,
// and the use of the memory.
#include "buffers.h"

enum { BUFFERS, START, SIZE, PAIRS };
static struct bench_param params[] = {
    [BUFFERS] = {"buffers", 0, "1: a buffer, 0: malloc and free"},
    [START] = {"start", 1024, "bytes of the first array"},
    [SIZE] = {"size", 8192, "bytes per slice"},
    [PAIRS] = {"pairs", 20000000, "pairs of allocating and freeing"},
};

static void pairs_of_buffer(void) {
    buffers_load();
    allot_buffer *buffer = bench_check(buffers.create(&(struct allot_buffer_options){
        .struct_size = sizeof(struct allot_buffer_options), .first_bytes = params[START].value}));
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        struct allot_slice slice = buffers.malloc(buffer, params[SIZE].value);
        *(volatile char *)slice.data = 1;
        if (buffers.free(buffer, slice) != 0) {
            bench_die("a slice was refused");
        }
    }
    struct allot_buffer_stats stats = buffers_stats(buffer);
    bench_print("arrays_added", (double)stats.grow_calls);
    bench_print("arrays_dropped", (double)stats.drop_calls);
}

static void pairs_of_malloc(void) {
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        volatile char *block = malloc(params[SIZE].value);
        *block = 1;
        free((void *)block);
    }
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t start_ns = bench_now_ns();
    if (params[BUFFERS].value != 0) {
        pairs_of_buffer();
    } else {
        pairs_of_malloc();
    }
    double duration_ns = (double)(bench_now_ns() - start_ns);
    bench_print("ops", (double)params[PAIRS].value);
    bench_print("ns_per_pair", duration_ns / (double)params[PAIRS].value);
    return 0;
}
