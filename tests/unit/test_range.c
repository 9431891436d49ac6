// test_range.c - ranges of numbers: the interface, on an allocator that fails on request.
#include "allot.h"
#include "range/range.h"
#include "unit.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>

// ---- The memory that ranges take -------------------------------------------------

static struct {
    uint64_t count, fail_at;  // requests; which of them fails, 0: none
    bool fails_from;          // and all after it
    int64_t held_count;
} memory;

static bool memory_refuses(void) {
    memory.count++;
    if (memory.fail_at != 0 &&
        (memory.fails_from ? memory.count >= memory.fail_at : memory.count == memory.fail_at)) {
        errno = ENOMEM;
        return true;
    }
    memory.held_count++;
    return false;
}

// Instead of those of the library: the archive's are not linked then.
void *allot_aligned(size_t align_bytes, size_t size_bytes) {
    void *block = NULL;
    if (memory_refuses() || posix_memalign(&block, align_bytes, size_bytes) != 0) {
        return NULL;
    }
    memset(block, 0xa5, size_bytes);
    return block;
}

void *allot_aligned_zeroed(size_t align_bytes, size_t size_bytes) {
    void *block = allot_aligned(align_bytes, size_bytes);
    return block == NULL ? NULL : memset(block, 0, size_bytes);
}

void *allot_realloc(void *ptr, size_t size_bytes) {
    void *block = allot_aligned(64, size_bytes);
    if (block != NULL) {
        size_t old_bytes = malloc_usable_size(ptr);
        memcpy(block, ptr, old_bytes < size_bytes ? old_bytes : size_bytes);
        allot_free(ptr);
    }
    return block;
}

void allot_free(void *ptr) {
    memory.held_count -= ptr != NULL;
    free(ptr);
}

// ---- Helpers -------------------------------------------------------------------

static allot_range *make(uint64_t size, uint64_t granularity) {
    allot_range *range = allot_range_create(
        &(struct allot_range_options){.struct_size = sizeof(struct allot_range_options),
                                      .size = size,
                                      .granularity = granularity});
    assert_non_null(range);
    return range;
}

static void end(allot_range *range) {
    assert_true(allot_range_validate(range));
    allot_range_destroy(range);
    UNIT_CHECK(memory.held_count, ==, 0);
}

#define TAKES(range, n, offset) UNIT_CHECK(allot_range_alloc(range, n, 1), ==, offset)
#define GIVES(range, offset, n) UNIT_CHECK(allot_range_free(range, offset, n), ==, 0)

/// The call fails with this errno and changes nothing.
#define REFUSES(range, call, error)                              \
    do {                                                         \
        uint64_t had_count = allot_range_count(range);           \
        uint64_t had_free = allot_range_free_bytes(range);       \
        errno = 0;                                               \
        assert_true((call) == -1);                               \
        UNIT_CHECK(errno, ==, error);                            \
        UNIT_CHECK(allot_range_count(range), ==, had_count);     \
        UNIT_CHECK(allot_range_free_bytes(range), ==, had_free); \
        assert_true(allot_range_validate(range));                \
    } while (0)

// ---- Taking --------------------------------------------------------------------

static void the_first_of_a_new_range_is_at_zero(void) {
    allot_range *range = make(100, 1);
    TAKES(range, 10, 0);
    TAKES(range, 90, 10);
    errno = 0;
    TAKES(range, 1, ALLOT_RANGE_NONE);
    UNIT_CHECK(errno, ==, ENOSPC);
    UNIT_CHECK(allot_range_count(range), ==, 0);
    UNIT_CHECK(allot_range_largest(range), ==, 0);
    end(range);
}

static void the_smallest_that_fits_is_taken_and_the_lowest_of_equal_ones(void) {
    allot_range *range = make(1000, 1);
    TAKES(range, 1000, 0);
    GIVES(range, 100, 30);
    GIVES(range, 300, 20);
    GIVES(range, 500, 20);
    GIVES(range, 700, 10);
    TAKES(range, 15, 300);
    TAKES(range, 20, 500);
    TAKES(range, 11, 100);
    TAKES(range, 5, 315);
    end(range);
}

static void an_alignment_takes_the_smallest_range_that_can_hold_it(void) {
    allot_range *range = make(1000, 1);
    TAKES(range, 1000, 0);
    GIVES(range, 129, 40);  // [129, 169): 32 at a multiple of 64 does not fit
    GIVES(range, 250, 60);  // [250, 310): it does, at 256
    GIVES(range, 512, 100);
    UNIT_CHECK(allot_range_alloc(range, 32, 64), ==, 256);
    UNIT_CHECK(allot_range_count(range), ==, 4);
    UNIT_CHECK(allot_range_alloc(range, 32, 64), ==, 512);
    errno = 0;
    UNIT_CHECK(allot_range_alloc(range, 32, 64), ==, 576);
    UNIT_CHECK(allot_range_alloc(range, 32, 64), ==, ALLOT_RANGE_NONE);
    UNIT_CHECK(errno, ==, ENOSPC);
    UNIT_CHECK(allot_range_alloc(range, 32, 3), ==, ALLOT_RANGE_NONE);
    UNIT_CHECK(errno, ==, EINVAL);
    end(range);
}

static void an_offset_can_be_asked_for(void) {
    allot_range *range = make(100, 1);
    UNIT_CHECK(allot_range_alloc_at(range, 40, 20), ==, 0);
    REFUSES(range, allot_range_alloc_at(range, 59, 2), EEXIST);
    REFUSES(range, allot_range_alloc_at(range, 30, 11), EEXIST);
    REFUSES(range, allot_range_alloc_at(range, 30, 71), ERANGE);
    REFUSES(range, allot_range_alloc_at(range, 30, 0), EINVAL);
    UNIT_CHECK(allot_range_alloc_at(range, 0, 40), ==, 0);
    UNIT_CHECK(allot_range_alloc_at(range, 60, 40), ==, 0);
    UNIT_CHECK(allot_range_free_bytes(range), ==, 0);
    end(range);
}

static void sizes_are_rounded_up_to_the_granularity(void) {
    allot_range *range = make(1000, 16);
    UNIT_CHECK(allot_range_size(range), ==, 992);
    TAKES(range, 1, 0);
    TAKES(range, 17, 16);
    UNIT_CHECK(allot_range_alloc(range, 16, 64), ==, 64);
    UNIT_CHECK(allot_range_free_bytes(range), ==, 992 - 64);
    REFUSES(range, allot_range_free(range, 8, 8), EDOM);
    REFUSES(range, allot_range_alloc_at(range, 100, 8), EDOM);
    GIVES(range, 16, 1);
    GIVES(range, 32, 1);
    GIVES(range, 0, 16);
    GIVES(range, 64, 3);
    UNIT_CHECK(allot_range_count(range), ==, 1);
    end(range);
}

static void numbers_reach_to_the_end_of_64_bits(void) {
    allot_range *range = make(UINT64_MAX - 1, 1);
    TAKES(range, UINT64_MAX, ALLOT_RANGE_NONE);
    TAKES(range, UINT64_MAX - 1, 0);
    REFUSES(range, allot_range_free(range, 2, UINT64_MAX - 1), ERANGE);
    GIVES(range, UINT64_MAX - 11, 10);
    UNIT_CHECK(allot_range_alloc(range, 1, (uint64_t)1 << 63), ==, ALLOT_RANGE_NONE);
    GIVES(range, (uint64_t)1 << 62, (uint64_t)1 << 63);
    UNIT_CHECK(allot_range_alloc(range, 7, (uint64_t)1 << 63), ==, (uint64_t)1 << 63);
    end(range);
    range = make(UINT64_MAX - 1, (uint64_t)1 << 40);
    TAKES(range, UINT64_MAX, ALLOT_RANGE_NONE);
    TAKES(range, UINT64_MAX >> 1, 0);
    end(range);
}

// ---- Giving, and what other allocators of ranges got wrong --------------------------

static void a_freed_range_merges_with_both_neighbours(void) {  // [N1]
    allot_range *range = make(30, 1);
    TAKES(range, 30, 0);
    GIVES(range, 0, 10);
    GIVES(range, 20, 10);
    UNIT_CHECK(allot_range_count(range), ==, 2);
    GIVES(range, 10, 10);
    UNIT_CHECK(allot_range_count(range), ==, 1);
    UNIT_CHECK(allot_range_largest(range), ==, 30);
    end(range);
}

static void every_order_of_freeing_neighbours_gives_one_range(void) {  // [N1]
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++) {
        allot_range *range = make(30, 1);
        TAKES(range, 30, 0);
        for (int j = 0; j < 3; j++) {
            GIVES(range, orders[i][j] * 10u, 10);
        }
        UNIT_CHECK(allot_range_count(range), ==, 1);
        TAKES(range, 30, 0);
        end(range);
    }
}

static void no_byte_is_lost_after_all_is_freed_in_pieces(void) {
    enum { SIZE = 1 << 20, PIECE = 160 };
    allot_range *range = make(SIZE, 1);
    struct check_random random = {check_seed()};
    TAKES(range, SIZE, 0);
    static uint32_t order[SIZE / PIECE + 1];
    uint32_t count = 0;
    for (uint32_t at = 0; at < SIZE; at += PIECE, count++) {
        uint32_t other = (uint32_t)check_random_below(&random, count + 1);
        order[count] = order[other];
        order[other] = at;
    }
    for (uint32_t i = 0; i < count; i++) {
        GIVES(range, order[i], order[i] + PIECE <= SIZE ? PIECE : SIZE - order[i]);
    }
    UNIT_CHECK(allot_range_count(range), ==, 1);
    UNIT_CHECK(allot_range_largest(range), ==, SIZE);
    end(range);
}

static void a_large_range_is_found_behind_a_small_one(void) {
    allot_range *range = make(300, 1);
    TAKES(range, 300, 0);
    GIVES(range, 0, 100);
    GIVES(range, 200, 1);
    TAKES(range, 50, 0);
    end(range);
    range = make(300, 1);
    TAKES(range, 300, 0);
    GIVES(range, 0, 1);
    GIVES(range, 99, 100);
    TAKES(range, 50, 99);
    end(range);
}

static void a_second_free_is_refused(void) {
    allot_range *range = make(100, 1);
    REFUSES(range, allot_range_free(range, 0, 10), EALREADY);
    TAKES(range, 50, 0);
    GIVES(range, 10, 10);
    REFUSES(range, allot_range_free(range, 10, 10), EALREADY);
    REFUSES(range, allot_range_free(range, 12, 3), EALREADY);
    REFUSES(range, allot_range_free(range, 99, 1), EALREADY);
    end(range);
}

static void an_overlapping_free_is_refused(void) {
    allot_range *range = make(100, 1);
    TAKES(range, 50, 0);
    GIVES(range, 10, 10);
    REFUSES(range, allot_range_free(range, 5, 6), EEXIST);
    REFUSES(range, allot_range_free(range, 19, 6), EEXIST);
    REFUSES(range, allot_range_free(range, 0, 50), EEXIST);
    REFUSES(range, allot_range_free(range, 49, 2), EEXIST);
    end(range);
}

static void a_free_of_nothing_or_out_of_bounds_is_refused(void) {
    allot_range *range = make(100, 1);
    TAKES(range, 100, 0);
    REFUSES(range, allot_range_free(range, 10, 0), EINVAL);
    REFUSES(range, allot_range_free(range, 100, 1), ERANGE);
    REFUSES(range, allot_range_free(range, 99, 2), ERANGE);
    REFUSES(range, allot_range_free(range, 1, UINT64_MAX), ERANGE);
    REFUSES(range, allot_range_free(range, UINT64_MAX, 1), ERANGE);
    errno = 0;
    TAKES(range, 0, ALLOT_RANGE_NONE);
    UNIT_CHECK(errno, ==, EINVAL);
    end(range);
}

static void a_free_may_span_several_allocations(void) {
    allot_range *range = make(100, 1);
    for (uint64_t i = 0; i < 10; i++) {
        TAKES(range, 10, i * 10);
    }
    GIVES(range, 5, 70);
    UNIT_CHECK(allot_range_largest(range), ==, 70);
    GIVES(range, 0, 5);
    GIVES(range, 75, 25);
    UNIT_CHECK(allot_range_count(range), ==, 1);
    end(range);
}

static void a_million_bad_frees_change_nothing(void) {
    allot_range *range = make(100000, 1);
    struct check_random random = {check_seed()};
    for (uint64_t at = 0; at < 100000; at += 20) {  // [at, at + 10) in use, the rest free
        UNIT_CHECK(allot_range_alloc_at(range, at, 10), ==, 0);
    }
    uint64_t refused[3] = {0, 0, 0};
    for (int i = 0; i < 1000000; i++) {
        uint64_t hole = check_random_below(&random, 5000) * 20 + 10;
        uint64_t offset = hole - check_random_below(&random, 8), skip = hole - offset;
        uint64_t n = skip + 1 + check_random_below(&random, 9);
        errno = 0;
        UNIT_CHECK(allot_range_free(range, offset, n), ==, UINT64_MAX);
        assert_true(errno == EALREADY || errno == EEXIST || errno == ERANGE);
        refused[errno == EALREADY ? 0 : errno == EEXIST ? 1 : 2]++;
    }
    assert_true(refused[0] > 0 && refused[1] > 0);
    UNIT_CHECK(allot_range_free_bytes(range), ==, 50000);
    UNIT_CHECK(allot_range_count(range), ==, 5000);
    end(range);
}

// ---- Size, walk, options -----------------------------------------------------------

static void a_range_grows_and_shrinks_while_its_tail_is_free(void) {
    allot_range *range = make(0, 1);
    TAKES(range, 1, ALLOT_RANGE_NONE);
    UNIT_CHECK(allot_range_grow(range, 100), ==, 0);
    TAKES(range, 60, 0);
    UNIT_CHECK(allot_range_grow(range, 200), ==, 0);
    UNIT_CHECK(allot_range_count(range), ==, 1);
    UNIT_CHECK(allot_range_largest(range), ==, 140);
    REFUSES(range, allot_range_grow(range, 59), EBUSY);
    REFUSES(range, allot_range_grow(range, UINT64_MAX), EINVAL);
    UNIT_CHECK(allot_range_grow(range, 70), ==, 0);
    UNIT_CHECK(allot_range_free_bytes(range), ==, 10);
    UNIT_CHECK(allot_range_grow(range, 60), ==, 0);
    UNIT_CHECK(allot_range_count(range), ==, 0);
    UNIT_CHECK(allot_range_size(range), ==, 60);
    GIVES(range, 0, 60);
    UNIT_CHECK(allot_range_grow(range, 0), ==, 0);
    end(range);
}

enum { WIDE_PAIRS = 3000 };

// The largest size at which 32 bits suffice for a number, every second one of the first free.
static allot_range *make_narrow(void) {
    allot_range *range = make(UINT32_MAX - 1, 1);
    TAKES(range, UINT32_MAX - 1, 0);
    for (uint64_t i = 0; i < WIDE_PAIRS; i++) {
        GIVES(range, 2 * i, 1);
    }
    return range;
}

static void a_range_grows_beyond_32_bits(void) {
    allot_range *range = make_narrow();
    UNIT_CHECK(allot_range_grow(range, UINT64_C(1) << 50), ==, 0);
    assert_true(allot_range_validate(range));
    UNIT_CHECK(allot_range_count(range), ==, WIDE_PAIRS + 1);
    UNIT_CHECK(allot_range_largest(range), ==, (UINT64_C(1) << 50) - UINT32_MAX + 1);
    TAKES(range, 2, UINT32_MAX - 1);
    for (uint64_t i = 0; i < WIDE_PAIRS; i++) {
        TAKES(range, 1, 2 * i);
    }
    GIVES(range, 0, UINT32_MAX + UINT64_C(1));
    UNIT_CHECK(allot_range_count(range), ==, 1);
    UNIT_CHECK(allot_range_grow(range, 100), ==, 0);
    end(range);
}

static void a_growth_beyond_32_bits_without_memory_changes_nothing(void) {  // [N4]
    allot_range *range = make_narrow();
    memory.count = 0;
    memory.fail_at = 1;
    memory.fails_from = true;
    REFUSES(range, allot_range_grow(range, UINT64_C(1) << 40), ENOMEM);
    UNIT_CHECK(allot_range_size(range), ==, UINT32_MAX - 1);
    memory.fail_at = 0;
    UNIT_CHECK(allot_range_grow(range, UINT64_C(1) << 40), ==, 0);
    UNIT_CHECK(allot_range_count(range), ==, WIDE_PAIRS + 1);
    end(range);
}

struct walked {
    uint64_t offset[8], n[8];
    bool is_free[8];
    unsigned count, most;
};

static bool walk_one(void *context, uint64_t offset, uint64_t n, bool is_free) {
    struct walked *walked = context;
    walked->offset[walked->count] = offset;
    walked->n[walked->count] = n;
    walked->is_free[walked->count] = is_free;
    return ++walked->count < walked->most;
}

static void a_walk_visits_used_and_free_parts_in_order(void) {
    static const uint64_t want[][3] = {{0, 32, 0}, {32, 32, 1}, {64, 96, 0}, {160, 96, 1}};
    allot_range *range = make(256, 32);
    TAKES(range, 160, 0);
    GIVES(range, 32, 32);
    struct walked walked = {.most = 8};
    assert_true(allot_range_walk(range, walk_one, &walked));
    UNIT_CHECK(walked.count, ==, 4);
    for (unsigned i = 0; i < 4; i++) {
        UNIT_CHECK(walked.offset[i], ==, want[i][0]);
        UNIT_CHECK(walked.n[i], ==, want[i][1]);
        UNIT_CHECK(walked.is_free[i], ==, want[i][2]);
    }
    walked = (struct walked){.most = 2};
    assert_false(allot_range_walk(range, walk_one, &walked));
    UNIT_CHECK(walked.count, ==, 2);
    end(range);
}

static void wrong_options_are_refused(void) {
    static const struct allot_range_options wrong[] = {
        {.struct_size = 0, .size = 1},
        {.struct_size = sizeof(wrong[0]) + 8, .size = 1},
        {.struct_size = sizeof(wrong[0]), .size = 1, .granularity = 3},
        {.struct_size = sizeof(wrong[0]), .size = UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        errno = 0;
        assert_null(allot_range_create(&wrong[i]));
        UNIT_CHECK(errno, ==, EINVAL);
    }
    assert_null(allot_range_create(NULL));
    allot_range_destroy(NULL);
    UNIT_CHECK(memory.count, ==, 0);
}

// ---- Memory for the records ----------------------------------------------------------

static allot_range *make_in(void *given, size_t given_bytes, uint64_t size) {
    return allot_range_create(
        &(struct allot_range_options){.struct_size = sizeof(struct allot_range_options),
                                      .size = size,
                                      .memory = given,
                                      .memory_size = given_bytes});
}

static void given_memory_is_all_that_a_range_uses(void) {  // [N4]
    static unsigned char given[40000];
    assert_null(make_in(given + 1, ALLOT_RANGE_MEMORY_MIN - 200, 100));
    UNIT_CHECK(errno, ==, ENOMEM);
    assert_non_null(make_in(given + 1, ALLOT_RANGE_MEMORY_MIN, 100));
    allot_range *range = make_in(given + 1, sizeof(given) - 2, 1000000);
    TAKES(range, 1000000, 0);
    uint64_t count = 0;
    while (allot_range_free(range, count * 2, 1) == 0) {
        count++;
    }
    UNIT_CHECK(errno, ==, ENOMEM);
    REFUSES(range, allot_range_free(range, count * 2, 1), ENOMEM);
    assert_true(CONFIG_TINY || count > 600);
    for (uint64_t i = 0; i + 1 < count; i++) {
        GIVES(range, i * 2 + 1, 1);  // for what makes them fewer some is kept
    }
    UNIT_CHECK(allot_range_count(range), ==, 1);
    UNIT_CHECK(given[0] | given[sizeof(given) - 1], ==, 0);
    UNIT_CHECK(memory.count, ==, 0);
    end(range);
}

static void the_records_may_be_moved_in_memory(void) {
    static unsigned char from[64 * 1024] CACHE_ALIGNED, to[64 * 1024] CACHE_ALIGNED;
    struct check_random random = {check_seed()};
    allot_range *range = make_in(from, sizeof(from), 100000);
    TAKES(range, 100000, 0);
    for (int i = 0; i < 500; i++) {
        allot_range_free(range, check_random_below(&random, 100000), 7);
    }
    uint64_t had = allot_range_count(range);
    memcpy(to, from, sizeof(from));
    memset(from, 0xff, sizeof(from));
    range = (allot_range *)(void *)to;
    UNIT_CHECK(allot_range_count(range), ==, had);
    assert_true(allot_range_validate(range));
    assert_true(allot_range_alloc(range, 7, 1) != ALLOT_RANGE_NONE);
    end(range);
}

// Each kind of call, many times, with whatever it says; what it says must be true.
static void call_all(allot_range *range, struct check_random *random) {
    for (int i = 0; i < 2000; i++) {
        uint64_t at = check_random_below(random, 20000), n = 1 + check_random_below(random, 9);
        uint64_t had = allot_range_free_bytes(range), want = had;
        errno = 0;
        switch (i % 8) {
        case 0: want -= allot_range_alloc(range, n, 1) == ALLOT_RANGE_NONE ? 0 : n; break;
        case 1: want -= allot_range_alloc(range, n, 8) == ALLOT_RANGE_NONE ? 0 : n; break;
        case 2: want -= allot_range_alloc_at(range, at, n) == 0 ? n : 0; break;
        default: want += allot_range_free(range, at, n) == 0 ? n : 0; break;
        }
        UNIT_CHECK(allot_range_free_bytes(range), ==, want);
        uint64_t size = allot_range_size(range), longer = size + (uint64_t)(i % 100 == 0);
        bool has_grown = allot_range_grow(range, longer) == 0;
        UNIT_CHECK(allot_range_size(range), ==, has_grown ? longer : size);
    }
    assert_true(allot_range_validate(range));
}

static uint64_t call_all_with(uint64_t fail_at, bool from) {
    memory.count = 0;
    memory.fail_at = 0;
    memory.fails_from = from;
    struct check_random random = {7};
    allot_range *range = make(20000, 1);
    TAKES(range, 20000, 0);
    memory.count = 0;
    memory.fail_at = fail_at;
    call_all(range, &random);
    uint64_t count = memory.count;
    end(range);
    return count;
}

static void a_refused_request_for_memory_leaves_the_range_as_it_was(void) {  // [N4]
    uint64_t calls = call_all_with(0, false);
    assert_true(calls > 3);
    for (uint64_t k = 1; k <= calls; k++) {
        call_all_with(k, false);
        call_all_with(k, true);
    }
    for (uint64_t k = 1; k <= 2; k++) {
        memory.count = 0;
        memory.fail_at = k;
        struct allot_range_options options = {.struct_size = sizeof(options), .size = 10};
        assert_null(allot_range_create(&options));
        UNIT_CHECK(errno, ==, ENOMEM);
        UNIT_CHECK(memory.held_count, ==, 0);
    }
}

enum { SHARED_THREADS = 4, SHARED_ROUNDS = 20000, SHARED_SIZE = 64 * 1024 };

static allot_range *shared;
static _Atomic(uint8_t) shared_users[SHARED_SIZE];

static void *use_shared(void *seed) {
    struct check_random random = {(uintptr_t)seed};
    for (int i = 0; i < SHARED_ROUNDS; i++) {
        uint64_t n = 1 + check_random_below(&random, 100);
        uint64_t at = allot_range_alloc(shared, n, 1);
        assert_true(at != ALLOT_RANGE_NONE);
        UNIT_CHECK(shared_users[at]++, ==, 0);
        UNIT_CHECK(shared_users[at + n / 2]++, ==, n / 2 == 0);
        shared_users[at]--;
        shared_users[at + n / 2]--;
        assert_true(allot_range_largest(shared) <= SHARED_SIZE);
        GIVES(shared, at, n);
    }
    return NULL;
}

static void four_threads_share_a_range(void) {
    os_fake.has_threads = true;
    shared = allot_range_create(&(struct allot_range_options){
        .struct_size = sizeof(struct allot_range_options), .size = SHARED_SIZE, .shared = true});
    pthread_t threads[SHARED_THREADS];
    for (uintptr_t i = 0; i < SHARED_THREADS; i++) {
        pthread_create(&threads[i], NULL, use_shared, (void *)(check_seed() + i));
    }
    for (int i = 0; i < SHARED_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    UNIT_CHECK(allot_range_count(shared), ==, 1);
    end(shared);
}

static void a_free_range_costs_at_most_48_bytes(void) {
    if (CONFIG_TINY) {
        return;  // its nodes hold four pairs
    }
    enum { LIVE = 50000 };
    static uint64_t offset[LIVE];
    static uint32_t size[LIVE];
    struct check_random random = {check_seed()};
    allot_range *range = make((uint64_t)LIVE * 2600, 1);
    for (int i = 0; i < 10 * LIVE; i++) {
        int at = (int)check_random_below(&random, LIVE);
        if (size[at] > 0) {
            GIVES(range, offset[at], size[at]);
        }
        size[at] = 1 + (uint32_t)check_random_below(&random, 4096);
        offset[at] = allot_range_alloc(range, size[at], 1);
        assert_true(offset[at] != ALLOT_RANGE_NONE);
    }
    uint64_t bytes = allot_range_metadata_bytes(range), count = allot_range_count(range);
    print_message("%llu free ranges, %.1f bytes each\n", (unsigned long long)count,
                  (double)bytes / (double)count);
    UNIT_CHECK(bytes, <=, count * 48);
    end(range);
}

// ---- Against a bitmap ----------------------------------------------------------------

enum { MODEL_SIZE = 1000 };

static struct {
    bool is_used[MODEL_SIZE];
    struct check_random random;
    uint64_t base;  // the number of the first; a multiple of any alignment
} model;

static uint64_t model_best_fit(uint64_t n, uint64_t align) {
    uint64_t best = ALLOT_RANGE_NONE, best_n = UINT64_MAX, at = 0;
    while (at < MODEL_SIZE) {
        const bool *used = memchr(&model.is_used[at], true, MODEL_SIZE - at);
        uint64_t end_at = used != NULL ? (uint64_t)(used - model.is_used) : MODEL_SIZE;
        uint64_t skip = -at & (align - 1);
        if (end_at - at < best_n && end_at - at >= n && skip <= end_at - at - n) {
            best = at + skip;
            best_n = end_at - at;
        }
        const bool *next = memchr(&model.is_used[end_at], false, MODEL_SIZE - end_at);
        at = next != NULL ? (uint64_t)(next - model.is_used) : MODEL_SIZE;
    }
    return best;
}

static void model_take(allot_range *range, uint64_t n) {
    uint64_t align = check_random_below(&model.random, 4) > 0
                         ? 1
                         : (uint64_t)1 << check_random_below(&model.random, 7);
    uint64_t want = model_best_fit(n, align);
    uint64_t at = want == ALLOT_RANGE_NONE ? want : model.base + want;
    UNIT_CHECK(allot_range_alloc(range, n, align), ==, at);
    if (want != ALLOT_RANGE_NONE) {
        memset(&model.is_used[want], true, n);
    }
}

// How many of these numbers are in use.
static uint64_t model_count(uint64_t at, uint64_t n) {
    uint64_t count = 0;
    for (uint64_t i = at; i < at + n && i < MODEL_SIZE; i++) {
        count += model.is_used[i];
    }
    return count;
}

static void model_take_at(allot_range *range, uint64_t at, uint64_t n) {
    int want = at + n > MODEL_SIZE ? ERANGE : model_count(at, n) > 0 ? EEXIST : 0;
    UNIT_CHECK(allot_range_alloc_at(range, model.base + at, n) == 0 ? 0 : errno, ==, want);
    if (want == 0) {
        memset(&model.is_used[at], true, n);
    }
}

static void model_give(allot_range *range, uint64_t at, uint64_t n) {
    uint64_t used = model_count(at, n);
    int want = at + n > MODEL_SIZE ? ERANGE : used == 0 ? EALREADY : used < n ? EEXIST : 0;
    UNIT_CHECK(allot_range_free(range, model.base + at, n) == 0 ? 0 : errno, ==, want);
    if (want == 0) {
        memset(&model.is_used[at], false, n);
    }
}

static void model_check_figures(const allot_range *range) {
    uint64_t count = 0, longest = 0, length = 0;
    for (uint64_t i = 0; i < MODEL_SIZE; i++) {
        length = model.is_used[i] ? 0 : length + 1;
        count += length == 1;
        longest = length > longest ? length : longest;
    }
    UNIT_CHECK(allot_range_count(range), ==, count);
    UNIT_CHECK(allot_range_largest(range), ==, longest);
    UNIT_CHECK(allot_range_free_bytes(range), ==, MODEL_SIZE - model_count(0, MODEL_SIZE));
    assert_true(allot_range_validate(range));
}

static void compare_with_a_bitmap(uint64_t base, int operations) {
    model.random.state = check_seed();
    model.base = base;
    memset(model.is_used, false, sizeof(model.is_used));
    allot_range *range = make(base + MODEL_SIZE, 1);
    assert_true(base == 0 || allot_range_alloc_at(range, 0, base) == 0);
    for (int i = 0; i < operations; i++) {
        bool is_filling = i / 3000 % 2 == 0;
        uint64_t kind = check_random_below(&model.random, 8), at;
        uint64_t n = 1 + check_random_below(&model.random, kind % 2 == 0 ? 4 : 30);
        at = check_random_below(&model.random, MODEL_SIZE);
        if (kind < (is_filling ? 4 : 2)) {
            model_take(range, n);
        } else if (kind < (is_filling ? 5 : 3)) {
            model_take_at(range, at, n);
        } else {
            model_give(range, at, n);
        }
        if (i % 1000 == 0) {
            model_check_figures(range);
        }
    }
    for (uint64_t i = 0; i < MODEL_SIZE; i++) {
        allot_range_free(range, base + i, 1);
    }
    UNIT_CHECK(allot_range_count(range), ==, 1);
    TAKES(range, MODEL_SIZE, base);
    end(range);
}

static void every_answer_is_that_of_a_bitmap(void) {  // [N1] [N2] [N3]
    int operations = check_is_long() ? 10000000 : 1000000;
    compare_with_a_bitmap(0, operations);
    compare_with_a_bitmap(UINT32_MAX / 64 * 64 - 1024, operations / 4);
    compare_with_a_bitmap(UINT64_C(1) << 60, operations / 4);
}

static const struct unit_case cases[] = {
    UNIT(the_first_of_a_new_range_is_at_zero),
    UNIT(the_smallest_that_fits_is_taken_and_the_lowest_of_equal_ones),
    UNIT(an_alignment_takes_the_smallest_range_that_can_hold_it),
    UNIT(an_offset_can_be_asked_for),
    UNIT(sizes_are_rounded_up_to_the_granularity),
    UNIT(numbers_reach_to_the_end_of_64_bits),
    UNIT(a_freed_range_merges_with_both_neighbours),
    UNIT(every_order_of_freeing_neighbours_gives_one_range),
    UNIT(no_byte_is_lost_after_all_is_freed_in_pieces),
    UNIT(a_large_range_is_found_behind_a_small_one),
    UNIT(a_second_free_is_refused),
    UNIT(an_overlapping_free_is_refused),
    UNIT(a_free_of_nothing_or_out_of_bounds_is_refused),
    UNIT(a_free_may_span_several_allocations),
    UNIT(a_million_bad_frees_change_nothing),
    UNIT(a_range_grows_and_shrinks_while_its_tail_is_free),
    UNIT(a_range_grows_beyond_32_bits),
    UNIT(a_growth_beyond_32_bits_without_memory_changes_nothing),
    UNIT(a_walk_visits_used_and_free_parts_in_order),
    UNIT(wrong_options_are_refused),
    UNIT(given_memory_is_all_that_a_range_uses),
    UNIT(the_records_may_be_moved_in_memory),
    UNIT(a_refused_request_for_memory_leaves_the_range_as_it_was),
    UNIT(four_threads_share_a_range),
    UNIT(a_free_range_costs_at_most_48_bytes),
    UNIT(every_answer_is_that_of_a_bitmap),
};
UNIT_MAIN(cases)
