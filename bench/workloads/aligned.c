// aligned.c - what do aligned blocks cost in time and memory?
//
// Random replacement in a live set of blocks of 16 B to 8 KiB, with alignments
// from 16 to 4,096 (small ones more often). Not measured: plain malloc between
// them.
#include "bench.h"

enum { LIVE, STEPS };
static struct bench_param params[] = {
    [LIVE] = {"live", 20000, "live blocks"},
    [STEPS] = {"steps", 6000000, "replacements"},
};

static void *aligned_make(uint64_t *state) {
    uint64_t random = bench_random(state);
    size_t align_bytes = (size_t)16 << (__builtin_ctzll(random | 0x100));
    size_t size_bytes = (size_t)16 << ((random >> 16) % 10);
    void *block = NULL;
    size_bytes -= (random >> 24) % (size_bytes / 2);
    if (posix_memalign(&block, align_bytes, size_bytes) != 0) {
        bench_die("posix_memalign failed");
    }
    if ((uintptr_t)block % align_bytes != 0) {
        bench_die("a block is not aligned");
    }
    bench_touch(block, size_bytes);
    return block;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t state = bench_seed(4);
    void **blocks = bench_map(params[LIVE].value * sizeof *blocks);
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        size_t slot = bench_random_below(&state, params[LIVE].value);
        free(blocks[slot]);
        blocks[slot] = aligned_make(&state);
    }
    for (size_t i = 0; i < params[LIVE].value; i++) {
        free(blocks[i]);
    }
    bench_print("ops", (double)params[STEPS].value);
    return 0;
}
