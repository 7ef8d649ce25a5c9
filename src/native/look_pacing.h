/* When a thread that waits for the GIL looks at who holds it.
 *
 * The wait is to be charged to the places of the holders in proportion, whatever the program does in
 * step with itself: so looks come at random moments, and each stands for the wait that it was drawn
 * from. Each wait is dealt with for itself:
 *
 *   - At its beginning it is chosen, with a chance of 1/k, or not. A wait that is not chosen is not
 *     looked at before it asks the holder to let go (after 5 ms, the switch interval); then and from
 *     then on each is, and k is 1. So k is about the number of waits that begin in `mean`: to look,
 *     and to set a timer, costs some microseconds.
 *   - One that is chosen looks as it begins: a short one is over before a timer could wake it. If it
 *     lasts, it looks again at a random moment of its first LOOK_BLIND_NS, and that look takes the
 *     place of the other: who is woken by the holder begins to wait at that very line. This look
 *     stands for these LOOK_BLIND_NS, k times over.
 *   - Afterwards it looks at moments that are `mean` apart in the mean, exponentially distributed.
 *     Each stands for k x mean of waiting.
 *
 * What the next look stands for depends on nothing but the past. So the charges are right in the
 * mean, however the pace changes meanwhile. */
#ifndef GILKNOCK_LOOK_PACING_H
#define GILKNOCK_LOOK_PACING_H

#include <stdint.h>

#define LOOK_BLIND_NS 100000u /* the beginning of a wait that is covered by the look made then */
#define LOOK_UNCHOSEN_NS 5000000u /* a wait that was not chosen is looked at from then on */

/* The mean time between two looks, at first and after many. */
#define LOOK_FIRST_MEAN_NS 200000u
#define LOOK_LAST_MEAN_NS 4000000u
#define LOOK_DOUBLING 8 /* looks after which it doubles */

/* All zero is ready, but for ticks_per_ms. Guarded by the caller. */
struct look_pacing {
    uint64_t ticks_per_ms;
    uint64_t begun;         /* when the present stretch of time began */
    uint32_t asked, before; /* waits that began in it, and in the one before */
    uint64_t random;
};

/* A wait begins at `now`, in ticks, as `mean` is. Returns k if it is chosen, else 0. */
uint32_t look_pacing_choose(struct look_pacing *pacing, uint64_t mean, uint64_t now);

/* A random number below `bound`. */
uint64_t look_pacing_below(struct look_pacing *pacing, uint64_t bound);

/* A random time until the next look, exponentially distributed, in the unit of `mean`. */
uint64_t look_pacing_draw(struct look_pacing *pacing, uint64_t mean);

/* The mean time between looks in a window that has seen so many, in ns. */
uint64_t look_pacing_mean_ns(uint64_t looks);

#endif
