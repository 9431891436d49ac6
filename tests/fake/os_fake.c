// os_fake.c - the contract with the operating system, kept by an arena.
#include "os_fake.h"

#include "os/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OS_FAKE_PAGE_BYTES ((size_t)4096)
#define OS_FAKE_ARENA_BYTES ((size_t)8 << 30)
#define OS_FAKE_PAGES (OS_FAKE_ARENA_BYTES / OS_FAKE_PAGE_BYTES)

enum os_fake_page { PAGE_FREE, PAGE_RESERVED, PAGE_COMMITTED };

struct os_fake os_fake = {.address_space_limit = SIZE_MAX, .cpu_count = 1, .now_ms = 1000};

static char *os_fake_arena;
static size_t os_fake_bottom = OS_FAKE_PAGES;  // lowest page that is in use
static uint8_t os_fake_pages[OS_FAKE_PAGES];

static _Noreturn void os_fake_broken(const char *what, const void *address, size_t size_bytes) {
    fprintf(stderr, "os_fake: %s: %p, %zu bytes\n", what, address, size_bytes);
    abort();
}

// An environment of the process may ask for failures, for what happens before main.
static void os_fake_start(void) {
    if (os_fake_arena != NULL) {
        return;
    }
    void *at = mmap(NULL, OS_FAKE_ARENA_BYTES, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        os_fake_broken("no arena", NULL, OS_FAKE_ARENA_BYTES);
    }
    os_fake_arena = at;
    const char *once = getenv("OS_FAKE_FAIL_AT");
    const char *from = getenv("OS_FAKE_FAIL_FROM");
    if (once != NULL || from != NULL) {
        os_fake_fail(strtoull(from != NULL ? from : once, NULL, 10), from != NULL);
    }
}

void os_fake_fail(uint64_t k, bool from) {
    os_fake.fail_at = k > 0 ? os_fake.call_count + k : 0;
    os_fake.fails_from = from;
}

// Counts a memory call; true if it is to fail.
static bool os_fake_fails(enum os_fake_call call) {
    os_fake_start();
    atomic_fetch_add(&os_fake.calls[call], 1);
    uint64_t number = atomic_fetch_add(&os_fake.call_count, 1) + 1;
    bool fails = os_fake.fail_at != 0 &&
                 (number == os_fake.fail_at || (os_fake.fails_from && number > os_fake.fail_at));
    atomic_fetch_add(&os_fake.failed_count, fails);
    return fails;
}

static size_t os_fake_index(const void *address) {
    return (size_t)((const char *)address - os_fake_arena) / OS_FAKE_PAGE_BYTES;
}

// Every page of the range is at least `least`.
static void os_fake_demand(const char *what, const void *address, size_t size_bytes,
                           enum os_fake_page least) {
    const char *at = address;
    bool is_inside = at >= os_fake_arena && size_bytes <= OS_FAKE_ARENA_BYTES &&
                     at + size_bytes <= os_fake_arena + OS_FAKE_ARENA_BYTES;
    if (!is_inside || ((uintptr_t)address | size_bytes) % OS_FAKE_PAGE_BYTES != 0 ||
        size_bytes == 0) {
        os_fake_broken(what, address, size_bytes);
    }
    size_t first = os_fake_index(address);
    for (size_t i = first; i < first + size_bytes / OS_FAKE_PAGE_BYTES; i++) {
        if (os_fake_pages[i] < least) {
            os_fake_broken(what, address, size_bytes);
        }
    }
}

static void os_fake_set(const void *address, size_t size_bytes, enum os_fake_page state) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    size_t first = os_fake_index(address);
    pthread_mutex_lock(&lock);
    for (size_t i = first; i < first + size_bytes / OS_FAKE_PAGE_BYTES; i++) {
        os_fake.mapped_bytes += OS_FAKE_PAGE_BYTES * (state != PAGE_FREE);
        os_fake.mapped_bytes -= OS_FAKE_PAGE_BYTES * (os_fake_pages[i] != PAGE_FREE);
        os_fake.committed_bytes += OS_FAKE_PAGE_BYTES * (state == PAGE_COMMITTED);
        os_fake.committed_bytes -= OS_FAKE_PAGE_BYTES * (os_fake_pages[i] == PAGE_COMMITTED);
        os_fake_pages[i] = (uint8_t)state;
    }
    pthread_mutex_unlock(&lock);
}

bool os_fake_is_committed(const void *address) {
    return os_fake_pages[os_fake_index(address)] == PAGE_COMMITTED;
}

// ---- Memory

size_t os_page_bytes(void) {
    return OS_FAKE_PAGE_BYTES;
}

static void *os_fake_obtain(size_t size_bytes) {
    if (size_bytes % OS_FAKE_PAGE_BYTES != 0 || size_bytes == 0) {
        os_fake_broken("size of a mapping", NULL, size_bytes);
    }
    size_t limit = os_fake.arena_limit_bytes != 0 ? os_fake.arena_limit_bytes : SIZE_MAX;
    if (size_bytes / OS_FAKE_PAGE_BYTES > os_fake_bottom ||
        size_bytes > limit - os_fake.mapped_bytes) {
        return NULL;
    }
    os_fake_bottom -= size_bytes / OS_FAKE_PAGE_BYTES;
    char *at = os_fake_arena + os_fake_bottom * OS_FAKE_PAGE_BYTES;
    os_fake_set(at, size_bytes, PAGE_RESERVED);
    return at;
}

void *os_reserve(void *hint, size_t size_bytes) {
    (void)hint;
    return os_fake_fails(OS_FAKE_RESERVE) ? NULL : os_fake_obtain(size_bytes);
}

static void os_fake_open(void *address, size_t size_bytes) {
    os_fake_set(address, size_bytes, PAGE_COMMITTED);
    if (mprotect(address, size_bytes, PROT_READ | PROT_WRITE) != 0) {
        os_fake_broken("mprotect", address, size_bytes);
    }
}

void *os_map(void *hint, size_t size_bytes) {
    (void)hint;
    void *at = os_fake_fails(OS_FAKE_MAP) ? NULL : os_fake_obtain(size_bytes);
    if (at != NULL) {
        os_fake_open(at, size_bytes);
    }
    return at;
}

static void os_fake_discard(void *address, size_t size_bytes) {
    if (madvise(address, size_bytes, MADV_DONTNEED) != 0) {
        os_fake_broken("madvise", address, size_bytes);
    }
}

void os_unmap(void *address, size_t size_bytes) {
    os_fake_demand("unmap", address, size_bytes, PAGE_RESERVED);
    os_fake_set(address, size_bytes, PAGE_FREE);
    os_fake_discard(address, size_bytes);
    mprotect(address, size_bytes, PROT_NONE);
    while (os_fake_bottom < OS_FAKE_PAGES && os_fake_pages[os_fake_bottom] == PAGE_FREE) {
        os_fake_bottom++;
    }
}

int os_commit(void *address, size_t size_bytes) {
    os_fake_demand("commit", address, size_bytes, PAGE_RESERVED);
    if (os_fake_fails(OS_FAKE_COMMIT)) {
        return ENOMEM;
    }
    os_fake_open(address, size_bytes);
    return 0;
}

// As Linux does it: the range is unmapped first.
static void os_fake_leave_hole(void *address, size_t size_bytes) {
    os_fake_set(address, size_bytes, PAGE_FREE);
    os_fake_discard(address, size_bytes);
    mprotect(address, size_bytes, PROT_NONE);
}

int os_commit_huge(void *address, size_t size_bytes) {
    os_fake_demand("commit huge", address, size_bytes, PAGE_RESERVED);
    if (os_fake_fails(OS_FAKE_COMMIT_HUGE) || !os_fake.has_huge_pages) {
        os_fake_leave_hole(address, size_bytes);
        return ENOMEM;
    }
    os_fake_open(address, size_bytes);
    return 0;
}

int os_purge(void *address, size_t size_bytes) {
    os_fake_demand("purge", address, size_bytes, PAGE_COMMITTED);
    if (os_fake_fails(OS_FAKE_PURGE)) {
        return EINVAL;
    }
    atomic_fetch_add(&os_fake.purged_bytes, size_bytes);
    os_fake_discard(address, size_bytes);
    return 0;
}

int os_move(void *to, void *from, size_t size_bytes) {
    os_fake_demand("move from", from, size_bytes, PAGE_COMMITTED);
    os_fake_demand("move to", to, size_bytes, PAGE_COMMITTED);
    if (os_fake_fails(OS_FAKE_MOVE)) {
        os_fake_leave_hole(to, size_bytes);
        return ENOMEM;
    }
    memcpy(to, from, size_bytes);
    os_fake_discard(from, size_bytes);
    return 0;
}

int os_renew(void *address, size_t size_bytes) {
    os_fake_demand("renew", address, size_bytes, PAGE_FREE);
    if (os_fake_fails(OS_FAKE_RENEW)) {
        return ENOMEM;
    }
    os_fake_open(address, size_bytes);
    os_fake_discard(address, size_bytes);
    return 0;
}

void os_populate(void *address, size_t size_bytes) {
    (void)address;
    (void)size_bytes;
}

// Protected pages, as the oldest kernel has them.
int os_fence(void *address, size_t size_bytes) {
    os_fake_demand("fence", address, size_bytes, PAGE_COMMITTED);
    if (os_fake_fails(OS_FAKE_FENCE)) {
        return ENOMEM;
    }
    os_fake_set(address, size_bytes, PAGE_RESERVED);
    os_fake_discard(address, size_bytes);
    return mprotect(address, size_bytes, PROT_NONE) == 0 ? 0 : errno;
}

int os_unfence(void *address, size_t size_bytes) {
    os_fake_demand("unfence", address, size_bytes, PAGE_RESERVED);
    if (os_fake_fails(OS_FAKE_FENCE)) {
        return ENOMEM;
    }
    os_fake_open(address, size_bytes);
    return 0;
}

// Every third page is said to be elsewhere.
void os_resident(void *address, size_t page_count, bool *is_resident) {
    os_fake_demand("residence", address, page_count * os_page_bytes(), PAGE_COMMITTED);
    for (size_t i = 0; i < page_count; i++) {
        is_resident[i] = i % 3 != 2;
    }
}

int os_lock(void *address, size_t size_bytes) {
    os_fake_demand("lock", address, size_bytes, PAGE_COMMITTED);
    return 0;
}

void os_set_thp(void *address, size_t size_bytes, enum os_thp mode) {
    os_fake_demand("huge pages", address, size_bytes, PAGE_COMMITTED);
    os_fake.thp_never_bytes += mode == OS_THP_NEVER ? size_bytes : 0;
    os_fake.thp_always_bytes += mode == OS_THP_ALWAYS ? size_bytes : 0;
}

size_t os_address_space_limit(void) {
    return os_fake.address_space_limit;
}

size_t os_resident_bytes(void) {
    return os_fake.committed_bytes;
}

// ---- Time, threads: the clock moves when the test moves it

uint64_t os_now_ms(void) {
    return atomic_load_explicit(&os_fake.now_ms, memory_order_relaxed);
}

uint64_t os_now_ns(void) {
    return os_now_ms() * 1000000;
}

void os_sleep_ms(uint64_t ms) {
    atomic_fetch_add(&os_fake.now_ms, ms);
}

unsigned os_cpu_count(void) {
    return os_fake.cpu_count;
}

bool os_is_single_threaded(void) {
    return !os_fake.has_threads;
}

void os_wait(void *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void os_wake_one(void *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

// ---- Text

void os_write(int fd, const char *text, size_t length) {
    if (fd != 2) {
        return;
    }
    size_t room = sizeof os_fake.text - 1 - os_fake.text_length;
    size_t kept = length < room ? length : room;
    memcpy(os_fake.text + os_fake.text_length, text, kept);
    os_fake.text_length += kept;
    os_fake.text[os_fake.text_length] = 0;
    if (!os_fake.is_quiet && write(2, text, length) < 0) {
        abort();
    }
}

int os_duplicate(int fd) {
    return fd;
}

// Files are given as pairs of a path and a text.
long os_read_file(const char *path, char *text, size_t size_bytes, size_t offset_bytes) {
    text[0] = 0;
    for (const char *const *at = os_fake.files; at != NULL && *at != NULL; at += 2) {
        if (strcmp(at[0], path) == 0) {
            size_t length = strlen(at[1]);
            size_t from = offset_bytes < length ? offset_bytes : length;
            size_t count = length - from < size_bytes - 1 ? length - from : size_bytes - 1;
            memcpy(text, at[1] + from, count);
            text[count] = 0;
            return (long)count;
        }
    }
    return -ENOENT;
}

int os_open_append(const char *path) {
    (void)path;
    return -1;
}

int os_open_read(const char *path) {
    (void)path;
    return -1;
}

size_t os_read(int fd, char *text, size_t size_bytes) {
    (void)fd;
    (void)text;
    (void)size_bytes;
    return 0;
}

void os_close(int fd) {
    (void)fd;
}

int os_process_id(void) {
    return 1;
}

void os_environment_each(const char *prefix, void (*visit)(void *, const char *), void *context) {
    for (const char *const *at = os_fake.environment; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, prefix, strlen(prefix)) == 0) {
            visit(context, *at);
        }
    }
}
