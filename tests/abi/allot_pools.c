// allot_pools.c - pools as the system sees them: between warm-up and overflow neither a page fault
// nor a system call, and after a burst no more memory than was bounded.
#include "../support/check.h"
#include "../support/memory.h"

#include <allot.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { CLIENTS = 10000, KEY_BYTES = 64, VALUE_BYTES = 4096, STEPS = 400000 };

static void *key[CLIENTS * 2];
static void *value[CLIENTS * 2];

static allot_pool *create(size_t object_bytes) {
    struct allot_pool_options options = {
        .size_bytes = sizeof options,
        .object_bytes = object_bytes,
        .count = CLIENTS,
        .prefault = true,
    };
    allot_pool *pool = allot_pool_create(&options);
    CHECK(pool != NULL);
    return pool;
}

// Each system call but those of the list ends the process by SIGSYS.
static void forbid_system_calls(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrusage, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(CHECK_SKIPPED);
    }
}

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static void write_ends(char *object, size_t size_bytes) {
    for (size_t at = 0; at < size_bytes; at += 4096) {
        object[at] = 1;
    }
    object[size_bytes - 1] = 1;
}

// Clients come and go; at the peak all of them are there.
static void serve(allot_pool *keys, allot_pool *values, size_t steps) {
    struct check_random random = {7};
    for (size_t step = 0; step < steps; step++) {
        size_t at = check_random_below(&random, CLIENTS);
        if (key[at] != NULL) {
            allot_pool_give(keys, key[at]);
            allot_pool_give(values, value[at]);
            key[at] = value[at] = NULL;
        } else {
            key[at] = allot_pool_take(keys);
            value[at] = allot_pool_take(values);
            write_ends(key[at], KEY_BYTES);
            write_ends(value[at], VALUE_BYTES);
        }
    }
    for (size_t at = 0; at < CLIENTS; at++) {
        key[at] = key[at] != NULL ? key[at] : allot_pool_take(keys);
        value[at] = value[at] != NULL ? value[at] : allot_pool_take(values);
    }
    allot_pool_give_many(keys, key, CLIENTS);
    allot_pool_give_many(values, value, CLIENTS);
    memset(key, 0, sizeof key);
    memset(value, 0, sizeof value);
}

// In the child: 0, or 1 and a page was missing.
static void serve_unnoticed(void) {
    allot_pool *keys = create(KEY_BYTES);
    allot_pool *values = create(VALUE_BYTES);
    memset(key, 0, sizeof key);  // the test's own pages
    memset(value, 0, sizeof value);
    serve(keys, values, CLIENTS);  // clients leave, too: all code that is used is there
    faults();                      // what it writes may begin a page of the stack
    forbid_system_calls();
    long before = faults();
    serve(keys, values, STEPS);
    _exit(faults() != before);
}

static void between_warm_up_and_overflow_the_system_sees_nothing(void) {
    if (CHECK_TSAN || CHECK_ASAN) {
        CHECK_SKIP("a sanitizer has pages and calls of its own");
    }
    pid_t child = fork();
    CHECK_INT(child, >=, 0);
    if (child == 0) {
        serve_unnoticed();
    }
    int status = 0;
    CHECK_INT(waitpid(child, &status, 0), ==, child);
    if (WIFSIGNALED(status)) {
        CHECK_FAIL("a system call: signal %d", WTERMSIG(status));
    }
    if (WEXITSTATUS(status) == CHECK_SKIPPED) {
        CHECK_SKIP("no seccomp here");
    }
    CHECK_INT(WEXITSTATUS(status), ==, 0);
}

static void what_a_burst_took_goes_back_to_the_system(void) {
    if (CHECK_TSAN || CHECK_ASAN) {
        CHECK_SKIP("a sanitizer has memory of its own");
    }
    size_t burst = (size_t)CLIENTS * 3 / 2;
    memset(value, 0, sizeof value);
    allot_pool *values = create(VALUE_BYTES);
    size_t before = memory_resident_bytes();
    CHECK_UINT(allot_pool_take_many(values, value, burst), ==, burst);
    for (size_t i = 0; i < burst; i++) {
        write_ends(value[i], VALUE_BYTES);
    }
    CHECK_UINT(memory_resident_bytes(), >=, before + (burst - CLIENTS - 64) * VALUE_BYTES);
    allot_pool_give_many(values, value, burst);
    allot_pool_trim(values);
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    CHECK_UINT(memory_resident_bytes(), <=, before + (size_t)CLIENTS * VALUE_BYTES / 50);
    allot_pool_destroy(values);
}

static const struct check_case cases[] = {
    CHECK_CASE(between_warm_up_and_overflow_the_system_sees_nothing),
    CHECK_CASE(what_a_burst_took_goes_back_to_the_system),
};

CHECK_MAIN(cases)
