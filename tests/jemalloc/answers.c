// answers.c - prints whose mallctl this is, then what it says to wrong calls. What depends on how
// a jemalloc was built (arenas, profiling) is left out, and tcache.create without a place for the
// answer, at which libjemalloc 5.3.0 crashes.
#include "jemalloc.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

enum { LENGTHS = 17 };

static const char *const names[] = {
    "version",
    "epoch",
    "background_thread",
    "config.stats",
    "opt.dss",
    "opt.narenas",
    "opt.dirty_decay_ms",
    "thread.allocated",
    "thread.deallocatedp",
    "thread.tcache.enabled",
    "thread.tcache.flush",
    "arena.0.purge",
    "arena.0.decay",
    "arena.0.muzzy_decay_ms",
    "arenas.narenas",
    "arenas.nbins",
    "arenas.bin.0.size",
    "arenas.bin.0.nregs",
    "arenas.bin.x.size",
    "arenas.bin.999.size",
    "arenas.lextent.0.size",
    "stats.allocated",
    "stats.arenas.0.pactive",
    "stats.arenas.0.small.allocated",
    "stats.arenas.0.bins.0.curregs",
    "stats.arenas.777.pactive",
    "stats",
    "stats.",
    "",
    "nothing",
};

static void print_reads(const char *name) {
    for (size_t length = 0; length < LENGTHS; length++) {
        unsigned char value[LENGTHS];
        size_t got = length;
        int error = mallctl(name, value, &got, NULL, 0);
        printf("%s read %zu: %d, %zu\n", name, length, error, got);
    }
}

static void print_writes(const char *name) {
    uint64_t value[4] = {0};
    printf("%s write 3: %d\n", name, mallctl(name, NULL, NULL, value, 3));
    printf("%s write 32: %d\n", name, mallctl(name, NULL, NULL, value, 32));
    printf("%s order: %d\n", name, mallctl(name, NULL, NULL, NULL, 0));
}

static void print_mib(const char *name) {
    size_t mib[8];
    size_t all = 8;
    int whole = mallctlnametomib(name, mib, &all);
    printf("%s mib: %d\n", name, whole);
    for (size_t length = 0; length < 8 && whole == 0; length++) {
        size_t got = length;
        uint64_t value[2];
        size_t bytes = 3;
        int error = mallctlnametomib(name, mib, &got);
        printf("%s mib %zu: %d, %zu\n", name, length, error, error == 0 ? got : 0);
        if (error == 0 && got > 0) {
            error = mallctlbymib(mib, got, value, &bytes, NULL, 0);
            printf("%s by mib %zu: %d, %zu\n", name, got, error, bytes);
        }
    }
}

int main(void) {
    Dl_info info;
    if (dladdr((void *)(uintptr_t)mallctl, &info) == 0) {
        return 1;
    }
    puts(info.dli_fname);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        print_reads(names[i]);
        print_writes(names[i]);
        print_mib(names[i]);
    }
    return 0;
}
