// glibc_simple.c - what does a group of equal blocks cost?
//
// After glibc's bench-malloc-simple: for groups of 25, 100, 400 and 1,600
// blocks, all are allocated, then all freed in the same order. Small groups
// stay inside a thread's cache, large ones overflow it. Not measured: mixed
// sizes; more than one thread.
#include "bench.h"

enum { SIZE, OPS };
static struct bench_param params[] = {
    [SIZE] = {"size", 128, "bytes per block"},
    [OPS] = {"ops", 3000000, "blocks for each size of group"},
};

int main(int argc, char **argv) {
    static const size_t groups[] = {25, 100, 400, 1600};
    static void *blocks[1600];
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    size_t size_bytes = params[SIZE].value;
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        size_t count = groups[g];
        for (uint64_t round = 0; round < params[OPS].value / count; round++) {
            for (size_t i = 0; i < count; i++) {
                blocks[i] = bench_check(malloc(size_bytes));
            }
            for (size_t i = 0; i < count; i++) {
                free(blocks[i]);
            }
        }
    }
    bench_print("ops", (double)(4 * params[OPS].value));
    return 0;
}
