/* The slots of the ledger: which thread has which, and the lists that they are in. What of it only the
 * ledger itself calls. */
#ifndef GILKNOCK_LEDGER_SLOTS_H
#define GILKNOCK_LEDGER_SLOTS_H

#include "native/ledger.h"

/* Put the slots of the program's ended threads back, when no window is left that has to show
 * them. */
void reclaim(struct ledger *ledger);

/* The entry of a thread among those of a window; they ascend by serial. NULL: the thread is younger. */
struct ledger_entry *find_entry(const struct ledger_window *window, uint64_t serial);

/* In a forked child: another thread may have been about to change the lists when this one forked, so they
 * are made anew from the slots themselves. Only the survivor, which may be NULL, has not ended. */
void list_slots_anew(struct ledger *ledger, const struct ledger_slot *survivor);

/* The slot no longer asks for the GIL, or has it. */
static inline void forget_request(struct ledger *ledger, struct ledger_slot *slot) {
    if (slot->wait_since != 0 && !slot->internal && ledger->waiting != 0) {
        ledger->waiting--;
    }
    slot->wait_since = 0;
    slot->state = LEDGER_NOT_REQUESTING;
}

#endif
