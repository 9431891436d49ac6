// allot_functions.c - the contract of each function in allot.h, with every error that it names.
#include "../support/api.h"
#include "../support/check.h"
#include "../support/memory.h"

#define UNTOUCHED 12345

static bool is_zero(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i]) {
            return false;
        }
    }
    return true;
}

static void check_refused(const char *what, void *result, int error) {
    if (result || errno != error) {
        CHECK_FAIL("%s gave %p with errno %d, not NULL with %d", what, result, errno, error);
    }
    errno = 0;
}

static void the_version_is_the_headers(void) {
    char text[32];
    snprintf(text, sizeof(text), "%d.%d.%d", ALLOT_VERSION_MAJOR, ALLOT_VERSION_MINOR,
             ALLOT_VERSION_PATCH);
    CHECK_TEXT(allot_version(), text);
}

static void is_active_tells_whose_malloc_it_is(void) {
#ifdef USE_ALLOT_API
    CHECK(!allot_is_active());
#else
    CHECK(allot_is_active());
#endif
}

static void sizes_beyond_ptrdiff_max_are_refused(void) {
    static const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4095, SIZE_MAX - 15,
                                   SIZE_MAX};
    void *block = allot_malloc(100);
    errno = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = api_opaque(sizes[i]);
        check_refused("allot_malloc", allot_malloc(size), ENOMEM);
        check_refused("allot_calloc", allot_calloc(1, size), ENOMEM);
        check_refused("allot_realloc", allot_realloc(block, size), ENOMEM);
        check_refused("allot_realloc_zeroed", allot_realloc_zeroed(block, 50, size), ENOMEM);
        check_refused("allot_aligned", allot_aligned(64, size), ENOMEM);
        check_refused("allot_aligned_zeroed", allot_aligned_zeroed(1 << 20, size), ENOMEM);
        CHECK(!allot_expand(block, size));
        CHECK_UINT(allot_good_size(size), ==, 0);
        errno = 0;
    }
    check_refused("allot_calloc", allot_calloc(api_opaque(SIZE_MAX / 2), 3), ENOMEM);
    allot_free(block);
}

static void zero_bytes_give_distinct_blocks(void) {
    void *a = allot_malloc(0), *b = allot_calloc(0, 4), *c = allot_aligned(64, 0);
    void *d = allot_realloc(NULL, 0), *e = allot_aligned_zeroed(4096, 0);
    void *f = allot_realloc_zeroed(NULL, 0, 0);
    void *all[] = {a, b, c, d, e, f};
    for (size_t i = 0; i < 6; i++) {
        CHECK_PTR(all[i], !=, NULL);
        for (size_t k = 0; k < i; k++) {
            CHECK_PTR(all[i], !=, all[k]);
        }
    }
    for (size_t i = 0; i < 6; i++) {
        allot_free(all[i]);
    }
}

static void realloc_to_zero_frees_and_null_allocates(void) {
    for (size_t i = 0; i < 100000; i++) {
        void *block = allot_realloc(NULL, 1 << 20);
        CHECK_PTR(block, !=, NULL);
        CHECK_PTR(allot_realloc(block, api_opaque(0)), ==, NULL);
    }
}

static void free_keeps_errno(void) {
    static const size_t sizes[] = {0, 100, 5000, 100000, 3 << 20, 40 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        errno = UNTOUCHED;
        allot_free(allot_malloc(sizes[i]));
        allot_free_sized(allot_malloc(sizes[i]), sizes[i]);
        allot_free_aligned_sized(allot_aligned(512, sizes[i]), 512, sizes[i]);
        allot_free(NULL);
        allot_free_sized(NULL, 5);
        allot_free_aligned_sized(NULL, 16, 5);
        CHECK_INT(errno, ==, UNTOUCHED);
    }
}

static void realloc_zeroed_clears_what_is_new(void) {
    static const size_t sizes[] = {1,    10,    16,     40,     1000,    1024,
                                   5000, 33000, 100000, 262144, 1 << 20, 6 << 20};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < COUNT; k++) {
            unsigned char *block = (unsigned char *)allot_malloc(sizes[i]);
            size_t usable = allot_usable_size(block);
            memset(block, 0xee, usable);
            block = (unsigned char *)allot_realloc_zeroed(block, sizes[i], sizes[k]);
            CHECK_PTR(block, !=, NULL);
            size_t common = sizes[i] < sizes[k] ? sizes[i] : sizes[k];
            for (size_t b = 0; b<common; b += common> 10000 ? 97 : 1) {
                CHECK_UINT(block[b], ==, 0xee);
            }
            if (sizes[k] > sizes[i] && !is_zero(block, sizes[i], sizes[k])) {
                CHECK_FAIL("bytes %zu to %zu are not all zero", sizes[i], sizes[k]);
            }
            allot_free(block);
        }
    }
    unsigned char *fresh = (unsigned char *)allot_realloc_zeroed(NULL, 0, 3000);
    CHECK(is_zero(fresh, 0, 3000));
    // Half of what is there counts as old.
    memset(fresh, 0xee, 3000);
    fresh = (unsigned char *)allot_realloc_zeroed(fresh, 1000, 2990);
    CHECK_UINT(fresh[999], ==, 0xee);
    CHECK(is_zero(fresh, 1000, 2990));
    allot_free(fresh);
}

static void realloc_zeroed_refuses_an_impossible_old_size(void) {
    // Opaque: the bytes beyond the 100 are used, too.
    unsigned char *block = (unsigned char *)api_opaque_pointer(allot_malloc(100));
    size_t usable = allot_usable_size(block);
    memset(block, 0x31, usable);
    errno = 0;
    check_refused("one too many", allot_realloc_zeroed(block, usable + 1, 500), EINVAL);
    check_refused("far too many", allot_realloc_zeroed(block, api_opaque(SIZE_MAX), 500), EINVAL);
    check_refused("of NULL", allot_realloc_zeroed(NULL, 1, 500), EINVAL);
    CHECK_UINT(allot_usable_size(block), ==, usable);
    CHECK_UINT(block[usable - 1], ==, 0x31);
    block = (unsigned char *)allot_realloc_zeroed(block, usable, 500);
    CHECK_UINT(block[usable - 1], ==, 0x31);
    CHECK(is_zero(block, usable, 500));
    allot_free(block);
}

static void aligned_takes_powers_of_two_up_to_the_maximum(void) {
    for (size_t align = 1; align <= ALLOT_ALIGN_MAX; align *= 2) {
        void *a = allot_aligned(align, 100);
        CHECK_ALIGNED(a, align);
        unsigned char *b = (unsigned char *)allot_aligned_zeroed(align, 5000);
        CHECK_ALIGNED(b, align);
        CHECK(is_zero(b, 0, 5000));
        memset(b, 1, 5000);
        allot_free_aligned_sized(a, align, 100);
        allot_free(b);
    }
    static const size_t bad[] = {
        0,       3, 5, 6, 24, 4095, 4097, ALLOT_ALIGN_MAX + 1, ALLOT_ALIGN_MAX * 2, (size_t)1 << 63,
        SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        errno = 0;
        check_refused("allot_aligned", allot_aligned(api_opaque(bad[i]), 100), EINVAL);
        check_refused("allot_aligned_zeroed", allot_aligned_zeroed(api_opaque(bad[i]), 0), EINVAL);
    }
}

static void aligned_zeroed_is_zero_after_dirty_reuse(void) {
    for (size_t align = 16; align <= 65536; align *= 4) {
        for (size_t size = 1; size < 2000000; size = size * 3 + 5) {
            unsigned char *block = (unsigned char *)allot_aligned(align, size);
            memset(block, 0x99, allot_usable_size(block));
            allot_free(block);
            block = (unsigned char *)allot_aligned_zeroed(align, size);
            if (!is_zero(block, 0, size)) {
                CHECK_FAIL("%zu bytes at a multiple of %zu are not zero", size, align);
            }
            allot_free(block);
        }
    }
}

static void expand_says_yes_exactly_when_the_bytes_are_there(void) {
    for (size_t size = 1; size < (size_t)8 << 20; size = size * 5 / 4 + 1) {
        unsigned char *block = (unsigned char *)allot_malloc(size);
        memset(block, 0x44, size);
        size_t usable = allot_usable_size(block);
        CHECK(allot_expand(block, size));
        CHECK(allot_expand(block, usable));
        CHECK_UINT(allot_usable_size(block), >=, usable);
        size_t wanted = usable + usable / 2 + 1;
        size_t before = allot_usable_size(block);
        if (allot_expand(block, wanted)) {
            CHECK_UINT(allot_usable_size(block), >=, wanted);
            memset(block + size, 0x45, wanted - size);
        } else {
            CHECK_UINT(allot_usable_size(block), ==, before);
        }
        CHECK_UINT(block[0], ==, 0x44);
        CHECK_UINT(block[size - 1], ==, 0x44);
        CHECK(!allot_expand(block, api_opaque((size_t)PTRDIFF_MAX + 1)));
        CHECK(!allot_expand(block, api_opaque(SIZE_MAX)));
        CHECK(!allot_expand(block, api_opaque((size_t)1 << 46)));
        // Less is always possible; the block stays where it is and keeps what is left.
        CHECK(allot_expand(block, size / 2));
        CHECK_UINT(allot_usable_size(block), >=, size / 2);
        for (size_t i = 0; i < size / 2; i++) {
            CHECK_UINT(block[i], ==, 0x44);
        }
        allot_free(block);
    }
}

static void expanded_bytes_belong_to_nobody_else(void) {
    enum { COUNT = 200 };
    static struct {
        unsigned char *bytes;
        size_t size;
    } blocks[COUNT];
    struct check_random random = {check_seed()};
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i].size = 1 + check_random_below(&random, (size_t)1 << (4 + i % 18));
        blocks[i].bytes = (unsigned char *)allot_malloc(blocks[i].size);
        memset(blocks[i].bytes, (int)i, blocks[i].size);
        if (i % 4 == 3) {  // a hole that a neighbour may grow into
            allot_free(blocks[i - 1].bytes);
            blocks[i - 1].bytes = NULL;
        }
    }
    size_t grown = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t wanted = blocks[i].size + check_random_below(&random, blocks[i].size + 65536);
        if (blocks[i].bytes && allot_expand(blocks[i].bytes, wanted)) {
            memset(blocks[i].bytes, (int)i, wanted);
            blocks[i].size = wanted;
            grown++;
        }
    }
    printf("%zu of %d blocks grew in place\n", grown, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; blocks[i].bytes && k < blocks[i].size; k++) {
            CHECK_UINT(blocks[i].bytes[k], ==, i);
        }
        allot_free(blocks[i].bytes);
    }
}

static void good_size_is_the_usable_size_at_every_size(void) {
    size_t last = 0;
    for (size_t size = 0; size <= (size_t)1 << 20; size += CHECK_TSAN || CHECK_ASAN ? 3 : 1) {
        size_t good = allot_good_size(size);
        void *block = allot_malloc(size);
        size_t usable = allot_usable_size(block);
        if (good != usable || good < size || good < last) {
            CHECK_FAIL("allot_good_size(%zu) = %zu, usable size %zu, good size of one less %zu",
                       size, good, usable, last);
        }
        last = good;
        allot_free(block);
    }
    for (size_t size = (size_t)1 << 20; size < (size_t)1 << 30; size += size / 7 + 12345) {
        void *block = allot_malloc(size);
        CHECK_UINT(allot_good_size(size), ==, allot_usable_size(block));
        allot_free(block);
    }
}

static void a_good_size_is_its_own_good_size(void) {
    for (size_t size = 0; size < (size_t)64 << 20; size += size / 50 + 1) {
        size_t good = allot_good_size(size);
        CHECK_UINT(allot_good_size(good), ==, good);
    }
}

static void usable_size_of_null_is_zero(void) {
    CHECK_UINT(allot_usable_size(NULL), ==, 0);
}

#ifndef USE_ALLOT_API
static void blocks_of_both_families_mix(void) {
    for (size_t size = 1; size < 5000000; size = size * 3 + 1) {
        void *block = malloc(size);
        CHECK_UINT(allot_usable_size(block), ==, malloc_usable_size(block));
        allot_free(block);
        block = allot_malloc(size);
        CHECK_UINT(allot_usable_size(block), ==, malloc_usable_size(block));
        block = realloc(block, size * 2);
        block = allot_realloc(block, size);
        free(block);
        free(allot_aligned(64, size));
        allot_free(aligned_alloc(64, size));
    }
}
#endif

// The group may be anything; what is said of it has to fit together.
static void the_pressure_is_what_the_kernel_may_say(void) {
    struct allot_pressure pressure = {.size_bytes = 1};
    errno = 0;
    CHECK(!allot_pressure(&pressure));
    CHECK_INT(errno, ==, EINVAL);
    pressure.size_bytes = sizeof(pressure);
    if (!allot_pressure(&pressure)) {
        CHECK_SKIP("no /proc/self/cgroup: %s", strerror(errno));
    }
    CHECK_UINT(pressure.version, ==, 1);
    CHECK_UINT(pressure.used_bytes, !=, ALLOT_UNLIMITED);
    if (pressure.used_bytes != ALLOT_NOT_AVAILABLE) {
        CHECK_UINT(pressure.used_bytes, >, 0);
    }
    CHECK_UINT(pressure.limit_bytes, >, 0);
    if (pressure.some_avg10 != ALLOT_STALL_NOT_AVAILABLE) {
        CHECK_UINT(pressure.some_avg10, <=, 10000);
        CHECK_UINT(pressure.full_avg10, <=, pressure.some_avg10);
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(the_version_is_the_headers),
    CHECK_CASE(is_active_tells_whose_malloc_it_is),
    CHECK_CASE(sizes_beyond_ptrdiff_max_are_refused),
    CHECK_CASE(zero_bytes_give_distinct_blocks),
    CHECK_CASE(realloc_to_zero_frees_and_null_allocates),
    CHECK_CASE(free_keeps_errno),
    CHECK_CASE(realloc_zeroed_clears_what_is_new),
    CHECK_CASE(realloc_zeroed_refuses_an_impossible_old_size),
    CHECK_CASE(aligned_takes_powers_of_two_up_to_the_maximum),
    CHECK_CASE(aligned_zeroed_is_zero_after_dirty_reuse),
    CHECK_CASE(expand_says_yes_exactly_when_the_bytes_are_there),
    CHECK_CASE(expanded_bytes_belong_to_nobody_else),
    CHECK_CASE(good_size_is_the_usable_size_at_every_size),
    CHECK_CASE(a_good_size_is_its_own_good_size),
    CHECK_CASE(usable_size_of_null_is_zero),
#ifndef USE_ALLOT_API
    CHECK_CASE(blocks_of_both_families_mix),
#endif
    CHECK_CASE(the_pressure_is_what_the_kernel_may_say),
};

CHECK_MAIN(cases)
