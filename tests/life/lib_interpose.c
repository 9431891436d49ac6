// lib_interpose.c - preloaded before the library under test: system calls that
// look themselves up with dlsym and allocate, as tracers and sanitizers do.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Blocks are taken at each call; every call within such a call goes straight on.
static __thread int depth_count;
int interpose_calls_count;

static void *next_of(const char *name) {
    void *block = calloc(1, 333);
    void *next = dlsym(RTLD_NEXT, name);

    free(malloc(1000));
    free(block);
    interpose_calls_count++;
    return next;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    void *result;

    if (depth_count++ > 0) {
        result = (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
    } else {
        void *(*next)(void *, size_t, int, int, int, off_t) =
            (void *(*)(void *, size_t, int, int, int, off_t))next_of("mmap");
        result = next(address, bytes, protection, flags, fd, offset);
    }
    depth_count--;
    return result;
}

#define INTERPOSE(name, number, parameters, arguments)                 \
    int name parameters {                                              \
        int result;                                                    \
        if (depth_count++ > 0) {                                       \
            result = (int)syscall(number, NUMBER_ARGUMENTS arguments); \
        } else {                                                       \
            int(*next) parameters = (int(*) parameters)next_of(#name); \
            result = next arguments;                                   \
        }                                                              \
        depth_count--;                                                 \
        return result;                                                 \
    }
#define NUMBER_ARGUMENTS(...) __VA_ARGS__

INTERPOSE(munmap, SYS_munmap, (void *p, size_t n), (p, n))
INTERPOSE(mprotect, SYS_mprotect, (void *p, size_t n, int how), (p, n, how))
INTERPOSE(madvise, SYS_madvise, (void *p, size_t n, int how), (p, n, how))

int open(const char *path, int flags, ...) {
    va_list arguments;
    int mode;

    va_start(arguments, flags);
    mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    if (depth_count++ == 0) {
        next_of("open");
    }
    int result = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    depth_count--;
    return result;
}
