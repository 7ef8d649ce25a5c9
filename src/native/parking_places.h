/* Where threads waited and let go, for the parking's own files. */
#ifndef GILKNOCK_PARKING_PLACES_H
#define GILKNOCK_PARKING_PLACES_H

#include "native/parking_state.h"
#include "native/parking_sums.h"

#ifdef ELF_SUPPORTED

/* Let others find the calling thread, whose slot that is, by the semaphore that it waits for; and no
 * more. */
void show_parked(struct slot *slot, uint64_t semaphore);
void hide_parked(struct slot *slot);

/* The slot of the thread that waits for a semaphore; NULL if that is not known. */
struct slot *waiter_of(uint64_t semaphore);

/* In a forked child: nobody waits. */
void forget_parked(void);

/* The calling thread is about to end the wait of the thread of a slot. May take the lock. */
void let_go(struct slot *slot);

/* What is to be charged for the wait of the calling thread that ends now. */
struct drawn drawn_of(struct slot *slot, uint64_t now);

/* Charge places in the window of a part with its share of a sleep that ended with that error, as in errno;
 * 0: it was woken. Takes the lock of the charges. */
void charge_wait(int window, const struct slot *slot, struct part *part, const struct drawn *drawn,
                 const struct share *share, int error);

#endif
#endif
