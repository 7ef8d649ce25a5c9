/* Looks are scripted here, but for the last tests, which look at this machine. */

#define _GNU_SOURCE

#include "native/machine_load.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "native/clock.h"

#define MS UINT64_C(1000000)

static struct machine_counters counters;
static struct machine_look last, look;

/* Begin with a look at a machine of so many processors, all of them allowed. */
static void begin(int processors) {
    memset(&counters, 0, sizeof counters);
    memset(&look, 0, sizeof look);
    look.at = 5000 * MS;
    for (int i = 0; i < processors; i++) {
        look.allowed[i] = look.times[i].online = true;
        look.times[i].idle = 7000 * MS;
        look.times[i].stolen = 70 * MS;
    }
    machine_load_add(&counters, &last, &look);
    last = look;
}

/* Look again so much later; what has changed meanwhile stands in `look`. */
static void look_after(uint64_t milliseconds) {
    look.at += milliseconds * MS;
    machine_load_add(&counters, &last, &look);
    last = look;
}

static struct machine_load since(const struct machine_counters *before) {
    struct machine_load load;
    CHECK(machine_load_between(before, &counters, &load));
    return load;
}

static bool is(double value, double expected) {
    return value - expected < 1e-9 && expected - value < 1e-9;
}

static void test_others_have_what_is_neither_idle_nor_own(void) {
    begin(2);
    struct machine_counters before = counters;
    look.times[0].idle += 100 * MS;
    look.times[1].idle += 50 * MS;
    look.own.self += 300 * MS;
    look.own.children += 250 * MS;
    look_after(1000);
    struct machine_load load = since(&before);
    CHECK(is(load.time, 1.0) && is(load.processors, 2.0));
    CHECK(is(load.idle, 0.15) && is(load.others, 2.0 - 0.15 - 0.55));
    CHECK(load.throttled < 0 && load.stalled < 0);
}

static void test_only_processors_that_are_allowed_count(void) {
    begin(4);
    struct machine_counters before = counters;
    look.allowed[0] = look.allowed[1] = look.allowed[3] = false;
    look.times[2].idle += 900 * MS;
    look_after(1000);
    CHECK(is(since(&before).processors, 1.0) && is(since(&before).others, 0.1));
}

static void test_the_allowed_may_change_between_looks(void) {
    begin(2);
    struct machine_counters before = counters;
    look.times[0].idle += 1000 * MS;
    look.times[1].idle += 1000 * MS;
    look_after(1000);
    look.allowed[0] = false;
    look.times[0].idle += 200 * MS;
    look.times[1].idle += 600 * MS;
    look_after(1000);
    CHECK(is(since(&before).processors, 1.5) && is(since(&before).others, 0.4));
}

static void test_a_processor_counts_while_it_is_online(void) {
    begin(2);
    struct machine_counters before = counters;
    look.times[1].online = false;
    look.times[0].idle += 1000 * MS;
    look_after(1000);
    look.times[1].online = true;
    look.times[1].idle = 0; /* it begins anew */
    look.times[0].idle += 1000 * MS;
    look_after(1000);
    CHECK(is(since(&before).processors, 1.0) && is(since(&before).others, 0.0));
}

static void test_steps_of_the_file_cancel_out(void) {
    begin(1);
    struct machine_counters before = counters;
    for (int i = 0; i < 100; i++) {
        look.times[0].idle += i % 2 ? 20 * MS : 0; /* 10 ms in truth, each time */
        look_after(10);
    }
    CHECK(is(since(&before).others, 0.0));
}

static void test_stolen_time_may_lie_in_the_own(void) {
    begin(1);
    struct machine_counters before = counters;
    look.own.self += 1000 * MS;
    look.times[0].stolen += 300 * MS;
    look_after(1000);
    CHECK(is(since(&before).others, 0.3));
    before = counters;
    look.own.self += 200 * MS; /* the kernel knows better, and others ran as well */
    look.times[0].stolen += 300 * MS;
    look_after(1000);
    CHECK(is(since(&before).others, 0.8));
}

static void test_nonsense_stays_within_bounds(void) {
    begin(1);
    struct machine_counters before = counters;
    look.own.self += 5000 * MS;
    look_after(1000);
    CHECK(is(since(&before).others, 0.0));
    before = counters;
    look.times[0].idle -= 4000 * MS;
    look.times[0].stolen += 9000 * MS;
    look_after(1000);
    CHECK(is(since(&before).others, 1.0) && is(since(&before).idle, 0.0));
}

static void test_a_child_that_nobody_waited_for_is_not_taken_off(void) {
    begin(1);
    look.own.children = 900 * MS;
    look_after(1000);
    struct machine_counters before = counters;
    look.own.children = 0;
    look.own.self += 400 * MS;
    look_after(1000);
    CHECK(is(since(&before).others, 0.6));
}

static void test_throttled_and_stalled_time_are_known_at_both_ends_or_not_at_all(void) {
    begin(1);
    look.has_throttled = look.has_stalled = true;
    look.throttled = 3000 * MS;
    look.stalled = 100 * MS;
    look_after(10);
    struct machine_counters before = counters;
    look.throttled += 20 * MS;
    look.stalled += 30 * MS;
    look_after(100);
    CHECK(is(since(&before).throttled, 0.02) && is(since(&before).stalled, 0.03));
    look.has_throttled = false;
    look_after(100);
    CHECK(since(&before).throttled < 0 && is(since(&before).stalled, 0.03));
}

static void test_nothing_is_told_without_two_looks_of_one_process(void) {
    struct machine_load load;
    static const struct machine_counters never;
    begin(1);
    CHECK(!machine_load_between(&never, &counters, &load));
    CHECK(!machine_load_between(&counters, &counters, &load));
    struct machine_counters before = counters;
    look_after(1000);
    CHECK(machine_load_between(&before, &counters, &load));
    before.epoch++;
    CHECK(!machine_load_between(&before, &counters, &load));
}

/* --- this machine --- */

static uint64_t thread_time(void) {
    struct timespec time;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
    return (uint64_t)time.tv_sec * 1000 * MS + (uint64_t)time.tv_nsec;
}

/* Use so much processor time. */
static void spin(uint64_t nanoseconds) {
    uint64_t end = thread_time() + nanoseconds;
    while (thread_time() < end) {
    }
}

static uint64_t children_time(void) {
    struct family_time time;
    CHECK(family_time_read(&time));
    return time.children;
}

static bool is_about(uint64_t value, uint64_t expected) {
    return value + 25 * MS > expected && value < expected + 60 * MS;
}

struct child {
    pid_t pid;
    int done, go; /* pipes: it has worked; it may end */
};

/* Start a child that works, has a child of its own work, and lives until it is let go. */
static void start_child(struct child *child) {
    int done[2], go[2];
    CHECK(pipe(done) == 0 && pipe(go) == 0);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0) {
        close(go[1]); /* so that it ends with its parent */
        spin(100 * MS);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            spin(100 * MS);
            _exit(0);
        }
        waitpid(grandchild, NULL, 0);
        char letter = 'x';
        _exit(write(done[1], &letter, 1) == 1 && read(go[0], &letter, 1) == 1 ? 0 : 1);
    }
    child->done = done[0];
    child->go = go[1];
}

static void test_children_count_while_they_live_and_when_they_are_gone(void) {
    struct child child;
    uint64_t before = children_time();
    start_child(&child);
    char letter = 'x';
    CHECK(read(child.done, &letter, 1) == 1);
    CHECK(is_about(children_time() - before, 200 * MS));
    CHECK(write(child.go, &letter, 1) == 1 && waitpid(child.pid, NULL, 0) == child.pid);
    CHECK(is_about(children_time() - before, 200 * MS));
}

static void test_looking_for_children_waits_for_none(void) {
    pid_t pid = fork();
    if (pid == 0) {
        _exit(7);
    }
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0); /* it has ended */
    children_time();
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
}

/* Look so much later, and return how much earlier (ms) the recent state was; -1 without one. */
static int recent_after(struct machine_marks *marks, uint64_t milliseconds) {
    look_after(milliseconds);
    machine_marks_keep(marks, &counters);
    const struct machine_counters *recent = machine_marks_before(marks, &counters);
    return recent == NULL ? -1 : (int)((counters.looked - recent->looked) / MS);
}

static void test_a_recent_state_is_neither_too_new_nor_too_old(void) {
    struct machine_marks marks = {0};
    begin(1);
    CHECK(recent_after(&marks, 10) == -1);
    CHECK(recent_after(&marks, 60) == -1);
    CHECK(recent_after(&marks, 60) == 120);
    CHECK(recent_after(&marks, 30) == 150);
    CHECK(recent_after(&marks, 60) == 210);
    CHECK(recent_after(&marks, 20) == 110);
    CHECK(recent_after(&marks, 900) == 900);
    CHECK(recent_after(&marks, 1200) == -1);
    CHECK(recent_after(&marks, 100) == 100);
    counters.epoch++;
    CHECK(recent_after(&marks, 500) == -1);
}

static void test_a_look_is_not_repeated_soon(void) {
    machine_load_refresh(0);
    uint64_t looked = machine_load_counters()->looked;
    CHECK(looked != 0);
    machine_load_refresh(3600 * 1000 * MS);
    CHECK(machine_load_counters()->looked == looked);
    usleep(100000);
    machine_load_refresh(0);
    CHECK(machine_load_counters()->looked > looked);
}

static void test_own_work_is_not_that_of_others(void) {
    usleep(100000);
    machine_load_refresh(0);
    struct machine_counters before = *machine_load_counters();
    spin(500 * MS);
    machine_load_refresh(0);
    struct machine_load load;
    CHECK(machine_load_between(&before, machine_load_counters(), &load));
    double most = load.time * load.processors;
    CHECK(load.time >= 0.5 && load.processors >= 1.0);
    CHECK(load.others + load.idle <= most - 0.5 + 0.05 * load.processors);
}

static void test_a_fork_begins_anew(void) {
    struct machine_counters before = *machine_load_counters();
    machine_load_after_fork();
    usleep(100000);
    machine_load_refresh(0);
    struct machine_load load;
    CHECK(!machine_load_between(&before, machine_load_counters(), &load));
    before = *machine_load_counters();
    usleep(100000);
    machine_load_refresh(0);
    CHECK(machine_load_between(&before, machine_load_counters(), &load));
    CHECK(load.time < 10.0);
}

int main(void) {
    test_others_have_what_is_neither_idle_nor_own();
    test_only_processors_that_are_allowed_count();
    test_the_allowed_may_change_between_looks();
    test_a_processor_counts_while_it_is_online();
    test_steps_of_the_file_cancel_out();
    test_stolen_time_may_lie_in_the_own();
    test_nonsense_stays_within_bounds();
    test_a_child_that_nobody_waited_for_is_not_taken_off();
    test_throttled_and_stalled_time_are_known_at_both_ends_or_not_at_all();
    test_nothing_is_told_without_two_looks_of_one_process();
    test_a_recent_state_is_neither_too_new_nor_too_old();
    clock_init();
    test_children_count_while_they_live_and_when_they_are_gone();
    test_looking_for_children_waits_for_none();
    test_a_look_is_not_repeated_soon();
    test_own_work_is_not_that_of_others();
    test_a_fork_begins_anew();
    return 0;
}
