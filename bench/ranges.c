// ranges.c - what do ranges of numbers cost beside first fit, segregated fit and malloc?
//
//   ranges LIBRARY [NAME=VALUE]...      LIBRARY: build/release/liballot.so.1
//
// Random sizes from 1 to 4096; of `live` allocations a random one is freed and another
// takes its place. The range is half as large again as what is live; what does not fit
// where it should is not taken. Rounds of all take
// turns; shown are medians. Then the longest single operation while there are very many
// free ranges, each timed by the clock, and what a refused free costs.
//
// It does not measure: fragmentation, which first fit and best fit trade differently;
// several threads. malloc is there for scale alone: it hands out memory, and free
// gets a whole block.
#include "workloads/bench.h"

#include "ranges_peers.h"

#include "../include/allot.h"

#include <dlfcn.h>
#include <errno.h>

enum { SIZE_MAX_N = 4096, ROUNDS_MAX = 15, PEERS = 4, LATENCY_OPERATIONS = 200000 };

static struct {
    allot_range *(*create)(const struct allot_range_options *);
    void (*destroy)(allot_range *);
    uint64_t (*alloc)(allot_range *, uint64_t, uint64_t);
    int (*free)(allot_range *, uint64_t, uint64_t);
    uint64_t (*count)(const allot_range *);
    size_t (*metadata_bytes)(const allot_range *);
} allot;

// What is live: an offset, a record or a block, and its size.
struct held {
    uint64_t what;
    uint64_t n;
};

struct peer {
    const char *name;
    void (*create)(uint64_t size);
    uint64_t (*alloc)(uint64_t n);
    void (*free)(struct held held);
    uint64_t most_live;  // beyond that a run would take minutes
};

static allot_range *range;
static struct first_fit first;
static struct bins_fit bins;

static void range_create(uint64_t size) {
    allot.destroy(range);
    range = allot.create(&(struct allot_range_options){
        .struct_size = sizeof(struct allot_range_options), .size = size});
}

static uint64_t range_alloc(uint64_t n) {
    return allot.alloc(range, n, 1);
}

static void range_free(struct held held) {
    allot.free(range, held.what, held.n);
}

static void first_create(uint64_t size) {
    first = (struct first_fit){.free = NULL};
    first_free(&first, 0, size);
}

static uint64_t first_take(uint64_t n) {
    return first_alloc(&first, n);
}

static void first_give(struct held held) {
    first_free(&first, held.what, held.n);
}

static void bins_create(uint64_t size) {
    bins = (struct bins_fit){.levels = 0};
    struct bins_piece *piece = bins_piece_take(&bins);
    *piece = (struct bins_piece){.size = size};
    bins_link(&bins, piece);
}

static uint64_t bins_take(uint64_t n) {
    struct bins_piece *piece = bins_alloc(&bins, n);
    return piece != NULL ? (uintptr_t)piece : PEERS_NONE;
}

static void bins_give(struct held held) {
    bins_free(&bins, (struct bins_piece *)(uintptr_t)held.what);
}

static void malloc_create(uint64_t size) {
    (void)size;
}

static uint64_t malloc_take(uint64_t n) {
    return (uintptr_t)malloc(n);
}

static void malloc_give(struct held held) {
    free((void *)(uintptr_t)held.what);
}

static const struct peer peers[PEERS] = {
    {"allot range", range_create, range_alloc, range_free, UINT64_MAX},
    {"first fit", first_create, first_take, first_give, 10000},
    {"segregated", bins_create, bins_take, bins_give, UINT64_MAX},
    {"malloc", malloc_create, malloc_take, malloc_give, UINT64_MAX},
};

// ---- Pairs ---------------------------------------------------------------------

static uint64_t random_state = 88172645463325252u;

static inline uint64_t draw(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void fill(const struct peer *peer, struct held *held, uint64_t live) {
    peer->create(live * (SIZE_MAX_N / 2) * 3 / 2 + 2 * SIZE_MAX_N);
    for (uint64_t i = 0; i < live; i++) {
        held[i].n = 1 + draw() % SIZE_MAX_N;
        held[i].what = peer->alloc(held[i].n);
    }
}

static void replace(const struct peer *peer, struct held *held, uint64_t live, uint64_t pairs) {
    for (uint64_t i = 0; i < pairs; i++) {
        uint64_t random = draw();
        struct held *one = &held[(random >> 32) * live >> 32];
        if (one->what != PEERS_NONE) {
            peer->free(*one);
        }
        one->n = 1 + random % SIZE_MAX_N;
        one->what = peer->alloc(one->n);
    }
}

static int compare(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return difference < 0 ? -1 : difference > 0;
}

static void pairs_at(uint64_t live, uint64_t pairs, unsigned rounds) {
    static double times[PEERS][ROUNDS_MAX];
    static struct held *held[PEERS];
    for (unsigned p = 0; p < PEERS; p++) {
        held[p] = bench_map(live * sizeof(struct held));
        if (live <= peers[p].most_live) {
            fill(&peers[p], held[p], live);
            replace(&peers[p], held[p], live, live < 10000 ? 20 * live : 3 * live);
        }
    }
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned p = 0; p < PEERS; p++) {
            uint64_t turns = p == 1 && live >= 1000 ? pairs / 50 : pairs;
            if (live <= peers[p].most_live) {
                double begin = now_ns();
                replace(&peers[p], held[p], live, turns);
                times[p][r] = (now_ns() - begin) / (double)turns;
            }
        }
    }
    printf("%8" PRIu64, live);
    for (unsigned p = 0; p < PEERS; p++) {
        qsort(times[p], rounds, sizeof(double), compare);
        printf(live <= peers[p].most_live ? " %12.1f" : "            -", times[p][rounds / 2]);
        for (uint64_t i = 0; p == 3 && i < live; i++) {
            free((void *)(uintptr_t)held[p][i].what);
        }
        munmap(held[p], live * sizeof(struct held));
    }
    uint64_t count = allot.count(range);
    printf(" %10" PRIu64 " %8.1f", count, (double)allot.metadata_bytes(range) / (double)count);
    printf(" %8.1f\n", (double)(bins.piece_count * sizeof(struct bins_piece)) / (double)bins.count);
}

// ---- The longest operation ---------------------------------------------------------

// Every second place of 8 is free, the others are in use, so that each free range stays
// alone; sizes differ.
static void make_free_ranges(uint64_t count) {
    range_create(count * 16);
    range_alloc(count * 16);
    for (uint64_t i = 0; i < count; i++) {
        range_free((struct held){i * 16, 1 + i * 7919 % 8});
    }
}

static void latency_at(uint64_t count) {
    static double times[LATENCY_OPERATIONS];
    double clock_ns = 1e9;
    make_free_ranges(count);
    for (unsigned i = 0; i < LATENCY_OPERATIONS; i++) {
        uint64_t at = draw() % count * 16 + 8, n = 1 + draw() % 7;
        double begin = now_ns();
        if (i % 2 == 0) {
            range_free((struct held){at, n});
        } else {
            range_alloc(n);
        }
        times[i] = now_ns() - begin;
        double none = now_ns();
        none = now_ns() - none;
        clock_ns = none < clock_ns ? none : clock_ns;
    }
    qsort(times, LATENCY_OPERATIONS, sizeof(double), compare);
    printf("%10" PRIu64 " %10.0f %10.0f %10.0f %10.0f %10.1f\n", allot.count(range),
           times[LATENCY_OPERATIONS / 2] - clock_ns,
           times[LATENCY_OPERATIONS / 1000 * 999] - clock_ns,
           times[LATENCY_OPERATIONS / 10000 * 9999] - clock_ns,
           times[LATENCY_OPERATIONS - 1] - clock_ns,
           (double)allot.metadata_bytes(range) / (double)allot.count(range));
}

static void refusals(uint64_t count) {
    make_free_ranges(10000);
    uint64_t accepted = 0;
    double begin = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        accepted += allot.free(range, draw() % 10000 * 16, 1 + i % 8) == 0;
    }
    printf("\n%" PRIu64 " bad frees (double, overlapping): %" PRIu64 " accepted, %.1f ns each\n",
           count, accepted, (now_ns() - begin) / (double)count);
}

static void load(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        bench_die(dlerror());
    }
    void *found[] = {
        dlsym(handle, "allot_range_create"), dlsym(handle, "allot_range_destroy"),
        dlsym(handle, "allot_range_alloc"),  dlsym(handle, "allot_range_free"),
        dlsym(handle, "allot_range_count"),  dlsym(handle, "allot_range_metadata_bytes")};
    _Static_assert(sizeof(found) == sizeof(allot), "one pointer for each function");
    memcpy(&allot, found, sizeof(allot));
}

int main(int argc, char **argv) {
    struct bench_param params[] = {
        {"pairs", 1000000, "pairs in a round"},
        {"rounds", 5, "rounds, at most 15"},
    };
    if (argc < 2) {
        bench_usage(argv[0], params, 2);
    }
    bench_parse(argc - 1, argv + 1, params, 2);
    unsigned rounds = (unsigned)(params[1].value < ROUNDS_MAX ? params[1].value : ROUNDS_MAX);
    load(argv[1]);
    printf("ns for a pair of free and alloc; bytes of records for a free range\n%8s", "live");
    for (unsigned p = 0; p < PEERS; p++) {
        printf(" %12s", peers[p].name);
    }
    printf(" %10s %8s %8s\n", "free", "bytes", "segreg.");
    for (uint64_t live = 1; live <= 100000; live = live == 1 ? 50 : live == 50 ? 1000 : live * 10) {
        pairs_at(live, params[0].value, rounds);
    }
    printf("\nns for one operation of a range with very many free ranges\n%10s %10s %10s %10s "
           "%10s %10s\n",
           "free", "median", "99.9 %", "99.99 %", "longest", "bytes");
    latency_at(100000);
    latency_at(1000000);
    refusals(params[0].value);
    return 0;
}
