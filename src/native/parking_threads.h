/* Which thread has which slot, for the parking's own files. */
#ifndef GILKNOCK_PARKING_THREADS_H
#define GILKNOCK_PARKING_THREADS_H

#include "native/parking_state.h"

#ifdef ELF_SUPPORTED

/* Find a slot for the calling thread, which has none and keeps it until it ends; NULL if there is no room,
 * for which the measuring ends. Takes the lock. */
struct slot *enroll(void);

/* Destructor of the key: the thread of this slot ends. Takes the lock. */
void waiter_ends(void *slot);

/* The kernel's id of the calling thread. */
uint64_t own_native_id(void);

/* In a forked child: the calling thread is the only one. */
void end_other_threads(void);

#endif
#endif
