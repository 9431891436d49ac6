// footprint.c - what does the allocator itself take?
//
// Prints what resident grows by with the first malloc, and the bytes resident
// per byte asked for when `blocks` blocks of `size` bytes live, each fully
// written. Not measured: time; mixed sizes; what start-up took before main.
#include "bench.h"

enum { BLOCKS, SIZE };
static struct bench_param params[] = {
    [BLOCKS] = {"blocks", 10000000, "live blocks"},
    [SIZE] = {"size", 8, "bytes per block"},
};

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t start_kib = bench_status_kib("VmRSS:");
    bench_keep(bench_malloc(16));
    uint64_t first_kib = bench_status_kib("VmRSS:");
    for (uint64_t i = 0; i < params[BLOCKS].value; i++) {
        char *block = bench_check(malloc(params[SIZE].value));
        memset(block, 1, params[SIZE].value);
        bench_keep(block);
    }
    double grown_bytes = ((double)bench_status_kib("VmRSS:") - (double)first_kib) * 1024;
    bench_print("process_kib", (double)first_kib);
    bench_print("first_malloc_kib", (double)first_kib - (double)start_kib);
    bench_print("bytes_per_byte",
                grown_bytes / (double)(params[BLOCKS].value * params[SIZE].value));
    return 0;
}
