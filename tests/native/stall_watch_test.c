/* The watch for stalls, on a made-up knock. It is waited for what should come; only what must not come
 * is given some time. */

#define _GNU_SOURCE

#include "native/stall_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "native/clock.h"
#include "native/knocker.h"

#define MILLISECOND UINT64_C(1000000)
#define TIMEOUT (20 * MILLISECOND)
#define STACKS "Thread 0x1 (most recent call first):\n"

static uint64_t asked;                   /* atomic: the knock under way */
static uint64_t got;                     /* atomic: when a thread last got the GIL */
static int report = -1, scratch, number; /* descriptors of files, and the signal */
static int crashes;                      /* descriptor of a file */
static struct stall stalls[STALLS];
static size_t omitted;
static uint64_t timeout; /* ticks */

/* The build has the watch make its system calls here. */
static bool no_copies;
#undef syscall
long syscall(long, ...);
static int arguments_of(long call) {
    return call == SYS_clone    ? 5
           : call == SYS_tgkill ? 3
           : call == SYS_gettid ? 0
                                : 4; /* the scheduler's attributes */
}
long denying_syscall(long call, ...) {
    long passed[6] = {0};
    va_list arguments;
    va_start(arguments, call);
    for (int i = 0; i < arguments_of(call); i++) {
        passed[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (no_copies && call == SYS_clone) {
        errno = EPERM;
        return -1;
    }
    return syscall(call, passed[0], passed[1], passed[2], passed[3], passed[4], passed[5]);
}

static void sleep_for(uint64_t nanoseconds) {
    nanosleep(
        &(struct timespec){(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)},
        NULL);
}

static void knock_asks(uint64_t when) { __atomic_store_n(&asked, when, __ATOMIC_RELAXED); }

static int temporary_file(void) {
    char name[] = "/tmp/stall_watch_test.XXXXXX";
    int descriptor = mkstemp(name);
    CHECK(descriptor >= 0 && unlink(name) == 0);
    return descriptor;
}

static void write_stacks(int unused) {
    (void)unused;
    CHECK(write(scratch, STACKS, strlen(STACKS)) == (ssize_t)strlen(STACKS));
}

static void find_holder(struct stall_holder *holder) {
    holder->ident = 0xabc;
    strcpy(holder->name, "hog");
}

static void find_nobody(struct stall_holder *holder) { (void)holder; }

static void start(void (*finder)(struct stall_holder *), int with_signal) {
    if (report >= 0) {
        close(report);
    }
    report = temporary_file();
    knock_asks(0);
    const struct stall_watch_options options = {TIMEOUT, &asked,      report,
                                                scratch, with_signal, finder};
    CHECK(stall_watch_start(&options) == 0);
}

static const char *reported(void) {
    static char text[4096];
    ssize_t size = pread(report, text, sizeof text - 1, 0);
    CHECK(size >= 0);
    text[size] = '\0';
    return text;
}

static void await_report(const char *what) {
    for (int i = 0; i < 10000 && strstr(reported(), what) == NULL; i++) {
        sleep_for(MILLISECOND);
    }
    CHECK(strstr(reported(), what) != NULL);
}

static size_t take(void) { return stall_watch_take(stalls, clock_ticks(), &omitted); }

static void free_stacks(size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(stalls[i].stacks);
    }
}

static void test_a_stall_is_reported_once_while_it_lasts(void) {
    start(find_holder, number);
    stall_watch_label("tests/a.py::test_b", 18);
    uint64_t when = clock_ticks();
    knock_asks(when);
    await_report(STACKS);
    sleep_for(5 * TIMEOUT);
    CHECK(strstr(reported(), "gilknock: no thread could get the GIL for") != NULL);
    CHECK(
        strstr(reported(), "s, in tests/a.py::test_b; thread 0x0000000000000abc (hog) holds it\n"));
    CHECK(strstr(strstr(reported(), STACKS) + 1, STACKS) == NULL);

    knock_asks(0);
    stall_watch_answered(when, when + 3 * timeout, false);
    stall_watch_stop();
    CHECK(take() == 1 && omitted == 0);
    CHECK(strcmp(stalls[0].label, "tests/a.py::test_b") == 0);
    CHECK(stalls[0].asked == when && stalls[0].lasted == 3 * timeout);
    CHECK(stalls[0].holder.ident == 0xabc && strcmp(stalls[0].holder.name, "hog") == 0);
    CHECK(stalls[0].stacks_size == strlen(STACKS));
    CHECK(memcmp(stalls[0].stacks, STACKS, strlen(STACKS)) == 0);
    free_stacks(1);
    CHECK(take() == 0);
}

static void test_the_next_stall_is_reported_as_well(void) {
    start(find_nobody, number);
    stall_watch_label("", 0);
    for (int i = 1; i <= 3; i++) {
        uint64_t when = clock_ticks();
        knock_asks(when);
        for (const char *at = reported();; at = reported()) {
            int found = 0;
            for (; (at = strstr(at, STACKS)) != NULL; at++) {
                found++;
            }
            if (found == i) {
                break;
            }
            sleep_for(MILLISECOND);
        }
        knock_asks(0);
        stall_watch_answered(when, clock_ticks(), false);
    }
    stall_watch_stop();
    CHECK(strstr(reported(), ", in") == NULL && strstr(reported(), "holds it") == NULL);
    CHECK(take() == 3);
    free_stacks(3);
}

static void test_knocks_that_are_answered_in_time_are_no_stalls(void) {
    bool in_time = true; /* unless the machine lets this thread wait */
    start(find_holder, number);
    for (int i = 0; i < 40; i++) {
        uint64_t when = clock_ticks();
        knock_asks(when);
        sleep_for(MILLISECOND);
        knock_asks(0);
        in_time = in_time && clock_elapsed(when, clock_ticks()) < timeout;
        stall_watch_answered(when, when + timeout / 2, false);
    }
    stall_watch_stop();
    size_t count = take();
    CHECK(count == 0 || !in_time);
    free_stacks(count);
}

static void test_a_stall_that_goes_on_is_taken_with_what_it_lasted_so_far(void) {
    start(find_holder, number);
    uint64_t when = clock_ticks();
    knock_asks(when);
    await_report(STACKS);
    stall_watch_stop();
    uint64_t now = clock_ticks();
    CHECK(stall_watch_take(stalls, now, &omitted) == 1);
    CHECK(stalls[0].lasted == now - when);
    free_stacks(1);
}

static void test_a_stall_that_was_taken_while_it_lasted_is_not_noted_again(void) {
    start(find_holder, number);
    uint64_t when = clock_ticks();
    knock_asks(when);
    await_report(STACKS);
    CHECK(take() == 1);
    free_stacks(1);
    knock_asks(0);
    stall_watch_answered(when, when + 3 * timeout, false);
    CHECK(take() == 0 && omitted == 0);
    stall_watch_answered(when + 1, when + 1 + 2 * timeout, false);
    stall_watch_stop();
    CHECK(take() == 1 && stalls[0].asked == when + 1);
}

static void find_the_latest(struct stall_holder *holder) {
    find_holder(holder);
    holder->since = __atomic_load_n(&got, __ATOMIC_RELAXED);
}

/* Returns false where the machine let this thread wait for as long as a stall takes. */
static bool threads_take_turns(uint64_t nanoseconds) {
    bool in_time = true;
    uint64_t before = clock_ticks();
    for (uint64_t until = clock_system_ns() + nanoseconds; clock_system_ns() < until;) {
        uint64_t now = clock_ticks();
        in_time = in_time && now - before < timeout;
        before = now;
        __atomic_store_n(&got, now, __ATOMIC_RELAXED);
        sleep_for(MILLISECOND);
    }
    return in_time;
}

static void test_a_knock_that_waits_while_threads_take_turns_is_no_stall(void) {
    start(find_the_latest, number);
    uint64_t when = clock_ticks();
    knock_asks(when);
    bool in_time = threads_take_turns(5 * TIMEOUT);
    knock_asks(0);
    stall_watch_answered(when, when + 5 * timeout, true);
    stall_watch_stop();
    size_t count = take();
    CHECK((count == 0 && omitted == 0 && strcmp(reported(), "") == 0) || !in_time);
    free_stacks(count);
}

static void test_a_stall_lasts_since_a_thread_last_got_the_gil(void) {
    start(find_the_latest, number);
    uint64_t when = clock_ticks();
    knock_asks(when);
    bool in_time = threads_take_turns(3 * TIMEOUT);
    uint64_t since = __atomic_load_n(&got, __ATOMIC_RELAXED);
    await_report(STACKS);
    knock_asks(0);
    stall_watch_answered(when, since + 2 * timeout, true);
    stall_watch_stop();
    CHECK(take() == 1 && stalls[0].asked == when);
    CHECK((stalls[0].since == since && stalls[0].lasted == 2 * timeout) || !in_time);
    free_stacks(1);
}

/* The GIL goes from one thread that keeps it to another one, while the knock waits on. */
static void test_a_stall_ends_as_another_thread_gets_the_gil_and_the_next_one_is_reported(void) {
    start(find_the_latest, number);
    uint64_t when = clock_ticks();
    __atomic_store_n(&got, when, __ATOMIC_RELAXED);
    knock_asks(when);
    await_report("holds it\n");
    bool in_time = threads_take_turns(3 * TIMEOUT);
    uint64_t since = __atomic_load_n(&got, __ATOMIC_RELAXED);
    bool second = false;
    for (int i = 0; i < 1000 && !second; i++) {
        const char *first = strstr(reported(), "holds it\n");
        second = strstr(first + 1, "holds it\n") != NULL;
        sleep_for(MILLISECOND);
    }
    knock_asks(0);
    stall_watch_answered(when, since + 2 * timeout, true);
    stall_watch_stop();
    size_t count = take();
    CHECK((second && count == 2) || !in_time);
    if (count == 2 && in_time) {
        CHECK(stalls[0].since == when && stalls[0].lasted <= since - when);
        CHECK(stalls[1].asked == when && stalls[1].since == since);
        CHECK(stalls[1].lasted == 2 * timeout);
    }
    free_stacks(count);
}

/* The accounting, which knows of turns, may have ended meanwhile. */
static void test_a_stall_after_turns_is_one_though_nobody_knows_of_them_any_more(void) {
    for (int taken = 0; taken < 2; taken++) {
        start(find_the_latest, number);
        uint64_t when = clock_ticks();
        knock_asks(when);
        bool in_time = threads_take_turns(2 * TIMEOUT);
        uint64_t since = __atomic_load_n(&got, __ATOMIC_RELAXED);
        await_report("holds it\n");
        size_t count = taken ? take() : 0;
        knock_asks(0);
        stall_watch_answered(when, since + 3 * timeout, false);
        stall_watch_stop();
        size_t left = taken ? count : take();
        CHECK(left == 1 || !in_time);
        CHECK(taken || !in_time || (stalls[0].since == since && stalls[0].lasted == 3 * timeout));
        free_stacks(left);
        CHECK(!taken || !in_time || take() == 0);
    }
}

static void test_a_stall_that_the_thread_came_too_late_for_is_noted(void) {
    start(find_holder, number);
    stall_watch_answered(1000, 1000 + 2 * timeout, false);
    stall_watch_stop();
    CHECK(take() == 1);
    CHECK(stalls[0].lasted == 2 * timeout && stalls[0].stacks == NULL);
}

static void test_what_has_no_room_is_counted(void) {
    start(find_holder, number);
    for (uint64_t i = 1; i <= STALLS + 5; i++) {
        stall_watch_answered(i, i + 2 * timeout, false);
    }
    stall_watch_stop();
    CHECK(take() == STALLS && omitted == 5);
    CHECK(take() == 0 && omitted == 0);
}

static void test_a_label_is_cut_off(void) {
    char label[2 * STALL_LABEL_SIZE];
    memset(label, 'x', sizeof label);
    start(find_holder, number);
    stall_watch_label(label, sizeof label);
    stall_watch_answered(1000, 1000 + 2 * timeout, false);
    stall_watch_stop();
    CHECK(take() == 1 && strlen(stalls[0].label) == STALL_LABEL_SIZE - 1);
}

/* The default action of the signal would end the program. */
static void test_without_the_handler_no_signal_is_sent(void) {
    for (int with_signal = 0; with_signal <= 1; with_signal++) {
        start(find_holder, with_signal ? number : 0);
        CHECK(signal(number, with_signal ? SIG_DFL : write_stacks) != SIG_ERR);
        uint64_t when = clock_ticks();
        knock_asks(when);
        await_report("holds it\n");
        stall_watch_stop();
        CHECK(strstr(reported(), STACKS) == NULL);
        CHECK(take() == 1 && stalls[0].stacks == NULL);
        CHECK(signal(number, write_stacks) != SIG_ERR);
    }
}

/* raise() of musl sends the signal to the thread that was copied, and not to the copy. */
static void end_by_signal(void) { kill(getpid(), SIGSEGV); }

/* What the copies of the process do is seen in the file only, which they share. */
static void crash(int unused) {
    write_stacks(unused);
    end_by_signal();
}

static void crash_once(int unused) {
    static char mark[] = "crashed";
    char there[sizeof mark];
    write_stacks(unused);
    if (pread(crashes, there, sizeof mark, 0) == 0) {
        CHECK(pwrite(crashes, mark, sizeof mark, 0) == (ssize_t)sizeof mark);
        end_by_signal();
    }
}

static void test_a_handler_that_crashes_costs_the_rest_of_the_stacks_at_most(void) {
    crashes = temporary_file();
    void (*const handlers[])(int) = {crash_once, crash};
    for (int always = 0; always <= 1; always++) {
        CHECK(signal(number, handlers[always]) != SIG_ERR);
        start(find_holder, number);
        knock_asks(clock_ticks());
        await_report(STACKS);
        stall_watch_stop();
        CHECK((strstr(reported(), "(the rest of the stacks cannot be read)\n") != NULL) == always);
        CHECK(take() == 1 && stalls[0].stacks != NULL);
        free_stacks(1);
    }
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 &&
          errno == ECHILD); /* no copy is a child of the program's */
    CHECK(signal(number, write_stacks) != SIG_ERR);
    close(crashes);
}

static void test_where_the_process_cannot_be_copied_the_report_says_so(void) {
    no_copies = true;
    start(find_holder, number);
    knock_asks(clock_ticks());
    await_report("holds it\n(no stacks: the process cannot be copied: Operation not permitted)\n");
    stall_watch_stop();
    CHECK(strstr(reported(), STACKS) == NULL);
    CHECK(take() == 1);
    free_stacks(1);
    no_copies = false;
}

/* As os.closerange() does, and the next open(). */
static void test_a_file_of_the_program_is_left_alone_that_has_the_number_of_a_closed_one(void) {
    static const char text[] = "the program's";
    char kept[sizeof text] = "";
    start(find_holder, number);
    int own = dup(scratch), other = temporary_file();
    CHECK(write(other, text, sizeof text) == (ssize_t)sizeof text);
    CHECK(dup2(other, scratch) == scratch);
    knock_asks(clock_ticks());
    await_report("holds it\n");
    stall_watch_stop();
    CHECK(pread(other, kept, sizeof kept, 0) == (ssize_t)sizeof text && strcmp(kept, text) == 0);
    CHECK(lseek(other, 0, SEEK_END) == (off_t)sizeof text);
    CHECK(take() == 1 && stalls[0].stacks == NULL);
    CHECK(dup2(own, scratch) == scratch && close(own) == 0 && close(other) == 0);
}

static void test_it_pauses_around_a_fork_and_the_child_is_not_watched(void) {
    start(find_holder, number);
    stall_watch_pause();
    knock_asks(clock_ticks());
    sleep_for(5 * TIMEOUT);
    CHECK(reported()[0] == '\0');
    pid_t child = fork();
    if (child == 0) {
        stall_watch_label("child", 5);
        stall_watch_answered(1000, 1000 + 2 * timeout, false);
        CHECK(take() == 0);
        stall_watch_resume();
        stall_watch_stop();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    stall_watch_resume();
    await_report(STACKS);
    stall_watch_stop();
    CHECK(take() == 1);
    free_stacks(1);
    stall_watch_resume();
    stall_watch_stop();
}

static pthread_barrier_t together;

static void *stop_together(void *unused) {
    (void)unused;
    pthread_barrier_wait(&together);
    stall_watch_stop();
    return NULL;
}

static void test_two_threads_may_end_it_at_once_and_a_third_fork_meanwhile(void) {
    CHECK(pthread_barrier_init(&together, NULL, 3) == 0);
    for (int i = 0; i < 100; i++) {
        pthread_t threads[2];
        start(find_nobody, 0);
        for (int j = 0; j < 2; j++) {
            CHECK(pthread_create(&threads[j], NULL, stop_together, NULL) == 0);
        }
        pthread_barrier_wait(&together);
        stall_watch_pause();
        stall_watch_resume();
        for (int j = 0; j < 2; j++) {
            CHECK(pthread_join(threads[j], NULL) == 0);
        }
    }
    pthread_barrier_destroy(&together);
}

static void test_a_report_that_nobody_reads_keeps_nobody(void) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    char filling[4096] = {0};
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    while (write(ends[1], filling, sizeof filling) > 0) {
    }
    CHECK(fcntl(ends[1], F_SETFL, 0) == 0);
    start(find_nobody, number);
    stall_watch_stop();
    const struct stall_watch_options options = {TIMEOUT, &asked, ends[1],
                                                scratch, number, find_nobody};
    CHECK(stall_watch_start(&options) == 0);
    knock_asks(clock_ticks());
    size_t count = 0;
    for (int i = 0; i < 10000 && count == 0; i++) {
        sleep_for(MILLISECOND);
        count = take();
        CHECK(count <= 1);
    }
    CHECK(count == 1);
    free_stacks(count);
    stall_watch_stop();
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    clock_init();
    timeout = (uint64_t)(TIMEOUT / (clock_seconds(MILLISECOND) * 1e9) * MILLISECOND);
    knocker_init();
    scratch = temporary_file();
    number = stall_watch_free_signal();
    CHECK(number >= SIGRTMIN && number <= SIGRTMAX);
    CHECK(signal(number, write_stacks) != SIG_ERR);
    CHECK(stall_watch_free_signal() != number);
    test_a_stall_is_reported_once_while_it_lasts();
    test_the_next_stall_is_reported_as_well();
    test_knocks_that_are_answered_in_time_are_no_stalls();
    test_a_stall_that_goes_on_is_taken_with_what_it_lasted_so_far();
    test_a_stall_that_was_taken_while_it_lasted_is_not_noted_again();
    test_a_knock_that_waits_while_threads_take_turns_is_no_stall();
    test_a_stall_lasts_since_a_thread_last_got_the_gil();
    test_a_stall_ends_as_another_thread_gets_the_gil_and_the_next_one_is_reported();
    test_a_stall_after_turns_is_one_though_nobody_knows_of_them_any_more();
    test_a_stall_that_the_thread_came_too_late_for_is_noted();
    test_what_has_no_room_is_counted();
    test_a_label_is_cut_off();
    test_without_the_handler_no_signal_is_sent();
    test_a_handler_that_crashes_costs_the_rest_of_the_stacks_at_most();
    test_where_the_process_cannot_be_copied_the_report_says_so();
    test_a_file_of_the_program_is_left_alone_that_has_the_number_of_a_closed_one();
    test_it_pauses_around_a_fork_and_the_child_is_not_watched();
    test_two_threads_may_end_it_at_once_and_a_third_fork_meanwhile();
    test_a_report_that_nobody_reads_keeps_nobody();
    return 0;
}
