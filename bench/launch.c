// launch.c - run one command and say what it took, in one line.
//
//   launch [-o FILE] [-p LIBRARY] [-r REPEAT] [-t SECONDS] -- PROGRAM ARGS...
//
// Prints `wall_s= user_s= sys_s= peak_kib= hwm_kib= minflt= majflt= status=`
// to FILE, or to stderr. A program's peak resident memory starts with that of
// the process that forked it, so a large parent (a Python runner) would hide
// small children: this one is small and links statically. LIBRARY is preloaded
// into the program only. peak_kib is the largest process of the program's whole
// family (ru_maxrss); hwm_kib is the program's own high-water mark, read while
// it stands at its exit (0 where ptrace is not allowed). With REPEAT the
// program is run so many times in sequence; times are sums, peaks are maxima.
// SIGTERM and SIGINT are passed on to the program, which never outlives
// the launcher, nor the launcher the process that started it.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LAUNCH_STATUS_FAILED = 127, LAUNCH_STATUS_SIGNAL = 128 };

struct launch_result {
    double wall_s, user_s, sys_s;
    long peak_kib, hwm_kib, minflt, majflt;
    int status;  // exit status, or 128 + signal
};

static volatile sig_atomic_t child_pid;

static void launch_forward(int signal_number) {
    if (child_pid > 0) {
        kill(child_pid, signal_number == SIGALRM ? SIGKILL : signal_number);
    }
}

static double launch_now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double launch_seconds(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static long launch_read_hwm_kib(pid_t pid) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) {
        close(file);
    }
    text[length > 0 ? length : 0] = '\0';
    const char *found = strstr(text, "VmHWM:");
    return found == NULL ? 0 : strtol(found + 6, NULL, 10);
}

// The child waits at the gate until its parent follows it.
static void launch_child(const int gate[2], const char *library, char **command) {
    char byte;
    close(gate[1]);
    if (read(gate[0], &byte, 1) < 0) {
        _exit(LAUNCH_STATUS_FAILED);
    }
    close(gate[0]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (library != NULL) {
        setenv("LD_PRELOAD", library, 1);
    }
    execvp(command[0], command);
    fprintf(stderr, "launch: %s: %s\n", command[0], strerror(errno));
    _exit(LAUNCH_STATUS_FAILED);
}

// Wait for the end of the child; on the way read its peak where it stops to exit.
static int launch_wait(pid_t pid, struct launch_result *result, struct rusage *usage) {
    for (;;) {
        int status;
        if (wait4(pid, &status, 0, usage) < 0) {
            if (errno != EINTR) {
                return LAUNCH_STATUS_FAILED;
            }
        } else if (WIFEXITED(status)) {
            return WEXITSTATUS(status);
        } else if (WIFSIGNALED(status)) {
            return LAUNCH_STATUS_SIGNAL + WTERMSIG(status);
        } else if (WIFSTOPPED(status)) {
            int event = status >> 16, deliver = WSTOPSIG(status);
            if (event == PTRACE_EVENT_EXIT) {
                long hwm_kib = launch_read_hwm_kib(pid);
                result->hwm_kib = hwm_kib > result->hwm_kib ? hwm_kib : result->hwm_kib;
            }
            ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)(event != 0 ? 0 : deliver));
        }
    }
}

static bool launch_once(const char *library, char **command, struct launch_result *result) {
    int gate[2];
    struct rusage usage = {0};
    if (pipe(gate) != 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        launch_child(gate, library, command);
    }
    close(gate[0]);
    if (pid < 0) {
        close(gate[1]);
        return false;
    }
    child_pid = pid;
    ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACEEXIT);
    double start_s = launch_now_s();
    close(gate[1]);
    result->status = launch_wait(pid, result, &usage);
    result->wall_s += launch_now_s() - start_s;
    child_pid = 0;
    result->user_s += launch_seconds(usage.ru_utime);
    result->sys_s += launch_seconds(usage.ru_stime);
    result->peak_kib = usage.ru_maxrss > result->peak_kib ? usage.ru_maxrss : result->peak_kib;
    result->minflt += usage.ru_minflt;
    result->majflt += usage.ru_majflt;
    return true;
}

static int launch_usage(void) {
    fputs("usage: launch [-o FILE] [-p LIBRARY] [-r REPEAT] [-t SECONDS] -- PROGRAM ARGS...\n",
          stderr);
    return 2;
}

int main(int argc, char **argv) {
    const char *library = NULL, *output = NULL;
    long repeat = 1, limit_s = 0;
    int option;
    while ((option = getopt(argc, argv, "+o:p:r:t:")) != -1) {
        switch (option) {
        case 'o': output = optarg; break;
        case 'p': library = optarg; break;
        case 'r': repeat = strtol(optarg, NULL, 10); break;
        case 't': limit_s = strtol(optarg, NULL, 10); break;
        default: return launch_usage();
        }
    }
    if (optind >= argc || repeat < 1) {
        return launch_usage();
    }
    signal(SIGALRM, launch_forward);
    signal(SIGTERM, launch_forward);
    signal(SIGINT, launch_forward);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    alarm((unsigned)limit_s);
    struct launch_result result = {0};
    for (long i = 0; i < repeat && result.status == 0; i++) {
        if (!launch_once(library, argv + optind, &result)) {
            perror("launch");
            return LAUNCH_STATUS_FAILED;
        }
    }
    FILE *file = output == NULL ? stderr : fopen(output, "w");
    if (file == NULL) {
        perror(output);
        return LAUNCH_STATUS_FAILED;
    }
    fprintf(file,
            "wall_s=%.6f user_s=%.6f sys_s=%.6f peak_kib=%ld hwm_kib=%ld minflt=%ld majflt=%ld "
            "status=%d\n",
            result.wall_s, result.user_s, result.sys_s, result.peak_kib, result.hwm_kib,
            result.minflt, result.majflt, result.status);
    fclose(file);
    return result.status;
}
