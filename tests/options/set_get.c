// set_get.c - allot_set and allot_get: every option, every unit, every refusal.
#include "../support/api.h"
#include "../support/check.h"
#include "table.h"

#define UNTOUCHED 4711

static void check_value(const char *name, const char *want) {
    char value[256];
    int length = allot_get(name, value, sizeof(value));
    if (length < 0) {
        CHECK_FAIL("allot_get(\"%s\") failed with errno %d", name, errno);
    }
    if (want && strcmp(value, want) != 0) {
        CHECK_FAIL("option %s: have \"%s\", want \"%s\"", name, value, want);
    }
    CHECK_INT(length, ==, (int)strlen(value));
}

static void check_taken(const char *name, const char *value, const char *reads_as) {
    errno = UNTOUCHED;
    if (!allot_set(name, value)) {
        CHECK_FAIL("allot_set(\"%s\", \"%s\") was refused with errno %d", name, value, errno);
    }
    CHECK_INT(errno, ==, UNTOUCHED);
    check_value(name, reads_as);
}

static void check_refused(const char *name, const char *value, int error) {
    char before[256] = "";
    bool is_known = allot_get(name, before, sizeof(before)) >= 0;
    errno = UNTOUCHED;
    bool is_taken = allot_set(name, value);
    if (is_taken || errno != error) {
        CHECK_FAIL("allot_set(\"%s\", \"%s\") gave %d with errno %d, not false with %d", name,
                   value, is_taken, errno, error);
    }
    if (is_known) {
        check_value(name, before);
    }
}

static void every_option_starts_with_its_default(void) {
    for (size_t i = 0; i < TABLE_OPTION_COUNT; i++) {
        check_value(table_options[i].name, table_options[i].initial);
    }
}

static void what_get_writes_set_accepts(void) {
    for (size_t i = 0; i < TABLE_OPTION_COUNT; i++) {
        char value[256];
        CHECK_INT(allot_get(table_options[i].name, value, sizeof(value)), >, 0);
        if (table_options[i].is_settable) {
            check_taken(table_options[i].name, value, value);
        } else {
            check_refused(table_options[i].name, value, EPERM);
        }
    }
}

static void every_choice_is_taken(void) {
    for (size_t i = 0; i < TABLE_OPTION_COUNT; i++) {
        const struct table_option *option = &table_options[i];
        if (strcmp(option->kind, "CHOICE") != 0 || !option->is_settable) {
            continue;
        }
        char values[256];
        snprintf(values, sizeof(values), "%s", option->values);
        for (char *value = strtok(values, " "); value; value = strtok(NULL, " ")) {
            check_taken(option->name, value, value);
        }
        check_refused(option->name, "", EINVAL);
        check_refused(option->name, "perhaps", EINVAL);
        check_refused(option->name, option->values, EINVAL);
        check_taken(option->name, option->initial, option->initial);
    }
}

static void times_need_a_unit(void) {
    static const char *const taken[][2] = {
        {"1s", "1s"},        {"500ms", "500ms"}, {"0ms", "0ms"},   {"250us", "250us"},
        {"100ns", "100ns"},  {"never", "never"}, {"1000ms", NULL}, {"0s", NULL},
        {"1000000ns", NULL}, {"3600s", NULL},    {"1500ms", NULL}, {"00500ms", NULL},
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        check_taken("purge_delay", taken[i][0], taken[i][1]);
    }
    static const char *const refused[] = {
        "",
        "5",
        "10",
        "ms",
        "-1ms",
        "+1ms",
        "1h",
        "1 s",
        " 1s",
        "1s ",
        "1sec",
        "1S",
        "0x10ms",
        "Never",
        "never ",
        "nevermore",
        "1.5s",
        "1KiB",
        "99999999999999999999s",
        "18446744073709551616ns",
        "99999999999999s",
        "1ms1",
        "1e3ms",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        check_refused("purge_delay", refused[i], EINVAL);
    }
    check_taken("purge_delay", "500ms", "500ms");
}

static void equal_times_read_alike(void) {
    char first[64], second[64];
    check_taken("purge_delay", "2s", NULL);
    allot_get("purge_delay", first, sizeof(first));
    check_taken("purge_delay", "2000ms", NULL);
    allot_get("purge_delay", second, sizeof(second));
    CHECK_TEXT(first, second);
    check_taken("purge_delay", "2000000us", NULL);
    allot_get("purge_delay", second, sizeof(second));
    CHECK_TEXT(first, second);
    check_taken("purge_delay", "500ms", "500ms");
}

static void bytes_need_a_unit(void) {
    static const char *const taken[][2] = {
        {"1MiB", "1MiB"}, {"16MiB", "16MiB"},  {"3GiB", "3GiB"},       {"2TiB", "2TiB"},
        {"5KiB", "5KiB"}, {"1024KiB", "1MiB"}, {"1023KiB", "1023KiB"}, {"1048576KiB", "1GiB"},
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        check_taken("dirty_limit", taken[i][0], taken[i][1]);
    }
    static const char *const refused[] = {
        "",
        "16",
        "MiB",
        "-1MiB",
        "+1MiB",
        "16MB",
        "16M",
        "16 MiB",
        " 16MiB",
        "16MiB ",
        "0x1MiB",
        "1.5MiB",
        "never",
        "16MiBs",
        "16ms",
        "16777216TiB",  // 2^64 bytes
        "18446744073709551616KiB",
        "99999999999999999999MiB",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        check_refused("dirty_limit", refused[i], EINVAL);
    }
    check_taken("dirty_limit", "16MiB", "16MiB");
}

static void limits_are_kept(void) {
    check_taken("thread_cache", "64KiB", "64KiB");
    check_taken("thread_cache", "64MiB", "64MiB");
    check_refused("thread_cache", "63KiB", EINVAL);
    check_refused("thread_cache", "0KiB", EINVAL);
    check_refused("thread_cache", "65MiB", EINVAL);
    check_taken("thread_cache", "1MiB", "1MiB");
    check_taken("total_cache", "1MiB", "1MiB");
    check_refused("total_cache", "1023KiB", EINVAL);
    check_refused("total_cache", "0MiB", EINVAL);
    check_taken("total_cache", "1TiB", "1TiB");
    check_taken("total_cache", "32MiB", "32MiB");
}

static void what_is_set_at_start_stays(void) {
    check_refused("reserve", "1GiB", EPERM);
    check_refused("thp", "never", EPERM);
    check_refused("hugetlb", "on", EPERM);
    check_refused("background", "on", EPERM);
    check_refused("stats", "exit", EPERM);
    check_refused("verbose", "on", EPERM);
}

static void unknown_names_are_enoent(void) {
    static const char *const names[] = {"",
                                        "purge",
                                        "purge_dela",
                                        "purge_delayy",
                                        "PURGE_DELAY",
                                        "ALLOT_PURGE_DELAY",
                                        "purge-delay",
                                        "x",
                                        "purge_delay=1s",
                                        "misuse "};
    char value[16] = "kept";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        check_refused(names[i], "1s", ENOENT);
        errno = UNTOUCHED;
        CHECK_INT(allot_get(names[i], value, sizeof(value)), ==, -1);
        CHECK_INT(errno, ==, ENOENT);
        CHECK_TEXT(value, "kept");
    }
}

static void get_cuts_as_snprintf_does(void) {
    char value[16];
    check_taken("dirty_limit", "1234MiB", "1234MiB");
    for (size_t room = 1; room < sizeof(value); room++) {
        memset(value, '#', sizeof(value));
        CHECK_INT(allot_get("dirty_limit", value, room), ==, 7);
        size_t length = room - 1 < 7 ? room - 1 : 7;
        CHECK_UINT(strlen(value), ==, length);
        CHECK(memcmp(value, "1234MiB", length) == 0);
        for (size_t i = length + 1; i < sizeof(value); i++) {
            CHECK_INT(value[i], ==, '#');
        }
    }
    value[0] = '#';
    errno = UNTOUCHED;
    CHECK_INT(allot_get("dirty_limit", value, 0), ==, -1);
    CHECK_INT(errno, ==, EINVAL);
    CHECK_INT(value[0], ==, '#');
    check_taken("dirty_limit", "16MiB", "16MiB");
}

static void a_new_value_takes_effect(void) {
    struct allot_stats stats = {.size_bytes = sizeof(stats)};
    static void *blocks[64];
    check_taken("dirty_limit", "1GiB", "1GiB");
    check_taken("purge_delay", "never", "never");
    for (size_t i = 0; i < 64; i++) {
        blocks[i] = allot_malloc(1 << 20);
        memset(blocks[i], 1, 1 << 20);
    }
    for (size_t i = 0; i < 64; i++) {
        allot_free(blocks[i]);
    }
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.dirty_bytes, >=, 50 << 20);
    check_taken("dirty_limit", "1MiB", "1MiB");
    for (size_t i = 0; i < 64; i++) {  // slow paths, where it is looked at
        blocks[i] = allot_malloc(1 << 20);
    }
    for (size_t i = 0; i < 64; i++) {
        allot_free(blocks[i]);
    }
    CHECK(allot_stats(&stats));
    CHECK_UINT(stats.dirty_bytes, <=, 8 << 20);
    check_taken("dirty_limit", "16MiB", "16MiB");
    check_taken("purge_delay", "500ms", "500ms");
}

static const struct check_case cases[] = {
    CHECK_CASE(every_option_starts_with_its_default),
    CHECK_CASE(what_get_writes_set_accepts),
    CHECK_CASE(every_choice_is_taken),
    CHECK_CASE(times_need_a_unit),
    CHECK_CASE(equal_times_read_alike),
    CHECK_CASE(bytes_need_a_unit),
    CHECK_CASE(limits_are_kept),
    CHECK_CASE(what_is_set_at_start_stays),
    CHECK_CASE(unknown_names_are_enoent),
    CHECK_CASE(get_cuts_as_snprintf_does),
    CHECK_CASE(a_new_value_takes_effect),
};

CHECK_MAIN(cases)
