// t_test1.c - what does a mix of calls cost over a small live set?
//
// The shape of Wolfram Gloger's t-test1 as TCMalloc's paper used it: `threads`
// threads share 2 MB of live blocks evenly and make 90.2 % malloc, 7.8 %
// realloc, 1.6 % calloc and 0.4 % memalign calls on random slots, with sizes up
// to `max` (in the paper, twelve steps from 64 B to 128 KiB). Not measured:
// blocks that cross threads.
#include "bench.h"
#include <malloc.h>

enum { THREADS, LIVE, MAX, OPS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 4, "threads"},
    [LIVE] = {"live", 2000000, "live bytes of all threads together"},
    [MAX] = {"max", 8192, "largest block in bytes, a power of two"},
    [OPS] = {"ops", 40000000, "calls of all threads together"},
};

// Small sizes are the more likely the further they lie below the largest.
static size_t ttest_size(uint64_t *state) {
    uint64_t random = bench_random(state);
    size_t limit_bytes = params[MAX].value >> (random % 4);
    limit_bytes = limit_bytes < 64 ? 64 : limit_bytes;
    return 1 + (random >> 8) % limit_bytes;
}

static void *ttest_replace(void *block, uint64_t *state) {
    uint64_t permille = bench_random_below(state, 1000);
    size_t size_bytes = ttest_size(state);
    if (permille < 78) {
        return bench_check(realloc(block, size_bytes));
    }
    free(block);
    if (permille < 94) {
        return bench_check(calloc(1, size_bytes));
    }
    return bench_check(permille < 98 ? memalign(128, size_bytes) : malloc(size_bytes));
}

static void *ttest_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg);
    uint64_t mean_bytes = params[MAX].value * 15 / 64;  // of limit/2 over the four limits
    size_t slot_count = params[LIVE].value / params[THREADS].value / (mean_bytes + 1) + 1;
    void **slots = bench_map(slot_count * sizeof *slots);
    for (uint64_t i = 0; i < params[OPS].value / params[THREADS].value; i++) {
        size_t slot = bench_random_below(&state, slot_count);
        slots[slot] = ttest_replace(slots[slot], &state);
        *(volatile char *)slots[slot] = 1;
    }
    for (size_t i = 0; i < slot_count; i++) {
        free(slots[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t start_ns = bench_now_ns();
    bench_threads_run(params[THREADS].value, ttest_run);
    double duration_ns = (double)(bench_now_ns() - start_ns);
    bench_print("ops", (double)params[OPS].value);
    bench_print("ops_per_s", (double)params[OPS].value * 1e9 / duration_ns);
    return 0;
}
