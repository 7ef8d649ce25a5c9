/* Charges: how much waiting each open window puts down to the places at which the GIL was held, and to
 * those at which threads waited for it.
 *
 * A look at the holder charges a place with the waiting that the look stands for. These charges are
 * an estimate; the wait itself is known exactly (see ledger.h). So at reading they are scaled: what is
 * charged, what looks did not see, and the hand-over make up the wait to the tick. A window that
 * no look fell into says that nobody looked.
 *
 * Where threads wait is drawn from the waits as they end, with a chance by their length: a long one is
 * told for certain, a short one that was drawn stands for others that were not. Those that were told
 * count at their places to the tick; what is left of the wait is shared out by what they stand for, over
 * all threads: of one that waits shortly, often nothing was drawn, and another's draws stand for it. Where
 * none was drawn of anybody, what is left is at no place.
 *
 * Knocks wait and look like threads, and are charged apart. So are holds that went on although their
 * threads were asked to let the GIL go: each of them is counted, none is an estimate.
 *
 * Rows of all windows lie in one pool, which grows up to CHARGES_ROWS; behind that, and in a window
 * beyond CHARGES_WINDOW_ROWS, what comes new counts as not seen. Every function takes a lock of its
 * own, under which it may allocate and copy many rows; but for the two that take none, the GIL's mutex
 * is not held: who wants to release the GIL would wait for that, too.
 */
#ifndef GILKNOCK_CHARGES_H
#define GILKNOCK_CHARGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/shares.h"

#define CHARGES_ROWS 65536u
#define CHARGES_WINDOW_ROWS 16384u
#define CHARGES_LISTED 128 /* rows that a reading lists one by one */

#define CHARGES_SEVERAL UINT64_MAX /* a serial: the row is of several threads */

/* Somebody at a place. */
struct charges_thread {
    uint64_t serial; /* 0: unknown */
    uint64_t native_id;
    uint32_t place;
};

extern const struct charges_thread charges_nobody; /* place PLACE_UNKNOWN */

/* The longest wait of a window that is over. */
struct charges_longest {
    uint64_t waited; /* ticks, inside the window; 0: there was none */
    uint64_t since;  /* ticks; may be before the opening */
    struct charges_thread waiter;
    struct charges_thread holder; /* place PLACE_UNKNOWN: not seen */
};

/* Sums of one kind of waiting. */
struct charges_sums {
    uint64_t charged; /* ticks, over all rows */
    uint64_t unseen;  /* ticks: looks that saw nothing, and rows there was no room for */
    uint64_t looks;
};

/* Holds of the GIL that went on although their threads were asked to let it go. */
struct charges_holds {
    uint64_t count, longest; /* ticks */
    uint64_t unseen;         /* of these, how many have no row */
};

/* In place from charges_open to charges_close. */
struct charges_window {
    struct charges_window *older, *newer;
    uint64_t opened; /* ticks */
    uint32_t rows;   /* first row of the list + 1; 0: empty */
    uint32_t row_count;
    struct charges_sums threads, knocks;
    struct drawn_waits victims; /* waits that were told; at no known place and without a row, too */
    struct charges_longest longest, longest_knock;
    struct charges_holds holds;
};

void charges_open(struct charges_window *window, uint64_t now);
void charges_close(struct charges_window *window);

/* How many looks the newest window has seen, of threads or of knocks: the pace of the next ones. Any
 * thread; takes no lock. */
uint64_t charges_looks(bool knock);

/* A thread's wait that no window would count as its longest need not be handed over for that. Likewise. */
uint64_t charges_longest_known(void);

/* A look at `now` saw that holder, in whose place it may be PLACE_UNKNOWN, and stands for so many
 * ticks. */
void charges_look(const struct charges_thread *holder, uint64_t ticks, bool knock, uint64_t now);

/* A wait that has ended. */
struct charges_wait {
    uint64_t since, now;
    bool knock;
    /* The look at its beginning, and until when that stands for it, `weight` times over, in windows that
     * were open by then; weight 0: none was made. And how many ticks it stands for besides. */
    struct charges_thread first_holder;
    uint64_t first_until, first_stands_for;
    uint32_t weight;
    struct charges_thread waiter;
    bool is_waiter_told;          /* where it was waited */
    uint64_t waiter_stands_for;   /* if told: ticks of waits that are not */
    struct charges_thread holder; /* for most of it; place PLACE_UNKNOWN: nobody, or not seen */
};
void charges_waited(const struct charges_wait *wait);

/* Such a hold is over. It counts in the windows that were open as its thread was asked. */
struct charges_hold {
    uint64_t since, asked, now;
    struct charges_thread holder; /* where it stood after it was asked, may be PLACE_UNKNOWN */
};
void charges_held(const struct charges_hold *hold);

/* A row of a reading, scaled. */
struct charges_row {
    struct charges_thread thread;
    uint64_t waited; /* ticks; of holds: held */
    union {
        uint64_t knock_waited; /* ticks; of a holder */
        uint64_t longest;      /* ticks; of a victim: its longest wait; of holds: the longest one */
    };
    uint64_t looks; /* of a victim: waits seen; of holds: how many */
    union {
        uint64_t knock_looks; /* of a holder */
        uint64_t stands_for;  /* ticks; of a victim: of waits that were not told */
    };
};

struct charges_rows {
    struct charges_row *rows; /* owned; most waited first */
    size_t count;
    size_t omitted;
    uint64_t omitted_waited, omitted_knock_waited;
};

struct charges_reading {
    struct charges_rows blame, victims;
    struct charges_rows held; /* the longest first */
    struct charges_holds holds;
    uint64_t unlooked; /* ticks of the wait */
    struct charges_longest longest, longest_knock;
};

/* What the ledger and the knocker know of the same window at the same moment, in ticks. */
struct charges_known {
    uint64_t wait, hand_over;
    uint64_t pending; /* of the wait: not over yet */
    uint64_t knock_wait;
};

/* Read an open window. `charged + unlooked + hand_over == wait` holds in the result, to the tick;
 * victims are no more than `wait - pending`. Returns 0, or -1 without memory. */
int charges_read(const struct charges_window *window, const struct charges_known *known,
                 struct charges_reading *reading);

void charges_free(struct charges_reading *reading);

/* In a forked child, which has one thread: what was charged to the windows that stay open counts as not
 * seen, as the rows are not those of its own threads. */
void charges_after_fork(void);

#endif
