// check.h - what the process-level test programs share: checks that print both texts and both
// values, a list of named cases, and one seed. Header only, for C and C++.
//
// A failed check writes one line without allocating, then the command that repeats the run, and
// ends the process with 1. Exit status 77 means skipped.
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CHECK_SKIPPED 77
#define CHECK_UNUSED __attribute__((unused))

#if defined(__SANITIZE_THREAD__)
#define CHECK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHECK_TSAN 1
#endif
#endif
#ifndef CHECK_TSAN
#define CHECK_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define CHECK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECK_ASAN 1
#endif
#endif
#ifndef CHECK_ASAN
#define CHECK_ASAN 0
#endif

struct check_case {
    const char *name;
    void (*run)(void);
};

#define CHECK_CASE(function) \
    { #function, function }

static struct {
    const char *program;
    const char *case_name;  // the case that runs, or NULL
    uint64_t seed;
    bool has_seed;  // the seed was read or drawn
} check_state;

// ---- failing -----------------------------------------------------------------

CHECK_UNUSED static void check_write(const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0) {
            return;
        }
        text += written;
        length -= (size_t)written;
    }
}

__attribute__((format(printf, 1, 2))) CHECK_UNUSED static void check_say(const char *format, ...) {
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size_t wanted = length < 0 ? 0 : (size_t)length;
    check_write(text, wanted < sizeof(text) ? wanted : sizeof(text) - 1);
}

__attribute__((noreturn)) CHECK_UNUSED static void check_end_failed(void) {
    if (check_state.has_seed) {
        check_say("repeat with: ALLOT_TEST_SEED=%" PRIu64 " %s %s\n", check_state.seed,
                  check_state.program ? check_state.program : "this program",
                  check_state.case_name ? check_state.case_name : "");
    } else if (check_state.program) {
        check_say("repeat with: %s %s\n", check_state.program,
                  check_state.case_name ? check_state.case_name : "");
    }
    _exit(1);
}

#define CHECK_FAIL(...)                           \
    do {                                          \
        check_say("%s:%d: ", __FILE__, __LINE__); \
        check_say(__VA_ARGS__);                   \
        check_say("\n");                          \
        check_end_failed();                       \
    } while (0)

/// End the process as skipped.
#define CHECK_SKIP(...)         \
    do {                        \
        check_say("skipped: "); \
        check_say(__VA_ARGS__); \
        check_say("\n");        \
        _exit(CHECK_SKIPPED);   \
    } while (0)

// ---- checks ------------------------------------------------------------------

#define CHECK(condition)                           \
    do {                                           \
        if (!(condition)) {                        \
            CHECK_FAIL("%s is false", #condition); \
        }                                          \
    } while (0)

/// Compare two unsigned numbers with an operator: CHECK_UINT(a, <=, b).
#define CHECK_UINT(left, op, right)                                                           \
    do {                                                                                      \
        uint64_t check_left = (uint64_t)(left);                                               \
        uint64_t check_right = (uint64_t)(right);                                             \
        if (!(check_left op check_right)) {                                                   \
            CHECK_FAIL("%s %s %s is false: %" PRIu64 " (0x%" PRIx64 ") against %" PRIu64      \
                       " (0x%" PRIx64 ")",                                                    \
                       #left, #op, #right, check_left, check_left, check_right, check_right); \
        }                                                                                     \
    } while (0)

/// As CHECK_UINT for signed numbers.
#define CHECK_INT(left, op, right)                                                            \
    do {                                                                                      \
        int64_t check_left = (int64_t)(left);                                                 \
        int64_t check_right = (int64_t)(right);                                               \
        if (!(check_left op check_right)) {                                                   \
            CHECK_FAIL("%s %s %s is false: %" PRId64 " against %" PRId64, #left, #op, #right, \
                       check_left, check_right);                                              \
        }                                                                                     \
    } while (0)

/// Compare two addresses with == or !=.
#define CHECK_PTR(left, op, right)                                                         \
    do {                                                                                   \
        const void *check_left = (const void *)(left);                                     \
        const void *check_right = (const void *)(right);                                   \
        if (!(check_left op check_right)) {                                                \
            CHECK_FAIL("%s %s %s is false: %p against %p", #left, #op, #right, check_left, \
                       check_right);                                                       \
        }                                                                                  \
    } while (0)

/// Two texts are equal.
#define CHECK_TEXT(left, right)                                                          \
    do {                                                                                 \
        const char *check_left = (left);                                                 \
        const char *check_right = (right);                                               \
        if (strcmp(check_left, check_right) != 0) {                                      \
            CHECK_FAIL("%s and %s differ:\n  have \"%s\"\n  want \"%s\"", #left, #right, \
                       check_left, check_right);                                         \
        }                                                                                \
    } while (0)

/// The address is a multiple of `align`, and not NULL.
#define CHECK_ALIGNED(pointer, align)                                                              \
    do {                                                                                           \
        const void *check_pointer = (pointer);                                                     \
        uint64_t check_align = (uint64_t)(align);                                                  \
        if (!check_pointer || (uintptr_t)check_pointer % check_align != 0) {                       \
            CHECK_FAIL("%s = %p is no multiple of %s = %" PRIu64, #pointer, check_pointer, #align, \
                       check_align);                                                               \
        }                                                                                          \
    } while (0)

// ---- seed and random numbers ---------------------------------------------------

/// The seed of this run: ALLOT_TEST_SEED, or drawn and printed.
CHECK_UNUSED static uint64_t check_seed(void) {
    if (!check_state.has_seed) {
        const char *text = getenv("ALLOT_TEST_SEED");
        if (text && *text) {
            check_state.seed = strtoull(text, NULL, 0);
        } else if (getrandom(&check_state.seed, sizeof(check_state.seed), 0) < 0) {
            check_state.seed = 1;
        }
        check_state.has_seed = true;
        printf("ALLOT_TEST_SEED=%" PRIu64 "\n", check_state.seed);
        fflush(stdout);
    }
    return check_state.seed;
}

/// Whether the long variants were asked for.
CHECK_UNUSED static bool check_is_long(void) {
    const char *text = getenv("ALLOT_TEST_LONG");
    return text && *text && strcmp(text, "0") != 0;
}

struct check_random {
    uint64_t state;
};

CHECK_UNUSED static uint64_t check_mix(uint64_t value) {
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/// The next of a stream of random numbers (splitmix64).
CHECK_UNUSED static uint64_t check_random_next(struct check_random *random) {
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return check_mix(random->state);
}

/// A number from 0 to bound - 1.
CHECK_UNUSED static uint64_t check_random_below(struct check_random *random, uint64_t bound) {
    return check_random_next(random) % bound;
}

// ---- cases -------------------------------------------------------------------

/// Run the case named by the first argument, or all of them; says which were run.
CHECK_UNUSED static int check_main(const struct check_case *cases, size_t case_count, int argc,
                                   char **argv) {
    check_state.program = argv[0];
    size_t run_count = 0;
    for (size_t i = 0; i < case_count; i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name) != 0) {
            continue;
        }
        check_state.case_name = cases[i].name;
        cases[i].run();
        printf("ok  %s\n", cases[i].name);
        fflush(stdout);
        run_count++;
    }
    if (run_count == 0) {
        check_say("%s: no case is named %s\n", argv[0], argc > 1 ? argv[1] : "");
        return 1;
    }
    return 0;
}

#define CHECK_MAIN(cases)                                                         \
    int main(int argc, char **argv) {                                             \
        return check_main(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv); \
    }

#endif
