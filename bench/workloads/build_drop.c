// build_drop.c - what does it cost to build a large structure and drop it?
//
// Allocates `blocks` small blocks (16 to 256 B), then frees them all: in the
// order of allocation (0), backward (1) or shuffled (2); `rounds` times. Not
// measured: frees between the allocations; use of the structure.
#include "bench.h"

enum { BLOCKS, ROUNDS, ORDER };
static struct bench_param params[] = {
    [BLOCKS] = {"blocks", 1000000, "blocks per round"},
    [ROUNDS] = {"rounds", 4, "rounds"},
    [ORDER] = {"order", 0, "0 forward, 1 backward, 2 shuffled"},
};

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    size_t count = params[BLOCKS].value;
    uint64_t state = bench_seed(1);
    void **blocks = bench_map(count * sizeof *blocks);
    uint32_t *order = bench_map(count * sizeof *order);
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)(params[ORDER].value == 1 ? count - 1 - i : i);
    }
    for (size_t i = count; params[ORDER].value == 2 && i > 1; i--) {
        size_t other = bench_random_below(&state, i);
        uint32_t index = order[i - 1];
        order[i - 1] = order[other];
        order[other] = index;
    }
    for (uint64_t round = 0; round < params[ROUNDS].value; round++) {
        for (size_t i = 0; i < count; i++) {
            blocks[i] = bench_malloc(16 + bench_random_below(&state, 241));
        }
        for (size_t i = 0; i < count; i++) {
            free(blocks[order[i]]);
        }
    }
    bench_print("ops", (double)(count * params[ROUNDS].value));
    return 0;
}
