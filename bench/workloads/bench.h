// bench.h - what all workloads share: parameters, sizes, threads, output.
//
// A workload is one process with a fixed amount of work. It takes its
// parameters as NAME=VALUE words, prints `key value` lines on stdout and exits
// 0. Time and peak memory are measured from outside, by the launcher; a clock
// is read in here only where the question needs one. Bookkeeping that would
// blur the picture (arrays of pointers) comes from bench_map, never from malloc.
#ifndef BENCH_H
#define BENCH_H

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BENCH_CACHE_LINE_BYTES 64
#define BENCH_PAGE_BYTES 4096

// ---- Parameters --------------------------------------------------------------

struct bench_param {
    const char *name;
    uint64_t value;  // holds the default, then what the command line says
    const char *meaning;
};

static inline _Noreturn void bench_usage(const char *program, const struct bench_param *params,
                                         size_t count) {
    fprintf(stderr, "usage: %s [NAME=VALUE]... (VALUE may end in K, M or G)\n", program);
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "  %-12s %s (%" PRIu64 ")\n", params[i].name, params[i].meaning,
                params[i].value);
    }
    exit(2);
}

static inline bool bench_parse_value(const char *text, uint64_t *value) {
    char *end = NULL;
    *value = strtoull(text, &end, 10);
    if (end == text) {
        return false;
    }
    switch (*end) {
    case 'G': *value <<= 10;  // fall through
    case 'M': *value <<= 10;  // fall through
    case 'K':
        *value <<= 10;
        end++;
        break;
    default: break;
    }
    return *end == '\0';
}

static inline void bench_parse(int argc, char **argv, struct bench_param *params, size_t count) {
    for (int i = 1; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        bool known = false;
        for (size_t j = 0; equals != NULL && j < count; j++) {
            size_t length = strlen(params[j].name);
            if (length == (size_t)(equals - argv[i]) &&
                strncmp(argv[i], params[j].name, length) == 0) {
                known = bench_parse_value(equals + 1, &params[j].value);
                break;
            }
        }
        if (!known) {
            bench_usage(argv[0], params, count);
        }
    }
}

// ---- Output and failure ------------------------------------------------------

static inline void bench_print(const char *key, double value) {
    char line[128];
    int length = snprintf(line, sizeof line, "%s %.10g\n", key, value);
    if (write(STDOUT_FILENO, line, (size_t)length) != length) {
        _exit(3);
    }
}

static inline _Noreturn void bench_die(const char *what) {
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static inline void *bench_check(void *block) {
    if (block == NULL) {
        bench_die("the allocator returned NULL");
    }
    return block;
}

// A function of a library that is preloaded, as workloads of what only allot has need it.
static inline void *bench_find(const char *name) {
    void *function = dlsym(RTLD_DEFAULT, name);
    if (function == NULL) {
        fprintf(stderr, "bench: %s is not there: LD_PRELOAD=.../liballot.so.1\n", name);
        exit(1);
    }
    return function;
}

// ---- Memory that is not malloc's ---------------------------------------------

static inline void *bench_map(size_t size_bytes) {
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        bench_die("mmap failed");
    }
    return memory;
}

// Write the first word and one word of each page, as a user of the block would.
static inline void bench_touch(void *block, size_t size_bytes) {
    volatile char *bytes = block;
    for (size_t at = 0; at < size_bytes; at += BENCH_PAGE_BYTES) {
        bytes[at] = (char)size_bytes;
    }
}

// The compiler must believe that the block is used.
static inline void bench_keep(void *block) {
    __asm__ volatile("" : : "r"(block) : "memory");
}

static inline void *bench_malloc(size_t size_bytes) {
    void *block = bench_check(malloc(size_bytes));
    bench_touch(block, size_bytes);
    return block;
}

// One field of /proc/self/status, in KiB (VmRSS, VmHWM); 0 if there is none.
static inline uint64_t bench_status_kib(const char *field) {
    char text[4096];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    const char *found = strstr(text, field);
    return found == NULL ? 0 : strtoull(found + strlen(field) + 1, NULL, 10);
}

// ---- Time --------------------------------------------------------------------

static inline uint64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void bench_sleep_ms(uint64_t duration_ms) {
    struct timespec left = {(time_t)(duration_ms / 1000), (long)(duration_ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

// ---- Random numbers (xorshift64*) and sizes ---------------------------------

static inline uint64_t bench_seed(uint64_t stream) {
    uint64_t mixed = (stream + 1) * UINT64_C(0x9e3779b97f4a7c15);
    mixed ^= mixed >> 29;
    return mixed | 1;
}

static inline uint64_t bench_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(0x2545f4914f6cdd1d)) >> 16;
}

static inline uint64_t bench_random_below(uint64_t *state, uint64_t limit) {
    return bench_random(state) % limit;
}

// Sizes as a server asks for them: 45 % are 16-64 B (nodes, keys), 30 % to
// 256 B (headers, small values), 15 % to 1 KiB, 8 % to 4 KiB (buffers), 2 % to
// 32 KiB. Drawn once into a table, so that a draw costs one load.
#define BENCH_SERVER_SIZES_COUNT 4096

static uint32_t __attribute__((unused)) bench_server_sizes[BENCH_SERVER_SIZES_COUNT];

static inline void bench_server_init(void) {
    static const struct {
        uint32_t percent, from_bytes, to_bytes;
    } bands[] = {{45, 16, 64}, {30, 65, 256}, {15, 257, 1024}, {8, 1025, 4096}, {2, 4097, 32768}};
    uint64_t state = bench_seed(77);
    for (size_t i = 0; i < BENCH_SERVER_SIZES_COUNT; i++) {
        uint64_t percent = bench_random_below(&state, 100);
        size_t band = 0;
        while (percent >= bands[band].percent) {
            percent -= bands[band++].percent;
        }
        bench_server_sizes[i] =
            (uint32_t)(bands[band].from_bytes +
                       bench_random_below(&state,
                                          bands[band].to_bytes - bands[band].from_bytes + 1));
    }
}

static inline size_t bench_server_size(uint64_t *state) {
    return bench_server_sizes[bench_random(state) % BENCH_SERVER_SIZES_COUNT];
}

static inline void bench_shuffle(void **items, size_t count, uint64_t *state) {
    for (size_t i = count; i > 1; i--) {
        size_t other = bench_random_below(state, i);
        void *item = items[i - 1];
        items[i - 1] = items[other];
        items[other] = item;
    }
}

// ---- Threads -----------------------------------------------------------------

#define BENCH_THREADS_MAX 4096

static inline void bench_thread_start(pthread_t *thread, void *(*run)(void *), void *arg) {
    if (pthread_create(thread, NULL, run, arg) != 0) {
        bench_die("pthread_create failed");
    }
}

// Run `count` threads, each with its index as argument, and wait for them all.
static inline void bench_threads_run(size_t count, void *(*run)(void *)) {
    pthread_t threads[BENCH_THREADS_MAX];
    if (count > BENCH_THREADS_MAX) {
        bench_die("too many threads");
    }
    for (size_t i = 0; i < count; i++) {
        bench_thread_start(&threads[i], run, (void *)(uintptr_t)i);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

#endif
