// next.c - the malloc that would be used without this library.             layer 1
//
// glibc exports its own functions under a second name. Statistics have only one
// name and are looked up behind this library.
#include "os/next.h"

#include <dlfcn.h>
#include <malloc.h>

extern void __libc_free(void *block) __attribute__((weak));
extern void *__libc_realloc(void *block, size_t size_bytes) __attribute__((weak));

// The definition of another module than this one. Late load: libc's comes
// first in the process. Preload: it comes behind us.
static bool next_is_ours(const void *function) {
    static const char here = 0;
    Dl_info of_function, of_here;
    return dladdr(function, &of_function) != 0 && dladdr(&here, &of_here) != 0 &&
           of_function.dli_fbase == of_here.dli_fbase;
}

static void *next_symbol(const char *name) {
    void *found = dlsym(RTLD_DEFAULT, name);
    if (found != NULL && next_is_ours(found)) {
        found = dlsym(RTLD_NEXT, name);
    }
    return found != NULL && !next_is_ours(found) ? found : NULL;
}

#ifdef __GLIBC_PREREQ
#define NEXT_GLIBC_PREREQ(major, minor) __GLIBC_PREREQ(major, minor)
#else
#define NEXT_GLIBC_PREREQ(major, minor) 0
#endif

// Once in use, always in use: the question is asked for every foreign block.
static bool next_was_in_use;

#if NEXT_GLIBC_PREREQ(2, 33)
bool next_is_in_use(void) {
    if (__atomic_load_n(&next_was_in_use, __ATOMIC_RELAXED) || __libc_free == NULL) {
        return __libc_free != NULL;
    }
    union {
        void *address;
        struct mallinfo2 (*function)(void);
    } next = {next_symbol("mallinfo2")};
    if (next.address == NULL) {
        return false;
    }
    struct mallinfo2 info = next.function();
    bool is_in_use = info.uordblks > 0 || info.hblkhd > 0;
    __atomic_store_n(&next_was_in_use, is_in_use, __ATOMIC_RELAXED);
    return is_in_use;
}
#else
bool next_is_in_use(void) {
    return next_was_in_use;
}
#endif

bool next_free(void *block) {
    if (__libc_free == NULL) {
        return false;
    }
    __libc_free(block);
    return true;
}

bool next_realloc(void *block, size_t size_bytes, void **result) {
    if (__libc_realloc == NULL) {
        return false;
    }
    *result = __libc_realloc(block, size_bytes);
    return true;
}

bool next_usable_size(void *block, size_t *size_bytes) {
    union {
        void *address;
        size_t (*function)(void *);
    } next = {next_symbol("malloc_usable_size")};
    if (next.address == NULL) {
        return false;
    }
    *size_bytes = next.function(block);
    return true;
}
