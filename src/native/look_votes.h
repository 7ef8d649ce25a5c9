/* Who had the GIL for most of a wait, told by the looks that were made during it.
 *
 * Looks come one after another, and may see any number of threads and places; there is room for one of
 * each. So they vote as R. S. Boyer and J S. Moore have them ("MJRTY: A Fast Majority Vote Algorithm",
 * 1981): a candidate that a majority stands behind is never lost, but one that remains need not have a
 * majority. So the looks that saw it since it became the candidate are counted, too, which are no more
 * than all that saw it: if they are more than half, it had the GIL in most of them.
 *
 * Those that wait at the same time share the looks, and one of many makes few. So for a wait that may be
 * the longest the latest looks of all vote, if those that are kept go back to its beginning. As they are
 * there still, those that saw the candidate are counted, and vote for its place: a majority is always named. */
#ifndef GILKNOCK_LOOK_VOTES_H
#define GILKNOCK_LOOK_VOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "native/charges.h"

/* All zero is ready. */
struct look_votes {
    uint32_t looks;       /* the whole wait's */
    uint32_t votes, seen; /* for the candidate; `seen` by as many at least */
    uint32_t place_votes; /* for its place, by looks that saw this thread */
    struct charges_thread candidate;
};

/* A look has seen that holder, whose place may be PLACE_UNKNOWN. */
void look_votes_add(struct look_votes *votes, const struct charges_thread *holder);

/* The thread that more than half of the looks saw, with a place where it was seen: the most frequent one,
 * if more than half of these saw it there. Else nobody: serial and native_id 0, place PLACE_UNKNOWN. */
struct charges_thread look_votes_majority(const struct look_votes *votes);

#define RECENT_LOOKS 256 /* a power of two; of a second or more */

/* The latest looks of all threads. All zero is ready. */
struct recent_looks {
    uint64_t count; /* so far */
    struct recent_look {
        uint64_t at; /* ticks */
        struct charges_thread holder;
    } looks[RECENT_LOOKS];
};

void recent_looks_add(struct recent_looks *recent, const struct charges_thread *holder,
                      uint64_t at);

/* Have all looks from `since` on vote. Returns false where not all of them are there. */
bool recent_looks_vote(const struct recent_looks *recent, uint64_t since, struct look_votes *votes);

#endif
