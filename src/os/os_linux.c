// os_linux.c - the contract on Linux.                                      layer 1
//
// System calls are made directly: a program may interpose mmap or madvise with
// a function that allocates.
#include "os/os.h"

#include "base/compiler.h"
#include "base/config.h"
#include "base/fmt.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC_PREREQ
#define OS_GLIBC_PREREQ(major, minor) __GLIBC_PREREQ(major, minor)
#else
#define OS_GLIBC_PREREQ(major, minor) 0
#endif
#if OS_GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define OS_SINGLE_THREADED (__libc_single_threaded != 0)
#else
#define OS_SINGLE_THREADED false
#endif

// The kernel's interface; its headers are not everywhere beside libc's.
enum { OS_FUTEX_WAIT_PRIVATE = 0 | 128, OS_FUTEX_WAKE_PRIVATE = 1 | 128 };
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

extern char **environ;

enum { OS_ARGUMENTS_MAX = 1 << 24 };
enum { OS_RESERVE_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };

static size_t os_page_bytes_known;

// ---- Memory

size_t os_page_bytes(void) {
    size_t known = __atomic_load_n(&os_page_bytes_known, __ATOMIC_RELAXED);
    if (UNLIKELY(known == 0)) {
        known = (size_t)getpagesize();
        __atomic_store_n(&os_page_bytes_known, known, __ATOMIC_RELAXED);
    }
    return known;
}

// The result, or minus an errno value; errno is not touched. Not by way of libc: a
// first call into one more part of it costs a page fault and 64 KiB resident.
//
// The arguments are read before the first register is bound: a sanitizer makes a
// call of each read, which would overwrite it.
#if defined(__x86_64__)
static long os_call(long number, const long a[6]) {
    long a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], a4 = a[4], a5 = a[5];
    long result;
    register long r10 __asm__("r10") = a3;
    register long r8 __asm__("r8") = a4;
    register long r9 __asm__("r9") = a5;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static long os_call(long number, const long a[6]) {
    long a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], a4 = a[4], a5 = a[5];
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a0;
    register long x1 __asm__("x1") = a1;
    register long x2 __asm__("x2") = a2;
    register long x3 __asm__("x3") = a3;
    register long x4 __asm__("x4") = a4;
    register long x5 __asm__("x5") = a5;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
static long os_call(long number, const long a[6]) {
    int saved = errno;
    long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    result = result == -1 ? -errno : result;
    errno = saved;
    return result;
}
#endif
#define OS_CALL(number, ...) os_call(number, (const long[6]){__VA_ARGS__})

static bool os_is_error(long result) {
    return (unsigned long)result > (unsigned long)-4096L;
}

static int os_error(long result) {
    return os_is_error(result) ? (int)-result : 0;
}

static void *os_mmap(void *hint, size_t size_bytes, int protection, int flags) {
    long result = OS_CALL(SYS_mmap, (long)hint, (long)size_bytes, protection, flags, -1, 0);
    return os_is_error(result) ? NULL : (void *)result;
}

static int os_madvise(void *address, size_t size_bytes, int advice) {
    return os_error(OS_CALL(SYS_madvise, (long)address, (long)size_bytes, advice));
}

void *os_reserve(void *hint, size_t size_bytes) {
    return os_mmap(hint, size_bytes, PROT_NONE, OS_RESERVE_FLAGS);
}

void *os_map(void *hint, size_t size_bytes) {
    return os_mmap(hint, size_bytes, PROT_READ | PROT_WRITE, OS_RESERVE_FLAGS);
}

void os_unmap(void *address, size_t size_bytes) {
    OS_CALL(SYS_munmap, (long)address, (long)size_bytes);
}

int os_commit(void *address, size_t size_bytes) {
    return os_error(OS_CALL(SYS_mprotect, (long)address, (long)size_bytes, PROT_READ | PROT_WRITE));
}

int os_commit_huge(void *address, size_t size_bytes) {
    void *got = os_mmap(address, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB);
    return got != NULL ? 0 : ENOMEM;
}

int os_purge(void *address, size_t size_bytes) {
    return os_madvise(address, size_bytes, MADV_DONTNEED);
}

int os_move(void *to, void *from, size_t size_bytes) {
    return os_error(OS_CALL(SYS_mremap, (long)from, (long)size_bytes, (long)size_bytes,
                            MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (long)to));
}

int os_renew(void *address, size_t size_bytes) {
    void *got = os_mmap(address, size_bytes, PROT_READ | PROT_WRITE, OS_RESERVE_FLAGS | MAP_FIXED);
    return got != NULL ? 0 : ENOMEM;
}

void os_populate(void *address, size_t size_bytes) {
    os_madvise(address, size_bytes, MADV_POPULATE_WRITE);
}

// Markers in the page tables use up no mapping; locked memory and older kernels
// have protected pages only.
static bool os_has_protected;

int os_fence(void *address, size_t size_bytes) {
    if (os_madvise(address, size_bytes, MADV_GUARD_INSTALL) == 0) {
        return 0;
    }
    long result = OS_CALL(SYS_mprotect, (long)address, (long)size_bytes, PROT_NONE);
    if (!os_is_error(result)) {
        __atomic_store_n(&os_has_protected, true, __ATOMIC_RELAXED);
        os_purge(address, size_bytes);
    } else {
        os_madvise(address, size_bytes, MADV_GUARD_REMOVE);  // a part may have them
    }
    return os_error(result);
}

int os_unfence(void *address, size_t size_bytes) {
    int error = os_madvise(address, size_bytes, MADV_GUARD_REMOVE);
    return __atomic_load_n(&os_has_protected, __ATOMIC_RELAXED) ? os_commit(address, size_bytes)
                                                                : error;
}

void os_resident(void *address, size_t page_count, bool *is_resident) {
    unsigned char state[OS_RESIDENT_MAX] = {0};
    long size_bytes = (long)(page_count * os_page_bytes());
    bool is_known = !os_is_error(OS_CALL(SYS_mincore, (long)address, size_bytes, (long)state));
    for (size_t i = 0; i < page_count; i++) {
        is_resident[i] = !is_known || (state[i] & 1) != 0;
    }
}

int os_lock(void *address, size_t size_bytes) {
    return os_error(OS_CALL(SYS_mlock, (long)address, (long)size_bytes));
}

void os_set_thp(void *address, size_t size_bytes, enum os_thp mode) {
    if (mode != OS_THP_SYSTEM) {
        os_madvise(address, size_bytes, mode == OS_THP_ALWAYS ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    }
}

size_t os_address_space_limit(void) {
    struct rlimit limit;
    int saved = errno;
    bool known = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    errno = saved;
    return known ? (size_t)limit.rlim_cur : SIZE_MAX;
}

long os_read_file(const char *path, char *text, size_t size_bytes, size_t offset_bytes) {
    long fd = OS_CALL(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fd;
    }
    long length = OS_CALL(SYS_pread64, fd, (long)text, (long)size_bytes - 1, (long)offset_bytes);
    os_close((int)fd);
    text[length > 0 ? length : 0] = 0;
    return length;
}

size_t os_resident_bytes(void) {
    char text[128];
    if (os_read_file("/proc/self/statm", text, sizeof text, 0) <= 0) {
        return 0;
    }
    const char *at = strchr(text, ' ');
    uint64_t pages = 0;
    if (at == NULL) {
        return 0;
    }
    at++;
    return fmt_parse_number(&at, &pages) ? (size_t)pages * os_page_bytes() : 0;
}

// ---- Time, threads

static uint64_t os_clock_ns(clockid_t clock) {
    struct timespec now = {0, 0};
    int saved = errno;
    clock_gettime(clock, &now);
    errno = saved;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t os_now_ms(void) {
    return os_clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000u;
}

uint64_t os_now_ns(void) {
    return os_clock_ns(CLOCK_MONOTONIC);
}

void os_sleep_ms(uint64_t ms) {
    struct timespec span = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    OS_CALL(SYS_nanosleep, (long)&span);
}

unsigned os_cpu_count(void) {
    unsigned char mask[1024] = {0};  // 8,192 processors
    long bytes = OS_CALL(SYS_sched_getaffinity, 0, sizeof mask, (long)mask);
    unsigned count = 0;
    for (long i = 0; i < bytes; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            count += mask[i] >> bit & 1u;
        }
    }
    return count > 0 ? count : 1;
}

bool os_is_single_threaded(void) {
    return OS_SINGLE_THREADED;
}

void os_wait(void *word, uint32_t value) {
    OS_CALL(SYS_futex, (long)word, OS_FUTEX_WAIT_PRIVATE, value);
}

void os_wake_one(void *word) {
    OS_CALL(SYS_futex, (long)word, OS_FUTEX_WAKE_PRIVATE, 1);
}

// ---- Text

void os_write(int fd, const char *text, size_t length) {
    while (length > 0) {
        long written = OS_CALL(SYS_write, fd, (long)text, (long)length);
        if (written > 0) {
            text += written;
            length -= (size_t)written;
        } else if (written != -EINTR) {
            break;
        }
    }
}

int os_duplicate(int fd) {
    long copy = OS_CALL(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 64);
    return copy >= 0 ? (int)copy : -1;
}

int os_open_append(const char *path) {
    long fd =
        OS_CALL(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return fd >= 0 ? (int)fd : -1;
}

int os_open_read(const char *path) {
    long fd = OS_CALL(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? (int)fd : -1;
}

size_t os_read(int fd, char *text, size_t size_bytes) {
    long length = -EINTR;
    while (length == -EINTR) {
        length = OS_CALL(SYS_read, fd, (long)text, (long)size_bytes);
    }
    return length > 0 ? (size_t)length : 0;
}

void os_close(int fd) {
    OS_CALL(SYS_close, fd);
}

int os_process_id(void) {
    return (int)OS_CALL(SYS_getpid, 0);
}

// getauxval needs no memory, and answers 0 where the kernel says nothing.
static bool os_is_secure(void) {
    return getauxval(AT_SECURE) != 0;
}

// glibc's: where the kernel has put argc, argv and the environment.
extern void *__libc_stack_end __attribute__((weak));

// Before libc's own constructor `environ` is not set yet.
static char **os_environment(void) {
    if (environ != NULL || &__libc_stack_end == NULL || __libc_stack_end == NULL) {
        return environ;
    }
    char **arguments = (char **)__libc_stack_end + 1;
    uintptr_t count = *(uintptr_t *)__libc_stack_end;
    return count < OS_ARGUMENTS_MAX && arguments[count] == NULL ? arguments + count + 1 : NULL;
}

void os_environment_each(const char *prefix, void (*visit)(void *, const char *), void *context) {
    size_t length = strlen(prefix);
    for (char **at = os_environment(); at != NULL && *at != NULL; at++) {
        if (strncmp(*at, prefix, length) == 0) {
            if (os_is_secure()) {
                return;
            }
            visit(context, *at);
        }
    }
}
