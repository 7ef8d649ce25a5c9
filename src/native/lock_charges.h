/* How much waiting each window puts down to places: those at which threads waited for locks, and those at
 * which other threads let these locks go and so ended the waits.
 *
 * Who charges has drawn the wait by its length (native/parking_places.c). As charges.h has it: what was
 * drawn counts as it was, and stands for waits that were not drawn. Each window has LOCK_CHARGES_ROWS
 * rows. Threads that come and go are many where places are few: the last rows are for places, whoever is
 * there; what finds none of these counts as omitted. Every function takes a lock of its own for a moment;
 * no thread waits or allocates while it has it. */
#ifndef GILKNOCK_LOCK_CHARGES_H
#define GILKNOCK_LOCK_CHARGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/shares.h"

#define LOCK_CHARGES_WINDOWS 32
#define LOCK_CHARGES_ROWS 256
#define LOCK_CHARGES_THREAD_ROWS 192 /* from so many on, a new one is of several threads */
#define LOCK_CHARGES_KINDS 8

enum lock_role { LOCK_WAITED, LOCK_LET_GO, LOCK_ROLES };

/* A thread at a place, and what of the waits for one kind of locks is charged to it. */
struct lock_charge {
    uint32_t place;
    uint8_t kind;
    uint8_t role;        /* of enum lock_role */
    bool is_used;        /* of a row: it is there */
    uint64_t native_id;  /* 0: of several threads */
    uint64_t waited;     /* ticks */
    uint64_t stands_for; /* ticks of waits that were not drawn */
    uint64_t longest;    /* ticks, of a single wait */
    uint64_t waits;      /* how many; of LOCK_LET_GO: how often */
};

struct lock_charges_reading {
    struct lock_charge rows[LOCK_CHARGES_ROWS];
    size_t count;
    struct drawn_waits drawn[LOCK_ROLES][LOCK_CHARGES_KINDS];   /* the omitted included */
    struct drawn_waits omitted[LOCK_ROLES][LOCK_CHARGES_KINDS]; /* what found no row */
};

/* Begin a window in that place, whose number no other has had. */
void lock_charges_open(int window, uint64_t generation);

/* Add to what a window charges to a thread at a place, unless the window has been closed. */
void lock_charges_add(int window, uint64_t generation, const struct lock_charge *charge);

/* Copy what a window has. */
void lock_charges_read(int window, uint64_t generation, struct lock_charges_reading *reading);

/* Make `waited` of rows, and of what is omitted, come to the waits that are over, in ticks, and sort: most
 * waited first. No role comes to more than the whole; LOCK_LET_GO often comes to less, as some waits end by
 * a timeout. */
void lock_charges_share_out(struct lock_charges_reading *reading,
                            const uint64_t whole[LOCK_CHARGES_KINDS]);

/* In a forked child, which has one thread: whoever had the lock is not there. */
void lock_charges_after_fork(void);

#endif
