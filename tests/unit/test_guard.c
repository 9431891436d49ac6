// test_guard.c - blocks that are watched.
#include "guard/guard.h"

#include "allot.h"
#include "api/options.h"
#include "guard/pen.h"
#include "heap/registry.h"
#include "page/pageheap.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

static const size_t sizes[] = {0, 1, 8, 9, 24, 100, 1000, 5000, 8192, 8193, 20000, 100000, 1 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void begin(enum guard_mode mode, uint64_t every) {
    assert_non_null(registry_cache());
    guard_init(mode, every);
    options_state.misuse = OPTIONS_MISUSE_WARN;
    os_fake.is_quiet = true;
}

static char *take(size_t size) {
    char *block = guard_allocate(1, size, false);
    assert_non_null(block);
    memset(block, 0x11, size);
    return block;
}

/// How often a text was said since the last time, which is then forgotten.
static unsigned said(const char *text) {
    unsigned count = 0;
    for (const char *at = os_fake.text; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    os_fake.text_length = 0;
    os_fake.text[0] = 0;
    return count;
}

static void a_guarded_block_is_aligned_and_has_what_was_asked_for(void) {
    begin(GUARD_ALL, 0);
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t align = 1; align <= 1 << 20; align *= 4) {
            char *block = guard_allocate(align, sizes[i], true);
            size_t least = sizes[i] > 8 ? 16 : 8;
            UNIT_CHECK((uintptr_t)block % (align > least ? align : least), ==, 0);
            UNIT_CHECK(allot_usable_size(block), ==, sizes[i]);
            for (size_t k = 0; k < sizes[i]; k++) {
                UNIT_CHECK(block[k], ==, 0);
            }
            memset(block, 0xff, sizes[i]);
            allot_free(block);
        }
    }
    UNIT_CHECK(allot_check(), ==, 0);
    assert_string_equal(os_fake.text, "");
}

static void every_byte_that_can_be_touched_around_a_block_is_watched(void) {
    begin(GUARD_ALL, 0);
    for (size_t i = 0; i < SIZES; i++) {
        char *block = take(sizes[i]);
        const struct guarded *guarded = pen_find(block);
        UNIT_CHECK(guarded->block == block, ==, true);
        for (char *at = guarded->low; at < guarded->high; at++) {
            if (at >= block && at < block + sizes[i]) {
                at = block + sizes[i] - 1;
                continue;
            }
            char before = *at;
            *at = (char)(before + 1);
            UNIT_CHECK(allot_check(), ==, 1);
            *at = before;
            UNIT_CHECK(allot_check(), ==, 0);
        }
        allot_free(block);
    }
}

static void a_damaged_block_is_reported_once(void) {
    begin(GUARD_ALL, 0);
    char *over = take(24), *under = take(24);
    over[24] = 0;
    over[26] = 0;
    under[-1] = 0;
    UNIT_CHECK(allot_check(), ==, 2);
    UNIT_CHECK(said(" was written at offset "), ==, 2);
    UNIT_CHECK(allot_check(), ==, 2);
    allot_free(over);
    allot_free(under);
    UNIT_CHECK(said("allot: error"), ==, 0);
    char *again = take(24);
    again[24] = 0;
    again[26] = 0;
    allot_free(again);
    UNIT_CHECK(said("was written at offset 24 to 26\n"), ==, 1);
}

static void a_write_after_free_is_found_by_a_walk_and_on_reuse(void) {
    begin(GUARD_ALL, 0);
    char *first = take(100), *second = take(100);
    allot_free(first);
    allot_free(second);
    first[40] = 1;
    UNIT_CHECK(allot_check(), ==, 1);
    UNIT_CHECK(said("write after free"), ==, 1);
    second[50] = 1;
    for (unsigned i = 0; i < 200000 && os_fake.text_length == 0; i++) {
        allot_free(take(1000));
    }
    UNIT_CHECK(said("write after free: the 100-byte block"), ==, 1);
}

static void the_quarantine_is_bounded(void) {
    begin(GUARD_ALL, 0);
    struct guard_stats stats;
    struct pageheap_stats pages;
    for (unsigned i = 0; i < 30000; i++) {
        allot_free(take(sizes[i % SIZES]));
    }
    guard_read_stats(&stats);
    pageheap_read_stats(&pages);
    UNIT_CHECK(stats.live_blocks, ==, 0);
    UNIT_CHECK(stats.live_bytes, ==, 0);
    UNIT_CHECK(stats.held_bytes, >, 0);
    UNIT_CHECK(stats.held_bytes, <=, 64 * MIB);
}

static void wrong_pointers_are_named(void) {
    begin(GUARD_ALL, 0);
    for (size_t i = 1; i < SIZES; i++) {
        char *block = take(sizes[i]);
        allot_free(block + 1);
        UNIT_CHECK(said("allot: error: free of "), ==, 1);
        assert_null(allot_realloc(block - 16, 100));
        UNIT_CHECK(said("allot: error: realloc of "), ==, 1);
        allot_free_sized(block, sizes[i] + 1);
        UNIT_CHECK(said("allot: error: free_sized of "), ==, 1);
        allot_free_sized(block, sizes[i]);
        UNIT_CHECK(said("allot: error"), ==, 0);
        allot_free(block);
        UNIT_CHECK(said("allot: error: double free of "), ==, 1);
    }
}

static void an_address_is_told_whose_it_is(void) {
    begin(GUARD_ALL, 0);
    char *block = take(20000);
    assert_false(allot_guard_report(&block));
    assert_false(allot_guard_report(NULL));
    assert_true(allot_guard_report(block + 20003));
    UNIT_CHECK(said(" lies 3 bytes behind the 20000-byte block at "), ==, 1);
    assert_true(allot_guard_report(block - 4000));
    UNIT_CHECK(said(" lies 4000 bytes before the 20000-byte block at "), ==, 1);
    allot_free(block);
    assert_true(allot_guard_report(block));
    UNIT_CHECK(said("  freed at\n"), ==, 1);
}

static void realloc_keeps_the_content_and_moves(void) {
    begin(GUARD_ALL, 0);
    for (size_t i = 1; i < SIZES; i++) {
        char *block = take(sizes[i]);
        char *moved = allot_realloc(block, 2 * sizes[i]);
        assert_ptr_not_equal(moved, block);
        UNIT_CHECK(moved[sizes[i] - 1], ==, 0x11);
        UNIT_CHECK(allot_usable_size(moved), ==, 2 * sizes[i]);
        moved = allot_realloc(moved, 1);
        UNIT_CHECK(moved[0], ==, 0x11);
        allot_free(moved);
    }
    assert_string_equal(os_fake.text, "");
}

/// Whatever the system refuses: NULL and ENOMEM, or a block that is watched, by redzones at least.
static void what_is_given_is_watched_while_the_system_refuses(void) {
    if (registry_cache() == NULL) {
        return;
    }
    begin(GUARD_ALL, 0);
    for (size_t i = 0; i < 4 * SIZES; i++) {
        errno = 0;
        size_t size = sizes[i % SIZES];
        char *block = guard_allocate(1, size, false);
        UNIT_CHECK(errno, ==, block != NULL ? 0 : ENOMEM);
        if (block == NULL) {
            continue;
        }
        size_t before = allot_check();  // freed ones, in quarantine
        memset(block, 1, size);
        const struct guarded *guarded = pen_find(block);
        bool is_behind = guarded->high > block + size;
        bool has_redzone = is_behind || guarded->low < block;
        if (has_redzone) {
            block[is_behind ? (ptrdiff_t)size : -1] = 0;
        }
        UNIT_CHECK(allot_check(), ==, before + has_redzone);
        allot_free(block);
        UNIT_CHECK(said("allot: error: "), ==, has_redzone);
    }
    allot_check();
    pageheap_validate();
}

static void sampled_blocks_are_about_one_in_n(void) {
    begin(GUARD_SAMPLE, 100);
    unsigned count = 0;
    for (unsigned i = 0; i < 400000; i++) {
        if (guard_wants(1, 24)) {
            char *block = guard_allocate(1, 24, false);
            UNIT_CHECK((uintptr_t)(block + 24) % 4096, ==, 4096 - 8);  // as far right as 16 allows
            allot_free(block);
            count++;
        }
    }
    UNIT_CHECK(count, >, 3600);
    UNIT_CHECK(count, <, 4400);
}

static _Atomic(bool) is_over;

static void *churn(void *unused) {
    char *blocks[64] = {NULL};
    struct check_random random = {(uint64_t)(uintptr_t)&blocks};
    for (unsigned i = 0; i < 4000; i++) {
        size_t at = (size_t)check_random_below(&random, 64);
        allot_free(blocks[at]);
        blocks[at] = take(sizes[check_random_below(&random, SIZES - 3)]);
    }
    for (size_t i = 0; i < 64; i++) {
        allot_free(blocks[i]);
    }
    return unused;
}

static void *walk(void *unused) {
    while (!atomic_load(&is_over)) {
        UNIT_CHECK(allot_check(), ==, 0);
    }
    return unused;
}

static void walks_and_frees_go_on_together(void) {
    os_fake.has_threads = true;
    begin(GUARD_ALL, 0);
    pthread_t threads[4], walker;
    pthread_create(&walker, NULL, walk, NULL);
    for (size_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, churn, NULL);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&is_over, true);
    pthread_join(walker, NULL);
    UNIT_CHECK(allot_check(), ==, 0);
    assert_string_equal(os_fake.text, "");
}

static const struct unit_case cases[] = {
    UNIT(a_guarded_block_is_aligned_and_has_what_was_asked_for),
    UNIT(every_byte_that_can_be_touched_around_a_block_is_watched),
    UNIT(a_damaged_block_is_reported_once),
    UNIT(a_write_after_free_is_found_by_a_walk_and_on_reuse),
    UNIT(the_quarantine_is_bounded),
    UNIT(wrong_pointers_are_named),
    UNIT(an_address_is_told_whose_it_is),
    UNIT(realloc_keeps_the_content_and_moves),
    UNIT_WITH_FAILURES(what_is_given_is_watched_while_the_system_refuses),
    UNIT(sampled_blocks_are_about_one_in_n),
    UNIT(walks_and_frees_go_on_together),
};

UNIT_MAIN(cases)
