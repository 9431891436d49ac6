// blocks.c - what holds for the block itself, at every size: alignment, usable bytes, contents,
// distance from its neighbours. Runs through allot_* where malloc is not replaced.
#include "../support/api.h"
#include "../support/check.h"

#define EVERY_SIZE_MAX ((size_t)64 << 10)

// Every size, or under the thread sanitizer, where this one thread takes long, some.
#define SIZE_STEP (CHECK_TSAN ? 17 : 1)

/// The next size of a sweep: every one up to 64 KiB, then steps that no class divides.
static size_t next_size(size_t size) {
    return size < EVERY_SIZE_MAX ? size + SIZE_STEP : size + size / 64 * 2 + 37;
}

static bool is_filled(const unsigned char *bytes, size_t from, size_t to, unsigned value) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

static void every_size_is_aligned_for_its_type(void) {
    // Kept in groups so that not only the first block of a slab is looked at.
    enum { GROUP = 9 };
    for (size_t size = 0; size <= EVERY_SIZE_MAX; size += SIZE_STEP) {
        void *blocks[GROUP];
        for (size_t i = 0; i < GROUP; i++) {
            blocks[i] = api_malloc(size);
            CHECK_ALIGNED(blocks[i], size <= 8 ? 8 : 16);
        }
        void *zeroed = api_calloc(1, size);
        CHECK_ALIGNED(zeroed, size <= 8 ? 8 : 16);
        zeroed = api_realloc(zeroed, size + 1);
        CHECK_ALIGNED(zeroed, size + 1 <= 8 ? 8 : 16);
        api_free(zeroed);
        for (size_t i = 0; i < GROUP; i++) {
            api_free(blocks[i]);
        }
    }
}

static void every_power_of_two_is_an_alignment(void) {
    for (size_t align = 1; align <= (size_t)1 << 20; align *= 2) {
        size_t sizes[] = {0,         1,         7,    8,         9,         16,
                          17,        100,       1000, align / 2, align - 1, align,
                          align + 1, 3 * align, 5000, 40000,     100000,    1 << 20};
        enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
        unsigned char *blocks[COUNT][3];
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t k = 0; k < 3; k++) {
                blocks[i][k] = (unsigned char *)api_aligned(align, sizes[i]);
                CHECK_ALIGNED(blocks[i][k], align);
                size_t usable = api_usable_size(blocks[i][k]);
                CHECK_UINT(usable, >=, sizes[i]);
                memset(blocks[i][k], (int)(i * 3 + k), usable < 4096 ? usable : 4096);
                blocks[i][k][usable - (usable > 0)] = (unsigned char)(i * 3 + k);
            }
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t k = 0; k < 3; k++) {
                size_t usable = api_usable_size(blocks[i][k]);
                CHECK(is_filled(blocks[i][k], 0, usable < 4096 ? usable : 4096,
                                (unsigned)(i * 3 + k)));
                CHECK_UINT(blocks[i][k][usable - 1], ==, i * 3 + k);
                api_free(blocks[i][k]);
            }
        }
    }
}

static void aligned_blocks_survive_realloc(void) {
    for (size_t align = 16; align <= 65536; align *= 4) {
        for (size_t size = 1; size < 200000; size = size * 2 + 1) {
            unsigned char *block = (unsigned char *)api_aligned(align, size);
            memset(block, 0x3c, size);
            block = (unsigned char *)api_realloc(block, size * 2);
            CHECK_ALIGNED(block, size * 2 > 8 ? 16 : 8);
            CHECK(is_filled(block, 0, size, 0x3c));
            api_free(block);
        }
    }
}

// The last few blocks are kept, each filled to its last usable byte: whoever writes into a
// neighbour is found when that one is looked at.
static void usable_bytes_are_stable_and_belong_to_the_block(void) {
    enum { WINDOW = 16 };
    struct {
        unsigned char *bytes;
        size_t usable;
        unsigned fill;
    } window[WINDOW] = {{0}};
    unsigned fill = 1;
    for (size_t size = 0; size <= (size_t)1 << 20; size = next_size(size)) {
        size_t slot = fill % WINDOW;
        if (window[slot].bytes) {
            CHECK_UINT(api_usable_size(window[slot].bytes), ==, window[slot].usable);
            size_t usable = window[slot].usable;
            size_t head = usable < 256 ? usable : 256;
            CHECK(is_filled(window[slot].bytes, 0, head, window[slot].fill));
            CHECK(is_filled(window[slot].bytes, usable - head, usable, window[slot].fill));
            api_free(window[slot].bytes);
        }
        unsigned char *bytes = (unsigned char *)api_malloc(size);
        CHECK_PTR(bytes, !=, NULL);
        size_t usable = api_usable_size(bytes);
        CHECK_UINT(usable, >=, size);
        window[slot].bytes = bytes;
        window[slot].usable = usable;
        window[slot].fill = fill & 0xff;
        size_t edge = usable < 256 ? usable : 256;
        memset(bytes, (int)(fill & 0xff), edge);
        memset(bytes + usable - edge, (int)(fill & 0xff), edge);
        CHECK_UINT(api_usable_size(bytes), ==, usable);
        fill++;
    }
    for (size_t i = 0; i < WINDOW; i++) {
        api_free(window[i].bytes);
    }
}

struct extent {
    uintptr_t from;
    uintptr_t to;
};

static int compare_extents(const void *left, const void *right) {
    uintptr_t a = ((const struct extent *)left)->from;
    uintptr_t b = ((const struct extent *)right)->from;
    return a < b ? -1 : a > b;
}

static void live_blocks_never_overlap(void) {
    enum { COUNT = 20000 };
    static struct extent extents[COUNT];
    struct check_random random = {check_seed()};
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = check_random_below(&random, (size_t)1 << check_random_below(&random, 18));
        void *block = i % 7 == 0 ? api_aligned((size_t)1 << check_random_below(&random, 14), size)
                                 : api_malloc(size);
        CHECK_PTR(block, !=, NULL);
        extents[i].from = (uintptr_t)block;
        size_t usable = api_usable_size(block);
        extents[i].to = (uintptr_t)block + (usable ? usable : 1);
        if (i % 3 == 2) {  // holes, filled by what follows
            size_t victim = i - check_random_below(&random, 2);
            api_free((void *)extents[victim].from);
            void *other = api_malloc(size / 2);
            extents[victim].from = (uintptr_t)other;
            usable = api_usable_size(other);
            extents[victim].to = (uintptr_t)other + (usable ? usable : 1);
        }
    }
    qsort(extents, COUNT, sizeof(extents[0]), compare_extents);
    for (size_t i = 1; i < COUNT; i++) {
        CHECK_UINT(extents[i - 1].to, <=, extents[i].from);
    }
    for (size_t i = 0; i < COUNT; i++) {
        api_free((void *)extents[i].from);
    }
}

static void calloc_is_zero_after_dirty_reuse_at_every_size(void) {
    for (size_t size = 1; size <= (size_t)2 << 20;
         size = size < 4096 ? size + SIZE_STEP : size + size / 32 + 7) {
        void *dirty[4];
        size_t count = size < 65536 ? 4 : 2;
        for (size_t i = 0; i < count; i++) {
            dirty[i] = api_malloc(size);
            memset(dirty[i], 0xa5, api_usable_size(dirty[i]));
        }
        for (size_t i = 0; i < count; i++) {
            api_free(dirty[i]);
        }
        for (size_t i = 0; i < count; i++) {
            dirty[i] = i % 2 ? api_calloc(size, 1) : api_calloc(1, size);
            if (!is_filled((unsigned char *)dirty[i], 0, size, 0)) {
                CHECK_FAIL("calloc of %zu bytes is not zero", size);
            }
        }
        for (size_t i = 0; i < count; i++) {
            memset(dirty[i], 0xa5, size);
            api_free(dirty[i]);
        }
    }
}

// Large blocks come from memory of mixed history: part fresh, part used, part given back.
static void large_calloc_is_zero_over_memory_of_mixed_history(void) {
    struct check_random random = {check_seed()};
    for (size_t round = 0; round < 60; round++) {
        void *dirty[8];
        for (size_t i = 0; i < 8; i++) {
            size_t size = 50000 + check_random_below(&random, 3 << 20);
            dirty[i] = api_malloc(size);
            CHECK_PTR(dirty[i], !=, NULL);
            memset(dirty[i], 0x77, size / (1 + check_random_below(&random, 4)));
        }
        for (size_t i = 0; i < 8; i++) {
            api_free(dirty[i]);
        }
        if (round % 5 == 0) {
            allot_purge(check_random_below(&random, 8 << 20), ALLOT_NO_DEADLINE);
        }
        size_t size = 50000 + check_random_below(&random, 12 << 20);
        unsigned char *block = (unsigned char *)api_calloc(1, size);
        CHECK_PTR(block, !=, NULL);
        if (!is_filled(block, 0, size, 0)) {
            CHECK_FAIL("calloc of %zu bytes is not zero in round %zu", size, round);
        }
        memset(block, 0x66, size);
        api_free(block);
    }
}

/// Fill with a text that depends on the position, so that moved or mixed up bytes show.
static void fill_positions(unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        bytes[i] = (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
    }
}

static void check_positions(const unsigned char *bytes, size_t to, size_t old_size) {
    for (size_t i = 0; i < to; i++) {
        unsigned want = (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
        if (bytes[i] != want) {
            CHECK_FAIL("byte %zu of %zu is %u, not %u after realloc from %zu", i, to, bytes[i],
                       want, old_size);
        }
    }
}

static void realloc_keeps_the_common_bytes(void) {
    static const size_t sizes[] = {1,       8,       9,       16,      17,      100,    128,
                                   129,     1024,    1025,    4096,    8192,    8193,   30000,
                                   32768,   32769,   65536,   70000,   131072,  262144, 262145,
                                   1 << 20, 3 << 20, 5 << 20, 9 << 20, 17 << 20};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < COUNT; k++) {
            size_t common = sizes[i] < sizes[k] ? sizes[i] : sizes[k];
            if (common > (1 << 20) && i != k + 1 && k != i + 1) {
                continue;
            }
            unsigned char *block = (unsigned char *)api_malloc(sizes[i]);
            fill_positions(block, 0, common);
            block = (unsigned char *)api_realloc(block, sizes[k]);
            CHECK_PTR(block, !=, NULL);
            CHECK_UINT(api_usable_size(block), >=, sizes[k]);
            check_positions(block, common, sizes[i]);
            block[sizes[k] - 1] = 1;
            api_free(block);
        }
    }
}

static void a_block_grown_step_by_step_keeps_its_bytes(void) {
    size_t size = 1;
    unsigned char *block = (unsigned char *)api_malloc(size);
    void *others[600];
    size_t other_count = 0;
    fill_positions(block, 0, size);
    while (size < (size_t)24 << 20) {
        size_t wanted = size + size / 8 + 5;
        block = (unsigned char *)api_realloc(block, wanted);
        CHECK_PTR(block, !=, NULL);
        CHECK_INT(block[size - 1], ==,
                  (unsigned char)((size - 1) * 31 + ((size - 1) >> 8) * 7 + ((size - 1) >> 16)));
        fill_positions(block, size, wanted);
        size = wanted;
        if (other_count < 600) {  // something that may stand in the way
            others[other_count++] = api_malloc(size / 3);
        }
    }
    check_positions(block, size, 0);
    while (size > 10) {
        size = size * 3 / 4;
        block = (unsigned char *)api_realloc(block, size);
        CHECK_PTR(block, !=, NULL);
        check_positions(block, size < 100000 ? size : 100000, 0);
    }
    api_free(block);
    for (size_t i = 0; i < other_count; i++) {
        api_free(others[i]);
    }
}

static const struct check_case cases[] = {
    CHECK_CASE(every_size_is_aligned_for_its_type),
    CHECK_CASE(every_power_of_two_is_an_alignment),
    CHECK_CASE(aligned_blocks_survive_realloc),
    CHECK_CASE(usable_bytes_are_stable_and_belong_to_the_block),
    CHECK_CASE(live_blocks_never_overlap),
    CHECK_CASE(calloc_is_zero_after_dirty_reuse_at_every_size),
    CHECK_CASE(large_calloc_is_zero_over_memory_of_mixed_history),
    CHECK_CASE(realloc_keeps_the_common_bytes),
    CHECK_CASE(a_block_grown_step_by_step_keeps_its_bytes),
};

CHECK_MAIN(cases)
