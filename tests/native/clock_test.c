#define _GNU_SOURCE

#include "native/clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "check.h"

#define THREADS 4

struct moment {
    uint64_t ticks;
    double seconds;
};

#if CLOCK_HAS_COUNTER
/* Stands in for the C library's. The monotonic clock stops while the machine is asleep, though the
 * counter runs on; only the other clock tells of it, if any. */
static uint64_t asleep, asleep_untold; /* ns */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int error = (int)syscall(SYS_clock_gettime, clock, now);
    uint64_t ns = (uint64_t)now->tv_sec * 1000000000 + (uint64_t)now->tv_nsec;
    if (clock == CLOCK_MONOTONIC) {
        ns -= asleep;
    } else if (clock == CLOCK_BOOTTIME) {
        ns -= asleep_untold;
    }
    *now = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    return error;
}
#endif

static double monotonic(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The same moment on both clocks: of many tries the one least disturbed. */
static struct moment read_moment(void) {
    struct moment moment = {0, 0.0};
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < 200; i++) {
        uint64_t before = clock_ticks();
        double seconds = monotonic();
        uint64_t width = clock_elapsed(before, clock_ticks());
        if (width < narrowest) {
            narrowest = width;
            moment = (struct moment){before + width / 2, seconds};
        }
    }
    return moment;
}

static void sleep_ms(long ms) {
    struct timespec duration = {0, ms * 1000000};
    nanosleep(&duration, NULL);
}

/* Runs first, when no rate is known yet. */
static void *convert(void *unused) {
    (void)unused;
    CHECK(clock_seconds(1000) > 0.0);
    clock_calibrate();
    CHECK(clock_seconds(1000) > 0.0);
    return NULL;
}

static void test_threads_may_calibrate_at_once(double seconds_at_init) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, convert, NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    if (strcmp(clock_name(), "tsc") == 0) {
        CHECK(monotonic() - seconds_at_init >= 0.002);
    }
}

static void test_ticks_pass_at_the_rate_of_the_monotonic_clock(struct moment start,
                                                               double tolerance) {
    for (long ms = 10; ms <= 160; ms *= 2) {
        sleep_ms(ms);
        clock_calibrate();
        struct moment end = read_moment();
        double ratio =
            clock_seconds(clock_elapsed(start.ticks, end.ticks)) / (end.seconds - start.seconds);
        CHECK(1.0 - tolerance < ratio && ratio < 1.0 + tolerance);
    }
}

static void test_source_is_named(void) {
    const char *names[] = {"tsc", "cntvct", "clock_gettime"};
    int found = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        found += strcmp(clock_name(), names[i]) == 0;
    }
    CHECK(found == 1);
    CHECK((clock_source == CLOCK_COUNTER) == (strcmp(clock_name(), "clock_gettime") != 0));
}

static void test_system_clock_counts_nanoseconds(void) {
    double before = monotonic();
    double now = (double)clock_system_ns() * 1e-9;
    double after = monotonic();
    CHECK(before - 1e-6 <= now && now <= after + 1e-6);
}

static void test_an_end_before_its_beginning_is_no_time(void) {
    CHECK(clock_elapsed(10, 25) == 15);
    CHECK(clock_elapsed(10, 10) == 0);
    CHECK(clock_elapsed(25, 10) == 0);
    CHECK(clock_seconds(0) == 0.0);
}

static void test_a_second_init_changes_nothing(void) {
    double before = clock_seconds(UINT64_C(1) << 40);
    clock_init();
    CHECK(clock_seconds(UINT64_C(1) << 40) == before);
}

#if CLOCK_HAS_COUNTER
static void fall_asleep(long ms, bool told) {
    uint64_t before = clock_system_ns();
    sleep_ms(ms);
    uint64_t slept = clock_system_ns() - before;
    asleep += slept;
    asleep_untold += told ? 0 : slept;
}

/* Returns the process of its own that does so, as the clock has to be new. */
static pid_t machine_that_slept(bool calibrated, bool told) {
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    clock_init();
    if (calibrated) {
        sleep_ms(5);
        clock_calibrate();
    }
    fall_asleep(200, told);
    if (!told) { /* it takes a second rate to see that the first is wrong, and two that agree */
        for (int i = 0; i < 5; i++) {
            clock_calibrate();
            sleep_ms(250);
        }
    }
    clock_calibrate();
    test_ticks_pass_at_the_rate_of_the_monotonic_clock(read_moment(), 1e-3);
    for (int i = 0; i < 3; i++) {
        fall_asleep(50, told);
        test_ticks_pass_at_the_rate_of_the_monotonic_clock(read_moment(), 1e-3);
    }
    _exit(0);
}

static void test_a_machine_that_slept_does_not_break_the_rate(void) {
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = machine_that_slept(i % 2 != 0, i / 2 != 0);
    }
    for (int i = 0; i < 4; i++) {
        int status;
        CHECK(children[i] > 0 && waitpid(children[i], &status, 0) == children[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}
#endif

int main(void) {
#if CLOCK_HAS_COUNTER
    test_a_machine_that_slept_does_not_break_the_rate();
#endif
    double seconds_at_init = monotonic();
    clock_init();
    struct moment start = read_moment();
    test_threads_may_calibrate_at_once(seconds_at_init);
    test_ticks_pass_at_the_rate_of_the_monotonic_clock(start, 1e-4);
    test_source_is_named();
    test_system_clock_counts_nanoseconds();
    test_an_end_before_its_beginning_is_no_time();
    test_a_second_init_changes_nothing();
    return 0;
}
