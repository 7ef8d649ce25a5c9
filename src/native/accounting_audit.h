/* The audit of holds, for the accounting's own files. */
#ifndef GILKNOCK_ACCOUNTING_AUDIT_H
#define GILKNOCK_ACCOUNTING_AUDIT_H

#include "native/accounting_state.h"

/* Whether a look is wanted at the hold on record, as it goes on after it was asked to end. The mutex is
 * held. */
bool audit_wants_look(void);

/* The time until that look, in ns; UINT64_MAX when none is wanted. The mutex is held. */
uint64_t audit_look_in(void);

/* Make it. The mutex is held, and let go meanwhile. */
void look_at_audited_hold(pthread_mutex_t *mutex);

/* The calling thread has waited for a whole switch interval, all of it in the hold `turn` if that goes on,
 * and is about to ask the holder to let the GIL go. Returns what its wait did. The mutex is held, and let
 * go meanwhile. */
int ask_audited_hold(pthread_mutex_t *mutex, uint64_t turn);

/* The hold that some thread asked to end is over. The mutex is held. */
void end_audited_hold(void);

/* Hand the calling thread's hold that is over to the windows. No lock is held. */
void tell_hold(void);

#endif
