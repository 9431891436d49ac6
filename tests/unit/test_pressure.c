// test_pressure.c - memory limits: the kernel's texts of both versions, and broken ones.
#include "os/pressure.h"

#include "allot.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

#define V2_MOUNT                            \
    "24 1 0:21 / /proc rw - proc proc rw\n" \
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT                                                                    \
    "31 30 0:27 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n" \
    "32 30 0:28 /docker/ab /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"
#define STALL                                          \
    "some avg10=1.25 avg60=0.50 avg300=0.10 total=1\n" \
    "full avg10=0.05 avg60=0.00 avg300=0.00 total=1\n"

static struct allot_pressure ask(const char *const *files) {
    struct allot_pressure pressure = {.size_bytes = sizeof(pressure)};
    os_fake.files = files;
    assert_true(allot_pressure(&pressure));
    assert_int_equal(pressure.version, 1);
    return pressure;
}

static void version_2_is_read_from_the_group_of_the_process(void) {
    const char *files[] = {"/proc/self/cgroup",
                           "0::/system.slice/a.service\n",
                           "/proc/self/mountinfo",
                           V2_MOUNT,
                           "/sys/fs/cgroup/system.slice/a.service/memory.max",
                           "1073741824\n",
                           "/sys/fs/cgroup/system.slice/a.service/memory.current",
                           "4096\n",
                           "/sys/fs/cgroup/system.slice/a.service/memory.pressure",
                           STALL,
                           NULL};
    struct allot_pressure pressure = ask(files);
    assert_int_equal(pressure.limit_bytes, 1 << 30);
    assert_int_equal(pressure.used_bytes, 4096);
    assert_int_equal(pressure.some_avg10, 125);
    assert_int_equal(pressure.full_avg10, 5);
}

static void version_1_is_read_below_what_the_container_sees(void) {
    const char *files[] = {"/proc/self/cgroup",
                           "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab/x\n0::/other\n",
                           "/proc/self/mountinfo",
                           V2_MOUNT V1_MOUNT,
                           "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                           "9223372036854771712\n",
                           "/sys/fs/cgroup/memory/x/memory.usage_in_bytes",
                           "12345\n",
                           NULL};
    struct allot_pressure pressure = ask(files);
    assert_true(pressure.limit_bytes == ALLOT_UNLIMITED);
    assert_int_equal(pressure.used_bytes, 12345);
    assert_true(pressure.some_avg10 == ALLOT_STALL_NOT_AVAILABLE);
    assert_true(pressure.full_avg10 == ALLOT_STALL_NOT_AVAILABLE);
}

static void unlimited_and_not_available_are_distinct(void) {
    const char *with[] = {"/proc/self/cgroup",
                          "0::/\n",
                          "/proc/self/mountinfo",
                          V2_MOUNT,
                          "/sys/fs/cgroup/memory.max",
                          "max\n",
                          NULL};
    const char *without[] = {"/proc/self/cgroup", "0::/\n", "/proc/self/mountinfo", V2_MOUNT, NULL};
    const char *unmounted[] = {"/proc/self/cgroup", "0::/\n", "/proc/self/mountinfo", "\n", NULL};
    assert_true(ask(with).limit_bytes == ALLOT_UNLIMITED);
    assert_true(ask(with).used_bytes == ALLOT_NOT_AVAILABLE);
    assert_true(ask(without).limit_bytes == ALLOT_NOT_AVAILABLE);
    assert_true(ask(unmounted).limit_bytes == ALLOT_NOT_AVAILABLE);
    assert_true(ask(unmounted).full_avg10 == ALLOT_STALL_NOT_AVAILABLE);
}

static void without_proc_there_is_an_error_and_nothing_changes(void) {
    struct allot_pressure pressure = {.size_bytes = sizeof(pressure), .used_bytes = 7};
    os_fake.files = NULL;
    errno = 0;
    assert_false(allot_pressure(&pressure));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(pressure.used_bytes, 7);
    pressure.size_bytes--;
    assert_false(allot_pressure(&pressure));
    assert_int_equal(errno, EINVAL);
}

static void bytes_are_a_number_or_max(void) {
    uint64_t bytes = 7;
    assert_true(pressure_read_bytes(&bytes, "0\n") && bytes == 0);
    assert_true(pressure_read_bytes(&bytes, "18446744073709551615") && bytes == UINT64_MAX);
    assert_true(pressure_read_bytes(&bytes, "max") && bytes == PRESSURE_UNLIMITED);
    bytes = 7;
    static const char *const wrong[] = {"",      "\n",   "x",  "-1\n",
                                        "1 2\n", "max1", "ma", "18446744073709551616\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(pressure_read_bytes(&bytes, wrong[i]));
        assert_int_equal(bytes, 7);
    }
}

static void a_stall_needs_both_lines(void) {
    uint32_t some = 7;
    uint32_t full = 7;
    static const char *const wrong[] = {"",
                                        "some avg10=1.25 avg60=0.50\n",
                                        "full avg10=1.25 avg60=0.50\n",
                                        "some avg10=1\nfull avg10=2\n",
                                        "some avg10=1.2\nfull avg10=2.0",
                                        "some avg10=x\nfull avg10=2.00",
                                        "some avg10=101.00\nfull avg10=2.00\n",
                                        "xsome avg10=1.00\nfull avg10=2.00\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(pressure_read_stall(&some, &full, wrong[i]));
        assert_int_equal(some, 7);
    }
    assert_true(pressure_read_stall(&some, &full, "some avg10=100.00 x\nfull avg10=99.99 y\n"));
    assert_int_equal(some, 10000);
    assert_int_equal(full, 9999);
}

static void broken_lines_name_no_group_and_no_mount(void) {
    static const char *const lines[] = {"",     ":",  "0:",       "0::", "0:memory",
                                        "x::/", "::", "1:cpu:/a", " - ", "1 2 3 / / - cgroup2"};
    struct pressure_group group = {.version = PRESSURE_NONE};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        pressure_read_mount(&group, lines[i]);
        assert_false(group.is_mounted);
        if (strcmp(lines[i], "0::") != 0) {
            pressure_read_group(&group, lines[i]);
            assert_int_equal(group.version, PRESSURE_NONE);
        }
    }
}

static void the_mount_is_found_behind_many_long_lines(void) {
    static char mounts[200000];
    size_t length = 0;
    for (int i = 0; i < 20; i++) {
        memset(mounts + length, 'x', 4500);
        length += 4500;
        mounts[length++] = '\n';
        length += (size_t)sprintf(mounts + length, "24 1 0:21 / /m%d rw - ext4 /dev/x rw\n", i);
    }
    strcpy(mounts + length, V2_MOUNT);
    const char *files[] = {"/proc/self/cgroup",
                           "0::/a\n",
                           "/proc/self/mountinfo",
                           mounts,
                           "/sys/fs/cgroup/a/memory.current",
                           "8192\n",
                           NULL};
    assert_int_equal(ask(files).used_bytes, 8192);
}

// ---- Near the limit

#define GROUP "/sys/fs/cgroup/a"

// So long after the last look where no limit was found.
#define REST_MS 30000

// A second later, with these files, as "" where there is none.
static bool is_near(const char *limit, const char *used, const char *stat) {
    const char *files[] = {"/proc/self/cgroup",
                           "0::/a\n",
                           "/proc/self/mountinfo",
                           V2_MOUNT,
                           GROUP "/memory.max",
                           limit,
                           GROUP "/memory.current",
                           used,
                           GROUP "/memory.stat",
                           stat,
                           NULL};
    os_fake.files = files;
    os_fake.now_ms += 1000;
    return pressure_is_near();
}

static void a_limit_is_near_if_less_than_a_tenth_is_left(void) {
    assert_false(is_near("1000\n", "899\n", ""));
    assert_true(is_near("1000\n", "900\n", ""));
    assert_true(is_near("1000\n", "1100\n", ""));
    assert_false(is_near("max\n", "18446744073709551615\n", ""));
    os_fake.now_ms += REST_MS;
    assert_false(is_near("", "900\n", ""));
    os_fake.now_ms += REST_MS;
    assert_false(is_near("1000\n", "", ""));
    os_fake.now_ms += REST_MS;
    assert_true(is_near("1000\n", "901\n", ""));
    os_fake.files = NULL;
    os_fake.now_ms += 1000;
    assert_false(pressure_is_near());
}

static void pages_of_files_count_as_left(void) {
    static const char much[] = "anon 500\ninactive_file 300\nactive_file 100\nx 7\n";
    assert_false(is_near("1000\n", "950\n", much));
    assert_true(is_near("1000\n", "950\n", "inactive_file 30\nactive_file 20"));
    assert_false(is_near("1000\n", "950\n", "inactive_file 30\nactive_file 21"));
    assert_false(is_near("1000\n", "950\n", "inactive_file 2000\n"));
    assert_true(is_near("1000\n", "950\n", "x inactive_file 900\ninactive_files 900\nactive_file"));
}

static void the_files_are_read_once_a_second(void) {
    assert_false(is_near("1000\n", "100\n", ""));
    os_fake.now_ms -= 1;
    assert_false(is_near("1000\n", "990\n", ""));
    assert_true(is_near("1000\n", "990\n", ""));
    os_fake.files = NULL;
    os_fake.now_ms += 999;
    assert_true(pressure_is_near());
    os_fake.now_ms += 1;
    assert_false(pressure_is_near());
}

static void without_a_limit_the_files_rest(void) {
    assert_false(is_near("max\n", "990\n", ""));
    os_fake.now_ms += REST_MS - 1001;
    assert_false(is_near("1000\n", "990\n", ""));
    os_fake.now_ms -= 999;
    assert_true(is_near("1000\n", "990\n", ""));
}

static void a_group_that_is_gone_is_looked_for_again(void) {
    assert_true(is_near("1000\n", "990\n", ""));
    const char *moved[] = {"/proc/self/cgroup",
                           "0::/b\n",
                           "/proc/self/mountinfo",
                           V2_MOUNT,
                           "/sys/fs/cgroup/b/memory.max",
                           "1000",
                           "/sys/fs/cgroup/b/memory.current",
                           "950",
                           NULL};
    os_fake.files = moved;
    os_fake.now_ms += 1000;
    assert_false(pressure_is_near());
    os_fake.now_ms += REST_MS;
    assert_true(pressure_is_near());
    pressure_repair();
    assert_true(pressure_is_near());
}

static const struct unit_case cases[] = {
    UNIT(version_2_is_read_from_the_group_of_the_process),
    UNIT(version_1_is_read_below_what_the_container_sees),
    UNIT(unlimited_and_not_available_are_distinct),
    UNIT(without_proc_there_is_an_error_and_nothing_changes),
    UNIT(bytes_are_a_number_or_max),
    UNIT(a_stall_needs_both_lines),
    UNIT(broken_lines_name_no_group_and_no_mount),
    UNIT(the_mount_is_found_behind_many_long_lines),
    UNIT(a_limit_is_near_if_less_than_a_tenth_is_left),
    UNIT(pages_of_files_count_as_left),
    UNIT(the_files_are_read_once_a_second),
    UNIT(without_a_limit_the_files_rest),
    UNIT(a_group_that_is_gone_is_looked_for_again),
};
UNIT_MAIN(cases)
