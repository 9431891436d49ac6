// sweep.c - how does a pair depend on size and number of threads?
//
// For sizes from 8 to 4,088 bytes and 1, 6, 11, 16 and 21 threads: each thread
// makes `pairs` pairs of malloc and free. Prints millions of pairs per second
// for each number of threads (geometric mean over the sizes) and, with cells=1,
// for each cell. Not measured: more than one live block per thread.
#include "bench.h"
#include <math.h>

enum { STEP, PAIRS, CELLS };
static struct bench_param params[] = {
    [STEP] = {"step", 128, "distance between the sizes"},
    [PAIRS] = {"pairs", 100000, "pairs per thread and cell"},
    [CELLS] = {"cells", 0, "1 prints every cell"},
};

static size_t cell_size_bytes;

static void *sweep_run(void *arg) {
    (void)arg;
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        volatile char *block = bench_check(malloc(cell_size_bytes));
        *block = 1;
        free((void *)block);
    }
    return NULL;
}

static double sweep_cell(size_t thread_count, size_t size_bytes) {
    cell_size_bytes = size_bytes;
    uint64_t start_ns = bench_now_ns();
    bench_threads_run(thread_count, sweep_run);
    double duration_ns = (double)(bench_now_ns() - start_ns);
    return 1000.0 * (double)(thread_count * params[PAIRS].value) / duration_ns;
}

int main(int argc, char **argv) {
    static const size_t thread_counts[] = {1, 6, 11, 16, 21};
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    for (size_t t = 0; t < sizeof thread_counts / sizeof thread_counts[0]; t++) {
        char key[64];
        double log_sum = 0;
        size_t count = 0;
        for (size_t size_bytes = 8; size_bytes <= 4088; size_bytes += params[STEP].value) {
            double mops = sweep_cell(thread_counts[t], size_bytes);
            log_sum += log(mops);
            count++;
            snprintf(key, sizeof key, "cell_%zu_%zu", thread_counts[t], size_bytes);
            if (params[CELLS].value != 0) {
                bench_print(key, mops);
            }
        }
        snprintf(key, sizeof key, "mops_%zut", thread_counts[t]);
        bench_print(key, exp(log_sum / (double)count));
    }
    return 0;
}
