// interpose.c - run with lib_interpose.c preloaded before the library.
#include "case.h"

extern int interpose_calls_count;
#pragma weak interpose_calls_count

static void *churn_thread(void *seed) {
    case_churn((uintptr_t)seed, 20000);
    return NULL;
}

CASE(an_interposed_mmap_may_call_dlsym_and_calloc) {
    CHECK(&interpose_calls_count != NULL, "the interposer is not loaded");
    case_churn(5, 20000);
    case_join(case_thread(churn_thread, (void *)6));
    for (size_t bytes = 64 * KIB; bytes <= 64 * MIB; bytes *= 2) {
        case_give(case_take(bytes), bytes);
    }
    // The library may make its system calls itself; libc makes this one by name.
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED, "%s", strerror(errno));
    CHECK(interpose_calls_count > 0, "the interposed mmap was not called");
}
