// sh6.c - what do batches of equal blocks cost, freed in patterns?
//
// After MicroQuill's SmartHeap benchmark 6: for sizes that rise from 1 to 1,000
// bytes, each thread allocates batches (large ones of small blocks), frees
// every third block at once, the next two thirds later in reverse order, and
// keeps a small share alive over many batches. Not measured: blocks that cross
// threads (see sh8.c).
#include "bench.h"

enum { THREADS, ROUNDS };
static struct bench_param params[] = {
    [THREADS] = {"threads", 1, "threads"},
    [ROUNDS] = {"rounds", 1000, "rounds per thread"},
};

enum { KEPT_COUNT = 5000, BATCH_MAX = 2000 };

struct sh6_kept {
    void *blocks[KEPT_COUNT];
    size_t next_idx;
};

static void sh6_keep(struct sh6_kept *kept, void *block) {
    free(kept->blocks[kept->next_idx]);
    kept->blocks[kept->next_idx] = block;
    kept->next_idx = (kept->next_idx + 1) % KEPT_COUNT;
}

static uint64_t sh6_batch(struct sh6_kept *kept, size_t size_bytes) {
    void *blocks[BATCH_MAX];
    size_t count = size_bytes < 16 ? BATCH_MAX : BATCH_MAX / (1 + size_bytes / 32);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = bench_malloc(size_bytes);
    }
    for (size_t i = 0; i < count; i += 3) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    for (size_t i = count; i > 0; i--) {
        if (i % 64 == 0) {
            sh6_keep(kept, blocks[i - 1]);
        } else {
            free(blocks[i - 1]);
        }
    }
    return count;
}

static _Atomic uint64_t ops;

static void *sh6_run(void *arg) {
    struct sh6_kept *kept = bench_map(sizeof *kept);
    uint64_t count = 0;
    (void)arg;
    for (uint64_t round = 0; round < params[ROUNDS].value; round++) {
        for (size_t size_bytes = 1; size_bytes <= 1000; size_bytes += 1 + size_bytes / 8) {
            count += sh6_batch(kept, size_bytes);
        }
    }
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        free(kept->blocks[i]);
    }
    atomic_fetch_add(&ops, count);
    return NULL;
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_threads_run(params[THREADS].value, sh6_run);
    bench_print("ops", (double)ops);
    return 0;
}
