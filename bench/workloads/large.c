// large.c - what do blocks of 5 to 25 MiB cost, and leave behind?
//
// After the malloc-large test of mimalloc-bench: a live set of 20 large blocks,
// a random one replaced at each step, one word per page written. The time is
// mostly that of page faults, so it shows whether the allocator keeps or
// returns such memory; its peak shows at what price. Not measured: small blocks.
#include "bench.h"

enum { LIVE, STEPS, MIN, MAX };
static struct bench_param params[] = {
    [LIVE] = {"live", 20, "live blocks"},
    [STEPS] = {"steps", 150, "replacements"},
    [MIN] = {"min", 5242880, "smallest block in bytes"},
    [MAX] = {"max", 26214400, "largest block in bytes"},
};

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t state = bench_seed(8);
    uint64_t span_bytes = params[MAX].value - params[MIN].value + 1;
    void **blocks = bench_map(params[LIVE].value * sizeof *blocks);
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        size_t slot = bench_random_below(&state, params[LIVE].value);
        free(blocks[slot]);
        blocks[slot] = bench_malloc(params[MIN].value + bench_random_below(&state, span_bytes));
    }
    for (size_t i = 0; i < params[LIVE].value; i++) {
        free(blocks[i]);
    }
    bench_print("ops", (double)params[STEPS].value);
    return 0;
}
