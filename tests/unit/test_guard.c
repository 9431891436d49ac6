// test_guard.c - blocks that are watched.
#include "guard/guard.h"

#include "allot.h"
#include "api/options.h"
#include "guard/pen.h"
#include "heap/registry.h"
#include "page/pageheap.h"
#include "page/region.h"
#include "tag/tag.h"
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

// ---- Blocks with accounts

static struct allot_tag_stats stats_of(allot_tag tag) {
    struct allot_tag_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_tag_stats(tag, &stats));
    return stats;
}

static bool is_guarded(const void *block) {
    size_t granule = region_granule(block);
    return region_contains(granule) && region_kind(granule) == KIND_PEN;
}

static allot_tag create_watched(const char *name) {
    tag_watch(NULL);
    allot_tag tag = allot_tag_create(name, 0);
    assert_int_not_equal(tag, 0);
    return tag;
}

static void *free_it(void *block) {
    allot_free(block);
    return NULL;
}

static void a_guarded_block_counts_for_its_tag_as_an_ordinary_one_does(void) {
    os_fake.has_threads = true;
    begin(GUARD_TAG, 0);
    allot_tag plain = allot_tag_create("plain", 0), watched = create_watched("watched");
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t align = 1; align <= 1 << 20; align *= 4) {
            char *ordinary = allot_tag_aligned(plain, align, sizes[i]);
            char *block = allot_tag_aligned(watched, align, sizes[i]);
            assert_true(is_guarded(block) && !is_guarded(ordinary));
            UNIT_CHECK(allot_usable_size(block), ==, sizes[i]);
            UNIT_CHECK(allot_tag_of(block), ==, watched);
            UNIT_CHECK(stats_of(watched).live_bytes, ==, stats_of(plain).live_bytes);
            UNIT_CHECK(stats_of(watched).held_bytes, >=, sizes[i]);
            pthread_t thread;
            pthread_create(&thread, NULL, free_it, block);
            pthread_join(thread, NULL);
            allot_free(ordinary);
            UNIT_CHECK(allot_tag_of(block), ==, 0);
            UNIT_CHECK(stats_of(watched).live_bytes + stats_of(watched).held_bytes, ==, 0);
        }
    }
    UNIT_CHECK(stats_of(watched).malloc_calls, ==, SIZES * 11);
    UNIT_CHECK(stats_of(watched).free_calls, ==, SIZES * 11);
}

static void a_guarded_block_keeps_its_tag_when_it_is_resized(void) {
    begin(GUARD_ALL, 0);
    allot_tag mine = create_watched("mine"), other = create_watched("other");
    char *block = allot_tag_malloc(mine, 10);
    strcpy(block, "a text");
    allot_tag before = allot_tag_enter(other);
    for (size_t size = 20; size < 20 << 20; size = size * 3) {
        block = allot_realloc(block, size);
        UNIT_CHECK(allot_tag_of(block), ==, mine);
        UNIT_CHECK(stats_of(mine).live_blocks, ==, 1);
        UNIT_CHECK(stats_of(mine).live_bytes, >=, size);
    }
    allot_tag_leave(before);
    block = allot_tag_realloc(other, block, 100);
    assert_string_equal(block, "a text");
    UNIT_CHECK(stats_of(mine).live_bytes, ==, 0);
    UNIT_CHECK(stats_of(other).live_bytes, ==, 112);
    char *zeros = allot_tag_calloc(other, 10, 100);
    for (size_t i = 0; i < 1000; i++) {
        UNIT_CHECK(zeros[i], ==, 0);
    }
    allot_tag_free(zeros);
    assert_null(allot_tag_realloc(other, block, 0));
    UNIT_CHECK(stats_of(other).live_bytes, ==, 0);
    assert_string_equal(os_fake.text, "");
}

static void a_report_names_the_tag_and_the_site(void) {
    begin(GUARD_ALL, 0);
    allot_tag tag = create_watched("parser");
    char *block = ALLOT_MALLOC(tag, 24);
    char *volatile end = block + 24;
    *end = 1;
    UNIT_CHECK(allot_check(), ==, 1);
    UNIT_CHECK(said("  of the tag parser, from a_report_names_the_tag_and_the_site at "), ==, 1);
    allot_free(block);
    allot_free(block);
    UNIT_CHECK(said("  of the tag parser, from "), ==, 1);
    block = allot_tag_malloc(tag, 24);
    allot_free(block + 1);
    UNIT_CHECK(said("  of the tag parser\n"), ==, 1);
    assert_true(allot_guard_report(block));
    UNIT_CHECK(said("  of the tag parser\n"), ==, 1);
    allot_leaks(2, 0);
    UNIT_CHECK(said("allot: 32 bytes in 1 block of parser\n"), ==, 1);
    allot_free(block);
}

static void a_limit_holds_for_guarded_blocks_to_the_byte(void) {
    begin(GUARD_ALL, 0);
    tag_watch(NULL);
    struct allot_tag_limits limits = {.size_bytes = sizeof limits, .limit_bytes = 100000};
    allot_tag parent = allot_tag_create_limited("parent", 0, &limits);
    allot_tag child = allot_tag_create("child", parent);
    void *blocks[100];
    int count = 0;
    while ((blocks[count] = allot_tag_malloc(count % 2 ? child : parent, 1020)) != NULL) {
        count++;
    }
    UNIT_CHECK(errno, ==, ENOMEM);
    UNIT_CHECK(count, ==, 97);
    UNIT_CHECK(stats_of(parent).tree_bytes, ==, 97 * 1024);
    assert_null(allot_realloc(blocks[0], 2000));
    blocks[0] = allot_realloc(blocks[0], 1024 + 512);
    assert_true(is_guarded(blocks[0]));
    for (int i = 0; i < count; i++) {
        allot_free(blocks[i]);
    }
    UNIT_CHECK(stats_of(parent).tree_bytes, ==, 0);
    allot_free(allot_tag_malloc(child, 90000));
    UNIT_CHECK(stats_of(child).peak_bytes, >=, 90000);
}

static void by_name_a_tag_is_watched_with_all_below_it(void) {
    begin(GUARD_TAG, 0);
    tag_watch("other:a name that is longer than the names of tags may be");
    allot_tag plain = allot_tag_create("plain", 0);
    allot_tag named =
        allot_tag_create("a name that is longer than the names of tags may be", plain);
    allot_tag below = allot_tag_create("below", allot_tag_create("between", named));
    allot_tag tags[] = {0, plain, named, below};
    for (unsigned i = 0; i < 2000; i++) {
        allot_tag before = allot_tag_enter(tags[i % 4]);
        void *blocks[] = {allot_malloc(i), allot_calloc(1, i), allot_aligned(64, i),
                          allot_malloc(100000), allot_realloc(NULL, i)};
        allot_tag_leave(before);
        for (size_t k = 0; k < sizeof blocks / sizeof blocks[0]; k++) {
            UNIT_CHECK(is_guarded(blocks[k]), ==, i % 4 >= 2);
            UNIT_CHECK(allot_tag_of(blocks[k]), ==, tags[i % 4]);
            allot_free(blocks[k]);
        }
    }
    UNIT_CHECK(stats_of(below).malloc_calls, ==, 2500);
    UNIT_CHECK(stats_of(below).live_bytes + stats_of(named).live_bytes, ==, 0);
}

static void blocks_of_a_scope_are_sampled_as_others_are(void) {
    begin(GUARD_SAMPLE, 1000);
    static void *blocks[2000];
    allot_tag tag = allot_tag_create("scope", 0);
    unsigned count = 0;
    allot_tag before = allot_tag_enter(tag);
    for (unsigned i = 0; i < 400000; i++) {
        void **block = &blocks[i % 2000];
        for (unsigned k = 0; k < 2000 && i % 2000 == 0; k++) {
            allot_free(blocks[k]);
        }
        *block = i % 2 ? allot_malloc(24) : allot_calloc(1, 24);
        count += is_guarded(*block);
        UNIT_CHECK(allot_tag_of(*block), ==, tag);
    }
    allot_tag_leave(before);
    UNIT_CHECK(count, >, 250);
    UNIT_CHECK(count, <, 600);
    for (unsigned i = 0; i < 2000; i++) {
        allot_free(blocks[i]);
    }
    UNIT_CHECK(stats_of(tag).live_bytes, ==, 0);
    UNIT_CHECK(stats_of(tag).malloc_calls, ==, 400000);
}

static void sums_of_guarded_blocks_are_exact_while_the_system_refuses(void) {
    if (registry_cache() == NULL) {
        return;
    }
    begin(GUARD_ALL, 0);
    tag_watch(NULL);
    allot_tag tag = allot_tag_create("refused", 0);
    void *blocks[4 * SIZES];
    uint64_t count = 0;
    for (size_t i = 0; i < 4 * SIZES && tag != 0; i++) {
        blocks[i] = allot_tag_malloc(tag, sizes[i % SIZES]);
        void *moved =
            i % 2 && blocks[i] ? allot_realloc(blocks[i], 1 + sizes[SIZES - 1 - i % SIZES]) : NULL;
        blocks[i] = moved != NULL ? moved : blocks[i];
        count += blocks[i] != NULL;
        UNIT_CHECK(stats_of(tag).live_blocks, ==, count);
    }
    for (size_t i = 0; i < 4 * SIZES && tag != 0; i++) {
        allot_free(blocks[i]);
    }
    UNIT_CHECK(tag != 0 ? stats_of(tag).live_bytes : 0, ==, 0);
}

// ---- Threads

/// As it would if the thread of allot_check lost the processor while it looks at the block.
static void who_frees_a_block_that_is_looked_at_does_not_wait(void) {
    begin(GUARD_ALL, 0);
    char *first = take(100), *second = take(100);
    struct guarded *pinned = pen_find(first), *quarantined = pen_find(second);
    atomic_fetch_or(&pinned->state, GUARDED_PINNED);
    allot_free(first);
    UNIT_CHECK(pinned->state, ==, GUARDED_HANDED | GUARDED_PINNED);
    allot_free(first);
    UNIT_CHECK(said("allot: error: double free of "), ==, 1);
    allot_free(second);
    atomic_fetch_or(&quarantined->state, GUARDED_PINNED);
    for (unsigned i = 0; i < 200000; i++) {
        allot_free(take(1000));
    }
    UNIT_CHECK(quarantined->state, ==, GUARDED_QUARANTINED | GUARDED_PINNED);
    guard_repair();
    UNIT_CHECK(allot_check(), ==, 0);
}

static _Atomic(bool) is_over;
static allot_tag churned[2];

static void *churn(void *unused) {
    char *blocks[64] = {NULL};
    struct check_random random = {(uint64_t)(uintptr_t)&blocks};
    for (unsigned i = 0; i < 4000; i++) {
        size_t at = (size_t)check_random_below(&random, 64);
        allot_free(blocks[at]);
        allot_tag before = allot_tag_enter(churned[i % 2]);
        blocks[at] = take(sizes[check_random_below(&random, SIZES - 3)]);
        allot_tag_leave(before);
    }
    for (size_t i = 0; i < 64; i++) {
        allot_free(blocks[i]);
    }
    return unused;
}

static void *walk(void *unused) {
    while (!atomic_load(&is_over)) {
        UNIT_CHECK(allot_check(), ==, 0);
        UNIT_CHECK(stats_of(churned[1]).held_bytes, <, 1 << 30);
    }
    return unused;
}

static void walks_and_frees_go_on_together(void) {
    os_fake.has_threads = true;
    begin(GUARD_ALL, 0);
    pthread_t threads[4], walker;
    churned[1] = create_watched("churned");
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
    for (struct guarded *at = pen_next(NULL); at != NULL; at = pen_next(at)) {
        UNIT_CHECK(at->state == GUARDED_FREE || at->state == GUARDED_QUARANTINED, ==, true);
    }
    UNIT_CHECK(stats_of(churned[1]).live_bytes, ==, 0);
    UNIT_CHECK(stats_of(churned[1]).malloc_calls, ==, 4 * 2000);
    assert_string_equal(os_fake.text, "");
}

static char *in_walk;

static void free_and_fork(uint32_t account, uint64_t bytes) {
    (void)account;
    (void)bytes;
    struct guarded *guarded = pen_find(in_walk);
    guard_free(in_walk);
    UNIT_CHECK(guarded->state, ==, GUARDED_HANDED | GUARDED_PINNED);
    guard_repair();  // as in a child: the walk is another thread's
    UNIT_CHECK(guarded->state, ==, GUARDED_QUARANTINED);
}

static void in_a_child_what_a_walk_was_to_put_away_is_in_quarantine(void) {
    begin(GUARD_ALL, 0);
    in_walk = take(100);
    guard_each(free_and_fork);
    struct guard_stats stats;
    guard_read_stats(&stats);
    UNIT_CHECK(stats.held_bytes, >, 100);
    in_walk[5] = 0;
    UNIT_CHECK(allot_check(), ==, 1);
    UNIT_CHECK(said("freed"), >, 0);
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
    UNIT(a_guarded_block_counts_for_its_tag_as_an_ordinary_one_does),
    UNIT(a_guarded_block_keeps_its_tag_when_it_is_resized),
    UNIT(a_report_names_the_tag_and_the_site),
    UNIT(a_limit_holds_for_guarded_blocks_to_the_byte),
    UNIT(by_name_a_tag_is_watched_with_all_below_it),
    UNIT(blocks_of_a_scope_are_sampled_as_others_are),
    UNIT_WITH_FAILURES(sums_of_guarded_blocks_are_exact_while_the_system_refuses),
    UNIT(who_frees_a_block_that_is_looked_at_does_not_wait),
    UNIT(walks_and_frees_go_on_together),
    UNIT(in_a_child_what_a_walk_was_to_put_away_is_in_quarantine),
};

UNIT_MAIN(cases)
