// early.c - the first call into the allocator comes before any constructor.
//
// Functions in .preinit_array run before the constructors of every library, so
// the call made there is the first one of the program. The same source is
// linked dynamically, with -static and with -static-pie.
#include "case.h"

static void *early_block;
static size_t early_size = 1;

static void early_free_null(void) {
    free(NULL);
}

static void early_calloc(void) {
    early_block = calloc(3, 40);
}

static void early_usable_size(void) {
    early_size = malloc_usable_size(NULL);
}

static void early_realloc(void) {
    early_block = realloc(NULL, 120);
}

static void early_aligned(void) {
    if (posix_memalign(&early_block, 4096, 120) != 0) {
        early_block = NULL;
    }
}

static void early_large(void) {
    early_block = malloc(5 * MIB);
}

static const struct {
    const char *name;
    void (*call)(void);
} early_calls[] = {
    {"free_of_null_may_be_the_first_call", early_free_null},
    {"calloc_may_be_the_first_call", early_calloc},
    {"malloc_usable_size_may_be_the_first_call", early_usable_size},
    {"realloc_of_null_may_be_the_first_call", early_realloc},
    {"posix_memalign_may_be_the_first_call", early_aligned},
    {"a_large_malloc_may_be_the_first_call", early_large},
};

static void early_main(int argc, char **argv, char **environment) {
    (void)environment;
    for (size_t i = 0; argc > 1 && i < sizeof early_calls / sizeof *early_calls; i++) {
        if (strcmp(argv[1], early_calls[i].name) == 0) {
            early_calls[i].call();
        }
    }
}

__attribute__((used,
               section(".preinit_array"))) static void (*const early_preinit)(int, char **,
                                                                              char **) = early_main;

static void *constructor_block;

__attribute__((constructor(101))) static void constructor_first(void) {
    constructor_block = calloc(1, 1000);
    free(malloc(70));
}

// The early block is whole, and the allocator works as ever.
static void check_afterwards(size_t early_bytes) {
    if (early_bytes != 0) {
        CHECK(early_block != NULL, "the early call failed");
        memset(early_block, 0x5a, early_bytes);
        CHECK(malloc_usable_size(early_block) >= early_bytes, "usable %zu",
              malloc_usable_size(early_block));
    }
    case_churn(1, 20000);
    free(early_block);
    free(constructor_block);
    case_churn(2, 20000);
}

CASE(free_of_null_may_be_the_first_call) {
    check_afterwards(0);
}

CASE(calloc_may_be_the_first_call) {
    static const unsigned char zero[120];

    CHECK(early_block == NULL || memcmp(early_block, zero, sizeof zero) == 0, "not zero");
    check_afterwards(sizeof zero);
}

CASE(malloc_usable_size_may_be_the_first_call) {
    CHECK(early_size == 0, "usable size of NULL is %zu", early_size);
    check_afterwards(0);
}

CASE(realloc_of_null_may_be_the_first_call) {
    check_afterwards(120);
}

CASE(posix_memalign_may_be_the_first_call) {
    CHECK((uintptr_t)early_block % 4096 == 0, "block %p", early_block);
    check_afterwards(120);
}

CASE(a_large_malloc_may_be_the_first_call) {
    check_afterwards(5 * MIB);
}

CASE(a_constructor_of_priority_101_may_allocate) {
    static const unsigned char zero[1000];

    CHECK(constructor_block != NULL && memcmp(constructor_block, zero, sizeof zero) == 0,
          "block %p", constructor_block);
    check_afterwards(0);
}
