// giveback.c - does an idle process give back what it freed?
//
// Fills `total` bytes with blocks (small, or of `size`), frees all, then sleeps
// one second without any call into the allocator. Prints resident before, right
// after the last free, after the second, and after malloc_trim where the
// allocator has one. Not measured: time; partly freed pages (fragment.c).
#include "bench.h"
#include <malloc.h>

enum { TOTAL, SIZE, IDLE };
static struct bench_param params[] = {
    [TOTAL] = {"total", 1 << 30, "bytes to fill and free"},
    [SIZE] = {"size", 0, "bytes per block; 0: server sizes"},
    [IDLE] = {"idle", 1000, "milliseconds to sleep"},
};

static void giveback_print(const char *when, uint64_t before_kib, uint64_t own_kib) {
    char key[64];
    double resident_kib = (double)bench_status_kib("VmRSS:") - (double)own_kib;
    snprintf(key, sizeof key, "resident_mib_%s", when);
    bench_print(key, resident_kib / 1024);
    snprintf(key, sizeof key, "returned_percent_%s", when);
    bench_print(key, 100.0 * (1.0 - resident_kib / (double)before_kib));
}

int main(int argc, char **argv) {
    bench_parse(argc, argv, params, sizeof params / sizeof params[0]);
    bench_server_init();
    uint64_t state = bench_seed(10), filled_bytes = 0;
    size_t count = 0;
    void **blocks = bench_map((params[TOTAL].value / 16 + 1) * sizeof *blocks);
    while (filled_bytes < params[TOTAL].value) {
        size_t size_bytes =
            params[SIZE].value != 0 ? params[SIZE].value : bench_server_size(&state);
        blocks[count++] = bench_malloc(size_bytes);
        filled_bytes += size_bytes;
    }
    uint64_t own_kib = count * sizeof *blocks / 1024;
    uint64_t full_kib = bench_status_kib("VmRSS:") - own_kib;
    bench_shuffle(blocks, count, &state);
    for (size_t i = 0; i < count; i++) {
        free(blocks[i]);
    }
    bench_print("resident_mib_full", (double)full_kib / 1024);
    giveback_print("at_once", full_kib, own_kib);
    bench_sleep_ms(params[IDLE].value);
    giveback_print("idle", full_kib, own_kib);
    malloc_trim(0);
    giveback_print("trimmed", full_kib, own_kib);
    return 0;
}
