// larson.c - what if objects outlive the threads that made them?
//
// After Larson and Krishnan, "Memory allocation for long-running server
// applications" (1998), a server: each of `threads` lines of succession has an
// array of live blocks; a thread replaces random ones `steps` times, then
// starts its successor, hands it the array and ends. So most frees are of
// blocks that a dead thread allocated. The amount of work is fixed here; the original runs
// for a fixed time. Not measured: two living threads that exchange blocks.
#include "bench.h"

enum { THREADS, GENERATIONS, BLOCKS, STEPS, MIN, MAX };
static struct bench_param params[] = {
    [THREADS] = {"threads", 2, "threads alive at a time"},
    [GENERATIONS] = {"generations", 400, "threads in each line of succession"},
    [BLOCKS] = {"blocks", 5000, "live blocks per thread"},
    [STEPS] = {"steps", 50000, "replacements by each thread"},
    [MIN] = {"min", 8, "smallest block in bytes"},
    [MAX] = {"max", 1000, "largest block in bytes"},
};

struct larson_line {
    void **blocks;
    uint64_t state;
    pthread_t thread;
};

static size_t larson_size(uint64_t *state) {
    return params[MIN].value + bench_random_below(state, params[MAX].value - params[MIN].value + 1);
}

static void *larson_run(void *arg) {
    struct larson_line *line = arg;
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        size_t slot = bench_random_below(&line->state, params[BLOCKS].value);
        free(line->blocks[slot]);
        line->blocks[slot] = bench_malloc(larson_size(&line->state));
    }
    return NULL;
}

static void *larson_succession(void *arg) {
    struct larson_line *line = arg;
    for (uint64_t i = 0; i < params[GENERATIONS].value; i++) {
        pthread_t thread;
        bench_thread_start(&thread, larson_run, line);
        pthread_join(thread, NULL);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    size_t thread_count = params[THREADS].value;
    struct larson_line *lines = bench_map(thread_count * sizeof *lines);
    for (size_t i = 0; i < thread_count; i++) {
        lines[i].state = bench_seed(i);
        lines[i].blocks = bench_map(params[BLOCKS].value * sizeof(void *));
        for (size_t j = 0; j < params[BLOCKS].value; j++) {
            lines[i].blocks[j] = bench_malloc(larson_size(&lines[i].state));
        }
    }
    for (size_t i = 0; i < thread_count; i++) {
        bench_thread_start(&lines[i].thread, larson_succession, &lines[i]);
    }
    for (size_t i = 0; i < thread_count; i++) {
        pthread_join(lines[i].thread, NULL);
    }
    bench_print("ops", (double)(thread_count * params[GENERATIONS].value * params[STEPS].value));
    return 0;
}
