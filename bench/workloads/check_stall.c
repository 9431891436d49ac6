// check_stall.c - for how long does allot_check() stop those who allocate meanwhile?
//
// One thread replaces random ones of `live` watched blocks of 16 bytes and times each
// replacement, another calls allot_check() again and again, or sleeps: the two take turns,
// round by round. Printed are medians over the rounds of p99.99 and of the longest, and the
// longest of all; then the same of replacements in which the kernel did not take the
// processor away for others (`kept`), and how often it did. Needs allot with
// ALLOT_GUARD=all. Not measured: blocks with fences, which cost system calls.
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum { LIVE, STEPS, ROUNDS };
static struct bench_param params[] = {
    [LIVE] = {"live", 1000000, "blocks of 16 bytes that live"},
    [STEPS] = {"steps", 1000000, "replacements of a round"},
    [ROUNDS] = {"rounds", 9, "rounds in which the two take turns"},
};
enum { ROUNDS_MAX = 99, LONG_NS = 20000 };

static size_t (*check)(void);
static _Atomic(bool) is_checking, is_over;
static _Atomic(uint64_t) check_count, check_ns;

static void *check_again_and_again(void *unused) {
    while (!atomic_load(&is_over)) {
        if (!atomic_load(&is_checking)) {
            bench_sleep_ms(1);
            continue;
        }
        uint64_t start_ns = bench_now_ns();
        if (check() != 0) {
            bench_die("a block is damaged");
        }
        check_ns += bench_now_ns() - start_ns;
        check_count++;
    }
    return unused;
}

// What a round took, in ns.
struct taken {
    double p99_99, longest, longest_kept, preempted;
};

static long times_preempted(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static int compare(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static struct taken run_round(void **blocks, uint32_t *times, bool with_check, uint64_t *state) {
    struct taken taken = {0};
    atomic_store(&is_checking, with_check);
    bench_sleep_ms(5);
    long before = times_preempted();
    for (uint64_t i = 0; i < params[STEPS].value; i++) {
        void **block = &blocks[bench_random_below(state, params[LIVE].value)];
        uint64_t start_ns = bench_now_ns();
        free(*block);
        *block = malloc(16);
        uint64_t ns = bench_now_ns() - start_ns;
        times[i] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        // To ask the kernel takes longer than most replacements.
        if (ns < LONG_NS) {
            continue;
        }
        long now = times_preempted();
        if (now != before) {
            taken.preempted += (double)(now - before);
            before = now;
        } else if ((double)ns > taken.longest_kept) {
            taken.longest_kept = (double)ns;
        }
    }
    qsort(times, params[STEPS].value, sizeof *times, compare);
    taken.longest = times[params[STEPS].value - 1];
    taken.p99_99 = times[params[STEPS].value - 1 - params[STEPS].value / 10000];
    return taken;
}

static int compare_doubles(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static void print(const char *what, const char *how, double *numbers) {
    char key[64];
    size_t rounds = params[ROUNDS].value;
    qsort(numbers, rounds, sizeof *numbers, compare_doubles);
    snprintf(key, sizeof key, "%s_%s", what, how);
    bench_print(key, numbers[rounds / 2]);
    snprintf(key, sizeof key, "%s_%s_most", what, how);
    bench_print(key, numbers[rounds - 1]);
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    *(void **)&check = bench_find("allot_check");
    if (params[ROUNDS].value > ROUNDS_MAX) {
        bench_die("too many rounds");
    }
    void **blocks = bench_map(params[LIVE].value * sizeof *blocks);
    uint32_t *times = bench_map(params[STEPS].value * sizeof *times);
    uint64_t state = bench_seed(5);
    for (uint64_t i = 0; i < params[LIVE].value; i++) {
        blocks[i] = bench_malloc(16);
    }
    pthread_t checker;
    pthread_create(&checker, NULL, check_again_and_again, NULL);
    run_round(blocks, times, false, &state);  // until what is freed is used again
    static const char *const how[] = {"alone", "beside_check"};
    static double figures[4][2][ROUNDS_MAX];
    for (size_t i = 0; i < 2 * params[ROUNDS].value; i++) {
        struct taken taken = run_round(blocks, times, i % 2 != 0, &state);
        figures[0][i % 2][i / 2] = taken.p99_99;
        figures[1][i % 2][i / 2] = taken.longest;
        figures[2][i % 2][i / 2] = taken.longest_kept;
        figures[3][i % 2][i / 2] = taken.preempted;
    }
    atomic_store(&is_over, true);
    pthread_join(checker, NULL);
    static const char *const what[] = {"p99_99_ns", "longest_ns", "longest_kept_ns", "preempted"};
    for (unsigned i = 0; i < 4 * 2; i++) {
        print(what[i / 2], how[i % 2], figures[i / 2][i % 2]);
    }
    bench_print("checks", (double)check_count);
    bench_print("check_ms", (double)check_ns / (double)(check_count ? check_count : 1) / 1e6);
    return 0;
}
