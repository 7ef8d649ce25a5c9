/* The knocks of the windows: the one knocker that they share, and what it has seen in each. */
#ifndef GILKNOCK_WINDOW_KNOCKS_H
#define GILKNOCK_WINDOW_KNOCKS_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpython/gil.h"
#include "native/histogram.h"

/* What a window is to have of the knocks. */
struct knock_wish {
    bool sampled; /* it reports what the knocks alone saw */
    bool knocks;  /* it has a use for them; so has one that is sampled or audited */
    bool audited; /* they are to follow one another at once */
    uint64_t
        gap; /* ns; the mean time between two that it can do with, where that is shorter than the
                     usual one; 0: it can do with that */
};

/* What a window keeps of them; it must not move between knocking_open and knocking_close. */
struct knock_window {
    struct knock_window *older, *newer;
    uint64_t opened; /* ticks */
    struct knock_wish wish;
    uint64_t count_base, waited_base;
    uint64_t wait;      /* of the answered knocks that had to, as far as it lies in the window */
    uint64_t max_wait;  /* the longest part of an answered knock that lies in the window */
    uint64_t max_since; /* when that knock asked */
    bool saw_knock;     /* one was answered since the opening */
    struct histogram latency_base; /* from before the first of them; not set without any */
};

struct knock_reading {
    uint64_t count, waited;
    uint64_t wait, max_wait;  /* ticks */
    uint64_t max_since;       /* when the longest asked; set if max_wait is not 0 */
    struct histogram latency; /* not set where count is 0 */
};

/* The GIL that is knocked on; NULL where it could not be found. Before the first window. The GIL is
 * held, here and below. */
void knocking_set_up(const struct gil *gil);

/* The stacks of threads can be read (see blame.h): knocks look at the holder where nobody else does. */
void knocking_read_stacks(void);

/* Count a window in, and have a knocker that is awake. Without one (no thread can be had) there are
 * no knocks. None are made while no window wants any. */
void knocking_open(struct knock_window *window, uint64_t opened, struct knock_wish wish);

/* Whether somebody knocks, as a window wants it. The GIL is held. */
bool knocking_goes_on(void);

/* What the knocks saw in an open window up to `now`, a knock under way included. */
void knocking_read(struct knock_window *window, uint64_t now, struct knock_reading *reading);

/* Count a window out. */
void knocking_close(struct knock_window *window);

#define KNOCKING_USUAL_GAP (-1.0)

/* Set the mean time between two knocks, in seconds: 0 for none, KNOCKING_USUAL_GAP for what the method
 * needs. Returns what it was. The GIL may be let go for a moment. */
double knocking_set_gap(double seconds);

/* Where the moment stands (ticks, atomic) at which the knock under way asked for the GIL; 0 while none
 * is. Any thread. */
const uint64_t *knocking_asked(void);

/* Ticks for which the knocker had the GIL. */
uint64_t knocking_held(void);

/* Around a fork. Where Python would warn of the knocker (gil_fork_warns_of_threads), and no other thread
 * is there, the process has none meanwhile: the first releases the GIL while a knock under way comes to
 * its end. */
void knocking_before_fork(void);
void knocking_after_fork_in_parent(void);

/* No knock any more; releases the GIL while one under way comes to its end. */
void knocking_end(void);

/* An interpreter begins, for the first time or again after knocking_end. From here on a forked child is
 * made ready for knockers of its own. */
void knocking_begin(void);

#endif
