// functions.c - what the C, POSIX, GNU and C23 functions promise: results, errno, refusals.
#include "../support/api.h"
#include "../support/check.h"

#include <malloc.h>

void cfree(void *ptr);
int reallocarr(void *ptr_address, size_t count, size_t size_bytes);

#define UNTOUCHED 12345  // an errno that nothing sets

static const size_t too_large[] = {
    (size_t)PTRDIFF_MAX + 1,
    (size_t)PTRDIFF_MAX + 4096,
    SIZE_MAX / 2 + 65536,
    SIZE_MAX - 65536,
    SIZE_MAX - 4096,
    SIZE_MAX - 4095,
    SIZE_MAX - 63,
    SIZE_MAX - 16,
    SIZE_MAX - 15,
    SIZE_MAX - 8,
    SIZE_MAX - 1,
    SIZE_MAX,
};
#define TOO_LARGE_COUNT (sizeof(too_large) / sizeof(too_large[0]))

// Small, cached, large, and large enough to go to the system at once.
static const size_t some_sizes[] = {0,     1,     8,      16,      100,     1000,    4096,
                                    32768, 65536, 200000, 1 << 20, 4 << 20, 64 << 20};
#define SOME_SIZE_COUNT (sizeof(some_sizes) / sizeof(some_sizes[0]))

static void check_refused(const char *what, size_t size_bytes, void *result) {
    if (result || errno != ENOMEM) {
        CHECK_FAIL("%s of %zu gave %p with errno %d, not NULL with ENOMEM", what, size_bytes,
                   result, errno);
    }
    errno = 0;
}

static void more_than_ptrdiff_max_is_refused_with_enomem(void) {
    errno = 0;
    for (size_t i = 0; i < TOO_LARGE_COUNT; i++) {
        size_t size = api_opaque(too_large[i]);
        check_refused("malloc", size, malloc(size));
        check_refused("calloc 1", size, calloc(1, size));
        check_refused("calloc 2", size, calloc(size, 1));
        check_refused("realloc of NULL", size, realloc(NULL, size));
        check_refused("reallocarray", size, reallocarray(NULL, 1, size));
        check_refused("aligned_alloc", size, aligned_alloc(64, size));
        check_refused("memalign", size, memalign(4096, size));
        check_refused("valloc", size, valloc(size));
        check_refused("pvalloc", size, pvalloc(size));
    }
    // The limit itself cannot be had either: it is more than the address space.
    check_refused("malloc", PTRDIFF_MAX, malloc(api_opaque(PTRDIFF_MAX)));
    check_refused("memalign", PTRDIFF_MAX, memalign(1 << 20, api_opaque(PTRDIFF_MAX)));
}

// An addition that wraps around somewhere inside would turn one of these into a small block.
static void no_size_near_the_ends_of_the_range_wraps_around(void) {
    void *block = malloc(16);
    for (size_t distance = 0; distance < 40000;
         distance = distance < 5000 ? distance + 1 : distance + 997) {
        size_t sizes[] = {SIZE_MAX - distance, (size_t)PTRDIFF_MAX + 1 + distance,
                          PTRDIFF_MAX - distance};
        for (size_t i = 0; i < 3; i++) {
            size_t size = api_opaque(sizes[i]);
            errno = 0;
            check_refused("malloc", size, malloc(size));
            check_refused("calloc", size, calloc(size, 1));
            check_refused("realloc", size, realloc(block, size));
            check_refused("memalign", size, memalign(1 << (distance % 20), size));
        }
    }
    free(block);
}

static void a_product_that_overflows_is_refused_with_enomem(void) {
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2},
        {2, SIZE_MAX},
        {SIZE_MAX, SIZE_MAX},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1},
        {SIZE_MAX / 16 + 2, 16},
        {16, SIZE_MAX / 16 + 2},
        {SIZE_MAX / 3, 4},
        {SIZE_MAX / 2 + 1, 2},
        {PTRDIFF_MAX, 2},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        size_t count = api_opaque(pairs[i][0]);
        size_t size = api_opaque(pairs[i][1]);
        errno = 0;
        check_refused("calloc", count, calloc(count, size));
        check_refused("reallocarray of NULL", count, reallocarray(NULL, count, size));
        char *block = (char *)malloc(40);
        memset(block, 7, 40);
        check_refused("reallocarray", count, reallocarray(block, count, size));
        CHECK_INT(block[39], ==, 7);
        free(block);
    }
}

static void zero_bytes_give_distinct_blocks_that_must_be_freed(void) {
    enum { COUNT = 100 };
    void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t zero = api_opaque(0);
        switch (i % 5) {
        case 0: blocks[i] = malloc(zero); break;
        case 1: blocks[i] = calloc(zero, 8); break;
        case 2: blocks[i] = realloc(NULL, zero); break;
        case 3: blocks[i] = aligned_alloc(32, zero); break;
        default: blocks[i] = memalign(128, zero); break;
        }
        CHECK_PTR(blocks[i], !=, NULL);
        for (size_t k = 0; k < i; k++) {
            CHECK_PTR(blocks[i], !=, blocks[k]);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        free(blocks[i]);
    }
}

static void success_leaves_errno_alone(void) {
    for (size_t i = 0; i < SOME_SIZE_COUNT; i++) {
        size_t size = api_opaque(some_sizes[i]);
        errno = UNTOUCHED;
        void *a = malloc(size);
        CHECK_INT(errno, ==, UNTOUCHED);
        void *b = calloc(1, size);
        CHECK_INT(errno, ==, UNTOUCHED);
        void *c = memalign(256, size);
        CHECK_INT(errno, ==, UNTOUCHED);
        void *d = aligned_alloc(4096, size);
        CHECK_INT(errno, ==, UNTOUCHED);
        void *e = NULL;
        CHECK_INT(posix_memalign(&e, 64, size), ==, 0);
        CHECK_INT(errno, ==, UNTOUCHED);
        void *f = valloc(size);
        void *g = pvalloc(size);
        CHECK_INT(errno, ==, UNTOUCHED);
        a = realloc(a, size + 100);
        CHECK_INT(errno, ==, UNTOUCHED);
        b = reallocarray(b, size + 1, 3);
        CHECK_INT(errno, ==, UNTOUCHED);
        CHECK(a && b && c && d && e && f && g);
        CHECK_UINT(malloc_usable_size(a), >=, size + 100);
        CHECK_INT(errno, ==, UNTOUCHED);
        void *all[] = {a, b, c, d, e, f, g};
        for (size_t k = 0; k < 7; k++) {
            free(all[k]);
        }
    }
}

static void free_keeps_errno(void) {
    for (size_t i = 0; i < SOME_SIZE_COUNT; i++) {
        size_t size = api_opaque(some_sizes[i]);
        void *blocks[64];
        size_t count = size > (1 << 20) ? 3 : 64;
        for (size_t k = 0; k < count; k++) {
            blocks[k] = malloc(size);
            CHECK_PTR(blocks[k], !=, NULL);
        }
        for (size_t k = 0; k < count; k++) {
            errno = UNTOUCHED;
            switch (k % 3) {
            case 0: free(blocks[k]); break;
            case 1: free_sized(blocks[k], size); break;
            default: cfree(blocks[k]); break;
            }
            CHECK_INT(errno, ==, UNTOUCHED);
        }
        errno = UNTOUCHED;
        free_aligned_sized(aligned_alloc(64, size), 64, size);
        malloc_trim(0);
        free(NULL);
        free_sized(NULL, size);
        free_aligned_sized(NULL, 64, size);
        CHECK_INT(errno, ==, UNTOUCHED);
    }
}

static void realloc_to_zero_frees(void) {
    // If nothing were freed, this would take 200 GiB.
    for (size_t i = 0; i < 200000; i++) {
        void *block = malloc(api_opaque(1 << 20));
        CHECK_PTR(block, !=, NULL);
        errno = UNTOUCHED;
        CHECK_PTR(realloc(block, api_opaque(0)), ==, NULL);
        CHECK_INT(errno, ==, UNTOUCHED);
    }
}

static void realloc_that_fails_leaves_the_block(void) {
    for (size_t i = 0; i < SOME_SIZE_COUNT; i++) {
        size_t size = api_opaque(some_sizes[i]);
        unsigned char *block = (unsigned char *)malloc(size);
        CHECK_PTR(block, !=, NULL);
        size_t usable = malloc_usable_size(block);
        memset(block, 0x5a, usable);
        for (size_t k = 0; k < TOO_LARGE_COUNT; k++) {
            errno = 0;
            check_refused("realloc", too_large[k], realloc(block, api_opaque(too_large[k])));
        }
        errno = 0;
        check_refused("realloc", PTRDIFF_MAX, realloc(block, api_opaque(PTRDIFF_MAX)));
        CHECK_UINT(malloc_usable_size(block), ==, usable);
        for (size_t k = 0; k < usable; k++) {
            CHECK_UINT(block[k], ==, 0x5a);
        }
        free(block);
    }
}

// NetBSD's contract: the error is the result, errno and the pointer stay.
static void reallocarr_reports_by_its_result(void) {
    int *array = NULL;
    errno = UNTOUCHED;
    CHECK_INT(reallocarr(&array, 100, sizeof(int)), ==, 0);
    CHECK_PTR(array, !=, NULL);
    array[99] = 4711;
    CHECK_INT(reallocarr(&array, 100000, sizeof(int)), ==, 0);
    CHECK_INT(array[99], ==, 4711);
    int *before = array;
    CHECK_INT(reallocarr(&array, api_opaque(SIZE_MAX / 2), sizeof(int)), ==, EOVERFLOW);
    CHECK_PTR(array, ==, before);
    CHECK_INT(reallocarr(&array, api_opaque(PTRDIFF_MAX), 1), ==, ENOMEM);
    CHECK_PTR(array, ==, before);
    CHECK_INT(array[99], ==, 4711);
    CHECK_INT(reallocarr(&array, 0, sizeof(int)), ==, 0);
    CHECK_INT(errno, ==, UNTOUCHED);
    free(array);
}

static void reallocarray_multiplies(void) {
    char *array = (char *)reallocarray(NULL, 10, 10);
    CHECK_UINT(malloc_usable_size(array), >=, 100);
    memset(array, 3, 100);
    array = (char *)reallocarray(array, 1000, 1000);
    CHECK_UINT(malloc_usable_size(array), >=, 1000000);
    for (size_t i = 0; i < 100; i++) {
        CHECK_INT(array[i], ==, 3);
    }
    free(array);
}

static void posix_memalign_reports_by_its_result_only(void) {
    static const size_t bad[] = {0, 1, 2, 3, 4, 7, 12, 24, 100, 4095, 4097, SIZE_MAX};
    char witness;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        void *block = &witness;
        errno = UNTOUCHED;
        int result = posix_memalign(&block, api_opaque(bad[i]), 100);
        if (result != EINVAL || block != &witness || errno != UNTOUCHED) {
            CHECK_FAIL("alignment %zu: result %d, errno %d, pointer %s", bad[i], result, errno,
                       block == &witness ? "kept" : "changed");
        }
    }
    for (size_t i = 0; i < TOO_LARGE_COUNT; i++) {
        void *block = &witness;
        errno = UNTOUCHED;
        CHECK_INT(posix_memalign(&block, 64, api_opaque(too_large[i])), ==, ENOMEM);
        CHECK_PTR(block, ==, &witness);
        CHECK_INT(errno, ==, UNTOUCHED);
    }
    void *block = NULL;
    CHECK_INT(posix_memalign(&block, sizeof(void *), 0), ==, 0);
    free(block);
}

static void aligned_alloc_refuses_what_is_no_power_of_two(void) {
    static const size_t bad[] = {0, 3, 6, 24, 100, 4095, 4097, SIZE_MAX, SIZE_MAX - 4095};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        errno = 0;
        void *block = aligned_alloc(api_opaque(bad[i]), 64);
        if (block || errno != EINVAL) {
            CHECK_FAIL("aligned_alloc(%zu, 64) gave %p with errno %d", bad[i], block, errno);
        }
    }
    // C23 no longer demands a size that is a multiple of the alignment.
    void *block = aligned_alloc(256, api_opaque(10));
    CHECK_ALIGNED(block, 256);
    free(block);
}

// glibc takes the next power of two; others refuse. Nothing else will do.
static void memalign_of_an_odd_alignment_is_rounded_up_or_refused(void) {
    static const struct {
        size_t asked, rounded;
    } rows[] = {{3, 4}, {24, 32}, {100, 128}, {4097, 8192}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        errno = 0;
        void *block = memalign(api_opaque(rows[i].asked), 64);
        if (block) {
            CHECK_ALIGNED(block, rows[i].rounded);
        } else {
            CHECK_INT(errno, ==, EINVAL);
        }
        free(block);
    }
    // No overflow on the way to the next power of two, or in alignment plus size.
    errno = 0;
    CHECK_PTR(memalign(api_opaque(SIZE_MAX), 64), ==, NULL);
    CHECK(errno == EINVAL || errno == ENOMEM);
    errno = 0;
    CHECK_PTR(memalign(api_opaque(SIZE_MAX / 2 + 2), 64), ==, NULL);
    CHECK(errno == EINVAL || errno == ENOMEM);
    errno = 0;
    CHECK_PTR(memalign(api_opaque((size_t)1 << 62), api_opaque((size_t)1 << 62)), ==, NULL);
    CHECK(errno == EINVAL || errno == ENOMEM);
}

static void valloc_and_pvalloc_give_whole_pages(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 65536, 100000, 1 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *a = valloc(api_opaque(sizes[i]));
        void *b = pvalloc(api_opaque(sizes[i]));
        CHECK_ALIGNED(a, page);
        CHECK_ALIGNED(b, page);
        CHECK_UINT(malloc_usable_size(a), >=, sizes[i]);
        CHECK_UINT(malloc_usable_size(b), >=, (sizes[i] + page - 1) / page * page);
        memset(b, 1, (sizes[i] + page - 1) / page * page);
        free(a);
        free(b);
    }
}

static void usable_size_of_null_is_zero(void) {
    CHECK_UINT(malloc_usable_size(NULL), ==, 0);
}

static void sized_frees_take_what_was_asked_for(void) {
    for (size_t size = 0; size < 70000; size += size < 2000 ? 1 : 97) {
        void *block = malloc(size);
        free_sized(block, size);
        size_t usable = malloc_usable_size(block = malloc(size));
        free_sized(block, usable);
        block = calloc(1, size);
        free_sized(block, size);
        block = realloc(malloc(10), size ? size : 1);
        free_sized(block, size ? size : 1);
    }
    for (size_t align = 1; align <= 65536; align *= 2) {
        for (size_t size = 1; size < 300000; size = size * 3 + 1) {
            free_aligned_sized(aligned_alloc(align, size), align, size);
        }
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(more_than_ptrdiff_max_is_refused_with_enomem),
    CHECK_CASE(no_size_near_the_ends_of_the_range_wraps_around),
    CHECK_CASE(a_product_that_overflows_is_refused_with_enomem),
    CHECK_CASE(zero_bytes_give_distinct_blocks_that_must_be_freed),
    CHECK_CASE(success_leaves_errno_alone),
    CHECK_CASE(free_keeps_errno),
    CHECK_CASE(realloc_to_zero_frees),
    CHECK_CASE(realloc_that_fails_leaves_the_block),
    CHECK_CASE(reallocarr_reports_by_its_result),
    CHECK_CASE(reallocarray_multiplies),
    CHECK_CASE(posix_memalign_reports_by_its_result_only),
    CHECK_CASE(aligned_alloc_refuses_what_is_no_power_of_two),
    CHECK_CASE(memalign_of_an_odd_alignment_is_rounded_up_or_refused),
    CHECK_CASE(valloc_and_pvalloc_give_whole_pages),
    CHECK_CASE(usable_size_of_null_is_zero),
    CHECK_CASE(sized_frees_take_what_was_asked_for),
};

CHECK_MAIN(cases)
