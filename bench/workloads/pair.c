// pair.c - what does one malloc and free of the same size cost?
//
// One thread allocates a block, writes its first word and frees it, again and
// again. Not measured: anything that depends on more than one live block
// (refill, locality, fragmentation), and the cost of using the memory.
#include "bench.h"

enum { SIZE, PAIRS };
static struct bench_param params[] = {
    [SIZE] = {"size", 16, "bytes per block"},
    [PAIRS] = {"pairs", 100000000, "malloc and free pairs"},
};

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    size_t size_bytes = params[SIZE].value;
    uint64_t start_ns = bench_now_ns();
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        volatile char *block = malloc(size_bytes);
        *block = 1;
        free((void *)block);
    }
    double duration_ns = (double)(bench_now_ns() - start_ns);
    bench_print("ops", (double)params[PAIRS].value);
    bench_print("loop_s", duration_ns / 1e9);
    bench_print("ns_per_pair", duration_ns / (double)params[PAIRS].value);
    return 0;
}
