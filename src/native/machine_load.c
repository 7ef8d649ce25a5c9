#define _GNU_SOURCE
#include "native/machine_load.h"

#include <stddef.h>

#define NANO 1e-9

/* --- pure --- */

/* Children's time falls when one of them is gone unseen, with all it ever used: then nothing is
 * known of them for once, and they count as others. */
static int64_t own_growth(const struct family_time *before, const struct family_time *after) {
    int64_t self = (int64_t)(after->self - before->self);
    int64_t children = (int64_t)(after->children - before->children);
    return self + (children > 0 ? children : 0);
}

void machine_load_add(struct machine_counters *counters, const struct machine_look *last,
                      const struct machine_look *look) {
    if (counters->looked != 0) {
        int64_t processors = 0;
        for (size_t i = 0; i < MACHINE_PROCESSORS; i++) {
            if (!look->allowed[i] || !look->times[i].online || !last->times[i].online) {
                continue;
            }
            processors++;
            /* Idle time may seem to fall, as that of waiting for disks does. */
            counters->idle += (int64_t)(look->times[i].idle - last->times[i].idle);
            counters->stolen += (int64_t)(look->times[i].stolen - last->times[i].stolen);
        }
        counters->available += processors * (int64_t)(look->at - last->at);
        counters->own += own_growth(&last->own, &look->own);
    }
    counters->looked = look->at;
    counters->has_throttled = look->has_throttled;
    counters->throttled = look->throttled;
    counters->has_stalled = look->has_stalled;
    counters->stalled = look->stalled;
}

static bool is_mark(const struct machine_counters *mark, const struct machine_counters *latest) {
    return mark->looked != 0 && mark->epoch == latest->epoch && mark->looked <= latest->looked;
}

void machine_marks_keep(struct machine_marks *marks, const struct machine_counters *latest) {
    if (!is_mark(&marks->newer, latest)) {
        *marks = (struct machine_marks){.newer = *latest};
    } else if (latest->looked - marks->newer.looked >= MACHINE_RECENT_NS) {
        marks->older = marks->newer;
        marks->newer = *latest;
    }
}

const struct machine_counters *machine_marks_before(const struct machine_marks *marks,
                                                    const struct machine_counters *latest) {
    const struct machine_counters *found[] = {&marks->newer, &marks->older};
    for (size_t i = 0; i < 2; i++) {
        uint64_t age = latest->looked - found[i]->looked;
        if (is_mark(found[i], latest) && age >= MACHINE_RECENT_NS && age <= MACHINE_OLD_NS) {
            return found[i];
        }
    }
    return NULL;
}

static double between(double low, double value, double high) {
    return value < low ? low : value > high ? high : value;
}

bool machine_load_between(const struct machine_counters *before,
                          const struct machine_counters *after, struct machine_load *load) {
    int64_t available = after->available - before->available;
    if (before->looked == 0 || after->epoch != before->epoch || after->looked <= before->looked ||
        available <= 0) {
        return false;
    }
    double all = (double)available * NANO;
    double idle = between(0.0, (double)(after->idle - before->idle) * NANO, all);
    double own = (double)(after->own - before->own) * NANO;
    double stolen = between(0.0, (double)(after->stolen - before->stolen) * NANO, all);
    load->time = (double)(after->looked - before->looked) * NANO;
    load->processors = all / load->time;
    load->idle = idle;
    load->others = between(stolen, all - idle - own, all);
    load->throttled = before->has_throttled && after->has_throttled
                          ? (double)(after->throttled - before->throttled) * NANO
                          : -1.0;
    load->stalled = before->has_stalled && after->has_stalled
                        ? (double)(after->stalled - before->stalled) * NANO
                        : -1.0;
    return true;
}

#ifdef __linux__

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "native/clock.h"

/* Looks take no more than one part of so many of the time. */
#define SPARING 100

static struct {
    struct machine_counters counters;
    struct machine_marks marks;
    struct machine_look looks[2];
    int latest;    /* of the two */
    uint64_t cost; /* ns that the latest took this thread */
    bool examined; /* the groups were looked for */
    struct machine_groups groups;
} state;

/* The processors that the main thread may run on. */
static bool read_allowed(bool allowed[MACHINE_PROCESSORS]) {
    cpu_set_t set;
    if (sched_getaffinity(getpid(), sizeof set, &set) != 0) {
        return false;
    }
    for (int i = 0; i < MACHINE_PROCESSORS; i++) {
        allowed[i] = i < CPU_SETSIZE && CPU_ISSET(i, &set);
    }
    return true;
}

static bool take_look(struct machine_look *look) {
    look->at = clock_system_ns();
    look->has_throttled = machine_files_throttled(&state.groups, &look->throttled);
    look->has_stalled = machine_files_pressure("", &look->stalled);
    return read_allowed(look->allowed) && machine_files_processors("", look->times) &&
           family_time_read(&look->own);
}

/* Processor time of this thread, ns: a busy machine makes a look last, but not cost more. */
static uint64_t thread_time(void) {
    struct timespec time;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) {
        return 0;
    }
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

void machine_load_refresh(uint64_t age) {
    uint64_t now = clock_system_ns(), looked = state.counters.looked;
    uint64_t pause = age > SPARING * state.cost ? age : SPARING * state.cost;
    if (looked != 0 && now - looked <= pause) {
        return;
    }
    if (!state.examined) {
        state.examined = true;
        machine_files_find_groups("", &state.groups);
    }
    uint64_t began = thread_time();
    struct machine_look *look = &state.looks[1 - state.latest];
    if (take_look(look)) {
        machine_load_add(&state.counters, &state.looks[state.latest], look);
        machine_marks_keep(&state.marks, &state.counters);
        state.latest = 1 - state.latest;
    }
    state.cost = thread_time() - began;
}

const struct machine_counters *machine_load_counters(void) { return &state.counters; }

const struct machine_counters *machine_load_recent(void) {
    return machine_marks_before(&state.marks, &state.counters);
}

void machine_load_after_fork(void) {
    uint64_t epoch = state.counters.epoch + 1;
    state.counters = (struct machine_counters){.epoch = epoch};
}

#else

void machine_load_refresh(uint64_t age) { (void)age; }
const struct machine_counters *machine_load_counters(void) {
    static const struct machine_counters never;
    return &never;
}
const struct machine_counters *machine_load_recent(void) { return NULL; }
void machine_load_after_fork(void) {}

#endif
