// early_ifunc.c - a resolver of an indirect function allocates.
//
// It runs while the program is being relocated, when the libraries that the
// program needs are relocated already. Thread-local variables are all zero then,
// whatever their initial values; the loader sets those, over anything that was
// written, only afterwards.
#include "case.h"

static void *resolver_blocks[3];

static int answer(void) {
    return 42;
}

__attribute__((used)) static int (*resolve_answer(void))(void) {
    resolver_blocks[0] = calloc(1, 200);
    resolver_blocks[1] = malloc(100000);
    free(calloc(1, 30));
    resolver_blocks[2] = realloc(malloc(10), 40);
    return answer;
}

static int indirect_answer(void) __attribute__((ifunc("resolve_answer")));

CASE(an_ifunc_resolver_may_allocate) {
    CHECK(indirect_answer() == 42, "resolver");
    for (int i = 0; i < 3; i++) {
        CHECK(resolver_blocks[i] != NULL, "block %d", i);
    }
    memset(resolver_blocks[0], 1, 200);
    memset(resolver_blocks[1], 2, 100000);
    memset(resolver_blocks[2], 3, 40);
    case_churn(3, 20000);
    for (int i = 0; i < 3; i++) {
        free(resolver_blocks[i]);
    }
    case_churn(4, 20000);
}
