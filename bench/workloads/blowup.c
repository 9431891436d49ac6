// blowup.c - does memory that one thread freed serve another?
//
// A thread allocates `total` bytes in small blocks and frees them, then waits;
// a second thread does the same. Prints the peak after the second over the peak
// after the first: 1 when the second lives on what the first freed, 2 when
// every thread hoards its own. Not measured: time; more than two threads.
#include "bench.h"

enum { TOTAL, THREADS };
static struct bench_param params[] = {
    [TOTAL] = {"total", 300 << 20, "bytes that each thread uses and frees"},
    [THREADS] = {"threads", 2, "threads that take turns"},
};

static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static uint64_t turn;
static uint64_t peaks_kib[BENCH_THREADS_MAX];

static void turn_wait(uint64_t wanted) {
    pthread_mutex_lock(&turn_lock);
    while (turn < wanted) {
        pthread_cond_wait(&turn_changed, &turn_lock);
    }
    pthread_mutex_unlock(&turn_lock);
}

static void turn_end(void) {
    pthread_mutex_lock(&turn_lock);
    turn++;
    pthread_cond_broadcast(&turn_changed);
    pthread_mutex_unlock(&turn_lock);
}

static void *blowup_run(void *arg) {
    uint64_t self = (uintptr_t)arg, state = bench_seed(13);
    turn_wait(self);
    size_t count = 0;
    void **blocks = bench_map((params[TOTAL].value / 16 + 1) * sizeof *blocks);
    for (uint64_t bytes = 0; bytes < params[TOTAL].value;) {
        size_t size_bytes = 16 + bench_random_below(&state, 497);
        blocks[count++] = bench_malloc(size_bytes);
        bytes += size_bytes;
    }
    for (size_t i = 0; i < count; i++) {
        free(blocks[i]);
    }
    munmap(blocks, (params[TOTAL].value / 16 + 1) * sizeof *blocks);
    peaks_kib[self] = bench_status_kib("VmHWM:");
    turn_end();
    turn_wait(params[THREADS].value);
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_threads_run(params[THREADS].value, blowup_run);
    bench_print("first_peak_mib", (double)peaks_kib[0] / 1024);
    bench_print("peak_ratio", (double)peaks_kib[params[THREADS].value - 1] / (double)peaks_kib[0]);
    return 0;
}
