// test_options.c - names and texts to settings, and what is said about wrong ones.
#include "api/options.h"

#include "allot.h"
#include "cache/cache.h"
#include "unit.h"

#include <errno.h>

// The complaints about an environment.
static const char *complaints(const char *const *environment) {
    os_fake.environment = environment;
    os_fake.is_quiet = true;
    options_init();
    options_complain();
    return os_fake.text;
}

static const char *get(const char *name) {
    static char text[OPTIONS_TEXT_BYTES];
    int length = allot_get(name, text, sizeof text);
    assert_int_equal(length, strlen(text));
    return text;
}

static void defaults_are_in_force_and_silent(void) {
    assert_string_equal(complaints(NULL), "");
    assert_string_equal(get("purge_delay"), "500ms");
    assert_string_equal(get("dirty_limit"), "1MiB");
    assert_string_equal(get("thread_cache"), "4MiB");
    assert_string_equal(get("reserve"), "1TiB");
    assert_string_equal(get("thp"), "auto");
    assert_string_equal(get("misuse"), "abort");
    assert_string_equal(get("stats"), "off");
}

static void the_environment_sets_options(void) {
    static const char *const variables[] = {"ALLOT_PURGE_DELAY=2s",
                                            "ALLOT_DIRTY_LIMIT=3MiB",
                                            "ALLOT_MISUSE=ignore",
                                            "ALLOT_STATS=exit:/tmp/x",
                                            "OTHER=1",
                                            "ALLOT_TEST_SEED=7",
                                            NULL};
    assert_string_equal(complaints(variables), "");
    UNIT_CHECK(options_state.purge_delay, ==, 2000000000);
    UNIT_CHECK(options_state.dirty_limit, ==, 3 * MIB);
    UNIT_CHECK(options_state.misuse, ==, OPTIONS_MISUSE_IGNORE);
    assert_string_equal(get("stats"), "exit:/tmp/x");
    assert_string_equal(get("purge_delay"), "2s");
}

static void an_unknown_name_is_reported_with_the_nearest(void) {
    static const char *const variables[] = {"ALLOT_PURGE_DELY=1s", "ALLOT_XYZZY=1", NULL};
    assert_string_equal(
        complaints(variables),
        "allot: warning: unknown option ALLOT_PURGE_DELY (did you mean ALLOT_PURGE_DELAY?)\n"
        "allot: warning: unknown option ALLOT_XYZZY\n");
}

static void a_wrong_value_is_reported_and_the_default_stays(void) {
    static const char *const variables[] = {"ALLOT_PURGE_DELAY=5", "ALLOT_THREAD_CACHE=1KiB", NULL};
    assert_string_equal(
        complaints(variables),
        "allot: warning: ALLOT_PURGE_DELAY=5 is not allowed (0, never, or a time such as 500ms);"
        " using 500ms\n"
        "allot: warning: ALLOT_THREAD_CACHE=1KiB is not allowed (a size from 64KiB to 64MiB);"
        " using 4MiB\n");
}

static void verbose_prints_what_is_in_force(void) {
    static const char *const variables[] = {"ALLOT_VERBOSE=on", "ALLOT_PURGE_DELAY=never", NULL};
    const char *text = complaints(variables);
    assert_ptr_equal(strstr(text, "allot: version "), text);
    assert_non_null(strstr(text, "\nallot: purge_delay=never\n"));
    assert_non_null(strstr(text, "\nallot: verbose=on\n"));
    assert_null(strstr(text, "warning"));
}

static void times_are_printed_in_the_largest_unit(void) {
    static const char *const texts[] = {"1ns", "999us", "1ms", "1500ms", "2s", "0ms", "never"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(allot_set("purge_delay", texts[i]));
        assert_string_equal(get("purge_delay"), texts[i]);
    }
    assert_true(allot_set("purge_delay", "1000ms"));
    assert_string_equal(get("purge_delay"), "1s");
}

static void values_that_make_no_sense_are_refused(void) {
    static const char *const wrong[] = {"",
                                        "5",
                                        "-1s",
                                        "1 s",
                                        "1sec",
                                        "s",
                                        "1.5s",
                                        "NEVER",
                                        "99999999999999999999s",
                                        "18446744073709551615s"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        errno = 0;
        assert_false(allot_set("purge_delay", wrong[i]));
        UNIT_CHECK(errno, ==, EINVAL);
        assert_string_equal(get("purge_delay"), "500ms");
    }
    assert_false(allot_set("misuse", "abor"));
    assert_false(allot_set("misuse", "abort warn"));
    assert_false(allot_set("misuse", ""));
}

static void names_that_are_unknown_or_fixed_are_refused(void) {
    char text[8];
    assert_false(allot_set("reserve", "1GiB"));
    UNIT_CHECK(errno, ==, EPERM);
    assert_false(allot_set("purge", "1s"));
    UNIT_CHECK(errno, ==, ENOENT);
    assert_int_equal(allot_get("purge", text, sizeof text), -1);
    UNIT_CHECK(errno, ==, ENOENT);
    assert_int_equal(allot_get("reserve", text, 0), -1);
    UNIT_CHECK(errno, ==, EINVAL);
}

static void a_value_that_does_not_fit_is_cut_and_its_length_told(void) {
    char text[4] = "old";
    assert_int_equal(allot_get("purge_delay", text, sizeof text), 5);
    assert_string_equal(text, "500");
}

static void settings_reach_the_caches(void) {
    assert_true(allot_set("thread_cache", "128KiB"));
    UNIT_CHECK(cache_policy.thread_bytes, ==, 128 * KIB);
    assert_true(allot_set("thread_cache", "2MiB"));
    UNIT_CHECK(cache_policy.thread_bytes, ==, 2 * MIB);
}

static const struct unit_case cases[] = {
    UNIT(defaults_are_in_force_and_silent),
    UNIT(the_environment_sets_options),
    UNIT(an_unknown_name_is_reported_with_the_nearest),
    UNIT(a_wrong_value_is_reported_and_the_default_stays),
    UNIT(verbose_prints_what_is_in_force),
    UNIT(times_are_printed_in_the_largest_unit),
    UNIT(values_that_make_no_sense_are_refused),
    UNIT(names_that_are_unknown_or_fixed_are_refused),
    UNIT(a_value_that_does_not_fit_is_cut_and_its_length_told),
    UNIT(settings_reach_the_caches),
};
UNIT_MAIN(cases)
