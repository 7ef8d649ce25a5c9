/* How much of the machine others took: other programs, the kernel, the host of a virtual machine,
 * and the quota of a control group.
 *
 * run_delay.h counts how long threads of this process stood ready without a processor. Whose doing
 * that was it cannot tell: five threads on two idle processors wait for each other. What others took
 * of the processors this process may run on is
 *
 *     others = processors * time - idle - own
 *
 * with `idle` from /proc/stat and `own` the processor time of this process and its children. Busy
 * time is known from what is missing from idle, as the kernel takes idle time exactly, and the parts of
 * busy time only by what it meets at a clock tick. On a virtual machine it has stolen time in it.
 * Stolen time may also lie in `own`, where the kernel does not know better: others took no less than
 * that.
 *
 * The file's numbers come in steps of 10 ms for each processor: of short windows nothing can be
 * known, and of one of 100 ms on two processors within some 10 ms. In a container /proc/stat has the
 * host's numbers, which is right, as those programs compete for the same processors; the quota shows
 * in the throttled time alone. */
#ifndef GILKNOCK_MACHINE_LOAD_H
#define GILKNOCK_MACHINE_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "native/family_time.h"
#include "native/machine_files.h"

/* What one look sees. The processors this process may run on are those of `allowed`. */
struct machine_look {
    uint64_t at; /* ns of the monotonic clock */
    bool allowed[MACHINE_PROCESSORS];
    struct processor_times times[MACHINE_PROCESSORS];
    struct family_time own;
    bool has_throttled, has_stalled;
    uint64_t throttled, stalled; /* ns */
};

/* Sums over the time between the first look and the latest, in nanoseconds: differences count. */
struct machine_counters {
    uint64_t looked;   /* ns of the monotonic clock, when the latest look was; 0: never */
    uint64_t epoch;    /* a fork begins a new one */
    int64_t available; /* processors * time */
    int64_t idle, stolen, own;
    bool has_throttled, has_stalled;
    uint64_t throttled, stalled;
};

/* What is known of the time between two looks; seconds. `throttled` and `stalled` are negative where they
 * are not known. */
struct machine_load {
    double time;       /* between the looks */
    double processors; /* how many this process might use, on average */
    double idle, others;
    double throttled; /* a quota kept the control group from running; summed over processors */
    double stalled;   /* some thread of the machine stood ready without a processor */
};

/* Look at the machine, unless the latest look is no older than `age` (ns), or looks cost so much that
 * they would take more than 1 % of the time. One thread at a time: the GIL is held. Takes some 50 us
 * on a small machine. */
void machine_load_refresh(uint64_t age);

/* What the looks have summed up so far. */
const struct machine_counters *machine_load_counters(void);

/* What they had summed up MACHINE_RECENT_NS or a little more before the latest look, for windows that
 * are too short to tell anything by themselves. Returns NULL where there was no look then. */
const struct machine_counters *machine_load_recent(void);

/* In a forked child: it begins anew. */
void machine_load_after_fork(void);

/* Of so much time at least the steps of 10 ms tell something; what is older than MACHINE_OLD_NS is
 * not of the same moment any more. */
#define MACHINE_RECENT_NS UINT64_C(100000000)
#define MACHINE_OLD_NS UINT64_C(1000000000)

/* Two earlier states of the counters: when the newer one is too new, the older one is not. */
struct machine_marks {
    struct machine_counters older, newer;
};

/* Keep the latest state for later, if it is time. Pure. */
void machine_marks_keep(struct machine_marks *marks, const struct machine_counters *latest);

/* Find the state that was there recently, seen from the latest; NULL without one. Pure. */
const struct machine_counters *machine_marks_before(const struct machine_marks *marks,
                                                    const struct machine_counters *latest);

/* Bring one more look into the counters. `last` is the look before it, of another epoch or none when
 * `counters` have never seen one. Pure. */
void machine_load_add(struct machine_counters *counters, const struct machine_look *last,
                      const struct machine_look *look);

/* Work out the load between two states of the counters. Returns false where it is not known: there was no
 * look, none between them, or a fork. Pure. */
bool machine_load_between(const struct machine_counters *before,
                          const struct machine_counters *after, struct machine_load *load);

#endif
