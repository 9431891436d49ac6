// cxx.c - operator new and delete.                                         layer 8
//
// Defined in C under their mangled names (Itanium C++ ABI), so that a C program
// does not need libstdc++. What only C++ can do, throwing, is asked of the
// runtime of the program, which is there if operator new is used.
#include "allot.h"
#include "api/fast.h"
#include "base/config.h"
#include "os/check.h"
#include "os/frame.h"

#include <dlfcn.h>
#include <stdalign.h>
#include <stddef.h>

#if ALLOT_CONFIG_FACE

#define CXX_EXPORT __attribute__((visibility("default")))

typedef void cxx_handler(void);
extern cxx_handler *cxx_get_new_handler(void) __asm__("_ZSt15get_new_handlerv")
    __attribute__((weak));
extern void cxx_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

static void *cxx_allocate(size_t align_bytes, size_t size_bytes) {
    return align_bytes <= alignof(max_align_t) ? fast_malloc(size_bytes)
                                               : allot_aligned(align_bytes, size_bytes);
}

// Asks the new-handler for memory until there is some or no handler, which
// may throw.
static void *cxx_ask_handler(size_t align_bytes, size_t size_bytes) {
    for (;;) {
        cxx_handler *handler = cxx_get_new_handler != NULL ? cxx_get_new_handler() : NULL;
        if (handler == NULL) {
            return NULL;
        }
        handler();
        void *block = cxx_allocate(align_bytes, size_bytes);
        if (block != NULL) {
            return block;
        }
    }
}

static COLD void *cxx_retry(size_t align_bytes, size_t size_bytes) {
    void *block = cxx_ask_handler(align_bytes, size_bytes);
    if (block == NULL && cxx_throw_bad_alloc != NULL) {
        cxx_throw_bad_alloc();
    }
    if (block == NULL) {
        check_abort("allot: error: operator new: out of memory");
    }
    return block;
}

// Keeps its frame: what is allocated in there is traced to the caller of new.
static NOINLINE void *cxx_new_slow(size_t align_bytes, size_t size_bytes) {
    FRAME_KEEP();
    bool is_plain = align_bytes <= alignof(max_align_t);
    size_t kind = size_bytes <= SIZECLASS_SPAN_MAX ? sizeclass_of(size_bytes) : 0;
    void *block = is_plain ? alloc_slow(size_bytes, kind) : allot_aligned(align_bytes, size_bytes);
    return LIKELY(block != NULL) ? block : cxx_retry(align_bytes, size_bytes);
}

static ALWAYS_INLINE void *cxx_new(size_t align_bytes, size_t size_bytes) {
    void *block = align_bytes <= alignof(max_align_t) ? fast_pop(size_bytes) : NULL;
    return LIKELY(block != NULL) ? block : cxx_new_slow(align_bytes, size_bytes);
}

// What a handler throws must not get out of a nothrow form. Only C++ can catch
// it: libstdc++'s own form calls the throwing one of this file and does so.
static COLD void *cxx_retry_nothrow(size_t align_bytes, size_t size_bytes, const void *tag) {
    union {
        void *address;
        void *(*plain)(size_t, const void *);
        void *(*aligned)(size_t, size_t, const void *);
    } next;
    if (cxx_get_new_handler == NULL || cxx_get_new_handler() == NULL) {
        return NULL;
    }
    bool is_plain = align_bytes <= alignof(max_align_t);
    next.address =
        dlsym(RTLD_NEXT, is_plain ? "_ZnwmRKSt9nothrow_t" : "_ZnwmSt11align_val_tRKSt9nothrow_t");
    if (next.address == NULL) {
        return cxx_ask_handler(align_bytes, size_bytes);
    }
    return is_plain ? next.plain(size_bytes, tag) : next.aligned(size_bytes, align_bytes, tag);
}

static NOINLINE void *cxx_new_nothrow_slow(size_t align_bytes, size_t size_bytes, const void *tag) {
    FRAME_KEEP();
    void *block = cxx_allocate(align_bytes, size_bytes);
    return LIKELY(block != NULL) ? block : cxx_retry_nothrow(align_bytes, size_bytes, tag);
}

static ALWAYS_INLINE void *cxx_new_nothrow(size_t align_bytes, size_t size_bytes, const void *tag) {
    void *block = align_bytes <= alignof(max_align_t) ? fast_pop(size_bytes) : NULL;
    return LIKELY(block != NULL) ? block : cxx_new_nothrow_slow(align_bytes, size_bytes, tag);
}

#define CXX_NEW(symbol)                          \
    CXX_EXPORT void *symbol(size_t size_bytes);  \
    CXX_EXPORT void *symbol(size_t size_bytes) { \
        return cxx_new(1, size_bytes);           \
    }
CXX_NEW(_Znwm)
CXX_NEW(_Znam)

#define CXX_NEW_ALIGNED(symbol)                                      \
    CXX_EXPORT void *symbol(size_t size_bytes, size_t align_bytes);  \
    CXX_EXPORT void *symbol(size_t size_bytes, size_t align_bytes) { \
        return cxx_new(align_bytes, size_bytes);                     \
    }
CXX_NEW_ALIGNED(_ZnwmSt11align_val_t)
CXX_NEW_ALIGNED(_ZnamSt11align_val_t)

#define CXX_NEW_NOTHROW(symbol)                                   \
    CXX_EXPORT void *symbol(size_t size_bytes, const void *tag);  \
    CXX_EXPORT void *symbol(size_t size_bytes, const void *tag) { \
        return cxx_new_nothrow(1, size_bytes, tag);               \
    }
CXX_NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
CXX_NEW_NOTHROW(_ZnamRKSt9nothrow_t)

#define CXX_NEW_ALIGNED_NOTHROW(symbol)                                               \
    CXX_EXPORT void *symbol(size_t size_bytes, size_t align_bytes, const void *tag);  \
    CXX_EXPORT void *symbol(size_t size_bytes, size_t align_bytes, const void *tag) { \
        return cxx_new_nothrow(align_bytes, size_bytes, tag);                         \
    }
CXX_NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
CXX_NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)

#define CXX_DELETE(symbol, parameters)  \
    CXX_EXPORT void symbol parameters;  \
    CXX_EXPORT void symbol parameters { \
        fast_free(block);               \
    }

#define CXX_UNUSED(name) name __attribute__((unused))
CXX_DELETE(_ZdlPv, (void *block))
CXX_DELETE(_ZdaPv, (void *block))
CXX_DELETE(_ZdlPvRKSt9nothrow_t, (void *block, const void *CXX_UNUSED(tag)))
CXX_DELETE(_ZdaPvRKSt9nothrow_t, (void *block, const void *CXX_UNUSED(tag)))
CXX_DELETE(_ZdlPvSt11align_val_t, (void *block, size_t CXX_UNUSED(align_bytes)))
CXX_DELETE(_ZdaPvSt11align_val_t, (void *block, size_t CXX_UNUSED(align_bytes)))
CXX_DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t,
           (void *block, size_t CXX_UNUSED(align_bytes), const void *CXX_UNUSED(tag)))
CXX_DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t,
           (void *block, size_t CXX_UNUSED(align_bytes), const void *CXX_UNUSED(tag)))

#define CXX_DELETE_SIZED(symbol)                             \
    CXX_EXPORT void symbol(void *block, size_t size_bytes);  \
    CXX_EXPORT void symbol(void *block, size_t size_bytes) { \
        fast_free_sized(block, size_bytes);                  \
    }
CXX_DELETE_SIZED(_ZdlPvm)
CXX_DELETE_SIZED(_ZdaPvm)

#define CXX_DELETE_ALIGNED(symbol)                                               \
    CXX_EXPORT void symbol(void *block, size_t size_bytes, size_t align_bytes);  \
    CXX_EXPORT void symbol(void *block, size_t size_bytes, size_t align_bytes) { \
        free_checked(block, align_bytes, size_bytes);                            \
    }
CXX_DELETE_ALIGNED(_ZdlPvmSt11align_val_t)
CXX_DELETE_ALIGNED(_ZdaPvmSt11align_val_t)

#endif
