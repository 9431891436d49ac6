// churn.c - what does a server's steady state cost?
//
// Each thread keeps `live` blocks of server sizes and replaces a random one,
// `steps` times. Not measured: blocks that cross threads, and the long run
// (see fragment.c).
#include "bench.h"

enum { THREADS, LIVE, STEPS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 1, "threads, each with its own live set"},
    [LIVE] = {"live", 200000, "live blocks per thread"},
    [STEPS] = {"steps", 5000000, "replacements per thread"},
};

static void *churn_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg);
    size_t live_count = params[LIVE].value;
    void **blocks = bench_map(live_count * sizeof *blocks);
    for (size_t i = 0; i < live_count; i++) {
        blocks[i] = bench_malloc(bench_server_size(&state));
    }
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        size_t slot = bench_random_below(&state, live_count);
        free(blocks[slot]);
        blocks[slot] = bench_malloc(bench_server_size(&state));
    }
    for (size_t i = 0; i < live_count; i++) {
        free(blocks[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    bench_threads_run(params[THREADS].value, churn_run);
    bench_print("ops",
                (double)(params[THREADS].value * (params[LIVE].value + params[STEPS].value)));
    return 0;
}
