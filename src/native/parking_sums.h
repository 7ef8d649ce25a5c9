/* What of a thread's waits lies in a window, for the parking's own files. */
#ifndef GILKNOCK_PARKING_SUMS_H
#define GILKNOCK_PARKING_SUMS_H

#include "native/parking_state.h"

#ifdef ELF_SUPPORTED

/* What of a wait, up to some moment, lies in a window. */
struct share {
    uint64_t waited; /* that was not entered yet */
    uint64_t before; /* of the whole wait, what was */
    bool is_new;     /* nothing was */
};

/* `part`: what its thread has of that window. */
struct share share_of(const struct part *part, const struct wait *wait, uint64_t opened,
                      uint64_t now);

void add_sums(struct parking_sums *to, const struct parking_sums *from);

/* Note a wait as the longest of its kind, if it is. */
void note_longest(struct parking_longest *longest, const struct parking_longest *other);

/* Where a part keeps a type, or those that have no place of their own. */
struct parking_sums *sums_of_type(struct part *part, uint64_t type);

bool has_waited(const struct part *part);

/* Enter into a part what of a wait lies in its window. The part is the calling thread's own, which writes
 * meanwhile, or a copy. */
void enter_wait(struct part *part, const struct wait *wait, const struct share *share,
                uint64_t native_id, const struct drawn *drawn);

/* Empty a part for a window. As enter_wait; or the lock is held, and its thread has ended. */
void wipe_part(struct part *part, uint64_t generation);

/* Copy what another thread may be writing. */
void copy_words(void *to, const void *from, size_t size);

#endif
#endif
