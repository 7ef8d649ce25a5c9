/* When the next knock is made: at one random moment in each stratum of time. A stratum is as long as the
 * mean gap between knocks, but short when a window is young, and twice as long from one to the next. */
#ifndef GILKNOCK_KNOCK_PACING_H
#define GILKNOCK_KNOCK_PACING_H

#include <stdbool.h>
#include <stdint.h>

/* The mean time between knocks, and that at the start of a window, in ns. */
struct knock_gaps {
    uint64_t mean, first;
};

/* A knock costs a thread that computes two wake-ups, some 200 us on a virtual machine. Where the accounting
 * has the sums and the knocks only find whom to blame, fewer are enough. */
static const struct knock_gaps gaps_accounted = {50000000, 4000000},
                               gaps_sampled = {20000000, 1000000};

/* While holds are audited somebody should always wait for the GIL. A knock that waited is over because the
 * holder let go, and the next one follows when that thread has had time to wake up and take it back. One
 * that was answered at once shows that the GIL is free at times. */
#define AUDIT_AFTER_WAIT_NS 100000u
#define AUDIT_AFTER_NONE_NS 500000u

/* All zero is ready, but for `random`, which is a seed. The caller's own. */
struct knock_pacing {
    uint64_t random;
    uint64_t gap;         /* of the next stratum, in ns */
    uint64_t stratum_end; /* when the present one ends, in ns */
};

enum knock_pace {
    KNOCKS_GO_ON,
    KNOCKS_OF_YOUNG_WINDOW, /* strata are short again */
    KNOCKS_FROM_NOW,        /* and the first one begins now */
};

/* In how many ns from `now` the next knock is due, which is less than two of the mean gaps. */
uint64_t knock_pacing_next(struct knock_pacing *pacing, uint64_t now, struct knock_gaps gaps,
                           enum knock_pace pace);

/* The same while holds are audited: half the mean time to twice as long, at random. */
uint64_t knock_pacing_next_of_audit(struct knock_pacing *pacing, bool had_to_wait);

#endif
