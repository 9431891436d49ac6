// early.c - calls before the loader has filled thread-local storage.       layer 8
//
// An IFUNC resolver of the program may allocate. It runs while the loader
// relocates, after this library but before the initial values of thread-local
// variables are in place: they read as zero. The fast paths rely on theirs. A
// resolver of this library's own, which runs when the library is relocated,
// sets it. In a static program resolvers run before there is any thread-local
// storage, and none may allocate.
#include "cache/cache.h"

#include <stdbool.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__gnu_linux__)

static ALWAYS_INLINE bool early_has_thread_local_storage(void) {
    enum { EARLY_SYS_ARCH_PRCTL = 158, EARLY_ARCH_GET_FS = 0x1003 };
    unsigned long base = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"((long)EARLY_SYS_ARCH_PRCTL), "D"((long)EARLY_ARCH_GET_FS), "S"(&base)
                     : "rcx", "r11", "memory");
    return result == 0 && base != 0;
}

static void early_nothing(void) {}

typedef void early_function(void);

static __attribute__((used)) early_function *early_resolve(void) {
    if (early_has_thread_local_storage()) {
        cache_self = &cache_none;
    }
    return early_nothing;
}

static void early_hook(void) __attribute__((ifunc("early_resolve")));

// A reference, so that the loader has something to resolve.
early_function *const early_reference __attribute__((used, visibility("hidden"))) = early_hook;

#endif
