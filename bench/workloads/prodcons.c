// prodcons.c - what if some threads only allocate, others only free?
//
// Producers fill batches of blocks of server sizes, consumers read the first
// word and free them. Batches travel through one bounded queue; its lock is
// taken twice per batch, so it costs little per block. Not measured: threads
// that do both; the queue.
#include "bench.h"

enum { PRODUCERS, CONSUMERS, BATCH, QUEUE, BATCHES };
static struct bench_param params[] = {
    [PRODUCERS] = {"producers", 1, "threads that allocate"},
    [CONSUMERS] = {"consumers", 1, "threads that free"},
    [BATCH] = {"batch", 256, "blocks per batch"},
    [QUEUE] = {"queue", 64, "batches in flight at most"},
    [BATCHES] = {"batches", 20000, "batches in all"},
};

// A first-in first-out ring of batches, as large as all batches together.
struct prodcons_ring {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void ***batches;
    size_t first_idx;
    size_t count;
    bool closed;
};

static struct prodcons_ring empty_ring = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, false};
static struct prodcons_ring full_ring = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0, false};
static _Atomic uint64_t batches_started;
static _Atomic uint64_t producers_done;

static void ring_push(struct prodcons_ring *ring, void **batch) {
    pthread_mutex_lock(&ring->lock);
    ring->batches[(ring->first_idx + ring->count++) % params[QUEUE].value] = batch;
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
}

// Leaves `backlog` batches in the ring until it is closed.
static void **ring_pop(struct prodcons_ring *ring, size_t backlog) {
    pthread_mutex_lock(&ring->lock);
    while (ring->count <= backlog && !ring->closed) {
        pthread_cond_wait(&ring->changed, &ring->lock);
    }
    void **batch = NULL;
    if (ring->count > 0) {
        batch = ring->batches[ring->first_idx];
        ring->first_idx = (ring->first_idx + 1) % params[QUEUE].value;
        ring->count--;
    }
    pthread_mutex_unlock(&ring->lock);
    return batch;
}

static void ring_close(struct prodcons_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    ring->closed = true;
    pthread_cond_broadcast(&ring->changed);
    pthread_mutex_unlock(&ring->lock);
}

static void prodcons_produce(uint64_t *state) {
    while (atomic_fetch_add(&batches_started, 1) < params[BATCHES].value) {
        void **batch = ring_pop(&empty_ring, 0);
        for (size_t i = 0; i < params[BATCH].value; i++) {
            batch[i] = bench_malloc(bench_server_size(state));
        }
        ring_push(&full_ring, batch);
    }
    if (atomic_fetch_add(&producers_done, 1) + 1 == params[PRODUCERS].value) {
        ring_close(&full_ring);
    }
}

static void prodcons_consume(void) {
    void **batch;
    size_t backlog = params[QUEUE].value * 3 / 4;
    while ((batch = ring_pop(&full_ring, backlog)) != NULL) {
        for (size_t i = 0; i < params[BATCH].value; i++) {
            bench_keep((void *)(uintptr_t) * (volatile char *)batch[i]);
            free(batch[i]);
        }
        ring_push(&empty_ring, batch);
    }
}

static void *prodcons_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg);
    if ((uintptr_t)arg < params[PRODUCERS].value) {
        prodcons_produce(&state);
    } else {
        prodcons_consume();
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    size_t in_flight = params[QUEUE].value;
    empty_ring.batches = bench_map(in_flight * sizeof(void **));
    full_ring.batches = bench_map(in_flight * sizeof(void **));
    for (size_t i = 0; i < in_flight; i++) {
        ring_push(&empty_ring, bench_map(params[BATCH].value * sizeof(void *)));
    }
    bench_threads_run(params[PRODUCERS].value + params[CONSUMERS].value, prodcons_run);
    bench_print("ops", (double)(params[BATCHES].value * params[BATCH].value));
    return 0;
}
