// test_given.c - an allocator in given memory: small domains whole, an oracle that knows each byte,
// canaries around the memory, and a process that may make no system call.
#include "heap/given.h"

#include "base/bits.h"
#include "base/config.h"
#include "unit.h"

#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { UNIT_BYTES = 16, SMALLEST_BYTES = 224, MARGIN_BYTES = 128, CANARY = 0xa5 };

static struct given_stats stats(const struct given *given) {
    struct given_stats now;
    given_read_stats(given, &now);
    UNIT_CHECK(now.live_bytes + now.free_bytes + now.own_bytes, ==, now.size_bytes);
    UNIT_CHECK(now.largest_bytes, <=, now.free_bytes);
    return now;
}

// Nothing is live and what is free is one run.
static void check_empty(const struct given *given) {
    struct given_stats now = stats(given);
    given_validate(given);
    UNIT_CHECK(now.live_blocks, ==, 0);
    UNIT_CHECK(now.live_bytes, ==, 0);
    UNIT_CHECK(now.largest_bytes, ==, now.free_bytes);
}

// Memory between canaries, in a block of its own for the sanitizer.
struct given_area {
    unsigned char *bytes, *memory;
    size_t size_bytes;
};

static struct given_area area_make(size_t offset, size_t size_bytes) {
    struct given_area area = {.size_bytes = size_bytes};
    area.bytes = malloc(2 * MARGIN_BYTES + size_bytes);
    assert_non_null(area.bytes);
    memset(area.bytes, CANARY, 2 * MARGIN_BYTES + size_bytes);
    area.memory = area.bytes + bits_round_up((uintptr_t)area.bytes, 64) - (uintptr_t)area.bytes;
    area.memory += 16 + offset;
    return area;
}

static void area_check(const struct given_area *area) {
    size_t before = (size_t)(area->memory - area->bytes);
    for (size_t i = 0; i < 2 * MARGIN_BYTES; i++) {
        UNIT_CHECK(area->bytes[i < before ? i : i + area->size_bytes], ==, CANARY);
    }
}

static void area_end(struct given_area *area) {
    area_check(area);
    free(area->bytes);
}

static void *take(struct given *given, size_t size_bytes) {
    return given_take(given, size_bytes, 1);
}

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

// The signal that ends a child which writes to free memory and then takes a block.
static int end_after_write(struct given *given, void *free_memory, size_t size_bytes) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        os_fake.is_quiet = true;
        memset(free_memory, 0x41, UNIT_BYTES);
        take(given, size_bytes);
        _exit(strstr(os_fake.text, "memory was written to") != NULL);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void a_link_that_was_written_to_is_not_followed(void) {
    struct given_area area = area_make(0, 8 * KIB);
    struct given *given = given_init(area.memory, area.size_bytes);
    char *holes[2];
    for (int i = 0; i < 2; i++) {
        holes[i] = take(given, 1000);
        assert_non_null(take(given, 16));
    }
    given_give(given, holes[1]);
    given_give(given, holes[0]);
    assert_int_equal(end_after_write(given, holes[0], 1000), SIGABRT);
    assert_int_equal(end_after_write(given, holes[1], 1000), SIGABRT);
    assert_int_equal(end_after_write(given, holes[0] + UNIT_BYTES, 1000), 0);
    assert_ptr_equal(take(given, 1000), holes[0]);
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

// ---- The oracle ----------------------------------------------------------------

enum { ORACLE_BLOCKS = 256 };

// Who owns which byte, and what is written in it.
static struct {
    struct check_random random;
    struct given_area area;
    struct given *given;
    uint16_t *owner;  // [size_bytes] 1 + index of the block; 0: nobody
    struct {
        unsigned char *address;
        size_t usable_bytes;
    } blocks[ORACLE_BLOCKS];
    size_t live_bytes, live_count, size_max, refused_count;
} oracle;

static size_t oracle_below(size_t bound) {
    return (size_t)check_random_below(&oracle.random, bound);
}

// Small ones are as frequent as large ones.
static size_t oracle_size(void) {
    return oracle_below((size_t)2 << oracle_below(bits_log2(oracle.size_max)));
}

static unsigned char oracle_byte(size_t i) {
    return (unsigned char)(i * 37 + 11);
}

// Bytes [from, to) of a block that nobody owned become its own, and are written.
static void oracle_own(size_t i, size_t from, size_t to) {
    size_t start = (size_t)(oracle.blocks[i].address - oracle.area.memory);
    UNIT_CHECK(start + to, <=, oracle.area.size_bytes);
    for (size_t at = start + from; at < start + to; at++) {
        UNIT_CHECK(oracle.owner[at], ==, 0);
        oracle.owner[at] = (uint16_t)(i + 1);
        oracle.area.memory[at] = oracle_byte(i);
    }
}

static void oracle_disown(size_t i, size_t from, size_t to) {
    size_t start = (size_t)(oracle.blocks[i].address - oracle.area.memory);
    for (size_t at = start + from; at < start + to; at++) {
        UNIT_CHECK(oracle.owner[at], ==, i + 1);
        oracle.owner[at] = 0;
    }
}

static void oracle_check_content(size_t i, size_t length) {
    for (size_t k = 0; k < length; k++) {
        UNIT_CHECK(oracle.blocks[i].address[k], ==, oracle_byte(i));
    }
}

static void oracle_take(size_t i) {
    size_t size_bytes = oracle_size();
    size_t align_bytes = (size_t)1 << (oracle_below(4) == 0 ? oracle_below(10) : 0);
    struct given_stats before = stats(oracle.given);
    unsigned char *block = given_take(oracle.given, size_bytes, align_bytes);
    if (block == NULL) {  // good fit: not even with the next step and the alignment
        size_t sure_bytes = size_bytes + UNIT_BYTES + align_bytes;
        UNIT_CHECK(before.largest_bytes, <, sure_bytes + sure_bytes / 16 + UNIT_BYTES);
        oracle.refused_count++;
        return;
    }
    UNIT_CHECK((uintptr_t)block % align_bytes, ==, 0);
    oracle.blocks[i].address = block;
    oracle.blocks[i].usable_bytes = given_usable_bytes(oracle.given, block);
    UNIT_CHECK(oracle.blocks[i].usable_bytes, >=, size_bytes);
    UNIT_CHECK(oracle.blocks[i].usable_bytes, <=, size_bytes + UNIT_BYTES);
    oracle_own(i, 0, oracle.blocks[i].usable_bytes);
    oracle.live_bytes += oracle.blocks[i].usable_bytes;
    oracle.live_count++;
}

static void oracle_give(size_t i) {
    size_t usable_bytes = oracle.blocks[i].usable_bytes;
    UNIT_CHECK(given_usable_bytes(oracle.given, oracle.blocks[i].address), ==, usable_bytes);
    oracle_check_content(i, usable_bytes);
    oracle_disown(i, 0, usable_bytes);
    UNIT_CHECK(given_give(oracle.given, oracle.blocks[i].address), ==, GIVEN_OK);
    UNIT_CHECK(given_give(oracle.given, oracle.blocks[i].address), ==, GIVEN_DOUBLE_FREE);
    oracle.live_bytes -= usable_bytes;
    oracle.live_count--;
    oracle.blocks[i].address = NULL;
}

static void oracle_resize(size_t i) {
    size_t before_bytes = oracle.blocks[i].usable_bytes;
    size_t size_bytes = oracle_size();
    bool is_done = given_resize(oracle.given, oracle.blocks[i].address, size_bytes);
    size_t usable_bytes = given_usable_bytes(oracle.given, oracle.blocks[i].address);
    assert_true(is_done || (size_bytes > before_bytes && usable_bytes == before_bytes));
    assert_true(!is_done || usable_bytes - size_bytes <= UNIT_BYTES);
    oracle_check_content(i, usable_bytes < before_bytes ? usable_bytes : before_bytes);
    if (usable_bytes < before_bytes) {
        oracle_disown(i, usable_bytes, before_bytes);
    } else {
        oracle_own(i, before_bytes, usable_bytes);
    }
    oracle.blocks[i].usable_bytes = usable_bytes;
    oracle.live_bytes += usable_bytes - before_bytes;
}

// Any address: whose is it, and is a wrong one refused?
static void oracle_ask(void) {
    size_t at = oracle_below(oracle.area.size_bytes);
    unsigned char *address = oracle.area.memory + at;
    unsigned owner = oracle.owner[at];
    unsigned char *block = owner == 0 ? NULL : oracle.blocks[owner - 1].address;
    assert_ptr_equal(given_find(oracle.given, address), block);
    assert_int_equal(given_is_block(oracle.given, address), block == address);
    if (block != address) {
        size_t own_bytes = stats(oracle.given).own_bytes;
        bool is_unit = (uintptr_t)address % UNIT_BYTES == 0 && at >= own_bytes;
        enum given_fault wanted = owner == 0 && is_unit ? GIVEN_DOUBLE_FREE : GIVEN_BAD_POINTER;
        UNIT_CHECK(given_give(oracle.given, address), ==, wanted);
    }
}

static void oracle_step(void) {
    size_t what = oracle_below(100);
    size_t i = oracle_below(ORACLE_BLOCKS);
    if (what < 20) {
        oracle_ask();
    } else if (oracle.blocks[i].address == NULL) {
        oracle_take(i);
    } else if (what < 40) {
        oracle_resize(i);
    } else {
        oracle_give(i);
    }
}

static void oracle_check(void) {
    struct given_stats now = stats(oracle.given);
    UNIT_CHECK(now.live_bytes, ==, oracle.live_bytes);
    UNIT_CHECK(now.live_blocks, ==, oracle.live_count);
    given_validate(oracle.given);
    area_check(&oracle.area);
}

// The offset is 0 and the size a multiple of 16, so that the end is the end of the last unit.
static void oracle_run(size_t size_bytes, size_t size_max, int steps) {
    oracle.random.state = check_seed();
    oracle.area = area_make(0, size_bytes);
    oracle.given = given_init(oracle.area.memory, size_bytes);
    oracle.owner = calloc(size_bytes, sizeof *oracle.owner);
    oracle.size_max = size_max;
    for (int i = 0; i < steps; i++) {
        oracle_step();
        if (i % 256 == 0) {
            oracle_check();
        }
    }
    for (size_t i = 0; i < ORACLE_BLOCKS; i++) {
        if (oracle.blocks[i].address != NULL) {
            oracle_give(i);
        }
    }
    UNIT_CHECK(oracle.refused_count, >, 0);
    check_empty(oracle.given);
    free(oracle.owner);
    area_end(&oracle.area);
}

static void random_operations_agree_with_an_owner_for_each_byte(void) {
    oracle_run(64 * KIB, 8 * KIB, 200000);
}

static void random_operations_in_little_memory_agree_with_an_owner_for_each_byte(void) {
    oracle_run(4 * KIB, 512, 200000);
}

static void random_operations_on_large_blocks_agree_with_an_owner_for_each_byte(void) {
    oracle_run(MIB, 128 * KIB, 20000);
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
    UNIT(full_memory_becomes_one_run_again_in_any_order),
    UNIT(every_sequence_of_seven_calls_in_eight_units_is_right),
    UNIT(a_block_grows_and_shrinks_where_it_is),
    UNIT(a_walk_shows_each_block_once_and_may_give_it),
    UNIT(random_operations_agree_with_an_owner_for_each_byte),
    UNIT(random_operations_in_little_memory_agree_with_an_owner_for_each_byte),
    UNIT(random_operations_on_large_blocks_agree_with_an_owner_for_each_byte),
    UNIT(no_system_call_is_made),
};
UNIT_MAIN(cases)
