// test_region_pool.c - an allocator in given memory: the interface, and a model that knows every
// block.
#include "allot.h"
#include "range/zone.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

static volatile size_t huge = SIZE_MAX;  // the compiler would complain

enum {
    PAGE = 4096,
    SMALL_REGION_BYTES = 1 << 16,
    REGION_BYTES = 1 << 20,
    LARGE_REGION_BYTES = 16 << 20
};

// ---- Helpers -------------------------------------------------------------------

static void *map(size_t size_bytes) {
    void *region =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(region != MAP_FAILED);
    return region;
}

// In memory that is not zero.
static allot_region_pool *make(size_t size_bytes) {
    allot_region_pool *pool =
        allot_region_pool_create(memset(map(size_bytes), 0xa5, size_bytes), size_bytes);
    assert_non_null(pool);
    return pool;
}

static struct allot_region_pool_stats stats_of(allot_region_pool *pool) {
    struct allot_region_pool_stats stats = {.size_bytes = sizeof(stats)};
    assert_true(allot_region_pool_stats(pool, &stats));
    return stats;
}

static void *take(allot_region_pool *pool, size_t size_bytes) {
    char *block = allot_region_pool_malloc(pool, size_bytes);
    assert_non_null(block);
    UNIT_CHECK((uintptr_t)block % 16, ==, 0);
    UNIT_CHECK(allot_region_pool_usable_size(pool, block), >=, size_bytes);
    memset(block, 0x5a, size_bytes);
    return block;
}

#define GIVES(pool, block) UNIT_CHECK(allot_region_pool_free(pool, block), ==, 0)

/// All is free, in one piece.
static void end(allot_region_pool *pool) {
    struct allot_region_pool_stats stats = stats_of(pool);
    assert_true(allot_region_pool_validate(pool));
    UNIT_CHECK(stats.live_blocks, ==, 0);
    UNIT_CHECK(stats.live_bytes, ==, 0);
    UNIT_CHECK(stats.free_bytes, ==, stats.region_bytes - stats.own_bytes);
    UNIT_CHECK(stats.largest_bytes, ==, stats.free_bytes);
    size_t size_bytes = stats.region_bytes;
    allot_region_pool_destroy(pool);
    UNIT_CHECK(munmap(pool, size_bytes), ==, 0);
}

/// The call returns this, with this errno, and changes nothing.
#define REFUSES(pool, call, result, error)                                 \
    do {                                                                   \
        struct allot_region_pool_stats unit_before = stats_of(pool);       \
        errno = 0;                                                         \
        assert_true((call) == (result));                                   \
        UNIT_CHECK(errno, ==, error);                                      \
        struct allot_region_pool_stats unit_after = stats_of(pool);        \
        unit_after.refused_count = unit_before.refused_count;              \
        assert_memory_equal(&unit_after, &unit_before, sizeof unit_after); \
        assert_true(allot_region_pool_validate(pool));                     \
    } while (0)

// ---- Blocks --------------------------------------------------------------------

static void every_size_gets_a_block_of_little_more(void) {  // [Z3]
    allot_region_pool *pool = make(LARGE_REGION_BYTES);
    for (size_t size_bytes = 0; size_bytes <= 20000; size_bytes++) {
        void *block = take(pool, size_bytes);
        size_t usable_bytes = allot_region_pool_usable_size(pool, block);
        size_t most = size_bytes <= 64 ? size_bytes + 16 : size_bytes + size_bytes / 4 + 16;
        UNIT_CHECK(usable_bytes, <=, size_bytes > 8192 ? size_bytes + PAGE - 1 : most);
        if (size_bytes > 0 && (size_bytes & (size_bytes - 1)) == 0) {
            UNIT_CHECK((uintptr_t)block % (size_bytes < PAGE ? size_bytes : PAGE), ==, 0);
        }
        UNIT_CHECK(allot_region_pool_free_sized(pool, block, size_bytes), ==, 0);
    }
    end(pool);
}

static void no_two_blocks_overlap_and_all_memory_is_used(void) {
    static const size_t sizes[] = {16, 48, 112, 200, 1500, 4096, 7000, 8192, 10000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        allot_region_pool *pool = make(REGION_BYTES);
        size_t usable_bytes = 0, total = 0;
        unsigned char *first = NULL, *block;
        while ((block = allot_region_pool_malloc(pool, sizes[i])) != NULL) {
            usable_bytes = allot_region_pool_usable_size(pool, block);
            memset(block, 0, usable_bytes);
            memcpy(block, &first, sizeof first);
            first = block;
            total += usable_bytes;
        }
        struct allot_region_pool_stats stats = stats_of(pool);
        UNIT_CHECK(stats.refused_count, ==, 1);
        UNIT_CHECK(stats.live_bytes, ==, total);
        UNIT_CHECK(stats.free_bytes, <, usable_bytes);
        while (first != NULL) {
            memcpy(&block, first, sizeof block);
            GIVES(pool, first);
            first = block;
        }
        end(pool);
    }
}

static void what_was_one_size_becomes_another(void) {  // [Z2]
    allot_region_pool *pool = make(REGION_BYTES);
    static void *blocks[REGION_BYTES / 64];
    for (size_t size_bytes = 64; size_bytes <= 200000; size_bytes *= 3) {
        size_t count = 0;
        while ((blocks[count] = allot_region_pool_malloc(pool, size_bytes)) != NULL) {
            count++;
        }
        UNIT_CHECK(stats_of(pool).live_bytes, >=, REGION_BYTES * 7 / 10);
        for (size_t i = 0; i < count; i++) {
            GIVES(pool, blocks[i * 7919 % count] != NULL ? blocks[i * 7919 % count] : NULL);
            blocks[i * 7919 % count] = NULL;
        }
        for (size_t i = 0; i < count; i++) {
            GIVES(pool, blocks[i]);
        }
        assert_true(allot_region_pool_validate(pool));
    }
    end(pool);
}

static void memory_in_use_is_used_again_before_fresh_memory(void) {
    char *region = map(LARGE_REGION_BYTES);
    allot_region_pool *pool = allot_region_pool_create(region, LARGE_REGION_BYTES);
    static void *blocks[2000];
    for (size_t size_bytes = 100; size_bytes <= 3000; size_bytes += 100) {
        size_t count = 150000 / size_bytes;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = take(pool, size_bytes);
        }
        for (size_t i = 0; i < count; i++) {
            GIVES(pool, blocks[i]);
        }
    }
    static unsigned char is_in[LARGE_REGION_BYTES / PAGE];
    UNIT_CHECK(mincore(region, LARGE_REGION_BYTES, is_in), ==, 0);
    size_t resident = 0;
    for (size_t i = 0; i < sizeof is_in; i++) {
        resident += is_in[i] & 1u;
    }
    UNIT_CHECK(resident * PAGE, <=, 350000);
    end(pool);
}

static void calloc_clears_and_refuses_a_product_that_overflows(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    unsigned char *block = take(pool, 500);
    GIVES(pool, block);
    block = allot_region_pool_calloc(pool, 50, 10);
    assert_non_null(block);
    for (size_t i = 0; i < 500; i++) {
        UNIT_CHECK(block[i], ==, 0);
    }
    REFUSES(pool, allot_region_pool_calloc(pool, huge / 2, 3), NULL, ENOMEM);
    GIVES(pool, block);
    end(pool);
}

static void a_size_beyond_the_region_is_refused(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    size_t usable = stats_of(pool).largest_bytes;
    REFUSES(pool, allot_region_pool_malloc(pool, usable + 1), NULL, ENOMEM);
    REFUSES(pool, allot_region_pool_malloc(pool, huge / 2), NULL, ENOMEM);
    REFUSES(pool, allot_region_pool_malloc(pool, huge), NULL, ENOMEM);
    GIVES(pool, take(pool, usable));
    end(pool);
}

// ---- Mistakes ------------------------------------------------------------------

static void a_second_free_is_refused(void) {
    static const size_t sizes[] = {1, 300, 1500, 8192, 8193, 50000};
    allot_region_pool *pool = make(REGION_BYTES);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *block = take(pool, sizes[i]), *other = take(pool, sizes[i]);
        GIVES(pool, block);
        REFUSES(pool, allot_region_pool_free(pool, block), -1, EALREADY);
        REFUSES(pool, allot_region_pool_free_sized(pool, block, sizes[i]), -1, EALREADY);
        REFUSES(pool, allot_region_pool_usable_size(pool, block), 0u, EALREADY);
        GIVES(pool, other);
        REFUSES(pool, allot_region_pool_free(pool, block), -1, EALREADY);
    }
    GIVES(pool, NULL);
    end(pool);
}

static void a_pointer_into_a_block_is_refused(void) {
    static const size_t sizes[] = {17, 300, 1500, 5000, 50000};
    allot_region_pool *pool = make(REGION_BYTES);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *block = take(pool, sizes[i]);
        size_t usable_bytes = allot_region_pool_usable_size(pool, block);
        REFUSES(pool, allot_region_pool_free(pool, block + 1), -1, EDOM);
        REFUSES(pool, allot_region_pool_free(pool, block + 16), -1, EDOM);
        REFUSES(pool, allot_region_pool_free(pool, block + usable_bytes - 1), -1, EDOM);
        REFUSES(pool, allot_region_pool_usable_size(pool, block + 8), 0u, EDOM);
        REFUSES(pool, allot_region_pool_free_sized(pool, block, usable_bytes + 1), -1, EINVAL);
        REFUSES(pool, allot_region_pool_free_sized(pool, block, sizes[i] / 2), -1, EINVAL);
        GIVES(pool, block);
    }
    end(pool);
}

static void a_pointer_from_elsewhere_is_refused(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    char *region = (char *)pool;
    int local = 0;
    REFUSES(pool, allot_region_pool_free(pool, &local), -1, ERANGE);
    REFUSES(pool, allot_region_pool_free(pool, region), -1, ERANGE);
    REFUSES(pool, allot_region_pool_free(pool, region + 4096), -1, ERANGE);
    REFUSES(pool, allot_region_pool_free(pool, region + REGION_BYTES), -1, ERANGE);
    REFUSES(pool, allot_region_pool_free(pool, region - 16), -1, ERANGE);
    REFUSES(pool, allot_region_pool_free(pool, region + REGION_BYTES - 4096), -1, EALREADY);
    REFUSES(pool, allot_region_pool_usable_size(pool, (void *)(uintptr_t)16), 0u, ERANGE);
    end(pool);
}

static void no_address_can_be_freed_but_that_of_a_block(void) {
    allot_region_pool *pool = make(SMALL_REGION_BYTES);
    char *small = take(pool, 100), *large = take(pool, 9000);
    for (size_t at = 0; at < SMALL_REGION_BYTES; at++) {
        char *address = (char *)pool + at;
        if (address != small && address != large) {
            UNIT_CHECK(allot_region_pool_free(pool, address), ==, (uint64_t)-1);
        }
    }
    UNIT_CHECK(stats_of(pool).live_blocks, ==, 2);
    GIVES(pool, small);
    GIVES(pool, large);
    end(pool);
}

#define CANNOT_CREATE(region, size_bytes, error)                   \
    do {                                                           \
        errno = 0;                                                 \
        assert_null(allot_region_pool_create(region, size_bytes)); \
        UNIT_CHECK(errno, ==, error);                              \
    } while (0)

static void a_region_must_be_aligned_and_large_enough(void) {
    unsigned char *region = map(REGION_BYTES), *zeros = map(REGION_BYTES);
    CANNOT_CREATE(NULL, REGION_BYTES, EINVAL);
    CANNOT_CREATE(region + 64, REGION_BYTES - 64, EINVAL);
    size_t size_bytes = 0;
    while (allot_region_pool_create(region, size_bytes) == NULL) {
        UNIT_CHECK(errno, ==, ENOMEM);
        assert_memory_equal(region, zeros, ALLOT_REGION_POOL_MIN);
        size_bytes += 256;
    }
    UNIT_CHECK(size_bytes, <=, ALLOT_REGION_POOL_MIN / 2);
    allot_region_pool *pool = allot_region_pool_create(region, ALLOT_REGION_POOL_MIN);
    GIVES(pool, take(pool, 3000));
    end(pool);
}

static void only_a_pool_of_this_version_can_be_opened(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    struct zone *zone = (struct zone *)pool;
    assert_ptr_equal(allot_region_pool_open(pool, REGION_BYTES), pool);
    assert_ptr_equal(allot_region_pool_open(pool, REGION_BYTES + PAGE), pool);
    REFUSES(pool, allot_region_pool_open(pool, REGION_BYTES - 1), NULL, ERANGE);
    REFUSES(pool, allot_region_pool_open(pool, 16), NULL, ENOENT);
    REFUSES(pool, allot_region_pool_open((char *)pool + 8, 16), NULL, EINVAL);
    REFUSES(pool, allot_region_pool_open(NULL, 16), NULL, EINVAL);
    zone->version++;
    assert_null(allot_region_pool_open(pool, REGION_BYTES));
    UNIT_CHECK(errno, ==, ENOTSUP);
    zone->version--;
    zone->page_count++;
    assert_null(allot_region_pool_open(pool, REGION_BYTES));
    UNIT_CHECK(errno, ==, EBADMSG);
    assert_false(allot_region_pool_validate(pool));
    zone->page_count--;
    allot_region_pool_destroy(pool);
    allot_region_pool_destroy(NULL);
    assert_null(allot_region_pool_open(pool, REGION_BYTES));
    UNIT_CHECK(errno, ==, ENOENT);
}

static void statistics_of_another_version_are_refused(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    struct allot_region_pool_stats stats = {.size_bytes = 8};
    REFUSES(pool, allot_region_pool_stats(pool, &stats), false, EINVAL);
    end(pool);
}

// ---- Addresses -------------------------------------------------------------------

static void an_offset_means_the_same_block_at_any_address(void) {
    int file = memfd_create("region", MFD_CLOEXEC);
    assert_true(file >= 0);
    UNIT_CHECK(ftruncate(file, REGION_BYTES), ==, 0);
    void *first = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    void *second = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    allot_region_pool *pool = allot_region_pool_create(first, REGION_BYTES);
    allot_region_pool *other = allot_region_pool_open(second, REGION_BYTES);
    assert_ptr_not_equal(pool, other);
    assert_null(allot_region_pool_root(other));
    char *text = take(pool, 100);
    memcpy(text, "the same", sizeof "the same");
    UNIT_CHECK(allot_region_pool_set_root(pool, text), ==, 0);
    char *found = allot_region_pool_root(other);
    assert_string_equal(found, "the same");
    assert_ptr_equal(allot_region_pool_at(other, allot_region_pool_offset(pool, text)), found);
    GIVES(other, found);
    REFUSES(pool, allot_region_pool_free(pool, text), -1, EALREADY);
    UNIT_CHECK(munmap(second, REGION_BYTES), ==, 0);
    end(pool);
}

static void what_is_outside_has_no_offset(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    char *region = (char *)pool;
    UNIT_CHECK(allot_region_pool_offset(pool, NULL), ==, 0);
    UNIT_CHECK(allot_region_pool_offset(pool, region), ==, 0);
    UNIT_CHECK(allot_region_pool_offset(pool, region - 1), ==, 0);
    UNIT_CHECK(allot_region_pool_offset(pool, region + REGION_BYTES), ==, 0);
    UNIT_CHECK(allot_region_pool_offset(pool, region + 5), ==, 5);
    assert_null(allot_region_pool_at(pool, 0));
    assert_null(allot_region_pool_at(pool, REGION_BYTES));
    assert_ptr_equal(allot_region_pool_at(pool, 5), region + 5);
    UNIT_CHECK(allot_region_pool_set_root(pool, region + 5), ==, 0);
    REFUSES(pool, allot_region_pool_set_root(pool, region - 1), -1, ERANGE);
    assert_ptr_equal(allot_region_pool_root(pool), region + 5);
    UNIT_CHECK(allot_region_pool_set_root(pool, NULL), ==, 0);
    assert_null(allot_region_pool_root(pool));
    end(pool);
}

// ---- Looking -------------------------------------------------------------------

static bool free_visited(void *context, void *ptr, size_t usable_bytes) {
    UNIT_CHECK(allot_region_pool_usable_size(context, ptr), ==, usable_bytes);
    return allot_region_pool_free(context, ptr) == 0;
}

static bool count_visited(void *context, void *ptr, size_t usable_bytes) {
    (void)ptr;
    (void)usable_bytes;
    return --*(int *)context > 0;
}

static void a_walk_visits_every_block_and_may_free_it(void) {
    allot_region_pool *pool = make(LARGE_REGION_BYTES);
    assert_true(allot_region_pool_walk(pool, free_visited, pool));
    for (size_t i = 0; i < 300; i++) {
        take(pool, i % 7 == 0 ? 8193 + i : i * i % 3000);
    }
    int rest = 300;
    assert_false(allot_region_pool_walk(pool, count_visited, &rest));
    UNIT_CHECK(rest, ==, 0);
    rest = 301;
    assert_true(allot_region_pool_walk(pool, count_visited, &rest));
    assert_true(allot_region_pool_walk(pool, free_visited, pool));
    end(pool);
}

static void an_overwritten_record_is_found(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    struct zone *zone = (struct zone *)pool;
    void *small = take(pool, 100), *large = take(pool, 30000);
    uint32_t *fields[] = {&zone->empty_count, &zone->classes[6].first, &zone_map(zone)[0],
                          &zone_map(zone)[8], &zone->slab_free_first};
    assert_true(allot_region_pool_validate(pool));
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint32_t saved = *fields[i];
        *fields[i] = 5;
        assert_false(zone_validate(zone));
        *fields[i] = saved;
    }
    zone_slab(zone, zone->classes[6].first)->bits[3] ^= UINT64_C(1) << 63;
    assert_false(zone_validate(zone));
    zone_slab(zone, zone->classes[6].first)->bits[3] ^= UINT64_C(1) << 63;
    GIVES(pool, small);
    GIVES(pool, large);
    end(pool);
}

// ---- Many pieces -----------------------------------------------------------------

static void shuffle(size_t *order, size_t count) {
    struct check_random random = {check_seed()};
    for (size_t i = 0; i < count; i++) {
        size_t j = check_random_below(&random, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

enum { SLABS_MAX = 16384, SLAB_BLOCKS = 64 };

// Slabs of one page, all of them in use; then none in the first half of the order.
static void make_holes(allot_region_pool *pool, size_t slab_count, const size_t *order) {
    static void *blocks[SLABS_MAX][SLAB_BLOCKS];
    for (size_t i = 0; i < slab_count * SLAB_BLOCKS; i++) {
        blocks[i / SLAB_BLOCKS][i % SLAB_BLOCKS] = allot_region_pool_malloc(pool, 64);
    }
    UNIT_CHECK(stats_of(pool).free_bytes, <, 2 * PAGE);
    for (size_t i = 0; i < slab_count; i++) {
        for (size_t k = 0; order[i] % 2 == 0 && k < SLAB_BLOCKS; k++) {
            GIVES(pool, blocks[order[i]][k]);
        }
        if (i % 100 == 0) {
            stats_of(pool);  // gives the pages back
        }
    }
}

// The most records of free pages that there can be.
static void every_second_page_can_be_free_in_any_order(void) {  // [Z2]
    static size_t order[SLABS_MAX];
    for (size_t size_bytes = 64 << 10; size_bytes <= 64 << 20; size_bytes *= 4) {
        allot_region_pool *pool = make(size_bytes);
        size_t slab_count = stats_of(pool).largest_bytes / PAGE;
        shuffle(order, slab_count);
        make_holes(pool, slab_count, order);
        UNIT_CHECK(stats_of(pool).free_bytes, ==, (slab_count + 1) / 2 * PAGE);
        UNIT_CHECK(stats_of(pool).largest_bytes, ==, PAGE);
        assert_true(allot_region_pool_validate(pool));
        zone_rebuild((struct zone *)pool);
        assert_true(allot_region_pool_validate(pool));
        assert_true(allot_region_pool_walk(pool, free_visited, pool));
        end(pool);
    }
}

static void a_rebuild_finds_what_was_there(void) {  // [Z1] [Z2] [Z3] [Z4] [Z5]
    allot_region_pool *pool = make(LARGE_REGION_BYTES);
    static void *blocks[400];
    for (size_t i = 0; i < 400; i++) {
        blocks[i] = take(pool, i % 9 == 0 ? 8193 + i : i * i % 2000);
    }
    for (size_t i = 0; i < 400; i += 2) {
        GIVES(pool, blocks[i]);
    }
    struct allot_region_pool_stats before = stats_of(pool);
    zone_rebuild((struct zone *)pool);
    struct allot_region_pool_stats after = stats_of(pool);
    assert_memory_equal(&after, &before, sizeof after);
    assert_true(allot_region_pool_validate(pool));
    for (size_t i = 1; i < 400; i += 2) {
        GIVES(pool, blocks[i]);
    }
    end(pool);
}

// ---- A model -------------------------------------------------------------------

enum { MODEL_BLOCKS = 700 };
static struct {
    struct check_random random;
    struct {
        unsigned char *block;
        size_t size_bytes;
    } held[MODEL_BLOCKS];
    uint64_t live_blocks, live_bytes;
} model;

static size_t model_size(void) {
    size_t kind = check_random_below(&model.random, 20);
    return check_random_below(&model.random, kind == 0 ? 60000 : kind < 6 ? 4000 : 300);
}

static void model_take(allot_region_pool *pool, size_t i) {
    size_t size_bytes = model_size();
    unsigned char *block = allot_region_pool_malloc(pool, size_bytes);
    model.held[i].block = block;
    if (block == NULL) {
        UNIT_CHECK(errno, ==, ENOMEM);
        return;
    }
    size_t usable_bytes = allot_region_pool_usable_size(pool, block);
    UNIT_CHECK(usable_bytes, >=, size_bytes);
    model.held[i].size_bytes = usable_bytes;
    memset(block, (int)(i & 0xff), usable_bytes);
    model.live_blocks++;
    model.live_bytes += usable_bytes;
}

static void model_give(allot_region_pool *pool, size_t i) {
    for (size_t k = 0; k < model.held[i].size_bytes; k++) {
        UNIT_CHECK(model.held[i].block[k], ==, i & 0xff);
    }
    model.live_blocks--;
    model.live_bytes -= model.held[i].size_bytes;
    GIVES(pool, model.held[i].block);
    UNIT_CHECK(allot_region_pool_free(pool, model.held[i].block), ==, (uint64_t)-1);
    model.held[i].block = NULL;
}

static void blocks_keep_what_was_written_and_figures_are_exact(void) {
    size_t operations = check_is_long() ? 2000000 : CONFIG_TINY || CHECK_ASAN ? 60000 : 200000;
    model.random.state = check_seed();
    allot_region_pool *pool = make(REGION_BYTES);
    for (size_t i = 0; i < operations; i++) {
        size_t held_max = i / 5000 % 2 == 0 ? MODEL_BLOCKS : MODEL_BLOCKS / 10;
        size_t at = check_random_below(&model.random, held_max);
        if (model.held[at].block == NULL) {
            model_take(pool, at);
        } else {
            model_give(pool, at);
        }
        if (i % 500 == 0) {
            struct allot_region_pool_stats stats = stats_of(pool);
            UNIT_CHECK(stats.live_blocks, ==, model.live_blocks);
            UNIT_CHECK(stats.live_bytes, ==, model.live_bytes);
            assert_true(allot_region_pool_validate(pool));
        }
        if (i % 3000 == 0) {
            zone_rebuild((struct zone *)pool);
        }
    }
    for (size_t i = 0; i < MODEL_BLOCKS; i++) {
        if (model.held[i].block != NULL) {
            model_give(pool, i);
        }
    }
    end(pool);
}

// ---- Threads -------------------------------------------------------------------

static void *share(void *argument) {
    allot_region_pool *pool = argument;
    unsigned char *held[16] = {NULL};
    for (size_t i = 0; i < 20000; i++) {
        size_t at = i * 7 % 16;
        if (held[at] != NULL) {
            UNIT_CHECK(*held[at], ==, at);
            GIVES(pool, held[at]);
        }
        held[at] = allot_region_pool_malloc(pool, i * 31 % 3000);
        assert_non_null(held[at]);
        *held[at] = (unsigned char)at;
    }
    for (size_t at = 0; at < 16; at++) {
        GIVES(pool, held[at]);
    }
    return NULL;
}

static void four_threads_share_a_pool(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        UNIT_CHECK(pthread_create(&threads[i], NULL, share, pool), ==, 0);
    }
    for (size_t i = 0; i < 4; i++) {
        UNIT_CHECK(pthread_join(threads[i], NULL), ==, 0);
    }
    UNIT_CHECK(stats_of(pool).malloc_count, ==, 80000);
    end(pool);
}

static void *keep_lock(void *argument) {
    assert_true(zonelock_take(&((struct zone *)argument)->lock));
    return NULL;
}

static void a_thread_that_ends_with_the_lock_is_noticed(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    pthread_t thread;
    UNIT_CHECK(pthread_create(&thread, NULL, keep_lock, pool), ==, 0);
    UNIT_CHECK(pthread_join(thread, NULL), ==, 0);
    UNIT_CHECK(stats_of(pool).repair_count, ==, 1);
    end(pool);
}

static void a_child_that_ends_with_the_lock_is_noticed(void) {
    allot_region_pool *pool = make(REGION_BYTES);
    GIVES(pool, take(pool, 1));
    pid_t child = fork();
    if (child == 0) {
        keep_lock(pool);
        _exit(0);
    }
    UNIT_CHECK(waitpid(child, NULL, 0), ==, child);
    UNIT_CHECK(stats_of(pool).repair_count, ==, 1);
    end(pool);
}

static const struct unit_case cases[] = {
    UNIT(every_size_gets_a_block_of_little_more),
    UNIT(no_two_blocks_overlap_and_all_memory_is_used),
    UNIT(what_was_one_size_becomes_another),
    UNIT(memory_in_use_is_used_again_before_fresh_memory),
    UNIT(calloc_clears_and_refuses_a_product_that_overflows),
    UNIT(a_size_beyond_the_region_is_refused),
    UNIT(a_second_free_is_refused),
    UNIT(a_pointer_into_a_block_is_refused),
    UNIT(a_pointer_from_elsewhere_is_refused),
    UNIT(no_address_can_be_freed_but_that_of_a_block),
    UNIT(a_region_must_be_aligned_and_large_enough),
    UNIT(only_a_pool_of_this_version_can_be_opened),
    UNIT(statistics_of_another_version_are_refused),
    UNIT(an_offset_means_the_same_block_at_any_address),
    UNIT(what_is_outside_has_no_offset),
    UNIT(a_walk_visits_every_block_and_may_free_it),
    UNIT(an_overwritten_record_is_found),
    UNIT(every_second_page_can_be_free_in_any_order),
    UNIT(a_rebuild_finds_what_was_there),
    UNIT(blocks_keep_what_was_written_and_figures_are_exact),
    UNIT(four_threads_share_a_pool),
    UNIT(a_thread_that_ends_with_the_lock_is_noticed),
    UNIT(a_child_that_ends_with_the_lock_is_noticed),
};
UNIT_MAIN(cases)
