// cache_scratch.c - does a free by another thread lead to false sharing?
//
// After Berger et al., "Hoard" (2000), passive false sharing: the main thread
// allocates one small block per thread, neighbours in memory, and hands them
// out. Each thread frees its block, then again and again allocates one of the
// same size, writes it `writes` times and frees it. An allocator that gives
// each thread its part of the common cache line makes them fight for it. Not
// measured: the cost of malloc itself; on one core the row says nothing.
#include "bench.h"

enum { THREADS, SIZE, WRITES, STEPS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 2, "threads"},
    [SIZE] = {"size", 8, "bytes per block, a power of two"},
    [WRITES] = {"writes", 1000, "writes to each block"},
    [STEPS] = {"steps", 1000000, "blocks per thread"},
};

static void *first_blocks[BENCH_THREADS_MAX];

static void *scratch_run(void *arg) {
    size_t size_bytes = params[SIZE].value;
    free(first_blocks[(uintptr_t)arg]);
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        volatile char *block = bench_check(malloc(size_bytes));
        for (uint64_t j = 0; j < params[WRITES].value; j++) {
            block[j & (size_bytes - 1)]++;
        }
        free((void *)block);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    for (size_t i = 0; i < params[THREADS].value; i++) {
        first_blocks[i] = bench_malloc(params[SIZE].value);
    }
    bench_threads_run(params[THREADS].value, scratch_run);
    bench_print("ops", (double)(params[THREADS].value * params[STEPS].value));
    return 0;
}
