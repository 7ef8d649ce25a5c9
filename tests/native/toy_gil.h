/* A GIL of one's own, taken and dropped the way CPython does it (Python/ceval_gil.c): what the
 * accounting can be tested on without Python. It tells what only it can know. */

#ifndef GILKNOCK_TESTS_TOY_GIL_H
#define GILKNOCK_TESTS_TOY_GIL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define TOY_GIL_PATIENCE 500000 /* ns */

struct toy_gil {
    int locked;           /* atomic */
    int drop_request;     /* atomic */
    long patience;        /* ns, up to a second: the switch interval */
    bool holder_is_asked; /* until it has seen that, as from 3.13 on; else until another takes it */
    const void *last_holder;
    uint64_t switch_number;
    pthread_mutex_t mutex, switch_mutex;
    pthread_cond_t cond, switch_cond;
};

/* What a thread has used of the processor so far. */
struct toy_usage {
    uint64_t nanoseconds;
    long sleeps; /* voluntary context switches */
};

/* All moments are ns of the system's clock. */
struct toy_take {
    uint64_t asked;         /* or sooner */
    struct toy_usage usage; /* as it asked, or more */
    bool had_to_wait;
    uint64_t got; /* or later */
};

struct toy_drop {
    uint64_t left; /* or sooner */
    bool as_asked;
    struct toy_usage usage; /* as the drop was done, or less */
};

struct toy_usage toy_usage_now(void);

void toy_gil_init(struct toy_gil *gil);

/* Take it for `taker`, any address. Asks the holder to drop it after a while. */
struct toy_take toy_gil_take(struct toy_gil *gil, const void *taker);

/* Drop it; who drops it as asked waits until another has taken it. */
struct toy_drop toy_gil_drop(struct toy_gil *gil, const void *holder);

/* Whether the holder is asked to drop it. */
bool toy_gil_is_wanted(const struct toy_gil *gil);

/* Ask for it, and leave without. */
void toy_gil_only_look(struct toy_gil *gil);

#endif
