#define _GNU_SOURCE
#include "native/thread_usage.h"

#ifdef __linux__

#include <errno.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

#include "native/clock.h"

#define PROOF_TRIES 12

/* The processor time that getrusage gives is only brought up to date now and then. */
struct usage usage_now(void) {
    struct timespec used = {0, 0};
    struct rusage usage = {.ru_nvcsw = 0}; /* a sandbox may succeed and write nothing */
    int error_before = errno;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0 ||
        getrusage(RUSAGE_THREAD, &usage) != 0) {
        errno = error_before;
        return (struct usage){0, UNKNOWN_SLEEPS};
    }
    return (struct usage){(int64_t)used.tv_sec * 1000000000 + used.tv_nsec, usage.ru_nvcsw};
}

/* Whether a sleep counts as one. A sandbox may deny getrusage, or fake it. */
static bool sleeps_are_counted(void) {
    struct timespec nap = {0, 20000};
    for (int i = 0; i < PROOF_TRIES; i++) {
        struct usage before = usage_now();
        nanosleep(&nap, NULL);
        struct usage after = usage_now();
        if (before.sleeps != UNKNOWN_SLEEPS && after.sleeps > before.sleeps) {
            return true;
        }
        nap.tv_nsec *= 2; /* one that is over before the thread is off the processor is none */
    }
    return false;
}

/* Whether the processor time of a thread that computes grows by what passes, not in large steps. The
 * thread may be kept from the processor meanwhile. */
static bool processor_time_is_counted(void) {
    for (int i = 0; i < PROOF_TRIES; i++) {
        struct usage before = usage_now();
        uint64_t start = clock_system_ns(), passed = 0;
        while (passed < 2 * IDLE_NS) {
            passed = clock_system_ns() - start;
        }
        int64_t used = usage_now().nanoseconds - before.nanoseconds;
        uint64_t most = clock_system_ns() - start + IDLE_NS;
        if (used > IDLE_NS && (uint64_t)used < most) {
            return true;
        }
    }
    return false;
}

const char *why_usage_is_unknown(void) {
    if (!sleeps_are_counted()) {
        return "the system does not count a thread's voluntary context switches (getrusage)";
    }
    if (!processor_time_is_counted()) {
        return "the system does not tell a thread's processor time to the microsecond";
    }
    return NULL;
}

#else

struct usage usage_now(void) { return (struct usage){0, UNKNOWN_SLEEPS}; }

const char *why_usage_is_unknown(void) { return "it is asked for on Linux only"; }

#endif
