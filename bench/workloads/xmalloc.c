// xmalloc.c - what do batches cost that another thread frees?
//
// After the "asymmetric" test of Lever and Boreham, "malloc() performance in a
// multithreaded Linux environment" (2000). Every thread fills a batch of small
// blocks, puts it on a common shelf, takes the oldest batch of the shelf
// (nearly always another's) and frees it. Not measured: producers that never
// free (see prodcons.c); larger blocks.
#include "bench.h"

enum { THREADS, BATCHES, BATCH, SHELF, MIN, MAX };
static struct bench_param params[] = {
    [THREADS] = {"threads", 2, "threads"},
    [BATCHES] = {"batches", 40000, "batches per thread"},
    [BATCH] = {"batch", 256, "blocks per batch"},
    [SHELF] = {"shelf", 16, "batches on the shelf"},
    [MIN] = {"min", 16, "smallest block in bytes"},
    [MAX] = {"max", 160, "largest block in bytes"},
};

static void ***shelf;  // a ring of SHELF batches
static uint64_t shelf_next;
static pthread_mutex_t shelf_lock = PTHREAD_MUTEX_INITIALIZER;

// Leave a full batch where the oldest lies and take that away (NULL at first).
static void **xmalloc_swap(void **batch) {
    pthread_mutex_lock(&shelf_lock);
    size_t place = shelf_next++ % params[SHELF].value;
    void **oldest = shelf[place];
    shelf[place] = batch;
    pthread_mutex_unlock(&shelf_lock);
    return oldest;
}

static void xmalloc_free(void **batch) {
    for (size_t i = 0; i < params[BATCH].value; i++) {
        free(batch[i]);
    }
}

static void *xmalloc_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg);
    uint64_t span_bytes = params[MAX].value - params[MIN].value + 1;
    void **batch = NULL;
    for (uint64_t i = 0; i < params[BATCHES].value; i++) {
        if (batch == NULL) {
            batch = bench_map(params[BATCH].value * sizeof *batch);
        }
        for (size_t j = 0; j < params[BATCH].value; j++) {
            batch[j] = bench_malloc(params[MIN].value + bench_random_below(&state, span_bytes));
        }
        batch = xmalloc_swap(batch);
        if (batch != NULL) {
            xmalloc_free(batch);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    shelf = bench_map(params[SHELF].value * sizeof *shelf);
    bench_threads_run(params[THREADS].value, xmalloc_run);
    for (size_t i = 0; i < params[SHELF].value; i++) {
        if (shelf[i] != NULL) {
            xmalloc_free(shelf[i]);
        }
    }
    bench_print("ops",
                (double)(params[THREADS].value * params[BATCHES].value * params[BATCH].value));
    return 0;
}
