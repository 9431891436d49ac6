// cache_thrash.c - do blocks of different threads share a cache line?
//
// After Berger et al., "Hoard" (2000), active false sharing: each thread again
// and again allocates a small block, writes it `writes` times and frees it.
// Not measured: the cost of malloc itself; on one core the row says nothing.
#include "bench.h"

enum { THREADS, SIZE, WRITES, STEPS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 2, "threads"},
    [SIZE] = {"size", 8, "bytes per block, a power of two"},
    [WRITES] = {"writes", 1000, "writes to each block"},
    [STEPS] = {"steps", 1000000, "blocks per thread"},
};

static void *thrash_run(void *arg) {
    size_t size_bytes = params[SIZE].value;
    (void)arg;
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
    bench_threads_run(params[THREADS].value, thrash_run);
    bench_print("ops", (double)(params[THREADS].value * params[STEPS].value));
    return 0;
}
