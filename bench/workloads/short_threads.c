// short_threads.c - what does a thread cost that allocates a little?
//
// `threads` threads in all, `alive` of them at a time; each allocates `blocks`
// blocks of server sizes, frees them and ends. The cost of pthread_create is in
// every column alike. Prints by how many KiB resident grew in the second half
// of the run, which must be nothing. Not measured: blocks that outlive their
// thread (larson.c).
#include "bench.h"

enum { THREADS, ALIVE, BLOCKS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 10000, "threads in all"},
    [ALIVE] = {"alive", 2, "threads at a time"},
    [BLOCKS] = {"blocks", 64, "blocks per thread"},
};

static void *short_run(void *arg) {
    void *blocks[1024];
    uint64_t state = bench_seed((uintptr_t)arg);
    for (size_t i = 0; i < params[BLOCKS].value && i < 1024; i++) {
        blocks[i] = bench_malloc(bench_server_size(&state));
    }
    for (size_t i = 0; i < params[BLOCKS].value && i < 1024; i++) {
        free(blocks[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    uint64_t rounds = params[THREADS].value / params[ALIVE].value, half_kib = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        bench_threads_run(params[ALIVE].value, short_run);
        half_kib = round == rounds / 2 ? bench_status_kib("VmRSS:") : half_kib;
    }
    bench_print("ops", (double)(rounds * params[ALIVE].value));
    bench_print("growth_kib", (double)bench_status_kib("VmRSS:") - (double)half_kib);
    return 0;
}
