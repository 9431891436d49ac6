// test_given_oracle.c - an allocator in given memory against an oracle that knows whose each byte
// is and what was written to it.
#include "heap/given.h"

#include "base/bits.h"
#include "base/config.h"
#include "given_area.h"

#include <stdlib.h>

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

static const struct unit_case cases[] = {
    UNIT(random_operations_agree_with_an_owner_for_each_byte),
    UNIT(random_operations_in_little_memory_agree_with_an_owner_for_each_byte),
    UNIT(random_operations_on_large_blocks_agree_with_an_owner_for_each_byte),
};
UNIT_MAIN(cases)
