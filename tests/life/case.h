// case.h - programs made of named cases, each of which gets a process.
//
// CASE(a_sentence) { ... } defines and registers a case; CMake reads the names
// from the source and makes one ctest entry of each. A case passes by
// returning. Nothing here allocates, so that a case may count every block.
#ifndef TESTS_CASE_H
#define TESTS_CASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "allot.h"

#pragma weak allot_is_active
#pragma weak allot_purge
#pragma weak allot_stats
#pragma weak allot_version

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define CASE_SKIPPED 77

struct test_case {
    const char *name;
    void (*run)(void);
};

extern const struct test_case __start_test_cases[];
extern const struct test_case __stop_test_cases[];

#define CASE(sentence)                                                               \
    static void case_##sentence(void);                                               \
    static const struct test_case entry_##sentence                                   \
        __attribute__((used, section("test_cases"))) = {#sentence, case_##sentence}; \
    static void case_##sentence(void)

// A part of another case, run by exec: no test of its own.
#define PART(sentence) CASE(sentence)

__attribute__((unused)) static const char *case_self;  // path of this program

__attribute__((noreturn, format(printf, 4, 5), unused)) static void
case_fail(const char *file, int line, const char *condition, const char *format, ...) {
    char text[1024];
    int used = snprintf(text, sizeof text, "%s:%d: not true: %s: ", file, line, condition);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "%s\n", text);
    _exit(1);
}

// Demand `condition`; the rest is a printf format with the values that matter.
#define CHECK(condition, ...)                                       \
    do {                                                            \
        if (!(condition)) {                                         \
            case_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
        }                                                           \
    } while (0)

__attribute__((noreturn, unused)) static void case_skip(const char *reason) {
    dprintf(STDOUT_FILENO, "skipped: %s\n", reason);
    _exit(CASE_SKIPPED);
}

static inline bool case_is_long(void) {
    const char *value = getenv("ALLOT_TEST_LONG");

    return value != NULL && *value != '\0' && strcmp(value, "0") != 0;
}

// `normal`, or `with_long` where ALLOT_TEST_LONG is set.
static inline size_t case_count(size_t normal, size_t with_long) {
    return case_is_long() ? with_long : normal;
}

static inline uint64_t case_now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void case_sleep_ms(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

// The number of KiB that stands after `key` in a file of /proc, in bytes.
static inline size_t case_proc_bytes(const char *path, const char *key) {
    char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got;

    if (fd < 0) {
        return 0;
    }
    while (used < sizeof text - 1 && (got = read(fd, text + used, sizeof text - 1 - used)) > 0) {
        used += (size_t)got;
    }
    close(fd);
    text[used] = '\0';
    const char *at = strstr(text, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10) * KIB;
}

// Exact, unlike statm, whose counters are batched per CPU.
static inline size_t case_resident_bytes(void) {
    return case_proc_bytes("/proc/self/smaps_rollup", "\nRss:");
}

static inline size_t case_anonymous_bytes(void) {
    return case_proc_bytes("/proc/self/smaps_rollup", "\nAnonymous:");
}

// Skip where the machine cannot spare `bytes`.
static inline void case_need_memory(size_t bytes) {
    if (case_proc_bytes("/proc/meminfo", "MemAvailable:") < bytes) {
        case_skip("not enough free memory");
    }
}

// Resident memory for the test's own records, so that it is no part of growth.
static inline void *case_array(size_t bytes) {
    void *array = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    CHECK(array != MAP_FAILED, "%zu bytes: %s", bytes, strerror(errno));
    return array;
}

// xorshift64*: good enough, one state per thread.
static inline uint64_t case_random(uint64_t *state) {
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 2685821657736338717u;
}

static inline uint64_t case_seed(void) {
    const char *value = getenv("ALLOT_TEST_SEED");
    uint64_t seed = value == NULL ? 20240229 : strtoull(value, NULL, 0);

    printf("ALLOT_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed == 0 ? 1 : seed;
}

// A block whose bytes can be told from those of other blocks.
static inline void *case_take(size_t bytes) {
    unsigned char *block = (unsigned char *)malloc(bytes);

    CHECK(block != NULL, "malloc(%zu): %s", bytes, strerror(errno));
    memset(block, (int)(bytes * 7 + 1), bytes);
    return block;
}

static inline void case_give(void *block, size_t bytes) {
    const unsigned char *p = (const unsigned char *)block;
    unsigned char fill = (unsigned char)(bytes * 7 + 1);

    CHECK(bytes == 0 || (p[0] == fill && p[bytes / 2] == fill && p[bytes - 1] == fill),
          "block %p of %zu bytes has been written by someone else", block, bytes);
    free(block);
}

// A few thousand blocks of all sizes, checked: does the allocator work here?
static inline void case_churn(uint64_t seed, size_t operations) {
    enum { KEPT = 256 };
    void *blocks[KEPT] = {NULL};
    size_t sizes[KEPT] = {0};
    uint64_t state = seed * 2 + 1;

    for (size_t i = 0; i < operations + KEPT; i++) {
        size_t at = i < operations ? case_random(&state) % KEPT : i - operations;
        if (blocks[at] != NULL) {
            case_give(blocks[at], sizes[at]);
            blocks[at] = NULL;
        }
        if (i < operations) {
            sizes[at] = 1 + case_random(&state) % (i % 512 == 0 ? 300000 : 2000);
            blocks[at] = case_take(sizes[at]);
        }
    }
}

static inline pthread_t case_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);

    CHECK(error == 0, "pthread_create: %s", strerror(error));
    return thread;
}

static inline void *case_join(pthread_t thread) {
    void *result = NULL;
    int error = pthread_join(thread, &result);

    CHECK(error == 0, "pthread_join: %s", strerror(error));
    return result;
}

// Wait for a child and demand that it ended with exit status 0.
static inline void case_wait(pid_t child) {
    int status = 0;
    pid_t waited;

    CHECK(child > 0, "fork: %s", strerror(errno));
    do {
        waited = waitpid(child, &status, 0);
    } while (waited < 0 && errno == EINTR);
    CHECK(waited == child, "waitpid: %s", strerror(errno));
    CHECK(!WIFSIGNALED(status), "child %d died of signal %d", (int)child, WTERMSIG(status));
    if (WEXITSTATUS(status) == CASE_SKIPPED) {
        _exit(CASE_SKIPPED);
    }
    CHECK(WEXITSTATUS(status) == 0, "child %d ended with %d", (int)child, WEXITSTATUS(status));
}

// Under ctest the library under test must be there, or nothing is tested.
static inline void case_demand_library(void) {
    const char *expected = getenv("ALLOT_TEST_EXPECT");

    if (expected != NULL && strcmp(expected, "allot") == 0) {
        CHECK(allot_is_active != NULL && allot_is_active(), "malloc is not the one under test");
    }
}

static inline int case_run(const struct test_case *one) {
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        one->run();
        exit(0);
    }
    waitpid(child, &status, 0);
    bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == CASE_SKIPPED;
    bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    dprintf(STDOUT_FILENO, "%s %s\n", passed ? "ok  " : skipped ? "skip" : "FAIL", one->name);
    return passed || skipped ? 0 : 1;
}

// With a name: that case, in this process. Without: all, each in a child.
#ifndef CASE_OWN_MAIN
int main(int argc, char **argv) {
    int failed_count = 0;

    case_self = argv[0];
    case_demand_library();
    for (const struct test_case *one = __start_test_cases; one < __stop_test_cases; one++) {
        if (argc < 2) {  // parts skip themselves
            failed_count += case_run(one);
        } else if (strcmp(argv[1], one->name) == 0) {
            one->run();
            return 0;
        }
    }
    CHECK(argc < 2, "no case is called %s", argv[1]);
    return failed_count == 0 ? 0 : 1;
}
#endif
#endif
