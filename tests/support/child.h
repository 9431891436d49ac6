// child.h - run a function or a program in a child process and capture what it writes to stderr.
#ifndef TESTS_SUPPORT_CHILD_H
#define TESTS_SUPPORT_CHILD_H

#include "check.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define CHILD_SECONDS_MAX 120  // a child that hangs is ended by SIGALRM

struct child_result {
    int status;        // as waitpid gives it
    size_t length;     // of text, cut to what fits
    char text[16384];  // stderr, NUL-terminated
};

/// The last step of a child that was started to die: no core file.
CHECK_UNUSED static void child_prepare(int stderr_descriptor) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    alarm(CHILD_SECONDS_MAX);
    if (dup2(stderr_descriptor, STDERR_FILENO) < 0) {
        _exit(125);
    }
    close(stderr_descriptor);
}

/// Read everything that the child writes, then wait for its end.
CHECK_UNUSED static void child_collect(struct child_result *result, pid_t pid, int descriptor) {
    result->length = 0;
    for (;;) {
        char rest[1024];
        bool is_full = result->length == sizeof(result->text) - 1;
        char *target = is_full ? rest : result->text + result->length;
        size_t room = is_full ? sizeof(rest) : sizeof(result->text) - 1 - result->length;
        ssize_t count = read(descriptor, target, room);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            break;
        }
        result->length += is_full ? 0 : (size_t)count;
    }
    result->text[result->length] = '\0';
    close(descriptor);
    while (waitpid(pid, &result->status, 0) < 0 && errno == EINTR) {
    }
}

/// Run `function(argument)` in a forked child; its return is exit(0).
CHECK_UNUSED static void child_call(struct child_result *result, void (*function)(void *),
                                    void *argument) {
    int ends[2];
    CHECK_INT(pipe2(ends, O_CLOEXEC), ==, 0);
    fflush(stdout);
    pid_t pid = fork();
    CHECK_INT(pid, >=, 0);
    if (pid == 0) {
        close(ends[0]);
        child_prepare(ends[1]);
        function(argument);
        exit(0);
    }
    close(ends[1]);
    child_collect(result, pid, ends[0]);
}

/// Run a program in this environment, without the variables of the tests, which the library would
/// take for wrong options. A limit of address space is set in the child unless it is 0.
CHECK_UNUSED static void child_run(struct child_result *result, char *const argv[],
                                   size_t address_space_bytes) {
    int ends[2];
    CHECK_INT(pipe2(ends, O_CLOEXEC), ==, 0);
    fflush(stdout);
    pid_t pid = fork();
    CHECK_INT(pid, >=, 0);
    if (pid == 0) {
        child_prepare(ends[1]);
        if (address_space_bytes > 0) {
            struct rlimit limit = {address_space_bytes, address_space_bytes};
            setrlimit(RLIMIT_AS, &limit);
        }
        unsetenv("ALLOT_TEST_SEED");
        unsetenv("ALLOT_TEST_LONG");
        execv(argv[0], argv);
        _exit(126);
    }
    close(ends[1]);
    child_collect(result, pid, ends[0]);
}

/// The program started as PROGRAM --limited CASE: run that case.
CHECK_UNUSED static int child_main_limited(const struct check_case *cases, size_t case_count,
                                           char **argv) {
    static char program[512];
    snprintf(program, sizeof(program), "%s --limited", argv[0]);
    char *arguments[] = {program, argv[2], NULL};
    return check_main(cases, case_count, 2, arguments);
}

/// The child ended by exit(0) and wrote nothing.
#define CHILD_CHECK_SILENT(result)          \
    do {                                    \
        CHECK_TEXT((result)->text, "");     \
        CHECK_INT((result)->status, ==, 0); \
    } while (0)

#endif
