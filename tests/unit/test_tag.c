// test_tag.c - tags, scopes and sites: figures, limits, reports, and what keeps a tag.
#include "tag/tag.h"

#include "allot.h"
#include "api/options.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>

enum { BLOCKS = 3000, TAGS = 1000 };

static struct allot_tag_stats stats_of(allot_tag tag) {
    struct allot_tag_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_tag_stats(tag, &stats));
    return stats;
}

static uint64_t live(allot_tag tag) {
    return stats_of(tag).live_bytes;
}

static uint64_t process_live(void) {
    struct allot_stats stats = {.size_bytes = sizeof stats};
    assert_true(allot_stats(&stats));
    return stats.live_bytes;
}

static allot_tag create(const char *name, allot_tag parent) {
    allot_tag tag = allot_tag_create(name, parent);
    assert_int_not_equal(tag, 0);
    return tag;
}

static allot_tag create_limited(allot_tag parent, size_t limit_bytes, size_t grace_bytes) {
    struct allot_tag_limits limits = {.size_bytes = sizeof limits};
    limits.limit_bytes = limit_bytes;
    limits.grace_bytes = grace_bytes;
    allot_tag tag = allot_tag_create_limited("limited", parent, &limits);
    assert_int_not_equal(tag, 0);
    return tag;
}

// ---- Blocks

static void every_size_is_as_without_a_tag_and_counted(void) {
    allot_tag tag = create("sizes", 0);
    for (size_t size = 0; size < 600000; size += size < 2100 ? 1 : 1517) {
        uint64_t before = live(tag);
        char *plain = allot_malloc(size);
        char *block = allot_tag_malloc(tag, size);
        assert_non_null(block);
        memset(block, 1, size);
        UNIT_CHECK(allot_usable_size(block), ==, allot_usable_size(plain));
        UNIT_CHECK((uintptr_t)block % (size > 8 ? 16 : 8), ==, 0);
        UNIT_CHECK(live(tag) - before, ==, allot_usable_size(block));
        UNIT_CHECK(allot_tag_of(block), ==, tag);
        UNIT_CHECK(allot_tag_of(plain), ==, 0);
        allot_free(plain);
        if (size % 2 == 0) {
            allot_free_sized(block, size);
        } else {
            allot_tag_free(block);
        }
        UNIT_CHECK(live(tag), ==, before);
    }
}

static void alignment_and_zeros_are_kept(void) {
    allot_tag tag = create("aligned", 0);
    for (size_t align = 1; align <= 1 << 21; align *= 2) {
        for (size_t size = 1; size < 100000; size = size * 3 + 1) {
            char *block = allot_tag_aligned(tag, align, size);
            assert_non_null(block);
            UNIT_CHECK((uintptr_t)block % align, ==, 0);
            UNIT_CHECK(allot_tag_of(block), ==, tag);
            memset(block, 1, size);
            allot_free_aligned_sized(block, align, size);
            char *zeros = allot_tag_calloc(tag, 1, size);
            for (size_t i = 0; i < size; i++) {
                UNIT_CHECK(zeros[i], ==, 0);
            }
            allot_free(zeros);
        }
    }
    UNIT_CHECK(stats_of(tag).live_blocks, ==, 0);
    assert_null(allot_tag_aligned(tag, 0, 1));
    assert_null(allot_tag_aligned(tag, 24, 1));
    volatile size_t many = SIZE_MAX / 2;
    assert_null(allot_tag_calloc(tag, many, 4));
}

static void blocks_of_many_tags_share_slabs_and_sums_are_exact(void) {
    static void *blocks[BLOCKS];
    static allot_tag tags[TAGS];
    static uint64_t bytes[TAGS];
    for (int i = 0; i < TAGS; i++) {
        tags[i] = create("one of many", 0);
    }
    uint64_t before = process_live();
    for (int i = 0; i < BLOCKS * 20; i++) {
        void **block = &blocks[(unsigned)i * 7919u % BLOCKS];
        unsigned tag = (unsigned)i * 31u % TAGS;
        if (*block != NULL) {
            bytes[allot_tag_of(*block) - tags[0]] -= allot_usable_size(*block);
            allot_free(*block);
        }
        *block = allot_tag_malloc(tags[tag], 16 + (unsigned)i % 1500);
        bytes[tag] += allot_usable_size(*block);
    }
    uint64_t sum = 0;
    for (int i = 0; i < TAGS; i++) {
        UNIT_CHECK(live(tags[i]), ==, bytes[i]);
        sum += bytes[i];
    }
    UNIT_CHECK(process_live() - before, ==, sum);
    for (int i = 0; i < BLOCKS; i++) {
        allot_free(blocks[i]);
    }
    for (int i = 0; i < TAGS; i++) {
        UNIT_CHECK(live(tags[i]), ==, 0);
    }
}

static void a_block_keeps_its_tag_when_it_is_resized(void) {
    allot_tag mine = create("mine", 0);
    allot_tag other = create("other", 0);
    char *block = allot_tag_malloc(mine, 10);
    char *plain = allot_malloc(10);
    allot_tag before = allot_tag_enter(other);
    for (size_t size = 20; size < 20 << 20; size = size * 3 / 2) {
        block = allot_realloc(block, size);
        plain = allot_realloc(plain, size);
        UNIT_CHECK(live(mine), ==, allot_usable_size(block));
        UNIT_CHECK(allot_tag_of(block), ==, mine);
        UNIT_CHECK(allot_tag_of(plain), ==, 0);
    }
    for (size_t size = 20 << 20; size > 10; size = size * 2 / 3) {
        block = allot_realloc(block, size);
        UNIT_CHECK(live(mine), ==, allot_usable_size(block));
    }
    allot_tag_leave(before);
    UNIT_CHECK(live(other), ==, 0);
    block = allot_tag_realloc(other, block, 100);
    plain = allot_tag_realloc(other, plain, 5000);
    UNIT_CHECK(live(mine), ==, 0);
    UNIT_CHECK(live(other), ==, allot_usable_size(block) + allot_usable_size(plain));
    assert_null(allot_tag_realloc(other, block, 0));
    assert_null(allot_realloc(plain, 0));
    UNIT_CHECK(live(other), ==, 0);
}

// ---- Scopes

static void in_a_scope_every_function_allocates_for_the_tag(void) {
    allot_tag tag = create("scope", 0);
    void *blocks[6];
    allot_tag before = allot_tag_enter(tag);
    UNIT_CHECK(before, ==, 0);
    blocks[0] = allot_malloc(100);
    blocks[1] = allot_calloc(3, 1000);
    blocks[2] = allot_aligned(256, 5000);
    blocks[3] = allot_realloc(NULL, 40000);
    blocks[4] = allot_malloc(3 << 20);
    blocks[5] = allot_aligned_zeroed(1 << 16, 1 << 16);
    void *untagged = allot_tag_malloc(0, 100);
    allot_tag_leave(before);
    uint64_t sum = 0;
    for (int i = 0; i < 6; i++) {
        UNIT_CHECK(allot_tag_of(blocks[i]), ==, tag);
        sum += allot_usable_size(blocks[i]);
    }
    UNIT_CHECK(allot_tag_of(untagged), ==, 0);
    UNIT_CHECK(live(tag), ==, sum);
    UNIT_CHECK(stats_of(tag).malloc_calls, ==, 6);
    void *after = allot_malloc(100);
    UNIT_CHECK(allot_tag_of(after), ==, 0);
    for (int i = 0; i < 6; i++) {
        allot_free(blocks[i]);
    }
    allot_free(after);
    allot_free(untagged);
    UNIT_CHECK(live(tag), ==, 0);
    UNIT_CHECK(stats_of(tag).free_calls, ==, 6);
}

static void scopes_are_nested_and_unknown_tags_change_nothing(void) {
    allot_tag one = create("one", 0);
    allot_tag two = create("two", 0);
    UNIT_CHECK(allot_tag_enter(one), ==, 0);
    UNIT_CHECK(allot_tag_enter(two), ==, one);
    UNIT_CHECK(allot_tag_enter(0), ==, two);
    void *none = allot_malloc(50);
    UNIT_CHECK(allot_tag_enter(12345), ==, 0);
    allot_tag_leave(two);
    void *second = allot_malloc(50);
    allot_tag_leave(one);
    void *first = allot_malloc(50);
    allot_tag_leave(0);
    UNIT_CHECK(allot_tag_of(none), ==, 0);
    UNIT_CHECK(allot_tag_of(first), ==, one);
    UNIT_CHECK(allot_tag_of(second), ==, two);
    errno = 0;
    assert_null(allot_tag_malloc(12345, 10));
    UNIT_CHECK(errno, ==, EINVAL);
    UNIT_CHECK(allot_tag_create("orphan", 12345), ==, 0);
    allot_free(none);
    allot_free(first);
    allot_free(second);
}

static void *allocate_in_a_scope(void *context) {
    allot_tag_enter(*(allot_tag *)context);
    void **blocks = allot_malloc(100 * sizeof *blocks);
    for (int i = 0; i < 100; i++) {
        blocks[i] = allot_malloc(100);
    }
    return blocks;  // and does not leave
}

static void what_a_thread_left_is_freed_by_another(void) {
    allot_tag tag = create("thread", 0);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        void *result;
        assert_int_equal(pthread_create(&thread, NULL, allocate_in_a_scope, &tag), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        void **blocks = result;
        UNIT_CHECK(stats_of(tag).live_blocks, ==, 101);
        for (int i = 0; i < 100; i++) {
            allot_free(blocks[i]);
        }
        allot_free(blocks);
        UNIT_CHECK(stats_of(tag).live_blocks, ==, 0);
        UNIT_CHECK(live(tag), ==, 0);
    }
    UNIT_CHECK(stats_of(tag).free_calls, ==, 20 * 101);
}

// ---- Limits

static void a_limit_is_reached_to_the_byte_and_refuses_beyond(void) {
    allot_tag parent = create_limited(0, 100000, 0);
    allot_tag child = create("child", parent);
    void *blocks[200];
    int count = 0;
    while ((blocks[count] = allot_tag_malloc(count % 2 ? child : parent, 1024)) != NULL) {
        count++;
    }
    UNIT_CHECK(errno, ==, ENOMEM);
    UNIT_CHECK(count, ==, 97);
    UNIT_CHECK(stats_of(parent).tree_bytes, ==, 97 * 1024);
    UNIT_CHECK(stats_of(parent).refused_calls + stats_of(child).refused_calls, ==, 1);
    blocks[0] = allot_realloc(blocks[0], 1024 + 512);
    assert_non_null(blocks[0]);
    assert_null(allot_realloc(blocks[0], 50000));
    assert_null(allot_tag_malloc(child, 1 << 20));
    UNIT_CHECK(live(parent), ==, 49 * 1024 + 512);
    for (int i = 0; i < count; i++) {
        allot_free(blocks[i]);
    }
    UNIT_CHECK(live(parent) + live(child), ==, 0);
    UNIT_CHECK(stats_of(parent).peak_bytes, >=, 49 * 1024 + 512);
    allot_free(allot_tag_malloc(child, 90000));
    UNIT_CHECK(stats_of(child).peak_bytes, >=, 90000);
}

static void a_limit_moves_and_grace_goes_beyond_it(void) {
    allot_tag tag = create_limited(0, 0, 4096);
    void *block = allot_tag_malloc(tag, 8192);
    assert_non_null(block);
    UNIT_CHECK(allot_tag_set_limit(tag, 4096), ==, 0);
    assert_null(allot_tag_malloc(tag, 16));
    UNIT_CHECK(allot_tag_set_limit(tag, 8192), ==, 0);
    assert_null(allot_tag_malloc(tag, 16));
    UNIT_CHECK(allot_tag_set_grace(tag, true), ==, 0);
    void *grace = allot_tag_malloc(tag, 4096);
    assert_non_null(grace);
    assert_null(allot_tag_malloc(tag, 16));
    UNIT_CHECK(allot_tag_set_grace(tag, false), ==, 0);
    allot_free(grace);
    assert_null(allot_tag_malloc(tag, 16));
    allot_free(block);
    UNIT_CHECK(stats_of(tag).limit_bytes, ==, 8192);
    UNIT_CHECK(allot_tag_set_limit(create("free", 0), 1), ==, -1);
    UNIT_CHECK(errno, ==, EINVAL);
}

static unsigned reports;
static void note_report(allot_tag tag, uint64_t live_bytes, void *context) {
    UNIT_CHECK(live_bytes, >, live(tag));
    UNIT_CHECK((uintptr_t)context, ==, (uintptr_t)&reports);
    allot_free(allot_tag_malloc(tag, 100));
    reports++;
}

static void reports_come_beyond_the_soft_limit_and_at_each_doubling(void) {
    struct allot_tag_limits limits = {.size_bytes = sizeof limits, .soft_limit_bytes = 10000};
    limits.report = note_report;
    limits.context = &reports;
    allot_tag tag = allot_tag_create_limited("soft", 0, &limits);
    void *blocks[100];
    for (int i = 0; i < 100; i++) {
        blocks[i] = allot_tag_malloc(tag, 1024);
        assert_non_null(blocks[i]);
        UNIT_CHECK(reports, ==, i < 9 ? 0 : i < 19 ? 1 : i < 39 ? 2 : i < 78 ? 3 : 4);
    }
    for (int i = 0; i < 100; i++) {
        allot_free(blocks[i]);
    }
    UNIT_CHECK(live(tag), ==, 0);
    limits.size_bytes = 1;
    UNIT_CHECK(allot_tag_create_limited("odd", 0, &limits), ==, 0);
}

static void take_what_is_lent(allot_tag tag, uint64_t live_bytes, void *context) {
    UNIT_CHECK(live_bytes, ==, (8 + 44) << 10);
    *(void **)context = allot_tag_malloc(tag, 24 << 10);
    reports++;
}

static void room_lent_to_a_block_that_is_resized_is_nobody_elses(void) {
    void *taken = NULL;
    struct allot_tag_limits limits = {.size_bytes = sizeof limits};
    limits.limit_bytes = 54 << 10;
    limits.soft_limit_bytes = 48 << 10;
    limits.report = take_what_is_lent;
    limits.context = &taken;
    allot_tag tag = allot_tag_create_limited("lent", 0, &limits);
    void *other = allot_tag_malloc(tag, 8 << 10);
    void *block = allot_tag_malloc(tag, 24 << 10);
    block = allot_realloc(block, 44 << 10);
    UNIT_CHECK(reports, ==, 1);
    assert_non_null(block);
    assert_null(taken);
    UNIT_CHECK(live(tag), ==, 52 << 10);
    assert_null(allot_tag_malloc(tag, 4 << 10));
    allot_free(block);
    block = allot_tag_malloc(tag, 44 << 10);
    assert_non_null(block);
    allot_free(block);
    allot_free(other);
    UNIT_CHECK(live(tag), ==, 0);
}

static void a_block_shrinks_although_more_is_live_than_the_limit(void) {
    allot_tag tag = create_limited(0, 0, 0);
    void *other = allot_tag_malloc(tag, 16384);
    void *block = allot_tag_malloc(tag, 8192);
    UNIT_CHECK(allot_tag_set_limit(tag, 4096), ==, 0);
    block = allot_realloc(block, 2048);
    assert_non_null(block);
    UNIT_CHECK(live(tag), ==, 16384 + 2048);
    assert_null(allot_realloc(block, 8192));
    allot_free(block);
    allot_free(other);
    UNIT_CHECK(live(tag), ==, 0);
}

// ---- Figures

static void the_peak_and_what_is_held_follow_what_is_live(void) {
    static void *blocks[BLOCKS];
    allot_tag tag = create("peak", 0);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = allot_tag_malloc(tag, 1000);
    }
    uint64_t most = live(tag);
    UNIT_CHECK(stats_of(tag).held_bytes, >=, most);
    UNIT_CHECK(stats_of(tag).held_bytes, <=, most + most / 10 + 65536);
    for (int i = 0; i < BLOCKS; i++) {
        allot_free(blocks[i]);
    }
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    UNIT_CHECK(stats_of(tag).peak_bytes, <=, most);
    UNIT_CHECK(stats_of(tag).peak_bytes, >=, most - most / 64 - 65536);
    UNIT_CHECK(stats_of(tag).held_bytes, ==, 0);
    void *large = allot_tag_malloc(tag, 1 << 20);
    UNIT_CHECK(stats_of(tag).held_bytes, >=, 1 << 20);
    allot_free(large);
}

static void a_tree_adds_up_and_a_snapshot_has_every_tag(void) {
    allot_tag root = create("root", 0);
    allot_tag child = create("child", root);
    allot_tag leaf = create("a leaf with a name that is longer than names may be", child);
    void *blocks[] = {allot_tag_malloc(root, 16), allot_tag_malloc(child, 32),
                      allot_tag_malloc(leaf, 64)};
    struct allot_tag_stats all[3] = {{.size_bytes = sizeof all[0]}};
    UNIT_CHECK(allot_tag_snapshot(all, 2), ==, 3);
    UNIT_CHECK(allot_tag_snapshot(all, 3), ==, 3);
    UNIT_CHECK(all[0].tree_bytes, ==, 112);
    UNIT_CHECK(all[1].tree_bytes, ==, 96);
    UNIT_CHECK(all[2].live_bytes, ==, 64);
    UNIT_CHECK(all[2].parent, ==, child);
    assert_string_equal(all[2].name, "a leaf with a name that is long");
    for (int i = 0; i < 3; i++) {
        allot_free(blocks[i]);
    }
    all[0].size_bytes = 1;
    UNIT_CHECK(allot_tag_snapshot(all, 3), ==, 0);
    assert_false(allot_tag_stats(leaf, all));
}

/// One below the other, with a block each.
static void as_many_tags_as_there_may_be_are_told_in_time_that_is_linear(void) {
    static struct allot_tag_stats all[TAG_ACCOUNTS_MAX];
    allot_tag last = 0;
    for (allot_tag tag = 0; (tag = allot_tag_create("deep", last)) != 0;) {
        assert_non_null(allot_tag_malloc(tag, 16));
        last = tag;
    }
    UNIT_CHECK(errno, ==, ENOMEM);
    UNIT_CHECK(last, ==, TAG_ACCOUNTS_MAX);
    all[0].size_bytes = sizeof all[0];
    UNIT_CHECK(allot_tag_snapshot(all, TAG_ACCOUNTS_MAX), ==, TAG_ACCOUNTS_MAX);
    for (size_t i = 0; i < TAG_ACCOUNTS_MAX; i++) {
        UNIT_CHECK(all[i].tree_bytes, ==, (TAG_ACCOUNTS_MAX - i) * 16);
    }
}

// ---- Sites and leaks

static void *allocate_here(allot_tag tag) {
    return ALLOT_MALLOC(tag, 48);
}

static void a_site_counts_for_each_of_its_tags(void) {
    allot_tag one = create("one", 0);
    allot_tag two = create("two", 0);
    void *blocks[4];
    for (int i = 0; i < 4; i++) {
        blocks[i] = allocate_here(i == 3 ? two : one);
    }
    void *zeros = ALLOT_CALLOC(two, 2, 24);
    zeros = ALLOT_REALLOC(two, zeros, 96);
    struct allot_site_stats sites[3] = {{.size_bytes = sizeof sites[0]}};
    UNIT_CHECK(allot_site_snapshot(sites, 3), ==, 3);
    UNIT_CHECK(sites[0].live_blocks, ==, 3);
    UNIT_CHECK(sites[0].live_bytes, ==, 144);
    UNIT_CHECK(sites[1].live_blocks, ==, 1);
    UNIT_CHECK(sites[1].tag, ==, two);
    UNIT_CHECK(sites[2].live_bytes, ==, 96);
    assert_string_equal(sites[1].function, "allocate_here");
    UNIT_CHECK(sites[0].line, ==, sites[1].line);
    UNIT_CHECK(live(one), ==, 144);
    UNIT_CHECK(live(two), ==, 48 + 96);
    UNIT_CHECK(allot_tag_of(blocks[3]), ==, two);
    for (int i = 0; i < 4; i++) {
        allot_free(blocks[i]);
    }
    allot_free(zeros);
    UNIT_CHECK(live(one) + live(two), ==, 0);
    errno = 0;
    assert_null(ALLOT_MALLOC(12345, 10));
    UNIT_CHECK(errno, ==, EINVAL);
    UNIT_CHECK(allot_tag_create("under a site", two + 1), ==, 0);
}

static void a_site_may_go_and_no_number_of_one_is_a_tag(void) {
    allot_tag tag = create("plugin", 0);
    char file[] = "plugin.c", function[] = "plugin_begin";
    struct allot_site site = {file, function, 7, 0, 0};
    void *block = allot_site_malloc(&site, tag, 48);
    UNIT_CHECK(allot_tag_enter(tag + 1), ==, 0);
    UNIT_CHECK(allot_tag_enter(0), ==, 0);
    memset(file, 'x', sizeof file);  // what was there when its library was loaded
    memset(function, 'x', sizeof function);
    memset(&site, 'x', sizeof site);
    struct allot_site_stats sites[1] = {{.size_bytes = sizeof sites[0]}};
    UNIT_CHECK(allot_site_snapshot(sites, 1), ==, 1);
    assert_string_equal(sites[0].file, "plugin.c");
    assert_string_equal(sites[0].function, "plugin_begin");
    UNIT_CHECK(sites[0].line, ==, 7);
    UNIT_CHECK(sites[0].live_bytes, ==, 48);
    allot_free(block);
}

static const char *leaks(unsigned flags) {
    os_fake.is_quiet = true;
    os_fake.text_length = 0;
    os_fake.text[0] = '\0';
    allot_leaks(2, flags);
    return os_fake.text;
}

static void leaks_are_told_oldest_first_and_without_the_quiet(void) {
    allot_tag one = create("a \"module\"", 0);
    allot_tag quiet = create("quiet", 0);
    allot_tag below = create("below", quiet);
    void *old = allot_tag_malloc(one, 64);
    void *silent = allot_tag_malloc(below, 64);
    strcpy(options_state.leaks_quiet, "other:quiet but with more letters than a tag keeps:quiet");
    assert_string_equal(leaks(0), "allot: 64 bytes in 1 block of a \"module\"\n");
    allot_mark();
    assert_string_equal(leaks(ALLOT_LEAKS_GROWN), "");
    void *young = allot_tag_malloc(one, 64);
    assert_string_equal(
        leaks(ALLOT_LEAKS_GROWN),
        "allot: 128 bytes in 2 blocks of a \"module\", 64 of them since the mark\n");
    assert_string_equal(leaks(ALLOT_LEAKS_JSON),
                        "{\"leaks\":[\n{\"tag\":\"a \\u0022module\\u0022\",\"live_bytes\":128,"
                        "\"live_blocks\":2,\"grown_bytes\":64,\"grown_blocks\":1}]}\n");
    allot_free(old);
    allot_free(young);
    allot_free(silent);
    assert_string_equal(leaks(0), "");
}

static void a_block_freed_twice_or_inside_is_reported(void) {
    options_state.misuse = OPTIONS_MISUSE_IGNORE;
    struct allot_stats before = {.size_bytes = sizeof before};
    allot_tag tag = create("misuse", 0);
    allot_stats(&before);
    for (int i = 0; i < 100; i++) {
        void *block = allot_tag_malloc(tag, 600);
        allot_free(block);
        allot_free(block);
        allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    }
    void *block = allot_tag_malloc(tag, 600);
    allot_free((char *)block + 16);
    allot_purge(ALLOT_PURGE_ALL, ALLOT_NO_DEADLINE);
    struct allot_stats after = {.size_bytes = sizeof after};
    allot_stats(&after);
    UNIT_CHECK(after.misuse_count - before.misuse_count, ==, 101);
    allot_free(block);
}

static void without_memory_a_tag_says_so_and_loses_nothing(void) {
    void *blocks[300] = {NULL};
    allot_tag tag = allot_tag_create("poor", 0);
    uint64_t bytes = 0;
    for (int i = 0; i < 300; i++) {
        blocks[i] = allot_tag_malloc(tag, 16 + (size_t)i * i);
        bytes += tag != 0 && blocks[i] != NULL ? allot_usable_size(blocks[i]) : 0;
    }
    if (tag != 0) {
        UNIT_CHECK(live(tag), ==, bytes);
    }
    for (int i = 0; i < 300; i++) {
        allot_free(blocks[i]);
    }
    if (tag != 0) {
        UNIT_CHECK(live(tag), ==, 0);
    }
}

static const struct unit_case cases[] = {
    UNIT(every_size_is_as_without_a_tag_and_counted),
    UNIT(alignment_and_zeros_are_kept),
    UNIT(blocks_of_many_tags_share_slabs_and_sums_are_exact),
    UNIT(a_block_keeps_its_tag_when_it_is_resized),
    UNIT(in_a_scope_every_function_allocates_for_the_tag),
    UNIT(scopes_are_nested_and_unknown_tags_change_nothing),
    UNIT(what_a_thread_left_is_freed_by_another),
    UNIT(a_limit_is_reached_to_the_byte_and_refuses_beyond),
    UNIT(a_limit_moves_and_grace_goes_beyond_it),
    UNIT(reports_come_beyond_the_soft_limit_and_at_each_doubling),
    UNIT(room_lent_to_a_block_that_is_resized_is_nobody_elses),
    UNIT(a_block_shrinks_although_more_is_live_than_the_limit),
    UNIT(the_peak_and_what_is_held_follow_what_is_live),
    UNIT(a_tree_adds_up_and_a_snapshot_has_every_tag),
    UNIT(as_many_tags_as_there_may_be_are_told_in_time_that_is_linear),
    UNIT(a_site_counts_for_each_of_its_tags),
    UNIT(a_site_may_go_and_no_number_of_one_is_a_tag),
    UNIT(leaks_are_told_oldest_first_and_without_the_quiet),
    UNIT(a_block_freed_twice_or_inside_is_reported),
    UNIT_WITH_FAILURES(without_memory_a_tag_says_so_and_loses_nothing),
};

UNIT_MAIN(cases)
