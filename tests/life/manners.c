// manners.c - what a process notices of the library: nothing.
#include "case.h"
#include <dirent.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

extern char **environ;

static void *churning_thread(void *seed) {
    case_churn((uintptr_t)seed, 20000);
    free(calloc(1, 40 * MIB));
    return NULL;
}

// Everything that an allocator does: threads, large blocks, purging, fork.
static void work(void) {
    case_join(case_thread(churning_thread, (void *)1));
    churning_thread((void *)2);
    for (size_t bytes = KIB; bytes <= 32 * MIB; bytes *= 2) {
        free(realloc(calloc(1, bytes), bytes * 2));
    }
    malloc_trim(0);
    pid_t child = fork();
    if (child == 0) {
        case_churn(3, 1000);
        _exit(0);
    }
    case_wait(child);
}

CASE(no_signal_handler_is_installed_and_no_signal_blocked) {
    sigset_t blocked;

    work();
    for (int signal = 1; signal < NSIG; signal++) {
        struct sigaction action;
        if (sigaction(signal, NULL, &action) == 0) {
            CHECK(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN,
                  "signal %d has a handler", signal);
        }
    }
    CHECK(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0, "%s", strerror(errno));
    for (int signal = 1; signal < NSIG; signal++) {
        CHECK(sigismember(&blocked, signal) != 1, "signal %d is blocked", signal);
    }
}

CASE(the_process_settings_of_prctl_are_untouched) {
    char name[16] = "";

    work();
    CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0, "huge pages were disabled");
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1, "not dumpable");
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0, "no_new_privs is set");
    CHECK(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0, "seccomp is on");
    CHECK(prctl(PR_GET_PDEATHSIG, &name, 0, 0, 0) == 0 && name[0] == 0, "a death signal is set");
    CHECK(prctl(PR_GET_NAME, name, 0, 0, 0) == 0 && strncmp(name, "life_manners", 12) == 0,
          "the process is called %s", name);
    CHECK(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 50000, "timer slack changed");
}

CASE(errno_is_kept_by_free_and_by_what_succeeds) {
    static const size_t sizes[] = {1, 16, 100, 1000, 5000, 40000, 300000, 3000000, 300000000};

    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            errno = 1234;
            void *block = malloc(sizes[i]);
            CHECK(errno == 1234, "malloc(%zu) set errno to %d", sizes[i], errno);
            block = realloc(block, sizes[i] * 2);
            CHECK(errno == 1234, "realloc to %zu set errno to %d", sizes[i] * 2, errno);
            free(block);
            CHECK(errno == 1234, "free of %zu bytes set errno to %d", sizes[i] * 2, errno);
            free(NULL);
            CHECK(errno == 1234, "free(NULL) set errno to %d", errno);
        }
    }
    errno = 1234;
    malloc_trim(0);
    CHECK(errno == 1234, "malloc_trim set errno to %d", errno);
}

CASE(the_environment_is_untouched) {
    static char at_start[1 << 20];
    int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = read(fd, at_start, sizeof at_start - 1);
    size_t count = 0;

    close(fd);
    work();
    for (char *at = at_start; at < at_start + bytes; at += strlen(at) + 1, count++) {
        CHECK(environ[count] != NULL && strcmp(environ[count], at) == 0, "%s became %s", at,
              environ[count] == NULL ? "nothing" : environ[count]);
    }
    CHECK(environ[count] == NULL, "%s was added", environ[count]);
}

static size_t entries_count(const char *path) {
    DIR *directory = opendir(path);
    size_t count = 0;

    CHECK(directory != NULL, "%s: %s", path, strerror(errno));
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count - 2;
}

CASE(no_descriptor_is_left_open) {
    size_t before = 0;

    // Close what ctest handed down: what is found at the lowest numbers is new.
    syscall(SYS_close_range, 3u, ~0u, 0u);
    before = entries_count("/proc/self/fd");
    CHECK(before == 4, "%zu descriptors", before);  // three, and the directory
    work();
    size_t after = entries_count("/proc/self/fd");
    CHECK(after == before, "%zu descriptors before, %zu after", before, after);
}

CASE(a_program_may_close_all_descriptors) {
    syscall(SYS_close_range, 3u, ~0u, 0u);
    case_churn(1, 20000);
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    case_churn(2, 20000);
    // A descriptor opened by the program must not be mistaken for one of ours.
    int fd = open("/dev/null", O_WRONLY);
    CHECK(fd == 0, "descriptor %d", fd);
    work();
    CHECK(fcntl(fd, F_GETFD) >= 0, "our descriptor was closed");
}

CASE(there_is_no_helper_thread) {
    work();
    CHECK(entries_count("/proc/self/task") == 1, "%zu threads", entries_count("/proc/self/task"));
}

CASE(limits_priority_and_affinity_are_untouched) {
    cpu_set_t before;
    cpu_set_t after;
    struct rlimit limits[RLIM_NLIMITS];

    for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
        getrlimit((__rlimit_resource_t)i, &limits[i]);
    }
    sched_getaffinity(0, sizeof before, &before);
    work();
    sched_getaffinity(0, sizeof after, &after);
    CHECK(memcmp(&before, &after, sizeof before) == 0, "affinity changed");
    for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
        struct rlimit limit;
        getrlimit((__rlimit_resource_t)i, &limit);
        CHECK(memcmp(&limit, &limits[i], sizeof limit) == 0, "limit %d changed", i);
    }
    CHECK(getpriority(PRIO_PROCESS, 0) == getpriority(PRIO_PROCESS, getppid()), "priority");
}

#ifdef __x86_64__
CASE(the_restartable_sequence_of_libc_is_left_alone) {
    extern const ptrdiff_t __rseq_offset __attribute__((weak));
    extern const unsigned int __rseq_size __attribute__((weak));

    if (&__rseq_offset == NULL || __rseq_size == 0) {
        case_skip("libc registers no rseq area");
    }
    char *thread = __builtin_thread_pointer();
    volatile uint64_t *critical = (volatile uint64_t *)(thread + __rseq_offset + 8);
    uint64_t seen = 0;
    for (uint64_t i = 0; i < 200; i++) {
        case_churn(i, 200);
        seen |= *critical;
    }
    CHECK(seen == 0, "a critical section %llx was left registered", (unsigned long long)seen);
}
#endif

// ---- Statistics ----------------------------------------------------------------------

CASE(a_size_of_zero_gives_a_pointer_that_can_be_freed) {
    void *first = malloc(0);
    void *second = malloc(0);

    CHECK(first != NULL && second != NULL && first != second, "%p and %p", first, second);
    free(first);
    free(second);
}

CASE(usable_size_is_stable_for_the_life_of_a_block) {
    enum { BLOCKS = 20000 };
    static void *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    uint64_t state = case_seed();

    for (int i = 0; i < BLOCKS; i++) {
        size_t bytes = case_random(&state) % (i % 100 == 0 ? 2000000 : 3000);
        blocks[i] = malloc(bytes);
        CHECK(blocks[i] != NULL, "malloc(%zu)", bytes);
        sizes[i] = malloc_usable_size(blocks[i]);
        CHECK(sizes[i] >= bytes, "%zu of %zu bytes usable", sizes[i], bytes);
        CHECK(bytes < 16 || (uintptr_t)blocks[i] % 16 == 0, "%p for %zu bytes", blocks[i], bytes);
        memset(blocks[i], 0xff, sizes[i]);
    }
    work();
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(malloc_usable_size(blocks[i]) == sizes[i], "block %d: %zu became %zu", i, sizes[i],
              malloc_usable_size(blocks[i]));
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}
