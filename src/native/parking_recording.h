/* A thread records its own waits and spins, for the parking's own files. No lock is taken. */
#ifndef GILKNOCK_PARKING_RECORDING_H
#define GILKNOCK_PARKING_RECORDING_H

#include "native/parking_state.h"

#ifdef ELF_SUPPORTED

/* The calling thread, whose slot that is, is about to sleep; and has slept. `error`: as in errno, or 0. */
void begin_wait(struct slot *slot, const struct parking_purpose *purpose, uint64_t now);
void end_wait(struct slot *slot, uint64_t now, int error);

/* It has what it waited for: the next sleep is of another attempt. */
void end_attempt(struct slot *slot);

/* It was cancelled in its sleep: the wait is over, and counts no further. */
void drop_wait(struct slot *slot);

/* It tries again to get a lock instead of sleeping. */
void count_spin(struct slot *slot);

#endif
#endif
