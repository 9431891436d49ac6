// region_pool.c - what does an allocator in shared memory cost, beside libc's malloc?
//
// Pairs of allocating and freeing one size, with one live block and with many, by a pool in
// memory that two processes share, lock included, and by glibc's malloc, in turns; then by
// both processes at once, and how much of the memory is resident. Needs allot in the
// process. Not measured: mixed sizes, more than two processes.
#include "bench.h"

#include <allot.h>
#include <sys/wait.h>

enum { PAIRS, SIZE, LIVE, ROUNDS };
static struct bench_param params[] = {
    [PAIRS] = {"pairs", 5000000, "pairs of allocating and freeing"},
    [SIZE] = {"size", 1500, "bytes of a block"},
    [LIVE] = {"live", 1000, "blocks that are live in the second part"},
    [ROUNDS] = {"rounds", 5, "turns; medians are printed"},
};

enum { REGION_BYTES = 64 << 20, ROUNDS_MAX = 99 };

static struct {
    allot_region_pool *(*create)(void *, size_t);
    void *(*malloc)(allot_region_pool *, size_t);
    int (*free)(allot_region_pool *, void *);
    bool (*validate)(allot_region_pool *);
    void *(*libc_malloc)(size_t);
    void (*libc_free)(void *);
} calls;

static allot_region_pool *pool;
static char *region;
static void **live;

static void load(void) {
    *(void **)&calls.create = bench_find("allot_region_pool_create");
    *(void **)&calls.malloc = bench_find("allot_region_pool_malloc");
    *(void **)&calls.free = bench_find("allot_region_pool_free");
    *(void **)&calls.validate = bench_find("allot_region_pool_validate");
    *(void **)&calls.libc_malloc = bench_find("__libc_malloc");
    *(void **)&calls.libc_free = bench_find("__libc_free");
}

static double run_pool(uint64_t live_count) {
    size_t size = params[SIZE].value;
    for (uint64_t i = 0; i < live_count; i++) {
        live[i] = bench_check(calls.malloc(pool, size));
    }
    uint64_t start_ns = bench_now_ns(), at = 0;
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        calls.free(pool, live[at]);
        live[at] = calls.malloc(pool, size);
        at = at + 1 < live_count ? at + 1 : 0;
    }
    uint64_t took_ns = bench_now_ns() - start_ns;
    for (uint64_t i = 0; i < live_count; i++) {
        calls.free(pool, live[i]);
    }
    return (double)took_ns / (double)params[PAIRS].value;
}

static double run_libc(uint64_t live_count) {
    size_t size = params[SIZE].value;
    for (uint64_t i = 0; i < live_count; i++) {
        live[i] = bench_check(calls.libc_malloc(size));
    }
    uint64_t start_ns = bench_now_ns(), at = 0;
    for (uint64_t i = 0; i < params[PAIRS].value; i++) {
        calls.libc_free(live[at]);
        live[at] = calls.libc_malloc(size);
        at = at + 1 < live_count ? at + 1 : 0;
    }
    uint64_t took_ns = bench_now_ns() - start_ns;
    for (uint64_t i = 0; i < live_count; i++) {
        calls.libc_free(live[i]);
    }
    return (double)took_ns / (double)params[PAIRS].value;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static void print_pairs(const char *pool_name, const char *libc_name, uint64_t live_count) {
    double by_pool[ROUNDS_MAX], by_libc[ROUNDS_MAX];
    size_t rounds = params[ROUNDS].value;
    for (size_t i = 0; i < rounds; i++) {
        by_libc[i] = run_libc(live_count);
        by_pool[i] = run_pool(live_count);
    }
    bench_print(libc_name, median(by_libc, rounds));
    bench_print(pool_name, median(by_pool, rounds));
}

static void print_extra(const char *name, uint64_t live_count) {
    for (uint64_t i = 0; i < live_count; i++) {
        live[i] = bench_check(calls.malloc(pool, params[SIZE].value));
        memset(live[i], 1, params[SIZE].value);
    }
    static unsigned char is_in[REGION_BYTES / BENCH_PAGE_BYTES];
    uint64_t resident = 0;
    bench_check(mincore(region, REGION_BYTES, is_in) == 0 ? region : NULL);
    for (size_t i = 0; i < sizeof is_in; i++) {
        resident += is_in[i] & 1u;
    }
    double extra =
        (double)(resident * BENCH_PAGE_BYTES) - (double)(live_count * params[SIZE].value);
    bench_print(name, extra / 1024);
    for (uint64_t i = 0; i < live_count; i++) {
        calls.free(pool, live[i]);
    }
}

static void print_two_processes(void) {
    pid_t child = fork();
    if (child == 0) {
        run_pool(params[LIVE].value);
        _exit(0);
    }
    double ns = run_pool(params[LIVE].value);
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0 || !calls.validate(pool)) {
        bench_die("the pool is not as it should be after two processes used it");
    }
    bench_print("ns_per_pair_of_pool_while_another_process_does_the_same", ns);
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    load();
    uint64_t count = params[LIVE].value;
    if (count == 0 || params[ROUNDS].value == 0 || params[ROUNDS].value > ROUNDS_MAX) {
        bench_die("live and rounds are at least 1, rounds at most 99");
    }
    region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_check(region != MAP_FAILED ? region : NULL);
    pool = bench_check(calls.create(region, REGION_BYTES));
    live = bench_check(bench_map(count * sizeof *live));
    print_extra("extra_kib_with_1_live", 1);
    print_extra("extra_kib_with_many_live", count);
    print_pairs("ns_per_pair_of_pool_with_1_live", "ns_per_pair_of_libc_with_1_live", 1);
    print_pairs("ns_per_pair_of_pool_with_many_live", "ns_per_pair_of_libc_with_many_live", count);
    print_two_processes();
    return 0;
}
