// test_given.c - an allocator in given memory: small domains whole, wrong pointers, full memory,
// and a process that may make no system call.
#include "heap/given.h"

#include "base/bits.h"
#include "base/config.h"
#include "given_area.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { SMALLEST_BYTES = 224 };

// Takes blocks of random sizes until there is no room for the smallest; returns how many.
static size_t fill(struct given *given, struct check_random *random, void **blocks, size_t max) {
    size_t count = 0;
    size_t size_bytes = 4096;
    while (size_bytes > 0) {
        void *block = take(given, check_random_below(random, size_bytes));
        if (block == NULL) {
            size_bytes /= 2;
            continue;
        }
        memset(block, (int)count, given_usable_bytes(given, block));
        UNIT_CHECK(count, <, max);
        blocks[count++] = block;
    }
    while ((blocks[count] = take(given, 0)) != NULL) {
        count++;
    }
    UNIT_CHECK(stats(given).free_bytes, ==, 0);
    given_validate(given);
    return count;
}

static void shuffle(struct check_random *random, void **blocks, size_t count) {
    for (size_t i = count; i > 1; i--) {
        size_t other = check_random_below(random, i);
        void *block = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = block;
    }
}

// ---- Making it -----------------------------------------------------------------

static void use_once(struct given *given, size_t size_bytes) {
    struct given_stats now = stats(given);
    UNIT_CHECK(now.size_bytes, ==, size_bytes);
    void *small = take(given, 1);
    assert_non_null(small);
    memset(small, 1, given_usable_bytes(given, small));
    void *rest = now.free_bytes > UNIT_BYTES ? take(given, now.free_bytes - UNIT_BYTES) : NULL;
    assert_true(rest != NULL || now.free_bytes == UNIT_BYTES);
    if (rest != NULL) {
        memset(rest, 2, now.free_bytes - UNIT_BYTES);
        UNIT_CHECK(given_give(given, rest), ==, GIVEN_OK);
    }
    assert_true(rest != NULL || take(given, 0) == NULL);
    UNIT_CHECK(given_give(given, small), ==, GIVEN_OK);
    check_empty(given);
}

static void memory_of_every_alignment_and_size_is_used_or_refused(void) {
    for (size_t offset = 0; offset < UNIT_BYTES; offset++) {
        for (size_t size_bytes = 0; size_bytes <= 4096; size_bytes++) {
            struct given_area area = area_make(offset, size_bytes);
            struct given *given = given_init(area.memory, size_bytes);
            size_t needed_bytes = SMALLEST_BYTES + (UNIT_BYTES - offset) % UNIT_BYTES;
            assert_true((given != NULL) == (size_bytes >= needed_bytes));
            if (given != NULL) {
                use_once(given, size_bytes);
            }
            area_end(&area);
        }
    }
}

static void memory_that_is_refused_is_not_written_to(void) {
    struct given_area area = area_make(3, SMALLEST_BYTES);
    assert_null(given_init(area.memory, SMALLEST_BYTES));
    area.size_bytes = 0;
    area_end(&area);
}

// The equation in the header, and the aims behind it.
static void the_overhead_is_as_the_header_says(void) {
    char *memory =
        mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(memory != MAP_FAILED);
    for (size_t size_bytes = SMALLEST_BYTES; size_bytes < GIB - 16;
         size_bytes += size_bytes < 20000 ? 1 : size_bytes / 101) {
        struct given *given = given_init(memory + size_bytes % 16, size_bytes);
        if (given != NULL) {
            size_t own_bytes = stats(given).own_bytes;
            UNIT_CHECK(own_bytes, <=, size_bytes / 63 + (128 * bits_log2(size_bytes / 16)));
            UNIT_CHECK(own_bytes, <=, size_bytes / 25 + 1024);
        }
    }
    UNIT_CHECK(stats(given_init(memory, 8 * KIB)).free_bytes, >=, 6 * KIB);
    munmap(memory, GIB);
}

// ---- Blocks --------------------------------------------------------------------

static void every_small_size_and_alignment_comes_as_asked(void) {
    struct given_area area = area_make(5, 4096);
    struct given *given = given_init(area.memory, area.size_bytes);
    for (size_t align_bytes = 1; align_bytes <= 512; align_bytes *= 2) {
        for (size_t size_bytes = 0; size_bytes <= 1024; size_bytes++) {
            void *wall = take(given, 16);
            void *block = given_take(given, size_bytes, align_bytes);
            assert_non_null(block);
            UNIT_CHECK((uintptr_t)block % align_bytes, ==, 0);
            UNIT_CHECK((uintptr_t)block % UNIT_BYTES, ==, 0);
            size_t usable_bytes = bits_round_up(size_bytes + (size_bytes == 0), UNIT_BYTES);
            UNIT_CHECK(given_usable_bytes(given, block), ==, usable_bytes);
            memset(block, 0, usable_bytes);
            given_validate(given);
            UNIT_CHECK(given_give(given, wall), ==, GIVEN_OK);
            UNIT_CHECK(given_give(given, block), ==, GIVEN_OK);
            check_empty(given);
        }
    }
    area_end(&area);
}

static void alignments_up_to_64_kib_are_kept(void) {
    struct given_area area = area_make(9, 4 * MIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    void *blocks[64];
    for (size_t align_bytes = 16; align_bytes <= 64 * KIB; align_bytes *= 2) {
        size_t count = 0;
        for (size_t size_bytes = 1; size_bytes <= 128 * KIB; size_bytes = 2 * size_bytes + 7) {
            blocks[count] = given_take(given, size_bytes, align_bytes);
            assert_non_null(blocks[count]);
            UNIT_CHECK((uintptr_t)blocks[count++] % align_bytes, ==, 0);
        }
        given_validate(given);
        while (count > 0) {
            UNIT_CHECK(given_give(given, blocks[--count]), ==, GIVEN_OK);
        }
        check_empty(given);
    }
    area_end(&area);
}

static void a_request_that_does_not_fit_changes_nothing(void) {
    struct given_area area = area_make(0, 8 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    size_t free_bytes = stats(given).free_bytes;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX / 2 + 1, 8 * KIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (unsigned log2 = 0; log2 < 64; log2++) {
            assert_null(given_take(given, sizes[i], (size_t)1 << log2));
        }
    }
    assert_null(take(given, free_bytes + 1));
    assert_null(given_take(given, 1, (size_t)1 << 63));
    check_empty(given);
    assert_non_null(take(given, free_bytes));
    assert_null(take(given, 0));
    assert_null(given_take(given, 1, 4096));
    area_end(&area);
}

static void a_hole_is_used_again_before_larger_ones(void) {
    struct given_area area = area_make(0, 64 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    for (size_t size_bytes = 16; size_bytes <= 4096; size_bytes += 16) {
        void *larger = take(given, 2 * size_bytes + 16), *wall = take(given, 1);
        void *hole = take(given, size_bytes), *end = take(given, 1);
        given_give(given, hole);
        given_give(given, larger);
        assert_ptr_equal(take(given, size_bytes), hole);
        given_give(given, hole);
        given_give(given, wall);
        given_give(given, end);
        check_empty(given);
    }
    area_end(&area);
}

// ---- Faults --------------------------------------------------------------------

static void each_address_is_a_block_or_is_refused(void) {
    struct given_area area = area_make(7, 4096);
    struct given *given = given_init(area.memory, area.size_bytes);
    char *low = take(given, 40), *hole = take(given, 100), *high = take(given, 1);
    char *end = high + UNIT_BYTES + stats(given).free_bytes;
    UNIT_CHECK(given_give(given, hole), ==, GIVEN_OK);
    for (char *p = (char *)area.memory - 64; p < (char *)area.memory + area.size_bytes + 64; p++) {
        bool is_block = p == low || p == high;
        bool is_live = (p >= low && p < low + 48) || (p >= high && p < high + UNIT_BYTES);
        bool is_free = p >= low && p < end && !is_live;
        bool is_unit = (uintptr_t)p % UNIT_BYTES == 0;
        assert_int_equal(given_is_block(given, p), is_block);
        assert_ptr_equal(given_find(given, p), !is_live ? NULL : p < hole ? low : high);
        if (!is_block) {
            enum given_fault wanted = is_free && is_unit ? GIVEN_DOUBLE_FREE : GIVEN_BAD_POINTER;
            UNIT_CHECK(given_give(given, p), ==, wanted);
        }
        UNIT_CHECK(stats(given).live_blocks, ==, 2);
    }
    given_validate(given);
    area_end(&area);
}

static void a_foreign_address_is_refused(void) {
    struct given_area area = area_make(0, 8 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    int local = 0;
    void *wrong[] = {NULL, &local, (void *)UINTPTR_MAX, (void *)~(uintptr_t)15, area.bytes, given};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(given_is_block(given, wrong[i]));
        assert_null(given_find(given, wrong[i]));
        assert_int_equal(given_contains(given, wrong[i]), wrong[i] == given);
        UNIT_CHECK(given_give(given, wrong[i]), ==, GIVEN_BAD_POINTER);
    }
    assert_true(given_contains(given, area.memory + area.size_bytes - 1));
    assert_false(given_contains(given, area.memory + area.size_bytes));
    check_empty(given);
    area_end(&area);
}

static void a_second_free_is_found_whatever_the_neighbours_are(void) {
    struct given_area area = area_make(0, 8 * KIB);
    for (unsigned order = 0; order < 27; order++) {
        struct given *given = given_init(area.memory, area.size_bytes);
        void *blocks[3] = {take(given, 64), take(given, 64), take(given, 64)};
        unsigned picks[3] = {order % 3, order / 3 % 3, order / 9};
        bool is_given[3] = {false};
        for (int i = 0; i < 3; i++) {
            enum given_fault wanted = is_given[picks[i]] ? GIVEN_DOUBLE_FREE : GIVEN_OK;
            UNIT_CHECK(given_give(given, blocks[picks[i]]), ==, wanted);
            UNIT_CHECK(given_give(given, blocks[picks[i]]), ==, GIVEN_DOUBLE_FREE);
            is_given[picks[i]] = true;
            given_validate(given);
        }
    }
    area_end(&area);
}

// A child writes a word to free memory, then gives a block or, without one, takes one.
struct given_write {
    void *address;
    size_t value;
    void *block;
    size_t size_bytes;
};

// Whether that ends the child as it should.
static bool ends_after(struct given *given, struct given_write what) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        os_fake.is_quiet = true;
        signal(SIGSEGV, SIG_DFL);  // cmocka would end by SIGABRT, too
        memcpy(what.address, &what.value, sizeof what.value);
        if (what.block != NULL) {
            given_give(given, what.block);
        } else {
            take(given, what.size_bytes);
        }
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
    return status != 0;
}

static void a_link_that_was_written_to_is_not_followed(void) {
    static const size_t values[] = {0, 1, 0x4141414141414141, SIZE_MAX};
    struct given_area area = area_make(0, 8 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    char *holes[3], *walls[3];
    assert_non_null(take(given, 1));
    for (int i = 0; i < 3; i++) {  // on one list, and none fits 35 units
        holes[i] = take(given, 34 * UNIT_BYTES);
        walls[i] = take(given, UNIT_BYTES);
    }
    for (int i = 0; i < 3; i++) {
        given_give(given, holes[2 - i]);
    }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        bool ends_list = values[i] == 0;  // as next, 0 is not followed
        for (size_t at = 0; at < 2 * UNIT_BYTES; at += sizeof(size_t)) {
            struct given_write middle = {holes[1] + at, values[i], walls[1], 0};
            assert_int_equal(ends_after(given, middle), at < UNIT_BYTES);
        }
        struct given_write first = {holes[0], values[i], NULL, 35 * UNIT_BYTES};
        assert_int_equal(ends_after(given, first), !ends_list);
        first.size_bytes = 34 * UNIT_BYTES;
        assert_int_equal(ends_after(given, first), !ends_list);
    }
    assert_ptr_equal(take(given, 34 * UNIT_BYTES), holes[0]);
    area_end(&area);
}

// ---- Search --------------------------------------------------------------------

// A hole of so many units between blocks.
static void *make_hole(struct given *given, size_t units) {
    void *hole = take(given, units * UNIT_BYTES);
    assert_non_null(take(given, 1));
    return hole;
}

// Takes what is left behind the blocks.
static void use_up(struct given *given) {
    void *rest = take(given, stats(given).free_bytes);
    assert_non_null(rest);
    UNIT_CHECK(stats(given).free_bytes, ==, 0);
}

// Runs of 34 and of 35 units are on one list, those of 36 are on the next.
static void a_larger_run_is_found_behind_eight_that_nearly_fit(void) {
    struct given_area area = area_make(0, 16 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    void *fitting = make_hole(given, 35), *larger = make_hole(given, 36), *small[8];
    for (int i = 0; i < 8; i++) {
        small[i] = make_hole(given, 34);
    }
    use_up(given);
    given_give(given, fitting);
    for (int i = 0; i < 8; i++) {
        given_give(given, small[i]);
    }
    assert_null(take(given, 35 * UNIT_BYTES));  // it is the ninth
    given_give(given, larger);
    assert_ptr_equal(take(given, 35 * UNIT_BYTES), larger);
    assert_ptr_equal(take(given, 34 * UNIT_BYTES), small[7]);
    assert_ptr_equal(take(given, 35 * UNIT_BYTES), fitting);
    given_validate(given);
    area_end(&area);
}

// A hole whose address has this remainder by 64.
static char *make_hole_at(struct given *given, size_t units, size_t remainder) {
    char *before = take(given, 1);
    while ((uintptr_t)(before + UNIT_BYTES) % 64 != remainder) {
        before = take(given, 1);
    }
    return make_hole(given, units);
}

static void an_aligned_block_is_found_where_it_only_just_fits(void) {
    struct given_area area = area_make(0, 8 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    char *skewed = make_hole_at(given, 4, 32), *fitting = make_hole_at(given, 5, 48);
    use_up(given);
    given_give(given, skewed);
    assert_null(given_take(given, 64, 64));
    given_give(given, fitting);
    assert_ptr_equal(given_take(given, 64, 64), fitting + UNIT_BYTES);
    assert_ptr_equal(take(given, 1), fitting);
    given_validate(given);
    area_end(&area);
}

// ---- Runs ----------------------------------------------------------------------

static void full_memory_becomes_one_run_again_in_any_order(void) {
    enum { MAX = 65536 };
    static void *blocks[MAX + 1];
    struct check_random random = {check_seed()};
    for (int round = 0; round < 40; round++) {
        struct given_area area = area_make((size_t)round, 1000 + check_random_below(&random, MIB));
        struct given *given = given_init(area.memory, area.size_bytes);
        struct given_stats before = stats(given);
        size_t count = fill(given, &random, blocks, MAX);
        UNIT_CHECK(stats(given).live_blocks, ==, count);
        if (round > 1) {  // else as they came, or the other way round
            shuffle(&random, blocks, count);
        }
        for (size_t i = 0; i < count; i++) {
            void *block = blocks[round == 1 ? count - 1 - i : i];
            UNIT_CHECK(given_give(given, block), ==, GIVEN_OK);
        }
        check_empty(given);
        UNIT_CHECK(stats(given).free_bytes, ==, before.free_bytes);
        area_end(&area);
    }
}

// What the tiny memory below should look like: who has which unit.
enum { TINY_UNITS = 8 };
struct given_tiny {
    void *blocks[TINY_UNITS];  // by the unit where they start
    unsigned char units[TINY_UNITS];
    char *first;
};

static bool tiny_has_room(const struct given_tiny *tiny, unsigned units) {
    unsigned run = 0;
    unsigned longest = 0;
    for (unsigned i = 0; i < TINY_UNITS;) {
        unsigned live = tiny->units[i];
        run = live != 0 ? 0 : run + 1;
        longest = run > longest ? run : longest;
        i += live != 0 ? live : 1;
    }
    return longest >= units;
}

static void tiny_take(struct given *given, struct given_tiny *tiny, unsigned units) {
    char *block = take(given, (size_t)units * UNIT_BYTES);
    assert_true((block != NULL) == tiny_has_room(tiny, units));
    if (block != NULL) {
        size_t unit = (size_t)(block - tiny->first) / UNIT_BYTES;
        UNIT_CHECK(unit + units, <=, TINY_UNITS);
        tiny->blocks[unit] = block;
        tiny->units[unit] = (unsigned char)units;
    }
}

static void tiny_give(struct given *given, struct given_tiny *tiny, unsigned number) {
    for (unsigned i = 0; i < TINY_UNITS; i++) {
        if (tiny->units[i] != 0 && number-- == 0) {
            UNIT_CHECK(given_give(given, tiny->blocks[i]), ==, GIVEN_OK);
            tiny->units[i] = 0;
            return;
        }
    }
}

static void every_sequence_of_seven_calls_in_eight_units_is_right(void) {
    static const unsigned sizes[] = {1, 2, 3, 5};
    _Alignas(16) static char memory[512];
    size_t size_bytes = SMALLEST_BYTES;
    while (stats(given_init(memory, size_bytes)).free_bytes < (size_t)TINY_UNITS * UNIT_BYTES) {
        size_bytes += UNIT_BYTES;
    }
    for (unsigned sequence = 0; sequence < 8 * 8 * 8 * 8 * 8 * 8 * 8; sequence++) {
        struct given *given = given_init(memory, size_bytes);
        struct given_tiny tiny = {.first = memory + size_bytes - (size_t)TINY_UNITS * UNIT_BYTES};
        for (unsigned rest = sequence, i = 0; i < 7; rest /= 8, i++) {
            if (rest % 8 < 4) {
                tiny_take(given, &tiny, sizes[rest % 8]);
            } else {
                tiny_give(given, &tiny, rest % 8 - 4);
            }
        }
        given_validate(given);
    }
}

static void a_block_grows_and_shrinks_where_it_is(void) {
    struct given_area area = area_make(0, 64 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    char *block = take(given, 100);
    size_t room_bytes = stats(given).free_bytes + 112;
    memset(block, 7, 100);
    for (size_t size_bytes = 0; size_bytes <= room_bytes; size_bytes++) {
        assert_true(given_resize(given, block, size_bytes));
        size_t usable_bytes = given_usable_bytes(given, block);
        UNIT_CHECK(usable_bytes, ==, bits_round_up(size_bytes + (size_bytes == 0), UNIT_BYTES));
        UNIT_CHECK(stats(given).live_bytes, ==, usable_bytes);
        UNIT_CHECK(stats(given).largest_bytes, ==, room_bytes - usable_bytes);
    }
    assert_false(given_resize(given, block, room_bytes + 1));
    assert_false(given_resize(given, block, SIZE_MAX));
    assert_true(given_resize(given, block, 16));
    given_validate(given);
    void *wall = take(given, 16);
    assert_true(given_resize(given, block, 3));
    assert_false(given_resize(given, block, 17));
    UNIT_CHECK(given_usable_bytes(given, block), ==, 16);
    UNIT_CHECK(block[15], ==, 7);
    UNIT_CHECK(given_give(given, wall), ==, GIVEN_OK);
    UNIT_CHECK(given_give(given, block), ==, GIVEN_OK);
    check_empty(given);
    area_end(&area);
}

// ---- Walking -------------------------------------------------------------------

struct given_visit {
    struct given *given;
    size_t seen_count, seen_bytes, stop_at;
    char *last;
    bool gives;
};

static bool visit(void *block, size_t usable_bytes, void *context) {
    struct given_visit *visit = context;
    assert_true((char *)block > visit->last);
    visit->last = block;
    visit->seen_count++;
    visit->seen_bytes += usable_bytes;
    if (visit->gives) {
        UNIT_CHECK(given_give(visit->given, block), ==, GIVEN_OK);
    }
    return visit->seen_count != visit->stop_at;
}

static void a_walk_shows_each_block_once_and_may_give_it(void) {
    enum { MAX = 4096 };
    static void *blocks[MAX + 1];
    struct check_random random = {check_seed()};
    struct given_area area = area_make(1, 64 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    struct given_visit none = {.given = given};
    assert_true(given_walk(given, visit, &none));
    UNIT_CHECK(none.seen_count, ==, 0);
    size_t count = fill(given, &random, blocks, MAX);
    for (size_t i = 0; i < count; i += 3) {
        given_give(given, blocks[i]);
    }
    struct given_visit all = {.given = given}, some = {.given = given, .stop_at = 5};
    assert_true(given_walk(given, visit, &all));
    UNIT_CHECK(all.seen_count, ==, stats(given).live_blocks);
    UNIT_CHECK(all.seen_bytes, ==, stats(given).live_bytes);
    assert_false(given_walk(given, visit, &some));
    UNIT_CHECK(some.seen_count, ==, 5);
    struct given_visit giving = {.given = given, .gives = true};
    assert_true(given_walk(given, visit, &giving));
    UNIT_CHECK(giving.seen_count, ==, all.seen_count);
    check_empty(given);
    area_end(&area);
}

// ---- The system ----------------------------------------------------------------

// Ends by the one call that is allowed: exit of this thread, and so of the process.
static void churn_without_the_system(struct given *given, bool breaks_the_rule) {
    enum { KEPT = 64 };
    void *blocks[KEPT] = {NULL};
    bool is_right = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
    for (unsigned i = 0; i < 100000; i++) {
        void **slot = &blocks[i * 2654435761u >> 26];
        if (*slot != NULL) {
            is_right = is_right && given_give(given, *slot) == GIVEN_OK;
            is_right = is_right && given_give(given, *slot) == GIVEN_DOUBLE_FREE;
        }
        *slot = given_take(given, 200 + i * 40503u % 4000, (size_t)1 << i % 8);
        is_right = is_right && *slot != NULL && given_resize(given, *slot, 100 + i % 100);
    }
    if (breaks_the_rule) {
        syscall(SYS_getppid);
    }
    syscall(SYS_exit, is_right ? 0 : 1);
}

static int status_of_churn(struct given *given, bool breaks_the_rule) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        churn_without_the_system(given, breaks_the_rule);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void no_system_call_is_made(void) {
    if (CHECK_TSAN) {
        return;  // the sanitizer's own thread would outlive ours
    }
    struct given_area area = area_make(0, MIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    assert_int_equal(status_of_churn(given, false), 0);
    assert_int_equal(WTERMSIG(status_of_churn(given, true)), SIGKILL);
    area_end(&area);
}

static const struct unit_case cases[] = {
    UNIT(memory_of_every_alignment_and_size_is_used_or_refused),
    UNIT(memory_that_is_refused_is_not_written_to),
    UNIT(the_overhead_is_as_the_header_says),
    UNIT(every_small_size_and_alignment_comes_as_asked),
    UNIT(alignments_up_to_64_kib_are_kept),
    UNIT(a_request_that_does_not_fit_changes_nothing),
    UNIT(a_hole_is_used_again_before_larger_ones),
    UNIT(each_address_is_a_block_or_is_refused),
    UNIT(a_foreign_address_is_refused),
    UNIT(a_second_free_is_found_whatever_the_neighbours_are),
    UNIT(a_link_that_was_written_to_is_not_followed),
    UNIT(a_larger_run_is_found_behind_eight_that_nearly_fit),
    UNIT(an_aligned_block_is_found_where_it_only_just_fits),
    UNIT(full_memory_becomes_one_run_again_in_any_order),
    UNIT(every_sequence_of_seven_calls_in_eight_units_is_right),
    UNIT(a_block_grows_and_shrinks_where_it_is),
    UNIT(a_walk_shows_each_block_once_and_may_give_it),
    UNIT(no_system_call_is_made),
};
UNIT_MAIN(cases)
