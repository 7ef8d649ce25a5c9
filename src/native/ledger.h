/* The ledger: who held the GIL, who waited for it, and for how long.
 *
 * Bookkeeping only: it has no clock, no lock and no I/O of its own. Its caller (accounting.c) tells it
 * each request, acquisition and release in the order in which they happen, under the GIL's own
 * mutex, with the time in ticks. Every function here is called under that mutex, unless its
 * contract says otherwise.
 *
 * Two kinds of threads have a slot: the program's, and internal ones, the knockers'. What an
 * internal thread takes or waits for never counts; neither does what it alone does to the program:
 *   - a program thread that waits only because an internal thread has the GIL does not wait for the
 *     program;
 *   - a program thread that is forced to let an internal thread in, and gets the GIL back next,
 *     would have kept it: the gap counts as held.
 *
 * A window is a pair of looks at the running sums, and gets exactly its part of everything that
 * crosses its edges. A hold in progress counts up to the moment of each look. A wait in progress is
 * added to a reading as far as it lies in the window, and enters the sums when it has got the GIL;
 * windows that opened meanwhile then set off what came before them. So it does not matter whether
 * a wait was known of when a window opened, nor whether it is given up.
 *
 * The longest wait of a window cannot be had by subtraction. The sums keep the longest wait since
 * the newest window opened, each open window keeps the longest of the stretch before it opened
 * (since the one before it did), and a window's own maximum is the largest of the stretches since
 * it opened. Closing a window joins two stretches. What came before the oldest means nothing.
 *
 * Hand-over is the part of the wait during which no thread of the program held the GIL: the one that
 * is next was told and wakes up, or a knocker had it. It is the wait without what was held meanwhile,
 * and counts in windows as the wait does.
 */
#ifndef GILKNOCK_LEDGER_H
#define GILKNOCK_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/clock.h"
#include "native/event_ring.h"
#include "native/histogram.h"
#include "native/thread_name.h"

/* Threads alive at once, or seen inside one window, that are told apart. */
#define LEDGER_SLOTS 16384
#define LEDGER_OS_NAME_SIZE 16

struct ledger_sums {
    uint64_t held; /* ticks */
    uint64_t wait; /* ticks */
    uint64_t acquisitions;
    uint64_t contended;
};

enum ledger_state {
    LEDGER_NOT_REQUESTING, /* has it, or was not seen asking for it */
    LEDGER_ASKING,         /* asks for it, and found it free */
    LEDGER_WAITING,        /* asks for it */
    LEDGER_FORCED,         /* asks for it back after being told to drop it */
};

struct ledger_slot {
    struct ledger_sums sums;
    uint64_t max_wait;         /* since the newest window opened */
    uint64_t wait_since;       /* ticks; 0: not waiting */
    uint64_t turns_at_request; /* the ledger's `turns` then; 0: not known */
    uint64_t unseen_until;     /* ticks; of its latest wait that began unseen */
    uint64_t held_at_request,
        held_at_release;               /* the ledger's `sums.held` as its wait began, and as it
                                                  last released */
    uint64_t first_since, first_until; /* its first wait: it may have begun before its slot did */
    uint64_t
        internal_at_release; /* the ledger's `internal_acquisitions` at this thread's last release */
    uint64_t last_wait;      /* what an internal thread's latest acquisition cost */
    enum ledger_state state;
    bool internal;           /* a knocker's */
    bool waits_for_internal; /* an internal thread had the GIL when this one asked */
    int ended;               /* atomic: set by the ending thread without any lock, after os_name */
    char os_name[LEDGER_OS_NAME_SIZE]; /* what the system called the thread as it ended, or "" */
    uint64_t serial;                   /* unique; ascending along the list of live slots */
    uint64_t ident;                    /* pthread_self() */
    uint64_t native_id;                /* the kernel's thread id */
    char name[THREAD_NAME_SIZE];       /* "" until it is known */
    struct ledger_slot *next, *previous;
    struct ledger_slot *nameless_next, *nameless_previous; /* while it is on that list */
    bool nameless;
    uint64_t told_nameless; /* its acquisitions when it was last told of as such, and 1 */
};

struct ledger_entry {
    uint64_t serial;
    struct ledger_sums base;
    uint64_t before; /* longest wait of the stretch before the window opened */
};

struct ledger_window {
    struct ledger_window *older, *newer;
    uint64_t opened;
    uint64_t before; /* as an entry's, over all threads */
    struct ledger_sums base;
    uint64_t hand_over_base; /* ticks */
    bool by_thread;
    struct ledger_entry *entries; /* owned; one for each slot that was live at the opening */
    size_t entry_count;
    size_t omitted;              /* threads that took part, ended and made room for others */
    bool saw_wait;               /* a wait ended since the opening */
    struct histogram waits_base; /* from before the first of them; not set without any */
};

struct ledger {
    struct ledger_slot *slots;    /* owned: LEDGER_SLOTS of them, touched as they are used */
    size_t used;                  /* slots handed out at least once */
    size_t hand;                  /* where the search for an ended slot goes on when all are used */
    struct ledger_slot *internal; /* the knockers', linked by next */
    struct ledger_slot *free;     /* linked by next */
    struct ledger_slot *oldest,
        *latest; /* the live list, ended ones included that a window may still show */
    size_t live;
    struct ledger_slot *nameless; /* those of the live list whose name may still be found */
    size_t nameless_count;
    uint64_t serial;
    bool active; /* some window is open */
    bool lost;   /* a thread found no slot, or the record met an event that cannot be */
    struct ledger_slot *holder; /* NULL: the GIL is free */
    struct ledger_slot *former; /* the program's thread that released last */
    uint64_t held_since;
    struct event_ring *events; /* not owned; each hold and wait is written there; NULL: nowhere */
    struct ledger_sums sums;
    uint64_t hand_over; /* ticks */
    uint32_t waiting;   /* threads of the program that wait, as far as they were seen asking */
    uint64_t max_wait;  /* since the newest window opened */
    struct histogram waits;
    uint64_t turns; /* times the program got the GIL, be it back from an internal thread */
    uint64_t internal_acquisitions;
    struct ledger_window *newest;
    size_t by_thread; /* open windows that tell threads apart */
};

struct ledger_thread {
    uint64_t native_id;
    char name[THREAD_NAME_SIZE];
    struct ledger_sums sums;
    uint64_t max_wait;
};

struct ledger_reading {
    struct ledger_sums sums;
    uint64_t wall;
    uint64_t hand_over; /* ticks of sums.wait */
    uint64_t max_wait;
    uint64_t pending; /* ticks of sums.wait: of waits that are not over */
    struct {
        uint64_t waited, since, serial, native_id;
    } longest_pending;      /* one of these; waited 0: there is none */
    struct histogram waits; /* not set where sums.contended is 0 */
    struct ledger_thread
        *threads; /* owned by the caller, freed with free(); only threads with any event */
    size_t thread_count;
    size_t omitted; /* threads that ended and made room for others; they are in the sums */
};

/* Make an empty ledger. Returns 0, or -1 when memory cannot be had. Any thread; nobody else may use
 * it yet. */
int ledger_init(struct ledger *ledger);

/* Give a thread its slot. Returns NULL when LEDGER_SLOTS threads are alive; `lost` is set then. */
struct ledger_slot *ledger_enroll(struct ledger *ledger, uint64_t ident, uint64_t native_id);

/* Note the name of a thread. */
void ledger_name(struct ledger *ledger, struct ledger_slot *slot, const char *name);

/* Fill `slots` with up to `size` threads without a name that have got the GIL since they were last
 * told here, or never were; returns how many. Each is told once more after its end, and then no
 * more. */
size_t ledger_take_nameless(struct ledger *ledger, struct ledger_slot **slots, size_t size);

/* Whether a thread has that name, as far as the system keeps names. */
bool ledger_has_thread_called(const struct ledger *ledger, const char *os_name);

/* Take a slot out of the program's threads for good: it is a knocker's. */
void ledger_mark_internal(struct ledger *ledger, struct ledger_slot *slot);

/* The thread of the slot ends; the system knew it by that name. Called by that thread, without any
 * lock. */
void ledger_ended(struct ledger_slot *slot, const char *os_name);

/* The thread that ended comes back from one of its last destructors. Returns false when the slot has
 * been given to another thread since, or to nobody. */
bool ledger_resume(struct ledger *ledger, struct ledger_slot *slot, uint64_t serial);

/* Whether it did. Any thread. */
static inline bool ledger_has_ended(const struct ledger_slot *slot) {
    return __atomic_load_n(&slot->ended, __ATOMIC_ACQUIRE) != 0;
}

/* The thread found the GIL taken (or its mutex busy) and begins to wait. A forced thread waits
 * since its release. */
void ledger_request(struct ledger *ledger, struct ledger_slot *slot, uint64_t since, bool forced);

/* It shows now that the thread waits. It began before the oldest window opened: the wait counts from then on,
 * in readings as of later than now. Without a window nothing is done. */
void ledger_request_unseen(struct ledger *ledger, struct ledger_slot *slot, uint64_t now);

/* The thread asks for the GIL and found it free. */
static inline void ledger_ask(struct ledger_slot *slot) { slot->state = LEDGER_ASKING; }

/* The rest of ledger_acquire. */
void ledger_acquire_otherwise(struct ledger *ledger, struct ledger_slot *slot, uint64_t now);

/* The thread has the GIL now. One that was not seen asking for it has waited since before the first
 * window opened: its wait counts from there. */
static inline void ledger_acquire(struct ledger *ledger, struct ledger_slot *slot, uint64_t now) {
    if (slot->state != LEDGER_ASKING || slot->internal) {
        ledger_acquire_otherwise(ledger, slot, now);
        return;
    }
    slot->state = LEDGER_NOT_REQUESTING;
    ledger->holder = slot;
    ledger->held_since = now;
    ledger->turns++;
    ledger->sums.acquisitions++;
    slot->sums.acquisitions++;
}

/* The thread, which has the GIL, gave it up at `now`. */
static inline void ledger_release(struct ledger *ledger, struct ledger_slot *slot, uint64_t now) {
    ledger->holder = NULL;
    if (!slot->internal) {
        uint64_t held = clock_elapsed(ledger->held_since, now);
        ledger->sums.held += held;
        slot->sums.held += held;
        slot->internal_at_release = ledger->internal_acquisitions;
        slot->held_at_release = ledger->sums.held;
        ledger->former = slot;
    }
    if (ledger->events != NULL) {
        event_ring_add(ledger->events, slot->serial, slot->internal ? EVENT_BY_KNOCKER : EVENT_HOLD,
                       ledger->held_since, now);
    }
}

/* The thread gave up asking: it is told to exit, or only looked. */
void ledger_abandon(struct ledger *ledger, struct ledger_slot *slot);

/* Open a window that the caller owns and keeps in place until it is closed. `holder` is the calling
 * thread, which has the GIL. Returns 0, or -1 when memory for the threads' entries cannot be had
 * (nothing is opened then). */
int ledger_open(struct ledger *ledger, struct ledger_window *window, struct ledger_slot *holder,
                bool by_thread, uint64_t now);

/* Read what an open window has seen up to `now`. The caller has the GIL. Returns 0, or -1 without
 * memory. */
int ledger_read(struct ledger *ledger, const struct ledger_window *window, uint64_t now,
                struct ledger_reading *reading);

/* Write the program's hold and waits that began before `now` and go on to `events`, at most `size` of them, and
 * return how many there are. */
size_t ledger_unfinished(const struct ledger *ledger, uint64_t now, struct event *events,
                         size_t size);

/* Close a window; frees what ledger_open allocated. */
void ledger_close(struct ledger *ledger, struct ledger_window *window);

/* In a forked child, before it takes the GIL again: only the thread of `survivor` (may be NULL) is
 * left, and for the moment nobody has the GIL. No lock is needed: the child has one thread. */
void ledger_after_fork(struct ledger *ledger, struct ledger_slot *survivor, uint64_t now);

#endif
