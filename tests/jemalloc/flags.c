// flags.c - mallocx and its relatives: what the flags ask for is what comes.
#include "jemalloc.h"

#include "../support/check.h"

#include <allot.h>

static const size_t sizes[] = {1, 8, 17, 100, 1000, 1025, 5000, 20000, 33000, 300000, 3000000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), ALIGN_LOG2_MAX = 22 };
static const int caches[] = {0, MALLOCX_TCACHE_NONE, MALLOCX_TCACHE(5), MALLOCX_ARENA(0)};
enum { CACHES = 4 };

static bool is_filled(const void *block, unsigned char with, size_t from, size_t to) {
    const unsigned char *bytes = block;
    for (size_t i = from; i < to; i++) {
        if (bytes[i] != with) {
            return false;
        }
    }
    return true;
}

// Leaves dirty memory behind for the blocks to come.
static void soil(size_t size) {
    void *blocks[8];
    for (int i = 0; i < 8; i++) {
        blocks[i] = mallocx(size, 0);
        memset(blocks[i], 0xaa, sallocx(blocks[i], 0));
    }
    for (int i = 0; i < 8; i++) {
        dallocx(blocks[i], 0);
    }
}

static void try_one(size_t size, int flags, size_t align) {
    soil(size);
    void *block = mallocx(size, flags | MALLOCX_ZERO);
    CHECK_ALIGNED(block, align);
    size_t real = sallocx(block, flags);
    CHECK_UINT(real, >=, size);
    CHECK_UINT(real, ==, nallocx(size, flags));
    CHECK(is_filled(block, 0, 0, real));
    memset(block, 1, real);
    block = rallocx(block, real + size, flags | MALLOCX_ZERO);
    CHECK_ALIGNED(block, align);
    CHECK(is_filled(block, 1, 0, real));
    CHECK(is_filled(block, 0, real, sallocx(block, flags)));
    block = rallocx(block, size, flags);
    CHECK_ALIGNED(block, align);
    CHECK(is_filled(block, 1, 0, size));
    sdallocx(block, size, flags);
}

static void every_flag_is_honoured_at_every_size(void) {
    for (size_t s = 0; s < SIZES; s++) {
        for (int c = 0; c < CACHES; c++) {
            try_one(sizes[s], caches[c], 1);
            for (int log2 = 3; log2 <= ALIGN_LOG2_MAX; log2 += 3) {
                try_one(sizes[s], caches[c] | MALLOCX_LG_ALIGN(log2), (size_t)1 << log2);
            }
        }
    }
}

static void xallocx_stays_in_place_and_says_what_there_is(void) {
    for (size_t s = 0; s < SIZES; s++) {
        soil(sizes[s]);
        void *block = mallocx(sizes[s], 0);
        size_t real = sallocx(block, 0);
        memset(block, 1, real);
        size_t got = xallocx(block, real + 1, real, MALLOCX_ZERO);
        CHECK_UINT(got, ==, sallocx(block, 0));
        CHECK_UINT(got, >=, real);
        CHECK(is_filled(block, 1, 0, real));
        CHECK(is_filled(block, 0, real, got));
        CHECK_UINT(xallocx(block, real, SIZE_MAX, 0), >=, real);
        CHECK_UINT(xallocx(block, sizes[s], 0, 0), >=, sizes[s]);
        dallocx(block, 0);
    }
}

static void what_cannot_be_had_is_null_and_changes_nothing(void) {
    CHECK_PTR(mallocx(SIZE_MAX, 0), ==, NULL);
    CHECK_PTR(mallocx((size_t)PTRDIFF_MAX + 1, MALLOCX_LG_ALIGN(6)), ==, NULL);
    CHECK_PTR(mallocx(1, MALLOCX_LG_ALIGN(63)), ==, NULL);
    CHECK_PTR(mallocx(SIZE_MAX - 5, MALLOCX_TCACHE_NONE | MALLOCX_ZERO), ==, NULL);
    CHECK_UINT(nallocx(SIZE_MAX, 0), ==, 0);
    CHECK_UINT(nallocx(SIZE_MAX, MALLOCX_LG_ALIGN(12)), ==, 0);
    CHECK_UINT(nallocx(1, MALLOCX_LG_ALIGN(40)), ==, 0);
    void *block = mallocx(100, 0);
    memset(block, 7, 100);
    CHECK_PTR(rallocx(block, SIZE_MAX, 0), ==, NULL);
    CHECK_PTR(rallocx(block, SIZE_MAX / 2, MALLOCX_LG_ALIGN(12)), ==, NULL);
    CHECK(is_filled(block, 7, 0, 100));
    dallocx(block, 0);
    dallocx(NULL, MALLOCX_TCACHE_NONE);
}

static void a_block_past_the_cache_goes_back_to_its_slab_at_once(void) {
    struct allot_stats before = {.size_bytes = sizeof(before)};
    struct allot_stats after = before;
    void *block = mallocx(700, MALLOCX_TCACHE_NONE);
    CHECK(allot_stats(&before));
    dallocx(block, MALLOCX_TCACHE_NONE);
    CHECK(allot_stats(&after));
    CHECK_UINT(after.cached_bytes, ==, before.cached_bytes);
    CHECK_UINT(after.live_blocks + 1, ==, before.live_blocks);
}

static char printed[1 << 16];

static void keep(void *context, const char *text) {
    CHECK_PTR(context, ==, printed);
    CHECK_UINT(strlen(printed) + strlen(text), <, sizeof(printed));
    strcat(printed, text);
}

static void the_report_goes_to_the_callback(void) {
    printed[0] = 0;
    malloc_stats_print(keep, printed, NULL);
    CHECK(strstr(printed, "\nstats.allocated: ") != NULL);
    CHECK(strstr(printed, "\nbin: size ") != NULL);
    printed[0] = 0;
    malloc_stats_print(keep, printed, "bx");
    CHECK(strstr(printed, "bin: ") == NULL);
}

static void the_report_as_json_is_balanced(void) {
    printed[0] = 0;
    malloc_stats_print(keep, printed, "J");
    int depth = 0;
    for (const char *at = printed; *at != 0; at++) {
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        CHECK_INT(depth, >=, 0);
    }
    CHECK_INT(depth, ==, 0);
    CHECK(strncmp(printed, "{\"jemalloc\":{\"version\":\"", 24) == 0);
}

static void take_message(void *context, const char *text) {
    (void)context;
    keep(printed, text);
}

static void without_a_callback_the_report_goes_to_malloc_message(void) {
    printed[0] = 0;
    malloc_message = take_message;
    malloc_stats_print(NULL, NULL, "");
    malloc_message = NULL;
    CHECK(strstr(printed, "stats.active: ") != NULL);
    CHECK_PTR(malloc_conf, ==, NULL);
}

static const struct check_case cases[] = {
    CHECK_CASE(every_flag_is_honoured_at_every_size),
    CHECK_CASE(xallocx_stays_in_place_and_says_what_there_is),
    CHECK_CASE(what_cannot_be_had_is_null_and_changes_nothing),
    CHECK_CASE(a_block_past_the_cache_goes_back_to_its_slab_at_once),
    CHECK_CASE(the_report_goes_to_the_callback),
    CHECK_CASE(the_report_as_json_is_balanced),
    CHECK_CASE(without_a_callback_the_report_goes_to_malloc_message),
};

CHECK_MAIN(cases)
