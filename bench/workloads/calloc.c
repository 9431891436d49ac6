// calloc.c - what does zeroed memory cost?
//
// Random replacement in a live set of zeroed blocks: mostly server sizes, one
// in 2,000 of 64 KiB to 4 MiB, where it matters that fresh pages are not
// cleared twice. A few words are checked to be zero, then written. Not
// measured: reading all of the memory.
#include "bench.h"

enum { LIVE, STEPS };
static struct bench_param params[] = {
    [LIVE] = {"live", 10000, "live blocks"},
    [STEPS] = {"steps", 4000000, "replacements"},
};

static void *calloc_make(uint64_t *state) {
    size_t size_bytes = bench_server_size(state);
    if (bench_random_below(state, 2000) == 0) {
        size_bytes = (size_t)65536 << bench_random_below(state, 7);
    }
    char *block = bench_check(calloc(1, size_bytes));
    if (block[0] != 0 || block[size_bytes / 2] != 0 || block[size_bytes - 1] != 0) {
        bench_die("calloc returned memory that is not zero");
    }
    memset(block, 1, size_bytes < 4096 ? size_bytes : 4096);
    block[size_bytes - 1] = 1;
    return block;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    uint64_t state = bench_seed(6);
    void **blocks = bench_map(params[LIVE].value * sizeof *blocks);
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        size_t slot = bench_random_below(&state, params[LIVE].value);
        free(blocks[slot]);
        blocks[slot] = calloc_make(&state);
    }
    for (size_t i = 0; i < params[LIVE].value; i++) {
        free(blocks[i]);
    }
    bench_print("ops", (double)params[STEPS].value);
    return 0;
}
