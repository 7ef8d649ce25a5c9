/* Shares of a whole in proportion to parts of a total: taken one after another, they add up to the whole, to
 * the tick.
 *
 * Of many waits some are drawn. Those count as they were, and what is left of the whole is shared out by
 * what they stand for: the waits that were not drawn. */
#ifndef GILKNOCK_SHARES_H
#define GILKNOCK_SHARES_H

#include <stdint.h>

struct shares {
    uint64_t whole, total;
    uint64_t parts, given; /* so far */
};

/* The share of the next part; 0 if the total is. All parts come to no more than the total. */
uint64_t shares_next(struct shares *shares, uint64_t part);

/* What was drawn, of all waits or of some. */
struct drawn_waits {
    uint64_t waited;     /* ticks */
    uint64_t stands_for; /* ticks: what waits that were not drawn are expected to come to */
};

void drawn_waits_add(struct drawn_waits *sum, const struct drawn_waits *more);

struct drawn_shares {
    struct shares drawn, others;
};

/* Begin to share out what all waits come to. Where more was drawn, that is scaled down. Where nothing stands
 * for what is left, that is in no share. */
struct drawn_shares drawn_shares_of(uint64_t whole, const struct drawn_waits *total);

/* The share of some of the waits that were drawn. */
uint64_t drawn_shares_next(struct drawn_shares *shares, const struct drawn_waits *part);

#endif
