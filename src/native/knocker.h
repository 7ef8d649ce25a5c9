/* A thread that knocks: it sleeps for as long as its pace says, looks, knocks, and so on until it
 * is stopped. */
#ifndef GILKNOCK_KNOCKER_H
#define GILKNOCK_KNOCKER_H

#include <stdbool.h>
#include <stdint.h>

#define KNOCKER_ASLEEP UINT64_MAX     /* a pace: until knocker_wake */
#define KNOCKER_ANEW (UINT64_MAX - 1) /* a pace: ask again at once, in a new thread */

/* What a knocker does. All are called from its thread, without any lock of the knocker's.
 * `begin` runs first in each thread that it has in turn; `end` once, last of all: nobody looks at
 * the context afterwards. */
struct knocker_work {
    void (*begin)(void *context);
    uint64_t (*pace)(void *context); /* nanoseconds until the next knock */
    void (*sample)(void *context);   /* as it wakes, before anything that may wait */
    void (*knock)(void *context);
    void (*end)(void *context);
    void *context;
};

struct knocker;

/* Call it before anything else here, from one thread; further calls do nothing. */
void knocker_init(void);

/* Start a knocker. The caller owns it until it calls knocker_stop. Returns NULL when no thread can
 * be had. */
struct knocker *knocker_start(const struct knocker_work *work);

/* Have the knocker ask its pace again now. Any thread; takes the knocker's own mutex for a moment.
 */
void knocker_wake(struct knocker *knocker);

/* Tell the knocker to stop and give it up: it ends by itself, after a knock under way. Never waits.
 */
void knocker_stop(struct knocker *knocker);

/* The same, but wait until it has ended, and the system counts its thread no more. The GIL must not
 * be held: a knock under way needs it. */
void knocker_stop_and_wait(struct knocker *knocker);

/* Tell every knocker to stop and wait until all have ended, at most so long; their owners still
 * give them up. The GIL must not be held: a knock under way may need it. Returns false when time
 * ran out. */
bool knocker_stop_all(uint64_t nanoseconds);

/* How often this process is the child of a fork: a knocker that was started under another number is
 * not there any more, and nothing of it may be touched. */
unsigned knocker_generation(void);

/* How many threads this process has, 0 where that is not known. */
unsigned long knocker_threads_of_process(void);

#endif
