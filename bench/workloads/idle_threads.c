// idle_threads.c - what does a sleeping thread hold?
//
// Starts `threads` threads; each allocates and frees `blocks` blocks of server
// sizes, then sleeps. Prints resident memory per thread against the same number
// of threads that never allocated (measured first in the same process), so that
// stacks do not count. Not measured: time; threads that wake up.
#include "bench.h"

enum { THREADS, BLOCKS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 1000, "threads"},
    [BLOCKS] = {"blocks", 64, "blocks that each allocates and frees"},
};

static pthread_barrier_t all_ready, all_measured;
static _Atomic bool must_allocate;

static void *idle_run(void *arg) {
    void *blocks[1024];
    uint64_t state = bench_seed((uintptr_t)arg);
    bench_touch(blocks, sizeof blocks);
    if (atomic_load(&must_allocate)) {
        for (size_t i = 0; i < params[BLOCKS].value && i < 1024; i++) {
            blocks[i] = bench_malloc(bench_server_size(&state));
        }
        for (size_t i = 0; i < params[BLOCKS].value && i < 1024; i++) {
            free(blocks[i]);
        }
    }
    pthread_barrier_wait(&all_ready);
    pthread_barrier_wait(&all_measured);
    return NULL;
}

static double idle_resident_kib(bool allocate) {
    pthread_attr_t attributes;
    size_t count = params[THREADS].value;
    pthread_t *threads = bench_map(count * sizeof *threads);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    atomic_store(&must_allocate, allocate);
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&threads[i], &attributes, idle_run, (void *)(uintptr_t)i) != 0) {
            bench_die("pthread_create failed");
        }
    }
    pthread_barrier_wait(&all_ready);
    double resident_kib = (double)bench_status_kib("VmRSS:");
    pthread_barrier_wait(&all_measured);
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    munmap(threads, count * sizeof *threads);
    return resident_kib;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    unsigned count = (unsigned)params[THREADS].value + 1;
    pthread_barrier_init(&all_ready, NULL, count);
    pthread_barrier_init(&all_measured, NULL, count);
    // The second set of threads runs on the stacks of the first.
    double plain_kib = idle_resident_kib(false);
    double used_kib = idle_resident_kib(true);
    bench_print("kib_per_thread", (used_kib - plain_kib) / (double)params[THREADS].value);
    return 0;
}
