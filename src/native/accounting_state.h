/* What the files of the accounting share; nobody else includes this. */
#ifndef GILKNOCK_ACCOUNTING_STATE_H
#define GILKNOCK_ACCOUNTING_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "native/accounting.h"
#include "native/charges.h"
#include "native/fast_thread_local.h"
#include "native/interpose.h"
#include "native/look_pacing.h"
#include "native/look_votes.h"
#include "native/thread_usage.h"

#define NO_TARGET 1 /* the address of no mutex, nor at the distance of switch_mutex from one */

#define CACHE_LINE 64 /* bytes, on most processors */

#define NEVER_INLINE __attribute__((noinline))

enum phase {
    PHASE_NONE,
    PHASE_RELEASED,  /* gave up the GIL */
    PHASE_DROPPED,   /* gave it up as asked; `usage` is from then */
    PHASE_SWITCHING, /* lets another take it */
};

/* How far a thread that waits has come with its looks; see look_pacing.h. */
enum lookout_stage {
    LOOKOUT_NONE,      /* does not wait, or not that it was seen */
    LOOKOUT_NEW,       /* has asked, and goes to wait */
    LOOKOUT_BEGINNING, /* was chosen, and looks once more */
    LOOKOUT_FIRST,
    LOOKOUT_LATER,
};

#define OWN_STACK_NEVER UINT64_MAX

struct lookout {
    enum lookout_stage stage;
    struct look_choice chosen;
    uint64_t beginning_until;
    uint64_t chosen_until; /* when LOOKOUT_LATER begins or began */
    struct look_series series;
    struct charges_thread first_holder;
    uint64_t first_stands_for; /* beside the beginning of the wait: ticks */
    struct look_votes votes;
    /* A wait longer than that is told with where it was waited, and stands for `told_mean`, or for itself
     * if it is longer; ticks. 0 for the mean: not drawn yet. */
    uint64_t told_beyond, told_mean;
    /* When to see whether the thread's own stack is to be read early, in ticks, and what was read. */
    uint64_t own_stack_due;
    struct own_stack own_stack;
};

/* What a thread has to do when it has unlocked the GIL's mutex. */
enum errand {
    ERRAND_NONE = 0,
    ERRAND_TELL_WAIT = 1,
    ERRAND_LOOK_AT_SELF = 2,
    ERRAND_TELL_HOLD = 4,
};

/* A hold whose thread was asked to let the GIL go. */
struct audited_hold {
    uint64_t turn; /* the ledger's `turns` */
    struct charges_hold hold;
    uint64_t look_due;     /* ticks; when the next look at where it stands is to be made */
    uint32_t place_before; /* where its thread stood just before that */
    bool delay_known;
    uint64_t delay; /* ns that its thread had stood ready without a processor by then */
};

/* What a thread knows of itself; nobody else looks at it. */
struct self {
    struct ledger_slot *slot;
    struct ledger_slot *ended; /* its slot before a destructor of a key came back for the GIL */
    uint64_t ended_serial;
    bool internal;                              /* a knocker's */
    bool is_named;                              /* by its creator, or by accounting_introduce */
    char os_name_at_birth[LEDGER_OS_NAME_SIZE]; /* "": not known */
    enum phase phase;
    uint64_t leaving;  /* when it locked the mutex with the GIL in hand */
    uint64_t released; /* when it last gave up the GIL */
    struct usage usage;
    struct lookout lookout;
    unsigned errands; /* of enum errand */
    struct {
        uint64_t since, now;
        bool is_told;        /* where it was waited */
        uint64_t stands_for; /* if told: ticks of waits that are not */
        bool may_be_longest;
        struct charges_thread holder; /* for most of it; place PLACE_UNKNOWN: nobody, or not seen */
        uint64_t told_in;             /* ticks that telling took the last time; 0: they are noted */
    } wait;                           /* that is over and is to go to the windows */
    struct {
        struct stack_aim aim;
        struct charges_thread thread;
        bool collecting;
        uint64_t ticks, knock_ticks; /* that the look stands for */
    } release;
    struct audited_hold hold; /* that is over and to be told */
};

/* Hidden from other objects, these are reached directly, not through the table of global offsets. */
#pragma GCC visibility push(hidden)

extern FAST_THREAD_LOCAL struct self self;

extern struct accounting_hooks {
    uintptr_t base; /* atomic: the mutex while a window is open, else NO_TARGET */
    uintptr_t span; /* from the mutex to switch_mutex */
    struct accounting_target target;
    bool installed;
    char process_name[LEDGER_OS_NAME_SIZE]; /* that threads have unless they are given one */
    bool prepared;                          /* the ledger, the key and the fork handler are there */
    pthread_key_t key;
    struct interpose calls;
    int (*lock)(pthread_mutex_t *);
    int (*unlock)(pthread_mutex_t *);
    struct interpose waits;
    int (*timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
} hooks;

extern struct ledger ledger;

/* What is to be done as a thread lets the GIL go. */
enum at_release {
    AT_RELEASE_LOOK = 1,  /* it looks at itself, where nobody else looks */
    AT_RELEASE_AUDIT = 2, /* `audit.asked` may be of this hold */
};

/* How the holder is looked at. Guarded by the GIL's mutex. What every thread that waits goes through stands
 * at the beginning, in one line of the processor's cache, which goes from thread to thread. */
extern struct accounting_looks {
    bool by_waiters;
    unsigned at_release; /* of enum at_release */
    struct look_pacing pacing;
    struct look_cost cost, telling_cost;
    struct look_lateness lateness[2]; /* of the program's threads, of the knockers */
    /* Before anybody looks, nothing of it is there but `collecting`. */
    struct accounting_reader reader;
    const struct ledger_slot *collector; /* the thread that collects garbage, if it let the GIL go
                                            since it began */
    struct recent_looks recent;
} looks;

/* Guarded by the GIL's mutex. */
extern struct accounting_audit {
    size_t users;
    struct audited_hold asked;
} audit;

#pragma GCC visibility pop

static inline bool is_taken(void) {
    return __atomic_load_n(hooks.target.locked, __ATOMIC_RELAXED) == 1;
}

static inline bool somebody_collects(void) {
    return __atomic_load_n(looks.reader.collecting, __ATOMIC_RELAXED) != 0;
}

/* What the ledger, the looks and the audit keep is changed under the GIL's mutex only. */
static inline void lock_ledger(void) { hooks.lock(hooks.target.mutex); }

static inline void unlock_ledger(void) { hooks.unlock(hooks.target.mutex); }

#endif
