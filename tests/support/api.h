// api.h - one name for each function under test: the C library's names where the library stands in
// for malloc, the allot_* names where it is built without them (USE_ALLOT_API).
#ifndef TESTS_SUPPORT_API_H
#define TESTS_SUPPORT_API_H

#include <allot.h>
#include <stddef.h>
#include <stdlib.h>

#ifdef USE_ALLOT_API

#define api_malloc allot_malloc
#define api_calloc allot_calloc
#define api_realloc allot_realloc
#define api_free allot_free
#define api_free_sized allot_free_sized
#define api_free_aligned_sized allot_free_aligned_sized
#define api_aligned allot_aligned
#define api_usable_size allot_usable_size

#else

#include <malloc.h>

// In glibc's headers only from C23 on.
#ifdef __cplusplus
extern "C" {
#endif
void free_sized(void *ptr, size_t size_bytes);
void free_aligned_sized(void *ptr, size_t align_bytes, size_t size_bytes);
#ifdef __cplusplus
}
#endif

#define api_malloc malloc
#define api_calloc calloc
#define api_realloc realloc
#define api_free free
#define api_free_sized free_sized
#define api_free_aligned_sized free_aligned_sized
#define api_aligned memalign
#define api_usable_size(ptr) malloc_usable_size((void *)(ptr))

#endif

/// A number that the compiler cannot see through, so that it neither warns nor folds.
static inline size_t api_opaque(size_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

/// A pointer that the compiler cannot see through.
static inline void *api_opaque_pointer(const void *pointer) {
    void *value = (void *)pointer;
    __asm__ volatile("" : "+r"(value) : : "memory");
    return value;
}

#endif
