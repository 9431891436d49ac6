// unit.h - runs each case in a child process, because the modules keep state that has no way back.
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../fake/os_fake.h"
#include "../support/check.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct unit_case {
    const char *name;
    void (*run)(void);
    bool has_failures;  // run it again and again, each time with another memory call that fails
};

#define UNIT(name) \
    { #name, name, false }
#define UNIT_WITH_FAILURES(name) \
    { #name, name, true }

enum { UNIT_CASES_MAX = 64, UNIT_NOT_REACHED = 64, UNIT_CALLS_MAX = 5000 };

/// Run it in a child, in which call k fails; returns its exit status, or fails.
CHECK_UNUSED static int unit_child(const struct unit_case *test, uint64_t k, bool from) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        setenv("CMOCKA_TEST_ABORT", "1", 1);  // a failed check says so and ends this process
        alarm(300);
        os_fake_fail(k, from);
        test->run();
        fflush(NULL);
        _exit(k > 0 && os_fake.failed_count == 0 ? UNIT_NOT_REACHED : 0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) ||
        (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != UNIT_NOT_REACHED)) {
        fail_msg("%s: status 0x%x with call %llu failing%s", test->name, (unsigned)status,
                 (unsigned long long)k, from ? " and all after it" : "");
    }
    return WEXITSTATUS(status);
}

/// The call that fails is the first, the second, ... until the case makes so many no more.
CHECK_UNUSED static void unit_sweep(const struct unit_case *test, bool from) {
    uint64_t k = 1;
    while (unit_child(test, k, from) != UNIT_NOT_REACHED) {
        assert_true(++k < UNIT_CALLS_MAX);
    }
    printf("%s: %llu calls failed, %s\n", test->name, (unsigned long long)k - 1,
           from ? "and all after each" : "one at a time");
    assert_true(k > 1);
}

CHECK_UNUSED static void unit_run(void **state) {
    const struct unit_case *test = *state;
    unit_child(test, 0, false);
    if (test->has_failures) {
        unit_sweep(test, false);
        unit_sweep(test, true);
    }
}

CHECK_UNUSED static int unit_main(const struct unit_case *cases, size_t case_count, int argc,
                                  char **argv) {
    static struct CMUnitTest tests[UNIT_CASES_MAX];
    size_t count = 0;
    check_seed();
    for (size_t i = 0; i < case_count && i < UNIT_CASES_MAX; i++) {
        if (argc < 2 || strcmp(argv[1], cases[i].name) == 0) {
            tests[count++] = (struct CMUnitTest){.name = cases[i].name,
                                                 .test_func = unit_run,
                                                 .initial_state = (void *)(uintptr_t)&cases[i]};
        }
    }
    if (count == 0) {
        fprintf(stderr, "no case is named %s\n", argv[1]);
        return 1;
    }
    return _cmocka_run_group_tests(argv[0], tests, count, NULL, NULL) != 0;
}

#define UNIT_MAIN(cases)                                                         \
    int main(int argc, char **argv) {                                            \
        return unit_main(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv); \
    }

/// Two numbers compare as said; both are shown if not. In this macro's own words: cmocka has none
/// for < and <=.
#define UNIT_CHECK(left, op, right)                                                                \
    do {                                                                                           \
        uint64_t unit_left = (uint64_t)(left);                                                     \
        uint64_t unit_right = (uint64_t)(right);                                                   \
        if (!(unit_left op unit_right)) {                                                          \
            fail_msg("%s %s %s is false: %llu (0x%llx) against %llu (0x%llx)", #left, #op, #right, \
                     (unsigned long long)unit_left, (unsigned long long)unit_left,                 \
                     (unsigned long long)unit_right, (unsigned long long)unit_right);              \
        }                                                                                          \
    } while (0)

#endif
