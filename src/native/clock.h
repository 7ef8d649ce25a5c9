/* Monotonic ticks, cheap enough to be read at every take and release of the GIL.
 *
 * A tick is one step of the processor's own counter where the kernel keeps its time by that same
 * counter, and a nanosecond of the system's monotonic clock elsewhere. Ticks are compared and
 * subtracted as they are; only a reading turns them into seconds. */

#ifndef GILKNOCK_CLOCK_H
#define GILKNOCK_CLOCK_H

#include <stdint.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#define CLOCK_HAS_COUNTER 1
#else
#define CLOCK_HAS_COUNTER 0
#endif

enum clock_source { CLOCK_SYSTEM, CLOCK_COUNTER };

/* Set by clock_init, constant afterwards. */
extern enum clock_source clock_source;

/* Chooses the source and takes the first calibration point. Call it before anything else here, from
 * one thread; further calls do nothing. */
void clock_init(void);

/* The rate of the counter, from the time passed since clock_init: once at least 2 ms (waits for
 * them), again whenever that time has doubled, and no more after 10 s. It is measured anew from
 * when the machine has slept meanwhile, or the rate is another. Otherwise costs one look at the
 * counter. Any thread may call it. */
void clock_calibrate(void);

/* A difference of ticks in seconds. Calibrates when nobody has yet. */
double clock_seconds(uint64_t ticks);

/* "tsc", "cntvct", "clock_gettime" or "mach". */
const char *clock_name(void);

/* Nanoseconds of the system's monotonic clock. */
uint64_t clock_system_ns(void);

#if CLOCK_HAS_COUNTER
static inline uint64_t clock_counter(void) {
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}
#endif

/* Now. Not ordered against the instructions around it. */
static inline uint64_t clock_ticks(void) {
#if CLOCK_HAS_COUNTER
    if (clock_source == CLOCK_COUNTER) {
        return clock_counter();
    }
#endif
    return clock_system_ns();
}

/* Ticks from one moment to another. The counters of two cores may differ by a few ticks: an end
 * read before its beginning is no time at all. */
static inline uint64_t clock_elapsed(uint64_t from, uint64_t to) {
    return to > from ? to - from : 0;
}

#endif
