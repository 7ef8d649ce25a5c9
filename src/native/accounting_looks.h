/* Looks at who holds the GIL and who waited for it, for the accounting's own files. */
#ifndef GILKNOCK_ACCOUNTING_LOOKS_H
#define GILKNOCK_ACCOUNTING_LOOKS_H

#include "native/accounting_state.h"

extern const int never_collecting; /* for a reader that shows no such flag */

/* The thread on record collects garbage, or another does that let the GIL go. The mutex is held. */
void note_collector(const struct ledger_slot *slot);

/* Whether the holder collects garbage. The mutex is held. */
bool collects(const struct ledger_slot *holder);

/* The thread of a slot, at a place that is not known. */
struct charges_thread somebody(const struct ledger_slot *slot);

static inline uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* By the pacing's idea of a tick. */
uint64_t ticks_of(uint64_t nanoseconds);
uint64_t ns_of(uint64_t ticks);

/* The mean time between looks, in ticks: of all threads, or of all knocks. The mutex is held. */
uint64_t mean_between_looks(bool knock);

/* Of those of each thread that waits: all share the looks. Likewise. */
uint64_t mean_for_each(uint64_t mean);

/* There is something to be done as the calling thread has released the GIL. The mutex is held. */
void do_at_release(const struct ledger_slot *slot);

/* Do what is left to do, when the mutex is unlocked. */
void run_errands(void);

#endif
