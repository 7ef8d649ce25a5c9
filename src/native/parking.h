/* What threads wait for in the interpreter's parking lot: its waits, told apart, summed up by kind,
 * thread and window.
 *
 * Since CPython 3.13 a thread that finds a lock taken sleeps on a semaphore: the calls of sem_wait and
 * sem_clockwait that the interpreter makes are redirected. What each wait is for is found by a
 * classifier, which knows the interpreter (cpython/parking_layout.h). Linux on x86-64 and aarch64;
 * elsewhere installing fails with a reason. */
#ifndef GILKNOCK_PARKING_H
#define GILKNOCK_PARKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/histogram.h"
#include "native/lock_charges.h"
#include "native/thread_name.h"

enum parking_kind {
    PARKING_OBJECT,         /* the lock of one object (a critical section) */
    PARKING_STOP_THE_WORLD, /* until the world goes on that another thread has stopped */
    PARKING_INTERPRETER,    /* another lock of the interpreter, or of a C extension */
    PARKING_PROGRAM,        /* a lock that the program made */
    PARKING_UNPROVEN,       /* of the interpreter's locks, nobody knows which */
    PARKING_KINDS,
    PARKING_SLEEP = PARKING_KINDS, /* meant to sleep, or none of ours: not counted */
};

#define PARKING_THREADS 512 /* alive at once that have waited since parking_start, window or not */
#define PARKING_WINDOWS 32  /* open at once */
#define PARKING_TYPES 8     /* types of objects told apart for each thread in a window */
#define PARKING_TYPE_NAMES 256
#define PARKING_TYPE_SIZE 80

/* One call of a semaphore's wait. */
struct parking_call {
    uintptr_t semaphore;
    uintptr_t frame; /* an address in the hook's own, deeper than all of the caller's */
    uintptr_t site;  /* where the caller goes on */
    bool timed;
    uint64_t until; /* if timed: when it gives up, as in clock_system_ns; 0: by another clock */
};

/* How far above the hook's frame a semaphore lies that is on the caller's stack, at most. */
#define PARKING_STACK_REACH 8192

static inline bool parking_is_on_stack(const struct parking_call *call) {
    return call->semaphore - call->frame <= PARKING_STACK_REACH;
}

/* What a wait is for. */
struct parking_purpose {
    enum parking_kind kind;
    uint32_t type;         /* of parking_type, for PARKING_OBJECT; 0: not known */
    uint64_t identity;     /* the same for all waits of one attempt to get a lock; 0: only one */
    uint64_t began_ago_ns; /* how long the attempt has been going on already */
    bool is_parked;        /* the semaphore is this wait's own, and nobody else's */
    unsigned after;  /* of enum parking_end: the same attempt only if the sleep before has ended so,
                        `gap_ns` ago at most; 0: however and whenever it ended */
    uint64_t gap_ns; /* PARKING_GAP_NS, or PARKING_HANDLER_GAP_NS */
    uint64_t until;  /* when the attempt gives up, as in clock_system_ns; 0: not known, or never */
};

/* How a sleep ends that nobody has ended by letting go. */
enum parking_end { PARKING_SIGNALLED = 1, PARKING_TIMED_OUT = 2 };

/* For how long at most a thread that sleeps again is awake between: where it does nothing but look whether
 * it has to, and where it may have to take the GIL and run a handler. */
#define PARKING_GAP_NS 5000000
#define PARKING_HANDLER_GAP_NS 50000000

/* Finds out what the calling thread is about to wait for. It may be anywhere in the interpreter: nothing
 * is allocated, no lock is taken, no object is touched whose life is not sure. */
typedef struct parking_purpose (*parking_classifier)(const struct parking_call *call);

/* Reads where the calling thread stands: a place (native/places.h). As a classifier. */
typedef uint32_t (*parking_place_reader)(void);

#define PARKING_NO_PLACE UINT32_MAX

/* A wait that is watched instead of counted, for proofs: filled in by the calling thread's next one. */
struct parking_probe {
    struct parking_call call;
    uintptr_t
        before[2]; /* the two words in front of the semaphore, if it is on the caller's stack */
    unsigned calls;
    void (*wake)(struct parking_probe *probe); /* called before the wait, unless NULL */
    void *argument;                            /* for `wake` */
};

struct parking_sums {
    uint64_t count;
    uint64_t total;   /* ticks */
    uint64_t longest; /* ticks */
};

/* The longest wait of a kind. */
struct parking_longest {
    uint64_t waited; /* ticks, inside the window; 0: there was none */
    uint64_t began;  /* ticks; may be before the opening */
    uint64_t native_id;
    uint64_t place;     /* where it waited; PARKING_NO_PLACE: nobody looked */
    uint64_t let_go_by; /* native id of the thread that ended it; 0: not known */
    uint64_t let_go_at; /* where that stood; PARKING_NO_PLACE: not known */
};

struct parking_window {
    int index;
    uint64_t generation;
    uint64_t opened;
};

struct parking_thread {
    uint64_t ident; /* pthread_self() */
    uint64_t native_id;
    bool ended;
    char name[THREAD_NAME_SIZE]; /* "": its creator knew none */
    struct parking_sums kinds[PARKING_KINDS];
};

struct parking_details {
    struct lock_charges_reading charges;     /* scaled to the waits that are over */
    struct histogram lengths[PARKING_KINDS]; /* of waits, and of those that go on so far */
};

struct parking_reading {
    struct parking_sums kinds[PARKING_KINDS];
    struct parking_sums
        types[PARKING_TYPE_NAMES]; /* of PARKING_OBJECT; [0]: type not known, or no room */
    struct parking_longest longest[PARKING_KINDS];
    uint64_t pending[PARKING_KINDS]; /* ticks of waits that go on; they are in `kinds` */
    uint64_t spins;                  /* how often a thread tried again instead of sleeping */
    bool spins_are_seen;             /* else `spins` is worth nothing */
    struct parking_details *details; /* owned */
    struct parking_thread *threads;  /* owned; those that waited */
    size_t thread_count;
    uint64_t omitted; /* threads that had ended and made room; they are in the sums */
};

/* Redirect the interpreter's calls, for good. Once, from one thread. Returns 0, or -1 with a reason
 * and nothing redirected. Nothing is counted before parking_start. */
int parking_install(const void *interpreter_function, char *reason, size_t reason_size);

/* Have the next waits of the calling thread go to a probe; NULL: no more. */
void parking_set_probe(struct parking_probe *probe);

/* From here on waits are classified and counted. One thread, once. */
void parking_start(parking_classifier classify);

/* Count how often the interpreter gives up the processor to spin for a lock. `yield` does the same for
 * another reason: the calls made from where it does are not counted. Where calls cannot be redirected
 * nothing is. One thread, once, before parking_start. */
void parking_count_spins(const void *interpreter_function, void (*yield)(void));

/* From here on threads look where they stand, and so do those that wake them. */
void parking_look(parking_place_reader read);

/* Count none any more, for good. */
void parking_stop(void);

/* Whether the calls still come here. */
bool parking_intact(void);

/* Open a window. Returns 0, or -1 if there are PARKING_WINDOWS. Any thread, as all below. */
int parking_open(struct parking_window *window, bool by_thread, uint64_t now);

/* What threads waited in an open window up to `now`, waits that go on included; parking_free frees what
 * that owns. Returns 0, or -1 without memory and with nothing owned. */
int parking_read(const struct parking_window *window, uint64_t now,
                 struct parking_reading *reading);

/* Whether all of the window is known: no more than PARKING_THREADS were there at once. */
bool parking_is_whole(const struct parking_window *window);

void parking_free(struct parking_reading *reading);

void parking_close(struct parking_window *window);

/* Copy the name of a thread that waited or ended a wait, "" if it is not known. Sure while a window is open
 * that tells threads apart and was so when the thread ended. */
void parking_thread_name(uint64_t native_id, char *name, size_t size);

/* The number of a type by its name, 0 if there is no room for another. Takes no lock. */
uint32_t parking_type(const char *name);

/* The name of such a number. */
const char *parking_type_name(uint32_t type);

#endif
