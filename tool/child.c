// child.c - see child.h.
//
// The peak resident size that wait4 reports is inherited: at exec the kernel
// takes over the peak of the memory that the process leaves. After posix_spawn
// or vfork that memory is ours, whole. After fork it is only what the fork
// copied, our written pages, some 600 KiB and less than any program with a
// dynamic loader needs by itself. So this file forks, the child touches little
// before it calls exec, and the command keeps its own heap small.

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Signals that are meant for the program, not for us.
static const int child_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

static uint64_t child_now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t child_timeval_ns(struct timeval time) {
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

// In the child: give a script without #! to the shell, as execvp does.
static void child_become_shell(const struct child_order *order) {
    static char shell[] = "/bin/sh";
    size_t count = 0;
    char **argv;

    while (order->argv[count] != NULL) {
        count++;
    }
    argv = calloc(count + 2, sizeof *argv);
    if (argv != NULL) {
        argv[0] = shell;
        argv[1] = (char *)(uintptr_t)order->path;
        memcpy(argv + 2, order->argv + 1, count * sizeof *argv);
        execve(shell, argv, order->environment);
    }
}

// In the child: never returns. Why exec failed goes to `report_fd`, which exec
// closes.
static _Noreturn void child_become(const struct child_order *order, const sigset_t *mask,
                                   int report_fd) {
    int error = 0;

    for (int i = 0; i < 3; i++) {
        if (order->fds[i] >= 0 && dup2(order->fds[i], i) < 0) {
            error = errno;
        }
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (error == 0) {
        execve(order->path, order->argv, order->environment);
        error = errno;
        if (error == ENOEXEC && order->may_be_text) {
            child_become_shell(order);
        }
    }
    while (write(report_fd, &error, sizeof error) < 0 && errno == EINTR) {
    }
    _exit(127);
}

// Wait for the end of `pid`. Signals of the terminal reach it without us,
// because it is in our process group: those come from the kernel.
static void child_wait(struct child_result *result, const sigset_t *waited, struct rusage *usage) {
    siginfo_t info;

    for (;;) {
        pid_t ended = wait4(result->pid, &result->status, WNOHANG, usage);

        if (ended == result->pid || (ended < 0 && errno != EINTR)) {
            return;
        }
        if (sigwaitinfo(waited, &info) > 0 && info.si_signo != SIGCHLD) {
            result->forwarded = info.si_signo;
            if (info.si_code <= 0) {
                kill(result->pid, info.si_signo);
            }
        }
    }
}

// Take what the program's last signal left behind for us: Ctrl-C ends it, not
// the report on it.
static void child_drain(struct child_result *result, const sigset_t *waited) {
    const struct timespec no_time = {0, 0};
    int signal_number;

    while ((signal_number = sigtimedwait(waited, NULL, &no_time)) > 0) {
        if (signal_number != SIGCHLD) {
            result->forwarded = signal_number;
        }
    }
}

// 0 if the exec behind `report_fd` succeeded, else its errno value.
static int child_exec_error(int report_fd) {
    int error = 0;
    ssize_t length;

    do {
        length = read(report_fd, &error, sizeof error);
    } while (length < 0 && errno == EINTR);
    close(report_fd);
    return length == (ssize_t)sizeof error ? error : 0;
}

static void child_fill(struct child_result *result, const struct rusage *usage) {
    result->user_ns = child_timeval_ns(usage->ru_utime);
    result->system_ns = child_timeval_ns(usage->ru_stime);
    result->peak_bytes = (uint64_t)usage->ru_maxrss * 1024;
    result->minor_faults = (uint64_t)usage->ru_minflt;
    result->major_faults = (uint64_t)usage->ru_majflt;
}

// Start it and wait, with the signals of `waited` blocked.
static int child_run_blocked(struct child_result *result, const struct child_order *order,
                             const sigset_t *waited, const sigset_t *mask) {
    struct rusage usage = {0};
    uint64_t start_ns;
    int report[2];
    int error;

    if (pipe2(report, O_CLOEXEC) != 0) {
        return errno;
    }
    start_ns = child_now_ns();
    result->pid = fork();
    if (result->pid < 0) {
        error = errno;
        close(report[0]);
        close(report[1]);
        return error;
    }
    if (result->pid == 0) {
        child_become(order, mask, report[1]);
    }
    close(report[1]);
    error = child_exec_error(report[0]);
    child_wait(result, waited, &usage);
    result->wall_ns = child_now_ns() - start_ns;
    child_fill(result, &usage);
    return error;
}

int child_run(struct child_result *result, const struct child_order *order) {
    struct sigaction old_action;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t waited;
    sigset_t mask;
    int error;

    memset(result, 0, sizeof *result);
    sigemptyset(&waited);
    sigaddset(&waited, SIGCHLD);
    for (size_t i = 0; i < sizeof child_signals / sizeof *child_signals; i++) {
        sigaddset(&waited, child_signals[i]);
    }
    sigaction(SIGCHLD, &action, &old_action);  // an inherited SIG_IGN would reap it for us
    sigprocmask(SIG_BLOCK, &waited, &mask);
    error = child_run_blocked(result, order, &waited, &mask);
    child_drain(result, &waited);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGCHLD, &old_action, NULL);
    return error;
}

// Whether `entry` sets the variable that `assignment` sets.
static bool child_is_same_name(const char *entry, const char *assignment) {
    return strncmp(entry, assignment, strcspn(assignment, "=") + 1) == 0;
}

char **child_environment(char *const assignments[], size_t count) {
    size_t old_count = 0;
    size_t kept = 0;
    char **copy;

    while (environ[old_count] != NULL) {
        old_count++;
    }
    copy = calloc(old_count + count + 1, sizeof *copy);
    for (size_t i = 0; copy != NULL && i < old_count; i++) {
        bool is_replaced = false;

        for (size_t j = 0; j < count; j++) {
            is_replaced |= assignments[j] != NULL && child_is_same_name(environ[i], assignments[j]);
        }
        if (!is_replaced) {
            copy[kept++] = environ[i];
        }
    }
    for (size_t j = 0; copy != NULL && j < count; j++) {
        if (assignments[j] != NULL) {
            copy[kept++] = assignments[j];
        }
    }
    return copy;
}

char *child_preload(const char *library) {
    const char *earlier = getenv("LD_PRELOAD");
    char *assignment = NULL;
    int length = earlier == NULL || *earlier == '\0'
                     ? asprintf(&assignment, "LD_PRELOAD=%s", library)
                     : asprintf(&assignment, "LD_PRELOAD=%s:%s", library, earlier);

    return length < 0 ? NULL : assignment;
}
