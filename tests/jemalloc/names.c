// names.c - mallctl: every name with its type and its rights, wrong calls, MIBs, figures.
#include "jemalloc.h"

#include "../support/check.h"

#include <allot.h>
#include <pthread.h>

enum right { READ = 1, WRITE = 2, ORDER = 4 };

static const struct {
    const char *name;
    size_t bytes;
    enum right rights;
} names[] = {
    {"version", sizeof(char *), READ},
    {"epoch", 8, READ | WRITE},
    {"background_thread", 1, READ | WRITE},
    {"max_background_threads", 8, READ | WRITE},
    {"config.debug", 1, READ},
    {"config.malloc_conf", sizeof(char *), READ},
    {"config.prof", 1, READ},
    {"config.stats", 1, READ},
    {"opt.abort", 1, READ},
    {"opt.background_thread", 1, READ},
    {"opt.dirty_decay_ms", 8, READ},
    {"opt.dss", sizeof(char *), READ},
    {"opt.muzzy_decay_ms", 8, READ},
    {"opt.narenas", 4, READ},
    {"opt.tcache", 1, READ},
    {"opt.tcache_max", 8, READ},
    {"opt.thp", sizeof(char *), READ},
    {"opt.zero", 1, READ},
    {"thread.arena", 4, READ | WRITE},
    {"thread.allocated", 8, READ},
    {"thread.allocatedp", 8, READ},
    {"thread.deallocated", 8, READ},
    {"thread.deallocatedp", 8, READ},
    {"thread.idle", 0, ORDER},
    {"thread.tcache.enabled", 1, READ | WRITE},
    {"thread.tcache.flush", 0, ORDER},
    {"arena.0.decay", 0, ORDER},
    {"arena.0.purge", 0, ORDER},
    {"arena.1.purge", 0, ORDER},  // redis: as many as there are means all
    {"arena.4096.purge", 0, ORDER},
    {"arena.0.initialized", 1, READ},
    {"arena.0.dirty_decay_ms", 8, READ | WRITE},
    {"arena.0.muzzy_decay_ms", 8, READ | WRITE},
    {"arenas.narenas", 4, READ},
    {"arenas.dirty_decay_ms", 8, READ | WRITE},
    {"arenas.quantum", 8, READ},
    {"arenas.page", 8, READ},
    {"arenas.nbins", 4, READ},
    {"arenas.bin.0.size", 8, READ},
    {"arenas.bin.0.nregs", 4, READ},
    {"arenas.bin.0.slab_size", 8, READ},
    {"arenas.nlextents", 4, READ},
    {"arenas.lextent.0.size", 8, READ},
    {"stats.allocated", 8, READ},
    {"stats.active", 8, READ},
    {"stats.metadata", 8, READ},
    {"stats.resident", 8, READ},
    {"stats.mapped", 8, READ},
    {"stats.retained", 8, READ},
    {"stats.background_thread.num_threads", 8, READ},
    {"stats.arenas.0.nthreads", 4, READ},
    {"stats.arenas.0.pactive", 8, READ},
    {"stats.arenas.0.pdirty", 8, READ},
    {"stats.arenas.4096.pmuzzy", 8, READ},
    {"stats.arenas.0.small.allocated", 8, READ},
    {"stats.arenas.4096.large.allocated", 8, READ},
    {"stats.arenas.0.bins.0.curregs", 8, READ},
    {"stats.arenas.4096.bins.3.curslabs", 8, READ},
    {"stats.arenas.4096.bins.3.nonfull_slabs", 8, READ},
};
enum { NAMES = sizeof(names) / sizeof(names[0]) };

static size_t read_word(const char *name) {
    size_t value = 0;
    size_t bytes = sizeof(value);
    CHECK_INT(mallctl(name, &value, &bytes, NULL, 0), ==, 0);
    return value;
}

static unsigned read_int(const char *name) {
    unsigned value = 0;
    size_t bytes = sizeof(value);
    CHECK_INT(mallctl(name, &value, &bytes, NULL, 0), ==, 0);
    return value;
}

static void new_epoch(void) {
    uint64_t epoch = 1;
    size_t bytes = sizeof(epoch);
    CHECK_INT(mallctl("epoch", &epoch, &bytes, &epoch, sizeof(epoch)), ==, 0);
}

static void every_name_can_be_read_or_ordered_as_its_type_says(void) {
    for (size_t i = 0; i < NAMES; i++) {
        uint64_t value = 0;
        size_t bytes = names[i].bytes;
        bool is_order = names[i].rights == ORDER;
        int error = is_order ? mallctl(names[i].name, NULL, NULL, NULL, 0)
                             : mallctl(names[i].name, &value, &bytes, NULL, 0);
        if (error != 0 || bytes != names[i].bytes) {
            CHECK_FAIL("%s: error %d, %zu bytes", names[i].name, error, bytes);
        }
    }
}

static void a_wrong_length_is_einval_and_gets_what_fits(void) {
    for (size_t i = 0; i < NAMES; i++) {
        if (names[i].rights == ORDER) {
            continue;
        }
        unsigned char value[32];
        for (size_t bytes = 0; bytes < sizeof(value); bytes++) {
            size_t got = bytes;
            int error = mallctl(names[i].name, value, &got, NULL, 0);
            size_t fits = bytes < names[i].bytes ? bytes : names[i].bytes;
            if (error != (bytes == names[i].bytes ? 0 : EINVAL) || got != fits) {
                CHECK_FAIL("%s, %zu bytes: error %d, got %zu", names[i].name, bytes, error, got);
            }
        }
    }
}

static void writes_without_the_right_are_eperm(void) {
    for (size_t i = 0; i < NAMES; i++) {
        uint64_t value = 0;
        size_t bytes = sizeof(value);
        if ((names[i].rights & WRITE) != 0) {
            unsigned char long_value[16] = {0};
            CHECK_INT(mallctl(names[i].name, NULL, NULL, long_value, 16), ==, EINVAL);
        } else {
            CHECK_INT(mallctl(names[i].name, NULL, NULL, &value, names[i].bytes), ==, EPERM);
        }
        if (names[i].rights == ORDER) {
            CHECK_INT(mallctl(names[i].name, &value, &bytes, NULL, 0), ==, EPERM);
        }
    }
}

static void names_that_do_not_exist_are_enoent(void) {
    static const char *const wrong[] = {
        "",
        "stats",
        "stats.",
        "stats.allocate",
        "stats.allocatedx",
        "stats.allocated.x",
        ".epoch",
        "arenas.bin.size",
        "arenas.bin.9999.size",
        "arenas.bin.x.size",
        "arenas.bin.-1.size",
        "arenas.bin.1x.size",
        "arenas.bin.99999999999999999999999.size",
        "stats.arenas.77.pactive",
        "arena.@.purge",
        "arena.0.destroy",
        "prof.active",
        "prof.dump",
        "opt.prof",
        "opt.lg_prof_sample",
        "stats.arenas.0.small.nmalloc",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint64_t value = 0;
        size_t bytes = sizeof(value);
        int error = mallctl(wrong[i], &value, &bytes, NULL, 0);
        if (error != ENOENT) {
            CHECK_FAIL("%s: error %d", wrong[i], error);
        }
    }
}

static void a_mib_means_what_its_name_means(void) {
    for (size_t i = 0; i < NAMES; i++) {
        if (names[i].rights == ORDER) {
            continue;
        }
        size_t mib[8];
        size_t length = 8;
        uint64_t by_name = 0;
        uint64_t by_mib = 0;
        size_t bytes = names[i].bytes;
        CHECK_INT(mallctl(names[i].name, &by_name, &bytes, NULL, 0), ==, 0);
        CHECK_INT(mallctlnametomib(names[i].name, mib, &length), ==, 0);
        CHECK_INT(mallctlbymib(mib, length, &by_mib, &bytes, NULL, 0), ==, 0);
        bool may_move = strstr(names[i].name, "thread.") != NULL;
        if (by_name != by_mib && !may_move) {
            CHECK_FAIL("%s differs by MIB", names[i].name);
        }
        CHECK_INT(mallctlbymib(mib, length - 1, &by_mib, &bytes, NULL, 0), ==, ENOENT);
        CHECK_INT(mallctlbymib(mib, length + 1, &by_mib, &bytes, NULL, 0), ==, ENOENT);
        length = 1;
        CHECK_INT(mallctlnametomib(names[i].name, mib, &length), ==, 0);
        CHECK_UINT(length, ==, 1);
    }
}

static void the_number_in_a_mib_can_be_changed(void) {
    size_t mib[8];
    size_t length = 8;
    size_t before = 0;
    CHECK_INT(mallctlnametomib("arenas.bin.0.size", mib, &length), ==, 0);
    CHECK_UINT(length, ==, 4);
    unsigned bins = read_int("arenas.nbins");
    for (unsigned i = 0; i < bins; i++) {
        size_t size = 0;
        size_t bytes = sizeof(size);
        mib[2] = i;
        CHECK_INT(mallctlbymib(mib, length, &size, &bytes, NULL, 0), ==, 0);
        CHECK_UINT(size, >, before);
        CHECK_UINT(nallocx(size, 0), ==, size);
        CHECK_UINT(nallocx(before + 1, 0), ==, size);
        before = size;
    }
    mib[2] = bins;
    size_t bytes = sizeof(before);
    CHECK_INT(mallctlbymib(mib, length, &before, &bytes, NULL, 0), ==, ENOENT);
}

static void figures_stand_still_until_the_epoch_is_written(void) {
    enum { BYTES = 3 << 20 };
    new_epoch();
    size_t before = read_word("stats.allocated");
    void *block = mallocx(BYTES, 0);
    CHECK(block != NULL);
    CHECK_UINT(read_word("stats.allocated"), ==, before);
    new_epoch();
    CHECK_UINT(read_word("stats.allocated"), ==, before + sallocx(block, 0));
    dallocx(block, 0);
    new_epoch();
    CHECK_UINT(read_word("stats.allocated"), ==, before);
}

static void figures_are_those_of_allot_stats(void) {
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    new_epoch();
    CHECK(allot_stats(&stats));
    CHECK_UINT(read_word("stats.allocated"), ==, stats.live_bytes);
    CHECK_UINT(read_word("stats.metadata"), ==, stats.metadata_bytes);
    CHECK_UINT(read_word("stats.retained"), ==, stats.purged_bytes);
    CHECK_UINT(read_word("stats.arenas.0.tcache_bytes"), ==, stats.cached_bytes);
    CHECK_UINT(read_word("stats.arenas.0.pdirty") * read_word("arenas.page"), ==,
               stats.dirty_bytes);
    CHECK_UINT(read_word("stats.arenas.4096.pactive") * read_word("arenas.page"), ==,
               read_word("stats.active"));
    CHECK_UINT(read_word("stats.arenas.0.small.allocated") +
                   read_word("stats.arenas.0.large.allocated"),
               ==, read_word("stats.allocated"));
    CHECK_UINT(read_word("stats.allocated"), <=, read_word("stats.active"));
    CHECK_UINT(read_word("stats.active"), <=, read_word("stats.mapped"));
    CHECK_UINT(read_word("stats.active"), <=, read_word("stats.resident"));
}

static void bins_count_their_blocks(void) {
    enum { BLOCKS = 500, BIN_OF_64 = 4 };
    static void *blocks[BLOCKS];
    size_t taken = 0;
    CHECK_UINT(read_word("arenas.bin.4.size"), ==, 64);
    new_epoch();
    taken = read_word("stats.arenas.0.bins.4.curregs");
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = mallocx(64, MALLOCX_TCACHE_NONE);
    }
    new_epoch();
    CHECK_UINT(read_word("stats.arenas.0.bins.4.curregs"), ==, taken + BLOCKS);
    CHECK_UINT(read_word("stats.arenas.4096.bins.4.curslabs") * read_int("arenas.bin.4.nregs"), >=,
               taken + BLOCKS);
    for (int i = 0; i < BLOCKS; i++) {
        dallocx(blocks[i], MALLOCX_TCACHE_NONE);
    }
    new_epoch();
    CHECK_UINT(read_word("stats.arenas.0.bins.4.curregs"), ==, taken);
}

static void a_created_arena_is_a_number_without_figures(void) {
    unsigned before = read_int("arenas.narenas");
    unsigned arena = 0;
    size_t bytes = sizeof(arena);
    char name[64];
    CHECK_INT(mallctl("arenas.create", NULL, NULL, NULL, 0), ==, EINVAL);
    CHECK_INT(mallctl("arenas.create", &arena, &bytes, &arena, bytes), ==, EPERM);
    CHECK_INT(mallctl("arenas.create", &arena, &bytes, NULL, 0), ==, 0);
    CHECK_UINT(arena, ==, before);
    CHECK_UINT(read_int("arenas.narenas"), ==, before + 1);
    void *block = mallocx(100, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
    CHECK(block != NULL);
    new_epoch();
    snprintf(name, sizeof(name), "stats.arenas.%u.pactive", arena);
    CHECK_UINT(read_word(name), ==, 0);
    snprintf(name, sizeof(name), "stats.arenas.%u.bins.3.curregs", arena);
    CHECK_UINT(read_word(name), ==, 0);
    dallocx(block, 0);
    snprintf(name, sizeof(name), "arena.%u.purge", read_int("arenas.narenas"));
    CHECK_INT(mallctl(name, NULL, NULL, NULL, 0), ==, 0);
}

static void a_created_cache_can_be_used_and_flushed(void) {
    unsigned cache = 0;
    unsigned wrong = 4000;
    size_t bytes = sizeof(cache);
    CHECK_INT(mallctl("tcache.create", &cache, &bytes, NULL, 0), ==, 0);
    void *block = mallocx(100, MALLOCX_TCACHE(cache));
    CHECK(block != NULL);
    dallocx(block, MALLOCX_TCACHE(cache));
    CHECK_INT(mallctl("tcache.flush", NULL, NULL, &cache, sizeof(cache)), ==, 0);
    CHECK_INT(mallctl("tcache.flush", &cache, &bytes, &cache, sizeof(cache)), ==, EPERM);
    CHECK_INT(mallctl("tcache.flush", NULL, NULL, NULL, 0), ==, EINVAL);
    CHECK_INT(mallctl("tcache.destroy", NULL, NULL, &wrong, sizeof(wrong)), ==, EFAULT);
    CHECK_INT(mallctl("tcache.destroy", NULL, NULL, &cache, sizeof(cache)), ==, 0);
}

static void the_decay_is_the_purge_delay(void) {
    char text[32];
    int64_t delay = 2500;
    int64_t before = 0;
    size_t bytes = sizeof(before);
    CHECK_INT(mallctl("arenas.dirty_decay_ms", &before, &bytes, &delay, sizeof(delay)), ==, 0);
    CHECK_INT(before, ==, 500);
    CHECK_INT(allot_get("purge_delay", text, sizeof(text)), >, 0);
    CHECK_TEXT(text, "2500ms");
    delay = -1;
    CHECK_INT(mallctl("arena.0.dirty_decay_ms", NULL, NULL, &delay, sizeof(delay)), ==, 0);
    CHECK_INT(allot_get("purge_delay", text, sizeof(text)), >, 0);
    CHECK_TEXT(text, "never");
    CHECK_INT((int64_t)read_word("arena.0.dirty_decay_ms"), ==, -1);
    delay = -2;
    CHECK_INT(mallctl("arena.0.dirty_decay_ms", NULL, NULL, &delay, sizeof(delay)), ==, EFAULT);
    CHECK_INT(mallctl("arena.0.dirty_decay_ms", NULL, NULL, &before, sizeof(before)), ==, 0);
}

static void the_purge_thread_can_be_turned_on_and_off(void) {
    bool on = true;
    bool off = false;
    bool before = true;
    size_t bytes = sizeof(before);
    size_t none = 0;
    CHECK_INT(mallctl("background_thread", &before, &bytes, &on, sizeof(on)), ==, 0);
    CHECK(!before);
    CHECK_UINT(read_word("stats.background_thread.num_threads"), ==, 1);
    CHECK_INT(mallctl("background_thread", &before, &bytes, &off, sizeof(off)), ==, 0);
    CHECK(before);
    CHECK_INT(mallctl("background_thread", &before, &bytes, &on, sizeof(on)), ==, 0);
    CHECK_INT(mallctl("background_thread", NULL, NULL, &off, sizeof(off)), ==, 0);
    CHECK_UINT(read_word("stats.background_thread.num_threads"), ==, 0);
    CHECK_INT(mallctl("max_background_threads", NULL, NULL, &none, sizeof(none)), ==, EINVAL);
}

static void a_batch_is_answered_with_three_words_each(void) {
    void *blocks[] = {mallocx(100, 0), mallocx(1 << 20, 0), &blocks};
    size_t answer[9];
    size_t bytes = sizeof(answer);
    CHECK_INT(
        mallctl("experimental.utilization.batch_query", answer, &bytes, blocks, sizeof(blocks)), ==,
        0);
    CHECK_UINT(answer[0], <, answer[1]);
    CHECK_UINT(answer[1] * 112, <=, answer[2]);
    CHECK_UINT(answer[3], ==, 0);
    CHECK_UINT(answer[4], ==, 1);
    CHECK_UINT(answer[5], >=, 1 << 20);
    CHECK_UINT(answer[6] + answer[7] + answer[8], ==, 0);
    bytes--;
    CHECK_INT(
        mallctl("experimental.utilization.batch_query", answer, &bytes, blocks, sizeof(blocks)), ==,
        EINVAL);
    dallocx(blocks[0], 0);
    dallocx(blocks[1], 0);
}

static const struct check_case cases[] = {
    CHECK_CASE(every_name_can_be_read_or_ordered_as_its_type_says),
    CHECK_CASE(a_wrong_length_is_einval_and_gets_what_fits),
    CHECK_CASE(writes_without_the_right_are_eperm),
    CHECK_CASE(names_that_do_not_exist_are_enoent),
    CHECK_CASE(a_mib_means_what_its_name_means),
    CHECK_CASE(the_number_in_a_mib_can_be_changed),
    CHECK_CASE(figures_stand_still_until_the_epoch_is_written),
    CHECK_CASE(figures_are_those_of_allot_stats),
    CHECK_CASE(bins_count_their_blocks),
    CHECK_CASE(a_created_arena_is_a_number_without_figures),
    CHECK_CASE(a_created_cache_can_be_used_and_flushed),
    CHECK_CASE(the_decay_is_the_purge_delay),
    CHECK_CASE(the_purge_thread_can_be_turned_on_and_off),
    CHECK_CASE(a_batch_is_answered_with_three_words_each),
};

CHECK_MAIN(cases)
