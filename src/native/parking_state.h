/* What the files of the parking share; nobody else includes this. */
#ifndef GILKNOCK_PARKING_STATE_H
#define GILKNOCK_PARKING_STATE_H

#include "native/elf_object.h"
#include "native/parking.h"

#ifdef ELF_SUPPORTED

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "native/fast_thread_local.h"
#include "native/interpose.h"

_Static_assert(PARKING_WINDOWS == LOCK_CHARGES_WINDOWS, "a window has the same place in both");
_Static_assert((int)PARKING_KINDS <= LOCK_CHARGES_KINDS, "each kind is charged");

/* In their order, without fences, which thread sanitizers do not know. */
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

enum slot_state { SLOT_FREE, SLOT_ALIVE, SLOT_ENDED };

struct typed_sums {
    uint64_t type;
    struct parking_sums sums;
};

/* What a thread waited in one window. */
struct part {
    uint64_t generation;
    uint64_t attempt;    /* `began` of the attempt that was entered last; 0: there was none yet */
    uint64_t entered;    /* ticks of it */
    uint64_t not_let_go; /* ticks of its latest sleeps, which a signal or a timeout ended */
    uint64_t is_charged; /* a sleep of it */
    uint64_t spins;
    struct parking_longest longest[PARKING_KINDS];
    struct parking_sums kinds[PARKING_KINDS];
    struct typed_sums types[PARKING_TYPES]; /* in the order in which they came */
    struct parking_sums other_types;        /* not known, or no room was left */
};

/* The wait that goes on, or the latest one. */
struct wait {
    uint64_t began;   /* of the attempt; 0: there was none yet */
    uint64_t since;   /* when it was last added up */
    uint64_t goes_on; /* 1 or 0 */
    uint64_t kind;
    uint64_t type;
    uint64_t identity;
    uint64_t error; /* with which its latest sleep ended, as in errno; 0: none */
    uint64_t until; /* when the attempt gives up, as in clock_system_ns; 0: not known, or never */
};

/* What the thread that ends a wait leaves to the one that waited. Atomic. */
struct release {
    uint64_t has_drawn; /* the others are set */
    uint64_t is_charged;
    uint64_t length, stands_for; /* as in struct drawn */
    uint64_t place, native_id;
};

/* Whether places are charged for the latest sleep of a wait, and which. */
struct drawn {
    bool is_charged;
    uint64_t length;     /* ticks, by which that was drawn */
    uint64_t stands_for; /* ticks of waits that are not charged, for which such a length stands */
    uint64_t place;
    uint64_t let_go_at, let_go_by;
};

struct slot {
    uint32_t state;    /* of enum slot_state; written under the lock */
    uint32_t sequence; /* odd while its thread writes */
    uint64_t ended_at; /* the newest generation when its thread ended */
    uint64_t ident, native_id;
    char name[THREAD_NAME_SIZE];
    uint64_t semaphore; /* that others may post to end its wait; 0: none */
    struct release release;
    struct wait wait;
    struct part parts[PARKING_WINDOWS];
};

struct window {
    uint64_t generation;
    uint64_t opened;
    bool by_thread;
    struct part folded;   /* of threads that have no slot any more; under the lock */
    uint32_t has_lengths; /* atomic; else all of these are 0 */
    struct histogram lengths[PARKING_KINDS]; /* atomic; of waits that are over */
    uint64_t omitted;
};

/* Hidden from other objects, these are reached directly, not through the table of global offsets. */
#pragma GCC visibility push(hidden)

extern struct slot slots[PARKING_THREADS];
extern struct window windows[PARKING_WINDOWS];

extern struct parking_lot {
    struct interpose calls;
    int (*wait)(sem_t *);
    int (*clockwait)(sem_t *, clockid_t, const struct timespec *);
    int (*post)(sem_t *);
    struct interpose yields;
    int (*yield)(void);
    uintptr_t other_yield; /* from where a yield is no spin; 0: not learned yet; atomic */
    bool spins_are_seen;
    parking_classifier classify; /* atomic; NULL: nothing is counted */
    parking_place_reader look;   /* atomic; NULL: nobody looks */
    double ticks_per_ns;
    uint64_t looks;   /* since the newest window has opened; atomic */
    uint64_t waiting; /* threads whose wait goes on; atomic */
    pthread_mutex_t lock;
    pthread_key_t key; /* its value: the thread's slot */
    uint32_t open;     /* a bit for each open window; atomic */
    uint64_t generation;
    size_t used;       /* slots from the first to the last that was ever used */
    uint64_t left_out; /* threads that are alive and found no slot */
    uint64_t lost_in;  /* the newest generation of which they may have had waits; atomic */
    bool prepared;     /* the key and the fork handler are there */
} lot;

extern FAST_THREAD_LOCAL struct parking_self {
    struct slot *slot;
    struct parking_probe *probe;
    bool left_out; /* it has ended, or there was no slot */
    bool looks;    /* it is reading its own stack */
    bool learns_yield;
    uint64_t random;
    uint64_t native_id;
    uintptr_t posted;   /* the semaphore that it posted since its latest sleep, the last of them */
    uintptr_t awaited;  /* the semaphore of its latest wait that is a lock itself; 0: of none */
    uint64_t looked_at; /* when it looked last for threads that it had stopped; ticks */
    uint32_t place;     /* what it saw */
} own;

#pragma GCC visibility pop

static inline bool is_open(int index) { return (LOAD(lot.open) >> index & 1) != 0; }

static inline void begin_writing(struct slot *slot) { STORE(slot->sequence, slot->sequence + 1); }

static inline void end_writing(struct slot *slot) { STORE(slot->sequence, slot->sequence + 1); }

#endif
#endif
