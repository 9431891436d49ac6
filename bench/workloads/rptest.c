// rptest.c - what do sizes to 16 KiB cost if others free a part?
//
// After rpmalloc's benchmark: each thread keeps a table of live blocks; in each
// loop it replaces a run of them at a random place, and every few loops it
// hands a bundle of blocks to the next thread, which frees them. Sizes fall off
// linearly, so small ones are more frequent. Every page of a block is written.
// Not measured: threads that come and go (see mstress.c).
#include "bench.h"

enum { THREADS, LOOPS, BLOCKS, RUN, CROSS, MAX };
static struct bench_param params[] = {
    [THREADS] = {"threads", 2, "threads"},
    [LOOPS] = {"loops", 6000, "loops per thread"},
    [BLOCKS] = {"blocks", 10000, "live blocks per thread"},
    [RUN] = {"run", 250, "blocks replaced per loop"},
    [CROSS] = {"cross", 4, "hand a bundle to the next thread every so many loops"},
    [MAX] = {"max", 16000, "largest block in bytes"},
};

struct rptest_bundle {
    struct rptest_bundle *next;
    size_t count;
    void *blocks[];
};

// Bundles that wait to be freed by thread i.
static struct {
    _Alignas(BENCH_CACHE_LINE_BYTES) _Atomic(struct rptest_bundle *) first;
} inboxes[BENCH_THREADS_MAX];

static size_t rptest_size(uint64_t *state) {
    uint64_t one = bench_random_below(state, params[MAX].value);
    uint64_t other = bench_random_below(state, params[MAX].value);
    return 16 + (one < other ? one : other);
}

static void rptest_send(size_t to, uint64_t *state) {
    size_t count = params[RUN].value;
    struct rptest_bundle *bundle = bench_check(malloc(sizeof *bundle + count * sizeof(void *)));
    bundle->count = count;
    for (size_t i = 0; i < count; i++) {
        bundle->blocks[i] = bench_malloc(rptest_size(state));
    }
    bundle->next = atomic_load(&inboxes[to].first);
    while (!atomic_compare_exchange_weak(&inboxes[to].first, &bundle->next, bundle)) {
    }
}

static void rptest_receive(size_t at) {
    struct rptest_bundle *bundle = atomic_exchange(&inboxes[at].first, NULL);
    while (bundle != NULL) {
        struct rptest_bundle *next = bundle->next;
        for (size_t i = 0; i < bundle->count; i++) {
            free(bundle->blocks[i]);
        }
        free(bundle);
        bundle = next;
    }
}

static void *rptest_run(void *arg) {
    size_t self = (uintptr_t)arg;
    uint64_t state = bench_seed(self);
    void **blocks = bench_map(params[BLOCKS].value * sizeof *blocks);
    for (uint64_t loop = 0; loop < params[LOOPS].value; loop++) {
        size_t at = bench_random_below(&state, params[BLOCKS].value);
        for (size_t i = 0; i < params[RUN].value; i++) {
            free(blocks[at]);
            blocks[at] = bench_malloc(rptest_size(&state));
            at = at + 1 == params[BLOCKS].value ? 0 : at + 1;
        }
        if (loop % params[CROSS].value == 0) {
            rptest_send((self + 1) % params[THREADS].value, &state);
            rptest_receive(self);
        }
    }
    for (size_t i = 0; i < params[BLOCKS].value; i++) {
        free(blocks[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_threads_run(params[THREADS].value, rptest_run);
    for (size_t i = 0; i < params[THREADS].value; i++) {
        rptest_receive(i);
    }
    bench_print("ops", (double)(params[THREADS].value * params[LOOPS].value * params[RUN].value));
    return 0;
}
