#define _POSIX_C_SOURCE 200809L
#ifdef __APPLE__
#define _DARWIN_C_SOURCE
#endif

#include "native/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include <windows.h>
#endif
#if CLOCK_HAS_COUNTER && defined(__x86_64__)
#include <cpuid.h>
#endif

#define NS_PER_SECOND UINT64_C(1000000000)

enum clock_source clock_source = CLOCK_SYSTEM;

static bool initialized;

/* Zero until it is known. */
static _Atomic double seconds_per_tick;

uint64_t clock_system_ns(void) {
#if defined(_WIN32)
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    uint64_t count = (uint64_t)now.QuadPart, per_second = (uint64_t)frequency.QuadPart;
    return count / per_second * NS_PER_SECOND + count % per_second * NS_PER_SECOND / per_second;
#elif defined(__APPLE__)
    return clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
#endif
}

const char *clock_name(void) {
#if CLOCK_HAS_COUNTER && defined(__x86_64__)
    if (clock_source == CLOCK_COUNTER)
        return "tsc";
#elif CLOCK_HAS_COUNTER
    if (clock_source == CLOCK_COUNTER)
        return "cntvct";
#endif
#if defined(_WIN32)
    return "QueryPerformanceCounter";
#elif defined(__APPLE__)
    return "mach";
#else
    return "clock_gettime";
#endif
}

#if CLOCK_HAS_COUNTER

#define MINIMUM_BASELINE_NS UINT64_C(2000000)
#define LONGEST_BASELINE_NS (10 * NS_PER_SECOND)
#define BRACKETS 16

/* The same moment on both clocks. */
struct clock_pair {
    uint64_t ticks;
    uint64_t ns;
};

/* Where the rate is measured from. Set by clock_init, constant afterwards. */
static struct clock_pair anchor;

/* The tick from which on a new rate is worth having. */
static _Atomic uint64_t calibration_due;

/* The system clock is read between two reads of the counter. The narrowest of several such brackets
   is the one no interrupt fell into, and its middle is the moment of the system's reading. */
static struct clock_pair read_both(void) {
    struct clock_pair pair = {0, 0};
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
    return pair;
}

/* The kernel keeps its own time by this counter, so it has found it steady and equal on all cores.
   It watches for the opposite as long as it runs, and changes the clocksource then. */
static bool is_kernel_clocksource(const char *name) {
    char current[32] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file == NULL)
        return false;
    bool read = fgets(current, sizeof current, file) != NULL;
    fclose(file);
    current[strcspn(current, "\n")] = '\0';
    return read && strcmp(current, name) == 0;
}

#ifdef __x86_64__
/* "Invariant TSC", CPUID.80000007H:EDX[8]: the rate is the same in all power states (Intel SDM
   volume 3, "Invariant TSC"; AMD APM volume 3, appendix E.4.7). */
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

void clock_init(void) {
    if (initialized)
        return;
    initialized = true;
    if (!counter_is_steady()) {
        seconds_per_tick = 1.0 / (double)NS_PER_SECOND;
        calibration_due = UINT64_MAX;
        return;
    }
    clock_source = CLOCK_COUNTER;
    seconds_per_tick = nominal_seconds_per_tick();
    calibration_due = seconds_per_tick == 0.0 ? 0 : UINT64_MAX;
    anchor = read_both();
}

static bool rate_is_known(void) {
    return atomic_load_explicit(&seconds_per_tick, memory_order_relaxed) != 0.0;
}

static bool is_due(void) {
    return clock_counter() >= atomic_load_explicit(&calibration_due, memory_order_relaxed);
}

/* Threads may do so at the same time: each of them finds a good rate, and the last one's stays. */
void clock_calibrate(void) {
    if (clock_source != CLOCK_COUNTER || !is_due())
        return;
    struct clock_pair from = anchor, now;
    do {
        now = read_both();
        if (now.ticks < from.ticks) /* Set back, as by a suspended machine. */
            from = now;
    } while (now.ns - from.ns < MINIMUM_BASELINE_NS);
    uint64_t ns = now.ns - from.ns, ticks = now.ticks - from.ticks;
    uint64_t due = ns < LONGEST_BASELINE_NS ? now.ticks + ticks : UINT64_MAX;
    atomic_store_explicit(&seconds_per_tick, (double)ns / (double)NS_PER_SECOND / (double)ticks,
                          memory_order_relaxed);
    atomic_store_explicit(&calibration_due, due, memory_order_relaxed);
}

#else

void clock_init(void) {
    initialized = true;
    seconds_per_tick = 1.0 / (double)NS_PER_SECOND;
}

void clock_calibrate(void) {}

static bool rate_is_known(void) { return initialized; }

#endif

double clock_seconds(uint64_t ticks) {
    if (!rate_is_known())
        clock_calibrate();
    return (double)ticks * atomic_load_explicit(&seconds_per_tick, memory_order_relaxed);
}
