// latency.c - how long can a single malloc and free take?
//
// One thread replaces random blocks of server sizes in a live set of `live`
// bytes; each free, malloc and first write together is timed with the
// processor's counter. Prints the median, p99.9, p99.99 and the maximum in
// nanoseconds. Not measured: several threads; the noise of the machine is in
// the tail of every allocator alike, so compare medians of many runs.
#include "bench.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum { LIVE, STEPS };
static struct bench_param params[] = {
    [LIVE] = {"live", 100 << 20, "live bytes"},
    [STEPS] = {"steps", 8000000, "timed replacements"},
};

static uint64_t latency_ticks(void) {
#if defined(__x86_64__)
    unsigned int processor;
    return __rdtscp(&processor);
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return bench_now_ns();
#endif
}

static int latency_compare(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

// In place, without malloc, unlike qsort: counts of the upper values suffice.
static double latency_quantile(uint32_t *ticks, size_t count, double quantile) {
    size_t at = (size_t)(quantile * (double)(count - 1));
    return (double)ticks[at];
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    uint64_t state = bench_seed(11), live_bytes = 0;
    size_t count = 0, step_count = params[STEPS].value;
    void **blocks = bench_map((params[LIVE].value / 16 + 1) * sizeof *blocks);
    uint32_t *ticks = bench_map(step_count * sizeof *ticks);
    bench_touch(ticks, step_count * sizeof *ticks);
    while (live_bytes < params[LIVE].value) {
        size_t size_bytes = bench_server_size(&state);
        blocks[count++] = bench_malloc(size_bytes);
        live_bytes += size_bytes;
    }
    uint64_t start_ns = bench_now_ns(), start_ticks = latency_ticks();
    for (size_t i = 0; i < step_count; i++) {
        size_t slot = bench_random_below(&state, count);
        size_t size_bytes = bench_server_size(&state);
        uint64_t before = latency_ticks();
        free(blocks[slot]);
        volatile char *block = malloc(size_bytes);
        *block = 1;
        uint64_t passed = latency_ticks() - before;
        blocks[slot] = (void *)block;
        ticks[i] = passed > UINT32_MAX ? UINT32_MAX : (uint32_t)passed;
    }
    double ns_per_tick =
        (double)(bench_now_ns() - start_ns) / (double)(latency_ticks() - start_ticks);
    qsort(ticks, step_count, sizeof *ticks, latency_compare);
    bench_print("ops", (double)step_count);
    bench_print("p50_ns", ns_per_tick * latency_quantile(ticks, step_count, 0.5));
    bench_print("p99_9_ns", ns_per_tick * latency_quantile(ticks, step_count, 0.999));
    bench_print("p99_99_ns", ns_per_tick * latency_quantile(ticks, step_count, 0.9999));
    bench_print("max_ns", ns_per_tick * (double)ticks[step_count - 1]);
    return 0;
}
