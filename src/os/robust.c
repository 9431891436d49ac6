// robust.c - futexes whose owners may die.                                 layer 1
#include "os/robust.h"

#include "base/compiler.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The kernel's interface; its headers are not everywhere beside libc's.
enum { ROBUST_FUTEX_WAIT = 0, ROBUST_FUTEX_WAKE = 1 };
#define ROBUST_WAITERS UINT32_C(0x80000000)  // in a word: wake somebody when the owner has died

// What set_robust_list(2) is told: locks that a thread holds, the distance of their words from
// their links, and the link of one that it is about to take or give.
struct robust_list {
    void *first;
    long distance;
    void *pending;
};

// For threads whose libc has registered none, as musl's until it needs one.
static THREAD_LOCAL struct robust_list robust_own;

void robust_wait(void *word, uint32_t value, uint32_t ms) {
    int saved = errno;
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    syscall(SYS_futex, word, ROBUST_FUTEX_WAIT, value, &span, NULL, 0);
    errno = saved;
}

void robust_wake_one(void *word) {
    int saved = errno;
    syscall(SYS_futex, word, ROBUST_FUTEX_WAKE, 1, NULL, NULL, 0);
    errno = saved;
}

void robust_find(struct robust *robust) {
    int saved = errno;
    struct robust_list *list = NULL;
    size_t size_bytes = 0;
    syscall(SYS_get_robust_list, 0, &list, &size_bytes);
    if (list == NULL) {
        list = &robust_own;
        list->first = &list->first;
        syscall(SYS_set_robust_list, list, sizeof(*list));
    }
    robust->pending = &list->pending;
    robust->distance = list->distance;
    robust->owner = (uint32_t)syscall(SYS_gettid) | ROBUST_WAITERS;
    errno = saved;
}
