// requests.h - refuses requests for memory that the modules make.
//
// The linker sends their calls of allot_malloc and its relatives through the functions
// __wrap_* here (tests/unit/CMakeLists.txt).
#ifndef TESTS_UNIT_REQUESTS_H
#define TESTS_UNIT_REQUESTS_H

#include "unit.h"

#include <errno.h>

enum { REQUESTS_MAX = 100000 };

void *__real_allot_malloc(size_t size_bytes);
void *__real_allot_calloc(size_t count, size_t size_bytes);
void *__real_allot_realloc(void *block, size_t size_bytes);
void *__real_allot_aligned(size_t align_bytes, size_t size_bytes);
void __real_allot_free(void *block);
void *__wrap_allot_malloc(size_t size_bytes);
void *__wrap_allot_calloc(size_t count, size_t size_bytes);
void *__wrap_allot_realloc(void *block, size_t size_bytes);
void *__wrap_allot_aligned(size_t align_bytes, size_t size_bytes);
void __wrap_allot_free(void *block);

static struct {
    uint64_t count, refused_count;
    uint64_t refuse_at;  // the number of the request that fails; 0: none
    bool refuse_from;    // and all after it
    int64_t blocks;      // not freed
    bool is_inside;      // realloc itself allocates and frees
} requests;

static bool requests_is_refused(void) {
    if (requests.is_inside) {
        return false;
    }
    uint64_t number = ++requests.count;
    bool is = requests.refuse_at != 0 &&
              (requests.refuse_from ? number >= requests.refuse_at : number == requests.refuse_at);
    requests.refused_count += is;
    errno = is ? ENOMEM : errno;
    return is;
}

static void *requests_counted(void *block) {
    requests.blocks += block != NULL && !requests.is_inside;
    return block;
}

void *__wrap_allot_malloc(size_t size_bytes) {
    return requests_is_refused() ? NULL : requests_counted(__real_allot_malloc(size_bytes));
}

void *__wrap_allot_calloc(size_t count, size_t size_bytes) {
    return requests_is_refused() ? NULL : requests_counted(__real_allot_calloc(count, size_bytes));
}

void *__wrap_allot_realloc(void *block, size_t size_bytes) {
    if (requests_is_refused()) {
        return NULL;
    }
    requests.is_inside = true;
    void *moved = __real_allot_realloc(block, size_bytes);
    requests.is_inside = false;
    requests.blocks += block == NULL && moved != NULL;
    return moved;
}

void *__wrap_allot_aligned(size_t align_bytes, size_t size_bytes) {
    return requests_is_refused() ? NULL
                                 : requests_counted(__real_allot_aligned(align_bytes, size_bytes));
}

void __wrap_allot_free(void *block) {
    requests.blocks -= block != NULL && !requests.is_inside;
    __real_allot_free(block);
}

/// From now on, request k fails, and with `from` all after it. k = 0: none.
CHECK_UNUSED static void requests_refuse(uint64_t k, bool from) {
    requests.count = 0;
    requests.refused_count = 0;
    requests.refuse_at = k;
    requests.refuse_from = from;
}

/// Runs it with the first request refused, the second, ... until it makes so many no more.
/// `run` returns whether one was refused.
CHECK_UNUSED static void requests_refuse_each(bool (*run)(uint64_t k, bool from), bool from) {
    uint64_t k = 1;
    while (run(k, from)) {
        assert_true(++k < REQUESTS_MAX);
    }
    printf("%llu requests refused\n", (unsigned long long)k - 1);
    assert_true(k > 5);
}

#endif
