// sh8.c - what do mixed batches cost if another thread frees a part?
//
// After MicroQuill's SmartHeap benchmark 8: each thread allocates batches of
// blocks of one size (16 to 1,000 bytes), frees half itself in allocation
// order, and leaves the other half in a common box, from which it takes and
// frees what another thread left. Not measured: one-way traffic (prodcons.c).
#include "bench.h"

enum { THREADS, ROUNDS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 2, "threads"},
    [ROUNDS] = {"rounds", 20000, "batches per thread"},
};

enum { BATCH_COUNT = 400, BOX_COUNT = 64 };

struct sh8_half {
    void *blocks[BATCH_COUNT / 2];
};

static _Atomic(struct sh8_half *) boxes[BOX_COUNT];

static void sh8_free_half(struct sh8_half *half) {
    for (size_t i = 0; half != NULL && i < BATCH_COUNT / 2; i++) {
        free(half->blocks[i]);
    }
    free(half);
}

static void *sh8_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg);
    for (uint64_t round = 0; round < params[ROUNDS].value; round++) {
        size_t size_bytes = 16 + bench_random_below(&state, 985) / (1 + round % 8);
        void *own[BATCH_COUNT / 2];
        struct sh8_half *half = bench_check(malloc(sizeof *half));
        for (size_t i = 0; i < BATCH_COUNT / 2; i++) {
            own[i] = bench_malloc(size_bytes);
            half->blocks[i] = bench_malloc(size_bytes);
        }
        for (size_t i = 0; i < BATCH_COUNT / 2; i++) {
            free(own[i]);
        }
        size_t box = bench_random_below(&state, BOX_COUNT);
        sh8_free_half(atomic_exchange(&boxes[box], half));
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_threads_run(params[THREADS].value, sh8_run);
    for (size_t i = 0; i < BOX_COUNT; i++) {
        sh8_free_half(boxes[i]);
    }
    bench_print("ops", (double)(params[THREADS].value * params[ROUNDS].value * BATCH_COUNT));
    return 0;
}
