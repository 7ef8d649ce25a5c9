/* The files are scripted: written below a folder of the test's own, as kernels, containers and
 * sandboxes have them. */

#define _GNU_SOURCE

#include "native/machine_files.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define TICK UINT64_C(10000000)

static char root[] = "/tmp/machine_files_XXXXXX";

/* Write a file below the root, and the folders it needs. */
static void script(const char *path, const char *content) {
    char whole[1000];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(whole, 0700);
        *at = '/';
    }
    FILE *file = fopen(whole, "w");
    CHECK(file != NULL && fputs(content, file) >= 0 && fclose(file) == 0);
}

static void remove_script(const char *path) {
    char whole[1000];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    unlink(whole);
}

/* --- /proc/stat --- */

static struct processor_times times[MACHINE_PROCESSORS];

static void test_idle_time_has_the_time_waited_for_disks_in_it(void) {
    script("/proc/stat", "cpu  900 0 900 900 900 0 0 0 0 0\n"
                         "cpu0 100 1 20 3000 400 5 6 7 0 0\n"
                         "cpu2 1 0 2 30 4 0 0 0 0 0\n"
                         "intr 12345 0 0\n"
                         "cpu5 1 1 1 1 1 1 1 1\n");
    CHECK(machine_files_processors(root, times));
    CHECK(times[0].online && times[0].idle == 3400 * TICK && times[0].stolen == 7 * TICK);
    CHECK(!times[1].online);
    CHECK(times[2].online && times[2].idle == 34 * TICK && times[2].stolen == 0);
    CHECK(!times[5].online); /* what is behind the processors is not read */
}

static void test_a_processor_that_went_away_is_not_kept(void) {
    script("/proc/stat", "cpu 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1\ncpu1 1 1 1 1 1 1 1 1\n");
    CHECK(machine_files_processors(root, times) && times[1].online);
    script("/proc/stat", "cpu 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1\n");
    CHECK(machine_files_processors(root, times) && times[0].online && !times[1].online);
}

static void test_what_only_pretends_is_not_believed(void) {
    static const char *const scripts[] = {
        "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n", /* as a sandbox has it */
        "cpu  1 2 3 4 5 6 7 8\n",                               /* no processor by itself */
        "cpu0 1 2 3 4\n",                                       /* too few numbers */
        "cpu0 a b c d e f g h\n",
        "cpu99999 1 2 3 4 5 6 7 8\n",
        "cpu-1 1 2 3 4 5 6 7 8\n",
        "intr 1 2 3\n",
        "",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        script("/proc/stat", scripts[i]);
        CHECK(!machine_files_processors(root, times));
    }
    remove_script("/proc/stat");
    CHECK(!machine_files_processors(root, times));
}

/* --- control groups --- */

static struct machine_groups groups;

static bool throttled_is(uint64_t expected) {
    uint64_t nanoseconds;
    machine_files_find_groups(root, &groups);
    return machine_files_throttled(&groups, &nanoseconds) && nanoseconds == expected;
}

static bool throttled_is_unknown(void) {
    uint64_t nanoseconds;
    machine_files_find_groups(root, &groups);
    return !machine_files_throttled(&groups, &nanoseconds);
}

#define UNIFIED "41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static void test_unified_groups_are_summed_up_to_their_mount(void) {
    script("/proc/self/mountinfo", "30 1 0:28 / /proc rw - proc proc rw\n" UNIFIED);
    script("/proc/self/cgroup", "0::/user.slice/one.scope\n");
    script("/sys/fs/cgroup/user.slice/one.scope/cpu.max", "50000 100000\n");
    script("/sys/fs/cgroup/user.slice/one.scope/cpu.stat",
           "usage_usec 9\nnr_throttled 3\nthrottled_usec 700\nnr_bursts 0\n");
    script("/sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n");
    script("/sys/fs/cgroup/user.slice/cpu.stat", "throttled_usec 11\n");
    CHECK(throttled_is(711000));
    CHECK(groups.count == 2);
    script("/sys/fs/cgroup/user.slice/one.scope/cpu.max", "max 100000\n");
    CHECK(throttled_is(11000));
    script("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    CHECK(throttled_is(0) && groups.count == 0);
}

static void test_a_container_with_a_namespace_is_its_mount(void) {
    script("/proc/self/cgroup", "0::/\n");
    script("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    script("/sys/fs/cgroup/cpu.stat", "throttled_usec 5\n");
    CHECK(throttled_is(5000));
}

static void test_groups_of_version_1_go_first(void) {
    script("/proc/self/mountinfo",
           UNIFIED "32 31 0:29 / /sys/fs/cgroup/sets rw - cgroup cgroup rw,cpuset\n"
                   "33 31 0:30 / /sys/fs/cgroup/my\\040cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
    script("/proc/self/cgroup", "5:cpuset:/sets\n4:cpu,cpuacct:/jobs/7\n0::/\n");
    script("/sys/fs/cgroup/my cpu/jobs/7/cpu.cfs_quota_us", "-1\n");
    CHECK(throttled_is(0));
    script("/sys/fs/cgroup/my cpu/jobs/7/cpu.cfs_quota_us", "50000\n");
    script("/sys/fs/cgroup/my cpu/jobs/7/cpu.stat", "nr_throttled 3\nthrottled_time 123456\n");
    CHECK(throttled_is(123456));
}

static void test_a_container_that_sees_its_hosts_names(void) {
    script("/proc/self/mountinfo",
           "33 31 0:30 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
    script("/proc/self/cgroup", "4:cpu:/docker/abc\n");
    script("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    script("/sys/fs/cgroup/cpu/cpu.stat", "throttled_time 77\n");
    CHECK(throttled_is(77));
    script("/proc/self/cgroup", "4:cpu:/docker/abc/inner\n");
    script("/sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "50000\n");
    script("/sys/fs/cgroup/cpu/inner/cpu.stat", "throttled_time 10\n");
    CHECK(throttled_is(87));
    script("/proc/self/cgroup", "4:cpu:/docker/abcdef\n");
    CHECK(throttled_is(77));
}

static void test_groups_that_cannot_be_found_are_unknown(void) {
    script("/proc/self/cgroup", "4:cpu:/../elsewhere\n");
    CHECK(throttled_is_unknown());
    static const char *const none[] = {"", "nonsense\n", "3:memory:/\n", "4\n"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        script("/proc/self/cgroup", none[i]);
        CHECK(throttled_is_unknown());
    }
    script("/proc/self/cgroup", "0::/\n");
    static const char *const mounts[] = {"", "nonsense\n", "33 31 0:30 / /x rw - cgroup c rw,cpu\n",
                                         "33 31 0:30 / /sys/fs/cgroup rw - cgroup2\n"};
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        script("/proc/self/mountinfo", mounts[i]);
        CHECK(throttled_is_unknown());
    }
    remove_script("/proc/self/cgroup");
    CHECK(throttled_is_unknown());
}

static void test_a_group_that_is_gone_is_unknown(void) {
    script("/proc/self/mountinfo", UNIFIED);
    script("/proc/self/cgroup", "0::/\n");
    uint64_t nanoseconds;
    script("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    machine_files_find_groups(root, &groups);
    CHECK(machine_files_throttled(&groups, &nanoseconds));
    script("/sys/fs/cgroup/cpu.stat", "usage_usec 5\n");
    CHECK(!machine_files_throttled(&groups, &nanoseconds));
    remove_script("/sys/fs/cgroup/cpu.stat");
    CHECK(!machine_files_throttled(&groups, &nanoseconds));
}

static void test_a_very_long_group_is_not_overrun(void) {
    static char line[6000];
    memset(line, 'a', sizeof line - 1);
    memcpy(line, "0::/", 4);
    line[sizeof line - 2] = '\n';
    script("/proc/self/cgroup", line);
    machine_files_find_groups(root, &groups);
    CHECK(groups.count <= MACHINE_GROUPS);
}

/* --- pressure --- */

static void test_pressure_is_that_on_some_thread(void) {
    uint64_t nanoseconds;
    CHECK(!machine_files_pressure(root, &nanoseconds));
    script("/proc/pressure/cpu", "some avg10=0.00 avg60=1.20 avg300=11.00 total=1234567\n"
                                 "full avg10=0.00 avg60=0.00 avg300=0.00 total=9\n");
    CHECK(machine_files_pressure(root, &nanoseconds) && nanoseconds == 1234567000);
    script("/proc/pressure/cpu", "none\n");
    CHECK(!machine_files_pressure(root, &nanoseconds));
}

static void test_this_machine_has_a_processor(void) {
    size_t online = 0;
    CHECK(machine_files_processors("", times));
    for (size_t i = 0; i < MACHINE_PROCESSORS; i++) {
        online += times[i].online;
    }
    CHECK(online >= 1);
}

int main(void) {
    CHECK(mkdtemp(root) != NULL);
    test_idle_time_has_the_time_waited_for_disks_in_it();
    test_a_processor_that_went_away_is_not_kept();
    test_what_only_pretends_is_not_believed();
    test_unified_groups_are_summed_up_to_their_mount();
    test_a_container_with_a_namespace_is_its_mount();
    test_groups_of_version_1_go_first();
    test_a_container_that_sees_its_hosts_names();
    test_groups_that_cannot_be_found_are_unknown();
    test_a_group_that_is_gone_is_unknown();
    test_a_very_long_group_is_not_overrun();
    test_pressure_is_that_on_some_thread();
    test_this_machine_has_a_processor();
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) == 0 ? 0 : 1;
}
