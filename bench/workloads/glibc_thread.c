// glibc_thread.c - what does random replacement cost in a small set?
//
// After glibc's bench-malloc-thread: each thread has 1,024 slots; it frees a
// random one and allocates a block between 4 B and 32 KiB into it, where the
// probability of a size falls with its square. The first word is written. Not
// measured: blocks that cross threads; large live sets (see churn.c).
#include "bench.h"

enum { THREADS, STEPS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 1, "threads"},
    [STEPS] = {"steps", 60000000, "replacements per thread"},
};

enum { SLOT_COUNT = 1024, SIZE_COUNT = 16384, SIZE_FROM = 4, SIZE_TO = 32768 };

static uint32_t sizes[SIZE_COUNT];

// p(x) ~ 1/x^2 between SIZE_FROM and SIZE_TO: x = min / (1 - u (1 - min/max)).
static void sizes_init(void) {
    uint64_t state = bench_seed(5);
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        double u = (double)bench_random_below(&state, 1000000) / 1000000.0;
        double span = 1.0 - (double)SIZE_FROM / (double)SIZE_TO;
        sizes[i] = (uint32_t)((double)SIZE_FROM / (1.0 - u * span));
    }
}

static void *thread_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg);
    void **slots = bench_map(SLOT_COUNT * sizeof *slots);
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        uint64_t random = bench_random(&state);
        void **slot = &slots[random % SLOT_COUNT];
        free(*slot);
        *slot = bench_check(malloc(sizes[(random >> 10) % SIZE_COUNT]));
        *(volatile char *)*slot = 1;
    }
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        free(slots[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    sizes_init();
    bench_threads_run(params[THREADS].value, thread_run);
    bench_print("ops", (double)(params[THREADS].value * params[STEPS].value));
    return 0;
}
