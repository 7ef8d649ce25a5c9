/* The threads of the accounting, for its own files. */
#ifndef GILKNOCK_ACCOUNTING_THREADS_H
#define GILKNOCK_ACCOUNTING_THREADS_H

#include "native/accounting_state.h"

/* Copy what the ledger knows of the slot's thread. The mutex is held. */
void describe(struct accounting_thread *thread, struct ledger_slot *slot);

/* The calling thread's slot; NULL when there is none left. The mutex is held. */
struct ledger_slot *own_slot(void);

/* Destructor of `hooks.key`. */
void thread_ends(void *slot);

/* Forget what accounting_introduce said: those threads are not there. */
void forget_introduced(void);

#endif
