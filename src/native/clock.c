#define _GNU_SOURCE /* CLOCK_BOOTTIME */
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#endif

#include "native/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#if CLOCK_HAS_COUNTER && defined(__x86_64__)
#include <cpuid.h>
#endif

#define NS_PER_SECOND UINT64_C(1000000000)

enum clock_source clock_source = CLOCK_SYSTEM;

static bool initialized;

/* Zero until it is known. Atomic. */
static double seconds_per_tick;

static double rate(void) {
    double value;
    __atomic_load(&seconds_per_tick, &value, __ATOMIC_RELAXED);
    return value;
}

static void set_rate(double value) { __atomic_store(&seconds_per_tick, &value, __ATOMIC_RELAXED); }

#ifndef __APPLE__
static uint64_t system_ns(clockid_t clock) {
    struct timespec now = {0, 0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}
#endif

uint64_t clock_system_ns(void) {
#ifdef __APPLE__
    return clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
#else
    return system_ns(CLOCK_MONOTONIC);
#endif
}

const char *clock_name(void) {
#if CLOCK_HAS_COUNTER && defined(__x86_64__)
    if (clock_source == CLOCK_COUNTER) {
        return "tsc";
    }
#elif CLOCK_HAS_COUNTER
    if (clock_source == CLOCK_COUNTER) {
        return "cntvct";
    }
#endif
#ifdef __APPLE__
    return "mach";
#else
    return "clock_gettime";
#endif
}

#if CLOCK_HAS_COUNTER

#define MINIMUM_BASELINE_NS UINT64_C(2000000)
#define DECISIVE_BASELINE_NS UINT64_C(20000000)
#define LONGEST_BASELINE_NS (10 * NS_PER_SECOND)
#define BRACKETS 16
#define SLEEP_LOOKS 4
#define ANCHORS 16
#define RATE_TOLERANCE 1e-3
#define SLEEP_TOLERANCE_NS UINT64_C(1000000)

/* The same moment on both clocks, and how long the machine had been asleep by
 * then: the monotonic clock stops meanwhile, the counter may run on, stop, or
 * begin anew. */
struct clock_pair {
    uint64_t ticks;
    uint64_t ns;
    uint64_t asleep; /* ns */
};

/* Where the rate is measured from: the latest one. Each is written by one
 * thread, before it becomes the latest, and no more until all others have been
 * used. */
static struct clock_pair anchors[ANCHORS];
static unsigned latest_anchor; /* atomic */
static unsigned anchors_begun; /* atomic */

/* The tick from which on a new rate is worth having. Atomic. */
static uint64_t calibration_due;

/* The system clock is read between two reads of the counter. The narrowest of
 * several such brackets is the one no interrupt fell into, and its middle is
 * the moment of the system's reading. */
static struct clock_pair read_both(void) {
    struct clock_pair pair = {0, 0, 0};
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < BRACKETS; i++) {
        uint64_t before = clock_counter();
        uint64_t ns = clock_system_ns();
        uint64_t width = clock_elapsed(before, clock_counter());
        if (width < narrowest) {
            narrowest = width;
            pair.ticks = before + width / 2;
            pair.ns = ns;
        }
    }
    for (int i = 0; i < SLEEP_LOOKS; i++) { /* what passes between the two clocks counts off */
        uint64_t since_boot = system_ns(CLOCK_BOOTTIME), awake = clock_system_ns();
        if (since_boot > awake && since_boot - awake > pair.asleep) {
            pair.asleep = since_boot - awake;
        }
    }
    return pair;
}

/* The kernel keeps its own time by this counter, so it has found it steady and
 * equal on all cores. It watches for the opposite as long as it runs, and
 * changes the clocksource then. */
static bool is_kernel_clocksource(const char *name) {
    char current[32] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(current, sizeof current, file) != NULL;
    fclose(file);
    current[strcspn(current, "\n")] = '\0';
    return read && strcmp(current, name) == 0;
}

#ifdef __x86_64__
/* "Invariant TSC", CPUID.80000007H:EDX[8]: the rate is the same in all power
 * states (Intel SDM volume 3, "Invariant TSC"; AMD APM volume 3, appendix
 * E.4.7). */
static bool counter_is_steady(void) {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && (edx & (1u << 8)) != 0 &&
           is_kernel_clocksource("tsc");
}

/* No rate is known before it is measured. */
static double nominal_seconds_per_tick(void) { return 0.0; }
#else
static uint64_t counter_frequency(void) {
    uint64_t hertz;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hertz));
    return hertz & UINT32_MAX;
}

static bool counter_is_steady(void) {
    return counter_frequency() != 0 && is_kernel_clocksource("arch_sys_counter");
}

/* The generic timer states its rate (Arm ARM, CNTFRQ_EL0). */
static double nominal_seconds_per_tick(void) { return 1.0 / (double)counter_frequency(); }
#endif

static void set_anchor(struct clock_pair pair) {
    unsigned next = __atomic_add_fetch(&anchors_begun, 1, __ATOMIC_RELAXED) % ANCHORS;
    anchors[next] = pair;
    __atomic_store_n(&latest_anchor, next, __ATOMIC_RELEASE);
}

static struct clock_pair anchor(void) {
    return anchors[__atomic_load_n(&latest_anchor, __ATOMIC_ACQUIRE)];
}

static void set_due(uint64_t ticks) { __atomic_store_n(&calibration_due, ticks, __ATOMIC_RELAXED); }

void clock_init(void) {
    if (initialized) {
        return;
    }
    initialized = true;
    if (!counter_is_steady()) {
        set_rate(1.0 / (double)NS_PER_SECOND);
        set_due(UINT64_MAX);
        return;
    }
    clock_source = CLOCK_COUNTER;
    double nominal = nominal_seconds_per_tick();
    set_rate(nominal);
    set_due(nominal == 0.0 ? 0 : UINT64_MAX);
    set_anchor(read_both());
}

static bool is_due(void) {
    return clock_counter() >= __atomic_load_n(&calibration_due, __ATOMIC_RELAXED);
}

/* Whether the machine has not slept from one moment to another, nor the counter
 * been set back. */
static bool ran_on(const struct clock_pair *from, const struct clock_pair *to) {
    uint64_t slept =
        to->asleep > from->asleep ? to->asleep - from->asleep : from->asleep - to->asleep;
    return to->ticks >= from->ticks && slept < SLEEP_TOLERANCE_NS;
}

static bool is_near(double one, double other) {
    return one < other * (1.0 + RATE_TOLERANCE) && other < one * (1.0 + RATE_TOLERANCE);
}

/* Whether a rate may be used from now on. One that is not near the one in use
 * has to be found twice in a row: either of the two may be wrong. */
static bool is_settled(double measured, double known) {
    static double suspect; /* atomic; 0: none */
    double former;
    __atomic_load(&suspect, &former, __ATOMIC_RELAXED);
    bool settled = is_near(measured, known) || (former != 0.0 && is_near(measured, former));
    double next = settled ? 0.0 : measured;
    __atomic_store(&suspect, &next, __ATOMIC_RELAXED);
    return settled;
}

/* Measure from `now` on instead. The rate in use, if any, stays until a
 * baseline of about that length is there. */
static void begin_anew(struct clock_pair now, uint64_t baseline_ns, double guessed_rate) {
    double ticks = guessed_rate != 0.0 ? (double)baseline_ns * 1e-9 / guessed_rate : 0.0;
    set_anchor(now);
    set_due(ticks < 0x1p62 ? now.ticks + (uint64_t)ticks : UINT64_MAX);
}

/* Threads may do so at the same time: each of them finds a good rate, and the
 * last one's stays. */
void clock_calibrate(void) {
    static uint64_t known_baseline; /* ns; atomic: what the rate in use was measured over */
    if (clock_source != CLOCK_COUNTER || !is_due()) {
        return;
    }
    struct clock_pair from = anchor(), now;
    do {
        now = read_both();
        if (!ran_on(&from, &now)) {
            begin_anew(now, __atomic_load_n(&known_baseline, __ATOMIC_RELAXED), rate());
            from = now;
        }
    } while (now.ns - from.ns < MINIMUM_BASELINE_NS && rate() == 0.0);
    uint64_t ns = now.ns - from.ns, ticks = now.ticks - from.ticks;
    if (ns < MINIMUM_BASELINE_NS) {
        return; /* just begun anew */
    }
    double measured = (double)ns * 1e-9 / (double)ticks, known = rate();
    if (known != 0.0 && !is_settled(measured, known)) {
        begin_anew(now, DECISIVE_BASELINE_NS, measured > known ? measured : known);
        return;
    }
    __atomic_store_n(&known_baseline, ns, __ATOMIC_RELAXED);
    set_rate(measured);
    set_due(ns < LONGEST_BASELINE_NS ? now.ticks + ticks : UINT64_MAX);
}

#else

void clock_init(void) {
    initialized = true;
    set_rate(1.0 / (double)NS_PER_SECOND);
}

void clock_calibrate(void) {}

#endif

double clock_seconds(uint64_t ticks) {
    if (rate() == 0.0 && initialized) {
        clock_calibrate();
    }
    return (double)ticks * rate();
}
