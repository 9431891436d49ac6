// realloc_grow.c - what do growing arrays and strings cost?
//
// `arrays` arrays grow side by side from 16 bytes to `max`, by steps of an
// eighth to a half of their size (as vectors and string builders do), each
// written as it grows; when one reaches `max` it is freed and starts anew. Not
// measured: shrinking; arrays that grow alone.
#include "bench.h"

enum { ARRAYS, MAX, STEPS };
static struct bench_param params[] = {
    [ARRAYS] = {"arrays", 64, "arrays that grow at a time"},
    [MAX] = {"max", 262144, "size in bytes at which an array is dropped"},
    [STEPS] = {"steps", 800000, "calls of realloc"},
};

struct array {
    char *bytes;
    size_t size_bytes;
};

static void array_grow(struct array *array, uint64_t *state) {
    size_t old_bytes = array->size_bytes;
    if (old_bytes >= params[MAX].value) {
        free(array->bytes);
        *array = (struct array){NULL, 0};
        old_bytes = 0;
    }
    size_t more_bytes = old_bytes / 8 + bench_random_below(state, old_bytes / 2 + 16) + 1;
    array->size_bytes = old_bytes + more_bytes;
    array->bytes = bench_check(realloc(array->bytes, array->size_bytes));
    memset(array->bytes + old_bytes, 1, more_bytes);
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    uint64_t state = bench_seed(3);
    struct array *arrays = bench_map(params[ARRAYS].value * sizeof *arrays);
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        array_grow(&arrays[bench_random_below(&state, params[ARRAYS].value)], &state);
    }
    for (size_t i = 0; i < params[ARRAYS].value; i++) {
        free(arrays[i].bytes);
    }
    bench_print("ops", (double)params[STEPS].value);
    return 0;
}
