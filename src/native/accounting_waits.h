/* What the windows hear of a thread's wait, for the accounting's own files. */
#ifndef GILKNOCK_ACCOUNTING_WAITS_H
#define GILKNOCK_ACCOUNTING_WAITS_H

#include "native/accounting_state.h"

/* The calling thread, which is none of a knocker's, waits since then, and goes to look; `mean` as from
 * mean_between_looks. The mutex is held. */
void wait_begins(uint64_t mean, uint64_t since);

/* Nobody looked during the calling thread's wait before `now`: it began before anything was watched. The mutex
 * is held. */
void wait_began_unseen(uint64_t now);

/* Whether it is time to read where the calling thread waits, as it is awake anyway. The mutex is held. */
bool own_stack_is_due(uint64_t now);

/* Read it, if the windows are going to hear of the wait; else say when to ask again. Waiters look, so that
 * there is a reader. The mutex is held, and let go meanwhile. */
void consider_own_stack(pthread_mutex_t *mutex, uint64_t now);

/* The calling thread waited and has the GIL now: see whether the windows are to get it. The mutex is
 * held. */
void end_lookout(const struct ledger_slot *slot, uint64_t now);

/* Hand the wait that is over to the windows. The calling thread has the GIL, and no lock. */
void tell_wait(void);

#endif
