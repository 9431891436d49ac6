// mstress.c - what if threads come and go, and blocks change hands?
//
// After the stress test that comes with mimalloc: in each round new threads
// allocate objects of mixed sizes (small far more often than large), keep some,
// free some, exchange some with the other threads through common slots, and
// drop what they have when they end; what lies in the slots outlives them. Each
// object is filled with a pattern that is checked when it is freed. Not
// measured: a steady state.
#include "bench.h"

enum { THREADS, ROUNDS, OBJECTS, SLOTS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 4, "threads per round"},
    [ROUNDS] = {"rounds", 25, "rounds"},
    [OBJECTS] = {"objects", 100000, "objects that a thread allocates in a round"},
    [SLOTS] = {"slots", 10000, "slots through which threads exchange objects"},
};

static _Atomic(uintptr_t *) *slots;
static uint64_t round_idx;

// 1 to 128 words; one in 100 is 8 times as large, one in 1,000 50 times.
static uintptr_t *mstress_make(uint64_t *state) {
    size_t count = 1 + bench_random_below(state, 128) / (1 + bench_random_below(state, 8));
    uint64_t chance = bench_random_below(state, 1000);
    count *= chance == 0 ? 50 : chance < 11 ? 8 : 1;
    uintptr_t *object = bench_check(malloc((count + 1) * sizeof *object));
    object[0] = count;
    for (size_t i = 1; i <= count; i++) {
        object[i] = count ^ i;
    }
    return object;
}

static void mstress_drop(uintptr_t *object) {
    if (object == NULL) {
        return;
    }
    for (size_t i = 1; i <= object[0]; i++) {
        if (object[i] != (object[0] ^ i)) {
            bench_die("a block was overwritten");
        }
    }
    free(object);
}

static void *mstress_run(void *arg) {
    uint64_t state = bench_seed((uintptr_t)arg + round_idx * 1000);
    size_t kept_max = params[OBJECTS].value / 2 + 1;
    uintptr_t **kept = malloc(kept_max * sizeof *kept);
    size_t kept_count = 0;
    for (uint64_t i = 0; i < params[OBJECTS].value; i++) {
        uintptr_t *object = mstress_make(&state);
        if (bench_random_below(&state, 100) < 25) {
            size_t slot = bench_random_below(&state, params[SLOTS].value);
            object = atomic_exchange_explicit(&slots[slot], object, memory_order_acq_rel);
        }
        if (object != NULL && kept_count < kept_max && bench_random_below(&state, 100) < 60) {
            kept[kept_count++] = object;
            object = NULL;
        } else if (kept_count > 0) {
            size_t victim = bench_random_below(&state, kept_count);
            mstress_drop(kept[victim]);
            kept[victim] = kept[--kept_count];
        }
        mstress_drop(object);
    }
    while (kept_count > 0) {
        mstress_drop(kept[--kept_count]);
    }
    free(kept);
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    slots = bench_map(params[SLOTS].value * sizeof *slots);
    for (; round_idx < params[ROUNDS].value; round_idx++) {
        bench_threads_run(params[THREADS].value, mstress_run);
    }
    for (size_t i = 0; i < params[SLOTS].value; i++) {
        mstress_drop(slots[i]);
    }
    bench_print("ops",
                (double)(params[THREADS].value * params[ROUNDS].value * params[OBJECTS].value));
    return 0;
}
