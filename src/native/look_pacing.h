/* When a thread that waits for the GIL looks at who holds it.
 *
 * The wait is to be charged to the places of the holders in proportion, whatever the program does in
 * step with itself: so looks come at random moments, and each stands for the wait that it was drawn
 * from. Each wait is dealt with for itself:
 *
 *   - As it starts it is chosen, with a chance of 1/k each, for looks at its beginning, for looks at the
 *     rest of it, or for neither; where k is 1 for both. A wait that is not chosen is not looked at
 *     before it asks the holder to let go (after the switch interval), or has lasted for 5 ms; then and
 *     from then on each is, and k is 1. So k is about the number of waits that begin in `mean`: to look,
 *     and to set a timer, costs some microseconds.
 *   - The beginning is LOOK_BLIND_NS long, and one look stands for it, k times over. Where waits are
 *     long as a rule, it is a small part of them, and chosen with a smaller chance: a look at it is to
 *     stand for as much as any other. It is made at once: a short wait is over before a timer could
 *     wake it. If the wait lasts, another one takes its place at a random moment of the beginning, or
 *     as soon as a timer wakes: who is woken by the holder begins to wait at that very line. Where that
 *     moment is LOOK_AT_ONCE_NS after the first look or less, none does.
 *   - For the rest, looks are due at moments that are `mean` / k apart in the mean, exponentially
 *     distributed. Each stands for `mean` of waiting.
 *
 * How far looks are apart depends on what a look costs, which differs tenfold between machines: they are
 * close at first, so that a short window gets some, then as far apart as four times what the window's
 * looks have cost so far, and in the end so far that they take 1/LOOK_SHARE of the time. So a window of
 * length T spends the square root of half of T times the cost of a look on them, until that is the smaller
 * part.
 *
 * Threads that wait at the same time share the looks: each has a mean as many times as long as they are,
 * and a knock as if it were one more of them.
 *
 * What the next look stands for depends on nothing but the past. So the charges are right in the
 * mean, however the pace changes meanwhile.
 *
 * A timer wakes late, by 50 to 100 us, and a look takes 5 to 30. If looks were due some time after the
 * one before was made, the moments after each would be seen by none: where a wait has a look or two,
 * that is the same part of it each time. So the moments at which looks are due follow each other
 * whatever becomes of them; a timer is set to an earlier moment, by how late it is as a rule; and a look
 * stands for all that are due by then, or sooner than halfway to when a timer could wake next. */
#ifndef GILKNOCK_LOOK_PACING_H
#define GILKNOCK_LOOK_PACING_H

#include <stdint.h>

#define LOOK_BLIND_NS 100000u  /* the beginning of a wait that is covered by the look made then */
#define LOOK_AT_ONCE_NS 10000u /* of that, what the look made at once stands for: it comes midway */
#define LOOK_UNCHOSEN_NS 5000000u /* each wait is looked at from then on, if not sooner */

#define LOOK_LATE_NS 60000u     /* how late timers are taken to be at first */
#define LOOK_LATE_STEP_NS 2000u /* by which what is known of the lateness of timers moves */
#define LOOK_LATEST_NS 200000u

/* The mean time between two looks: at first; and, after many, no less than that. */
#define LOOK_FIRST_MEAN_NS 200000u
#define LOOK_LAST_MEAN_NS 6000000u
#define LOOK_SHARE 130u

/* Where a thread waited is told whenever it waited behind such holds: 250 times in a second at most. So
 * after as long a wait it is worth reading where that is while it goes on. */
#define LOOK_LONG_HOLD_NS 4000000u

/* What a look is taken to cost as long as that is not known, and what it is taken to cost at most. */
#define LOOK_COST_NS 40000u
#define LOOK_COST_LEAST_NS 4000u
#define LOOK_COST_MOST_NS 400000u
#define LOOK_WAKE_NS 20000u /* what waking a thread for a look takes of the processors besides */

/* All zero is ready, but for ticks_per_ms. Guarded by the caller. */
struct look_pacing {
    uint64_t ticks_per_ms;
    uint64_t begun;         /* when the present stretch of time began */
    uint32_t asked, before; /* waits that began in it, and in the one before */
    uint64_t random;
    uint64_t usual_wait; /* ticks: the running median of waits */
};

/* When the next look is due, and what it stands for, in ticks. */
struct look_series {
    uint64_t due, stands_for;
};

/* The mean of the times between the looks of a series, in ticks, not 0, and how often each counts. */
struct look_rate {
    uint64_t mean;
    uint32_t weight;
};

/* Begin a series at a moment. */
struct look_series look_series_from(struct look_pacing *pacing, uint64_t from,
                                    struct look_rate rate);

/* Take the looks that are due by then out of the series; return what they stand for. The times between
 * those that follow are of that rate. */
uint64_t look_series_take(struct look_pacing *pacing, struct look_series *series, uint64_t until,
                          struct look_rate rate);

/* What a look costs: its running median. */
struct look_cost {
    uint64_t ticks;
};

/* A look took so long. */
void look_cost_note(const struct look_pacing *pacing, struct look_cost *cost, uint64_t took);

/* How late timers wake: their running median. */
struct look_lateness {
    uint64_t ticks;
};

/* A timer woke so late. */
void look_lateness_note(const struct look_pacing *pacing, struct look_lateness *lateness,
                        uint64_t late);

/* A wait that is over was so long. */
void look_pacing_wait_note(struct look_pacing *pacing, uint64_t waited);

/* A wait begins at `now`, in ticks, as `mean` is. Each is what it counts, if the wait is chosen for it,
 * else 0. */
struct look_choice {
    uint32_t beginning, rest;
};
struct look_choice look_pacing_choose(struct look_pacing *pacing, uint64_t mean, uint64_t now);

/* A random number below `bound`. */
uint64_t look_pacing_below(struct look_pacing *pacing, uint64_t bound);

/* A random time until the next look, exponentially distributed, in the unit of `mean`. */
uint64_t look_pacing_draw(struct look_pacing *pacing, uint64_t mean);

/* The mean time between looks in a window that has seen so many, of that cost. All in ns. */
uint64_t look_pacing_mean_ns(uint64_t looks, uint64_t cost);

#endif
