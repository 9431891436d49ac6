// stride.c - do large blocks start at addresses that collide in the cache?
//
// Sums the i-th words of `arrays` arrays of `size` bytes, column by column, as
// code over parallel arrays does. If all arrays start at the same offset in a
// page, every column falls into the same few cache sets. Not measured: malloc
// itself.
#include "bench.h"

enum { ARRAYS, SIZE, COLUMNS };
static struct bench_param params[] = {
    [ARRAYS] = {"arrays", 1000, "arrays"},
    [SIZE] = {"size", 262144, "bytes per array"},
    [COLUMNS] = {"columns", 100000, "columns summed"},
};

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    size_t count = params[ARRAYS].value, words = params[SIZE].value / sizeof(uint64_t);
    uint64_t **arrays = bench_map(count * sizeof *arrays), sum = 0;
    for (size_t i = 0; i < count; i++) {
        arrays[i] = bench_check(malloc(params[SIZE].value));
        memset(arrays[i], 1, params[SIZE].value);
    }
    for (uint64_t column = 0; column < params[COLUMNS].value; column++) {
        size_t word = column / 4 % words;
        for (size_t i = 0; i < count; i++) {
            sum += arrays[i][word];
        }
    }
    bench_keep((void *)(uintptr_t)sum);
    for (size_t i = 0; i < count; i++) {
        free(arrays[i]);
    }
    bench_print("ops", (double)(params[COLUMNS].value * count));
    return 0;
}
