/* How every take and release of the GIL becomes an entry in the ledger.
 *
 * CPython's GIL on POSIX (Python/ceval_gil.c) is a flag `locked` under a mutex. A thread takes it by
 *
 *     lock(mutex)
 *     while (locked) wait(cond, mutex)
 *     lock(switch_mutex); locked = 1; signal(switch_cond); unlock(switch_mutex)
 *     unlock(mutex)
 *
 * and gives it up by
 *
 *     lock(mutex); locked = 0; signal(cond); unlock(mutex)
 *     if (some thread asks for it) {
 *         lock(switch_mutex); wait(switch_cond, switch_mutex) for it; unlock(switch_mutex)
 *     }
 *
 * The interpreter's calls of pthread_mutex_lock and pthread_mutex_unlock are redirected to the two
 * hooks below. They do the real call and, when the mutex is one of these two and a window is open,
 * tell the ledger what it means. What it means follows from two facts that only change under the
 * mutex: the holder on record, and `locked`.
 *
 *     after lock     this thread is on record             it may be about to release: note the time
 *                    any other case                       it asks; it waits if `locked`
 *     before unlock  this thread is on record, locked 0   it has released
 *                    nobody is on record, locked 1        it has just acquired
 *                    any other case                       it gave up, or only looked at the flag
 *
 * The wait on the condition variable happens inside the C library, which does not come through
 * here, so nothing but these outer calls is seen.
 *
 * A thread that releases on request and wants the GIL straight back (the eval loop) waits since
 * that release. One that goes off to work without the GIL does not, though it may have been asked
 * to drop it as well. They differ in what they do next: the first asks again without having slept
 * or used the processor, however late it comes to that (on a busy processor the thread that it lets
 * in may push it aside for milliseconds). So a release that was asked for, by the interpreter's
 * flag (up to 3.12) or by a pass through switch_mutex (always taken from 3.13 on; before, only if
 * the flag still stands), is followed by a look at what the thread has used, and by another when it
 * asks again.
 *
 * Who keeps the GIL from others is found by those who wait. The interpreter waits on the condition
 * variable by pthread_cond_timedwait, and that call is redirected, too. Now and then (look_pacing.h
 * tells when) the hook waits for less time than it is asked to, looks at the holder, and waits on: the
 * caller is told of a timeout only at its own deadline, after which it asks the holder to drop the
 * GIL. It looks without the mutex, so that the holder can release meanwhile; if it did, the caller is
 * told that it was woken. What a look has seen is charged to the open windows (charges.h).
 *
 * A waiter whose own deadline has passed asks the holder to let the GIL go, which bytecode does at once.
 * While somebody audits holds, it leaves a note of that, and looks where the holder stands that has not
 * let go soon after; the holder finds the note as it releases, and tells of the hold if it went on for
 * long. Nothing is paid for that where nobody was asked: the note is one bit of a word that is tested at
 * a release anyway.
 *
 * Where a thread waited needs no look from outside: it stands there as it gets the GIL, and looks at
 * itself then.
 *
 * All state of the ledger is guarded by the GIL's mutex, and so is the word that says whether a
 * window is open. A hook may have read that word before it got the mutex, and enter a request into
 * a ledger at rest: it is wiped when the next window opens. A thread that has the GIL may lock that
 * mutex, as the interpreter itself does: it is never held for longer than a few instructions.
 */
#define _GNU_SOURCE
#include "native/accounting.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "native/charges.h"
#include "native/clock.h"
#include "native/interpose.h"
#include "native/look_pacing.h"
#include "native/places.h"
#include "native/run_delay.h"
#include "native/thread_birth.h"
#include "native/thread_usage.h"

#define FAR_NS INT64_C(3600000000000) /* farther away is no deadline of the interpreter's */
#define WAIT_CUT (-1)                 /* no error number */
#define AUDIT_FRESH_NS 100000 /* how old a look at a holder may be as it is asked to let go */
#define AUDIT_LOOK_NS 700000  /* after a holder was asked to let go: below ACCOUNTING_GRACE_NS */
#define NO_TARGET 1 /* the address of no mutex, nor at the distance of switch_mutex from one */

/* In a shared object that is loaded late, the default model costs a call; glibc keeps room for a
 * little of this one. */
#ifdef __GLIBC__
#define FAST_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
#else
#define FAST_THREAD_LOCAL __thread
#endif

#define NEVER_INLINE __attribute__((noinline))

enum phase {
    PHASE_NONE,
    PHASE_RELEASED,  /* gave up the GIL */
    PHASE_DROPPED,   /* gave it up as asked; `usage` is from then */
    PHASE_SWITCHING, /* lets another take it */
};

/* How far a thread that waits has come with its looks; see look_pacing.h. */
enum lookout_stage {
    LOOKOUT_NONE, /* does not wait, or not that it was seen */
    LOOKOUT_NEW,  /* has asked, and goes to wait */
    LOOKOUT_FIRST,
    LOOKOUT_LATER,
};

struct lookout {
    enum lookout_stage stage;
    uint32_t weight;       /* k, 0 if the wait was not chosen */
    uint64_t chosen_until; /* when LOOKOUT_LATER began */
    struct charges_thread first_holder;
    struct charges_thread holder; /* seen most often, by the votes that are left for it */
    unsigned votes;
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
    } wait; /* that is over and to be told */
    struct {
        struct stack_aim aim;
        struct charges_thread thread;
        bool collecting;
        uint64_t ticks, knock_ticks; /* that the look stands for */
    } release;
    struct audited_hold hold; /* that is over and to be told */
};

static FAST_THREAD_LOCAL struct self self;

static struct {
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
} hooks = {.base = NO_TARGET};

static struct ledger ledger;

/* How the holder is looked at. Guarded by the GIL's mutex. */
static struct {
    bool by_waiters;
    unsigned at_release; /* of enum at_release */
    struct accounting_reader reader;
    struct look_pacing pacing;
    const struct ledger_slot *collector; /* the thread that collects garbage, if it let the GIL go
                                            since it began */
} looks;

/* What is to be done as a thread lets the GIL go. */
enum at_release {
    AT_RELEASE_LOOK = 1,  /* it looks at itself, where nobody else looks */
    AT_RELEASE_AUDIT = 2, /* `audit.asked` may be of this hold */
};

/* Guarded by the GIL's mutex. */
static struct {
    size_t users;
    struct audited_hold asked;
} audit;

/* Where the ledger writes its events while somebody records them. Guarded by the GIL. */
static struct {
    struct event_ring ring;
    size_t users;
} recording;

static bool is_taken(void) { return __atomic_load_n(hooks.target.locked, __ATOMIC_RELAXED) == 1; }

/* --- threads --- */

static void describe(struct accounting_thread *thread, struct ledger_slot *slot) {
    thread->slot = slot;
    thread->serial = slot->serial;
    thread->ident = slot->ident;
    thread->native_id = slot->native_id;
    memcpy(thread->name, slot->name, sizeof thread->name);
}

/* Those of accounting_introduce, by native id. Guarded by the GIL's mutex. */
static struct {
    struct accounting_thread *threads; /* owned */
    size_t count;
} introduced;

static int compare_native_ids(const void *left, const void *right) {
    uint64_t a = ((const struct accounting_thread *)left)->native_id;
    uint64_t b = ((const struct accounting_thread *)right)->native_id;
    return (a > b) - (a < b);
}

/* What accounting_introduce told of the thread of a slot; NULL: nothing. */
static const struct accounting_thread *find_introduced(const struct ledger_slot *slot) {
    const struct accounting_thread key = {.native_id = slot->native_id};
    const struct accounting_thread *found =
        introduced.count != 0
            ? bsearch(&key, introduced.threads, introduced.count, sizeof key, compare_native_ids)
            : NULL;
    return found != NULL && found->ident == slot->ident ? found : NULL;
}

/* Read what the system calls the main thread. */
static void read_main_name(char name[LEDGER_OS_NAME_SIZE]) {
    int file = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    ssize_t size = file >= 0 ? read(file, name, LEDGER_OS_NAME_SIZE - 1) : 0;
    if (file >= 0) {
        close(file);
    }
    name[size > 0 ? size : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
}

/* Find what the system calls this thread, if that is a name of its own: threads have that of their
 * creator unless they are given another. */
static void find_given_name(char name[LEDGER_OS_NAME_SIZE]) {
    char inherited[LEDGER_OS_NAME_SIZE];
    prctl(PR_GET_NAME, name);
    if (self.os_name_at_birth[0] == '\0') {
        read_main_name(inherited);
    } else {
        memcpy(inherited, self.os_name_at_birth, sizeof inherited);
    }
    if (strcmp(name, inherited) == 0 || strcmp(name, hooks.process_name) == 0) {
        name[0] = '\0';
    }
}

/* Whether the calling thread, which ends, was off the processor for so long that it is worth asking
 * for how much of that it was ready to run. Asking is dear: the file in /proc is made for it, and
 * has to go before the thread can. A thread that runs a short function lives for less. */
static bool may_have_been_delayed(void) {
    const uint64_t worth_asking = 1000000; /* ns */
    const struct birth *birth = birth_of_self();
    if (birth == NULL) {
        return true;
    }
    double lived = clock_seconds(clock_elapsed(birth->born, clock_ticks())) * 1e9;
    return lived > worth_asking && lived - (double)usage_now().nanoseconds > worth_asking;
}

/* Destructor of the key: the thread of this slot ends. It may still come back for the GIL from the
 * destructor of another key. From 3.14 on, Python gives its name to the system's thread as well. */
static void thread_ends(void *slot) {
    char name[LEDGER_OS_NAME_SIZE] = "";
    self.slot = NULL;
    self.ended = slot;
    self.ended_serial = self.ended->serial;
    if (may_have_been_delayed()) {
        run_delay_count_self();
    }
    if (!self.is_named) {
        find_given_name(name);
    }
    ledger_ended(slot, name);
}

/* Give the calling thread's new slot the name that is known of it. */
static void name_new_slot(struct ledger_slot *slot) {
    const struct birth *birth = birth_of_self();
    const struct accounting_thread *known = birth == NULL ? find_introduced(slot) : NULL;
    const char *name = birth != NULL ? birth->name : known != NULL ? known->name : "";
    self.is_named = name[0] != '\0';
    if (self.is_named) {
        ledger_name(&ledger, slot, name);
    } else if (birth != NULL) {
        memcpy(self.os_name_at_birth, birth->os_name, sizeof self.os_name_at_birth);
    }
}

/* The calling thread's slot; NULL when there is none left. The mutex is held. */
static struct ledger_slot *own_slot(void) {
    if (self.slot == NULL) {
        if (self.ended != NULL && ledger_resume(&ledger, self.ended, self.ended_serial)) {
            self.slot = self.ended;
        } else {
            self.slot =
                ledger_enroll(&ledger, (uint64_t)pthread_self(), (uint64_t)syscall(SYS_gettid));
            if (self.slot != NULL) {
                name_new_slot(self.slot);
            }
        }
        if (self.slot != NULL) {
            pthread_setspecific(hooks.key, self.slot);
        }
        if (self.slot != NULL && self.internal) {
            ledger_mark_internal(&ledger, self.slot);
        }
    }
    return self.slot;
}

/* Whether the calling thread, which asks for the GIL, has done nothing since it dropped it as it was
 * told. */
static bool comes_straight_back(void) {
    if (self.phase != PHASE_DROPPED) {
        return false;
    }
    struct usage now = usage_now();
    return now.nanoseconds - self.usage.nanoseconds < IDLE_NS && now.sleeps == self.usage.sleeps &&
           now.sleeps != UNKNOWN_SLEEPS;
}

static bool drop_is_requested(void) {
    return hooks.target.drop_request != NULL &&
           __atomic_load_n(hooks.target.drop_request, __ATOMIC_RELAXED) != 0;
}

/* --- looks ---
 *
 * `collecting` says that somebody collects garbage: whose finalizers may let the GIL go meanwhile. It
 * can only be set by a thread that has the GIL, so who has it when it is first seen set began. */

static const int never_collecting;

static bool somebody_collects(void) {
    return __atomic_load_n(looks.reader.collecting, __ATOMIC_RELAXED) != 0;
}

/* The thread on record collects garbage, or another does that let the GIL go. The mutex is held. */
NEVER_INLINE static void note_collector(const struct ledger_slot *slot) {
    looks.collector = somebody_collects() ? slot : NULL;
}

static bool collects(const struct ledger_slot *holder) {
    return somebody_collects() && (looks.collector == NULL || looks.collector == holder);
}

static struct charges_thread somebody(const struct ledger_slot *slot) {
    return (struct charges_thread){slot->serial, slot->native_id, PLACE_UNKNOWN};
}

/* Look at the holder; the mutex is held, and let go meanwhile. Returns false without a look when there
 * is no thread of the program to look at, or nothing is watched any more: what is read of the
 * interpreter may be gone then. */
static bool look_at_holder(pthread_mutex_t *mutex, struct charges_thread *holder) {
    if (__atomic_load_n(&hooks.base, __ATOMIC_RELAXED) == NO_TARGET || !is_taken() ||
        ledger.holder == NULL || ledger.holder->internal) {
        return false;
    }
    struct stack_aim aim;
    *holder = somebody(ledger.holder);
    bool collecting = collects(ledger.holder);
    looks.reader.aim(&aim);
    hooks.unlock(mutex);
    holder->place = looks.reader.look(&aim, collecting);
    hooks.lock(mutex);
    struct lookout *lookout = &self.lookout;
    bool same = holder->place == lookout->holder.place && holder->serial == lookout->holder.serial;
    if (lookout->votes == 0) {
        lookout->holder = *holder;
        lookout->votes = 1;
    } else {
        lookout->votes += same ? 1u : -1u;
    }
    return true;
}

static uint64_t ticks_of(uint64_t nanoseconds) {
    return nanoseconds * looks.pacing.ticks_per_ms / 1000000;
}

static uint64_t ns_of(uint64_t ticks) { return ticks * 1000000 / looks.pacing.ticks_per_ms; }

/* The mean time between looks, in ticks. */
static uint64_t mean_between_looks(bool knock) {
    return ticks_of(look_pacing_mean_ns(charges_looks(knock)));
}

/* The same between those of the calling thread: all that wait share the looks. */
static uint64_t mean_of_looks(void) {
    bool knock = self.slot->internal;
    return mean_between_looks(knock) * (knock || ledger.waiting == 0 ? 1 : ledger.waiting);
}

/* A moment of a clock, and how far it is from now, in ns. */
static int64_t distance(clockid_t clock, const struct timespec *moment) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)(moment->tv_sec - now.tv_sec) * 1000000000 + (moment->tv_nsec - now.tv_nsec);
}

/* How long it is until a deadline, which is not far, by a clock that is not told. */
static int64_t time_left(const struct timespec *deadline) {
    int64_t left = distance(CLOCK_MONOTONIC, deadline);
    if (left > -FAR_NS && left < FAR_NS) {
        return left;
    }
    int64_t other = distance(CLOCK_REALTIME, deadline);
    return (other < 0 ? -other : other) < (left < 0 ? -left : left) ? other : left;
}

static struct timespec sooner(const struct timespec *moment, int64_t ns) {
    struct timespec result = {moment->tv_sec - ns / 1000000000, moment->tv_nsec - ns % 1000000000};
    if (result.tv_nsec < 0) {
        result.tv_sec--;
        result.tv_nsec += 1000000000;
    }
    return result;
}

/* Wait up to the deadline, but no longer than `most` ns. Returns what the wait did, or WAIT_CUT when
 * it ended for that. The mutex is held. */
static int wait_at_most(pthread_cond_t *condition, pthread_mutex_t *mutex,
                        const struct timespec *deadline, uint64_t most) {
    int64_t left = most < FAR_NS ? time_left(deadline) : 0;
    if (left <= (int64_t)most) {
        return hooks.timedwait(condition, mutex, deadline);
    }
    struct timespec cut = sooner(deadline, left - (int64_t)most);
    int error = hooks.timedwait(condition, mutex, &cut);
    return error == ETIMEDOUT ? WAIT_CUT : error;
}

/* The wait begins: it is chosen and looks, or it is not. Returns false if the GIL is free since. */
static bool begin_to_look(pthread_mutex_t *mutex) {
    struct lookout *lookout = &self.lookout;
    lookout->stage = LOOKOUT_FIRST;
    lookout->weight =
        self.slot->internal
            ? 1
            : look_pacing_choose(&looks.pacing, mean_between_looks(false), self.slot->wait_since);
    if (lookout->weight == 0) {
        return true;
    }
    look_at_holder(mutex, &lookout->first_holder);
    return is_taken();
}

/* How many ns to wait for the next look, and how many ticks of waiting it stands for. */
static uint64_t draw_look(uint64_t *stands_for) {
    struct lookout *lookout = &self.lookout;
    uint64_t mean = mean_of_looks();
    if (lookout->stage == LOOKOUT_LATER) {
        *stands_for = mean;
        return ns_of(look_pacing_draw(&looks.pacing, mean));
    }
    if (lookout->weight == 0) {
        *stands_for = 0;
        return LOOK_UNCHOSEN_NS;
    }
    uint64_t least = ticks_of(LOOK_BLIND_NS);
    mean = mean / lookout->weight > least ? mean / lookout->weight : least;
    *stands_for = mean * lookout->weight;
    return ns_of(look_pacing_draw(&looks.pacing, mean));
}

static void look_later(uint64_t now) {
    struct lookout *lookout = &self.lookout;
    if (lookout->stage == LOOKOUT_FIRST) {
        lookout->stage = LOOKOUT_LATER;
        lookout->chosen_until = now;
    }
}

/* Whether the hold `turn` goes on, of a thread of the program. The mutex is held. */
static bool goes_on(uint64_t turn) {
    return is_taken() && ledger.holder != NULL && !ledger.holder->internal && ledger.turns == turn;
}

/* Whether a look is wanted at the hold on record, as it goes on after it was asked to end. The mutex is
 * held. */
static bool audit_wants_look(void) {
    return (looks.at_release & AT_RELEASE_AUDIT) != 0 && goes_on(audit.asked.turn) &&
           audit.asked.hold.holder.place == PLACE_UNKNOWN;
}

/* The time until that look, in ns; UINT64_MAX when none is wanted. The mutex is held. */
static uint64_t audit_look_in(void) {
    if (!audit_wants_look()) {
        return UINT64_MAX;
    }
    uint64_t now = clock_ticks();
    return audit.asked.look_due > now ? ns_of(audit.asked.look_due - now) : 0;
}

/* The calling thread has waited for a whole switch interval, all of it in the hold `turn` if that goes on,
 * and is about to ask the holder to let the GIL go. Returns what its wait did. The mutex is held, and let
 * go meanwhile: what a thread does before it was asked is not held against it. */
NEVER_INLINE static int ask_audited_hold(pthread_mutex_t *mutex, uint64_t turn) {
    bool asked = (looks.at_release & AT_RELEASE_AUDIT) != 0 && audit.asked.turn == turn;
    if (!goes_on(turn) || asked) {
        return ETIMEDOUT;
    }
    struct audited_hold found = {
        .turn = turn, .hold = {.since = ledger.held_since, .holder = somebody(ledger.holder)}};
    struct stack_aim aim;
    bool collecting = collects(ledger.holder);
    looks.reader.aim(&aim);
    hooks.unlock(mutex);
    found.delay_known = run_delay_of(found.hold.holder.native_id, &found.delay);
    uint64_t looked = clock_ticks();
    found.place_before = looks.reader.look(&aim, collecting);
    hooks.lock(mutex);
    asked = (looks.at_release & AT_RELEASE_AUDIT) != 0 && audit.asked.turn == turn;
    if (goes_on(turn) && !asked) {
        found.hold.asked = clock_ticks();
        if (ns_of(clock_elapsed(looked, found.hold.asked)) > AUDIT_FRESH_NS) {
            found.place_before = PLACE_UNKNOWN;
        }
        found.look_due = found.hold.asked + ticks_of(AUDIT_LOOK_NS);
        audit.asked = found;
        looks.at_release |= AT_RELEASE_AUDIT;
    }
    return is_taken() ? ETIMEDOUT : 0;
}

/* See where the holder stands that does not let go. Bytecode would have by now. The mutex is held, and let
 * go meanwhile. */
NEVER_INLINE static void look_at_audited_hold(pthread_mutex_t *mutex) {
    struct stack_aim aim;
    uint64_t turn = ledger.turns;
    bool collecting = collects(ledger.holder);
    audit.asked.look_due =
        clock_ticks() + ticks_of(AUDIT_LOOK_NS); /* others need not look as well */
    looks.reader.aim(&aim);
    hooks.unlock(mutex);
    uint32_t place = looks.reader.look(&aim, collecting);
    hooks.lock(mutex);
    if (audit_wants_look() && audit.asked.turn == turn) {
        audit.asked.hold.holder.place = place;
    }
}

/* Wait as the caller asks for, and look meanwhile. The mutex is held. */
NEVER_INLINE static int wait_and_look(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                      const struct timespec *deadline) {
    struct lookout *lookout = &self.lookout;
    bool is_first = lookout->stage == LOOKOUT_NEW;
    uint64_t turn = ledger.turns;
    if (!is_first) {
        look_later(clock_ticks());
    } else if (!begin_to_look(mutex)) {
        return 0;
    }
    is_first = is_first && lookout->weight != 0;
    for (;; is_first = false) {
        uint64_t stands_for = 0;
        uint64_t most =
            is_first ? look_pacing_below(&looks.pacing, LOOK_BLIND_NS) : draw_look(&stands_for);
        uint64_t audit_in = is_first ? UINT64_MAX : audit_look_in();
        bool audits = audit_in < most; /* then the draw is made anew */
        int error = wait_at_most(condition, mutex, deadline, audits ? audit_in : most);
        if (error != WAIT_CUT) {
            return error == ETIMEDOUT && audit.users != 0 ? ask_audited_hold(mutex, turn) : error;
        }
        if (!is_taken()) {
            return 0;
        }
        struct charges_thread holder;
        if (audits && audit_wants_look()) {
            look_at_audited_hold(mutex);
        } else if (audits) {
            continue;
        } else if (is_first) {
            look_at_holder(mutex, &lookout->first_holder);
        } else if (stands_for == 0) {
            look_later(clock_ticks());
        } else if (look_at_holder(mutex, &holder)) {
            charges_look(&holder, stands_for, self.slot->internal, clock_ticks());
        }
        if (!is_taken()) {
            return 0;
        }
    }
}

/* The calling thread waited and has the GIL now: see whether the windows are to be told. The mutex is
 * held. */
static void end_lookout(const struct ledger_slot *slot, uint64_t now) {
    struct lookout *lookout = &self.lookout;
    uint64_t waited = slot->last_wait;
    if ((looks.at_release & AT_RELEASE_LOOK) != 0 && lookout->stage == LOOKOUT_NEW) {
        lookout->weight = look_pacing_choose(&looks.pacing, mean_between_looks(false), now);
    }
    if (slot->internal || lookout->weight != 0 || lookout->stage == LOOKOUT_LATER ||
        waited > charges_longest_known()) {
        self.wait.since = now - waited;
        self.wait.now = now;
        self.errands |= ERRAND_TELL_WAIT;
    }
}

/* Tell the windows of the wait that is over. The calling thread has the GIL, and no lock. */
static void tell_wait(void) {
    struct lookout *lookout = &self.lookout;
    const struct ledger_slot *slot = self.slot;
    struct charges_wait wait = {
        .since = self.wait.since,
        .now = self.wait.now,
        .knock = slot->internal,
        .first_holder = lookout->first_holder,
        .weight = lookout->weight,
        .chosen_until = lookout->stage == LOOKOUT_LATER ? lookout->chosen_until : self.wait.now,
        .waiter = somebody(slot),
        .holder = lookout->holder,
    };
    uint64_t blind = wait.since + ticks_of(LOOK_BLIND_NS);
    wait.first_until = lookout->stage == LOOKOUT_NEW ? wait.since /* no look was made */
                       : blind < wait.now            ? blind
                                                     : wait.now;
    if (!slot->internal && looks.reader.here != NULL) {
        wait.waiter.place = looks.reader.here();
    }
    charges_waited(&wait);
}

/* The calling thread has just released the GIL. Where nobody else looks, it looks at itself, with a
 * chance that makes up for the wait that it kept others for. The mutex is held. */
NEVER_INLINE static void consider_release(const struct ledger_slot *slot) {
    uint64_t waited[2] = {0, 0}, *const stands_for[2] = {&self.release.ticks,
                                                         &self.release.knock_ticks};
    const struct ledger_slot *const lists[2] = {ledger.oldest, ledger.internal};
    for (int knock = 0; knock < 2; knock++) {
        for (const struct ledger_slot *other = lists[knock]; other != NULL; other = other->next) {
            uint64_t since = other->wait_since;
            if (since != 0) {
                waited[knock] += clock_elapsed(
                    since > ledger.held_since ? since : ledger.held_since, self.leaving);
            }
        }
        uint64_t mean = mean_between_looks(knock);
        bool chosen =
            waited[knock] >= mean || look_pacing_draw(&looks.pacing, mean) < waited[knock];
        *stands_for[knock] = !chosen || waited[knock] == 0 ? 0
                             : waited[knock] > mean        ? waited[knock]
                                                           : mean;
    }
    if (self.release.ticks != 0 || self.release.knock_ticks != 0) {
        looks.reader.aim(&self.release.aim);
        self.release.thread = somebody(slot);
        self.release.collecting = collects(slot);
        self.errands |= ERRAND_LOOK_AT_SELF;
    }
}

/* It may have been let go for good, with its state: so this is a look like that of others. */
static void look_at_self(void) {
    uint64_t now = clock_ticks();
    struct charges_thread thread = self.release.thread;
    thread.place = looks.reader.look(&self.release.aim, self.release.collecting);
    if (self.release.ticks != 0) {
        charges_look(&thread, self.release.ticks, false, now);
    }
    if (self.release.knock_ticks != 0) {
        charges_look(&thread, self.release.knock_ticks, true, now);
    }
}

/* The hold that some thread asked to end is over. The mutex is held. */
static void end_audited_hold(void) {
    struct audited_hold *asked = &audit.asked;
    asked->hold.now = self.leaving;
    looks.at_release &= ~(unsigned)AT_RELEASE_AUDIT;
    if (asked->turn == ledger.turns &&
        ns_of(clock_elapsed(asked->hold.asked, self.leaving)) > ACCOUNTING_GRACE_NS) {
        if (asked->hold.holder.place == PLACE_UNKNOWN) {
            asked->hold.holder.place = asked->place_before;
        }
        self.hold = *asked;
        self.errands |= ERRAND_TELL_HOLD;
    }
}

static void tell_hold(void) {
    const struct charges_hold *hold = &self.hold.hold;
    uint64_t kept = ns_of(clock_elapsed(hold->asked, hold->now)), delay;
    if (self.hold.delay_known && run_delay_of(hold->holder.native_id, &delay)) {
        uint64_t since = delay - self.hold.delay;
        kept = since < kept ? kept - since : 0;
    }
    if (kept > ACCOUNTING_GRACE_NS) {
        charges_held(hold);
    }
}

/* There is something to be done as the calling thread has released the GIL. The mutex is held. */
NEVER_INLINE static void do_at_release(const struct ledger_slot *slot) {
    if (slot->internal) {
        return;
    }
    if ((looks.at_release & AT_RELEASE_LOOK) != 0) {
        consider_release(slot);
    }
    if ((looks.at_release & AT_RELEASE_AUDIT) != 0) {
        end_audited_hold();
    }
}

NEVER_INLINE static void run_errands(void) {
    unsigned errands = self.errands;
    self.errands = ERRAND_NONE;
    if ((errands & ERRAND_TELL_WAIT) != 0) {
        tell_wait();
    }
    if ((errands & ERRAND_LOOK_AT_SELF) != 0) {
        look_at_self();
    }
    if ((errands & ERRAND_TELL_HOLD) != 0) {
        tell_hold();
    }
}

/* --- events; the mutex is held ---
 *
 * A thread that releases and takes a GIL that nobody else wants runs through the functions called
 * `quick` only; what happens less often is kept out of them, and out of line. */

/* `blocked_since` is 0 when the mutex was had at once. */
NEVER_INLINE static void ask(uint64_t blocked_since, bool forced) {
    struct ledger_slot *slot = own_slot();
    if (slot == NULL) {
        return;
    }
    self.phase = PHASE_NONE;
    self.lookout = (struct lookout){
        .stage = LOOKOUT_NEW, .first_holder.place = PLACE_UNKNOWN, .holder.place = PLACE_UNKNOWN};
    if (forced) {
        ledger_request(&ledger, slot, self.released, true);
    } else if (blocked_since != 0 || is_taken()) {
        ledger_request(&ledger, slot, blocked_since != 0 ? blocked_since : clock_ticks(), false);
    } else {
        ledger_ask(slot);
    }
}

static inline void quick_locked(void) {
    struct ledger_slot *slot = self.slot;
    if (slot != NULL && slot == ledger.holder) {
        self.leaving = clock_ticks();
    } else if (slot != NULL && self.phase < PHASE_DROPPED && !is_taken()) {
        self.phase = PHASE_NONE;
        ledger_ask(slot);
    } else {
        ask(0, comes_straight_back());
    }
}

NEVER_INLINE static void released_as_asked(void) {
    self.phase = PHASE_DROPPED;
    self.usage = usage_now();
}

/* The thread has the GIL, and may have waited for it. */
NEVER_INLINE static void acquire_otherwise(struct ledger_slot *slot) {
    uint64_t now = clock_ticks(), contended = slot->sums.contended;
    ledger_acquire(&ledger, slot, now);
    bool counts = slot->internal ? slot->last_wait != 0 : slot->sums.contended != contended;
    if (counts) {
        end_lookout(slot, now);
    }
}

static inline void acquire(struct ledger_slot *slot) {
    if (slot->state == LEDGER_ASKING && !slot->internal) {
        ledger_acquire(&ledger, slot, clock_ticks());
    } else {
        acquire_otherwise(slot);
    }
}

/* Neither a release nor an acquisition by a known thread. */
NEVER_INLINE static void unlocking_otherwise(void) {
    if (is_taken() && ledger.holder == NULL) {
        struct ledger_slot *slot = own_slot();
        if (slot != NULL) {
            acquire_otherwise(slot);
        }
    } else if (self.slot != NULL && self.slot != ledger.holder) {
        ledger_abandon(&ledger, self.slot);
        self.lookout.stage = LOOKOUT_NONE;
    }
}

static inline void quick_unlocking(void) {
    struct ledger_slot *slot = self.slot;
    bool taken = is_taken();
    if (slot != NULL && slot == ledger.holder && !taken) {
        ledger_release(&ledger, slot, self.leaving);
        self.released = self.leaving;
        self.phase = PHASE_RELEASED;
        if (looks.at_release != 0) {
            do_at_release(slot);
        }
        if (somebody_collects() != (looks.collector != NULL)) {
            note_collector(slot);
        }
        if (drop_is_requested()) {
            released_as_asked();
        }
    } else if (slot != NULL && ledger.holder == NULL && taken) {
        acquire(slot);
    } else {
        unlocking_otherwise();
    }
}

/* --- the hooks --- */

/* Whether some thread has the mutex: the C library's own word for it, where it shows one. Only a
 * hint. */
static inline bool is_busy(const pthread_mutex_t *mutex) {
#ifdef __GLIBC__
    return *(const volatile int *)&mutex->__data.__lock != 0;
#else
    return (void)mutex, false;
#endif
}

/* The mutex is taken, so asking for the GIL begins before it is had. */
NEVER_INLINE static int lock_busy(pthread_mutex_t *mutex) {
    uint64_t since = clock_ticks();
    bool forced = comes_straight_back(); /* told before it may sleep for the mutex */
    int error = hooks.lock(mutex);
    if (error == 0) {
        if (self.slot != NULL && self.slot == ledger.holder) {
            self.leaving = clock_ticks();
        } else {
            ask(since, forced);
        }
    }
    return error;
}

NEVER_INLINE static int lock_gil(pthread_mutex_t *mutex) {
    if (is_busy(mutex)) {
        return lock_busy(mutex);
    }
    int error = hooks.lock(mutex);
    if (error == 0) {
        quick_locked();
    }
    return error;
}

NEVER_INLINE static int unlock_gil(pthread_mutex_t *mutex) {
    quick_unlocking();
    int error = hooks.unlock(mutex);
    if (self.errands != ERRAND_NONE) {
        run_errands();
    }
    return error;
}

NEVER_INLINE static int unlock_switch_after_release(pthread_mutex_t *mutex) {
    released_as_asked();
    return hooks.unlock(mutex);
}

/* These two are called for every mutex of the interpreter, and pass by most. */
static int lock_hook(pthread_mutex_t *mutex) {
    uintptr_t distance = (uintptr_t)mutex - __atomic_load_n(&hooks.base, __ATOMIC_RELAXED);
    if (distance == 0) {
        return lock_gil(mutex);
    }
    if (distance == hooks.span && (self.phase == PHASE_RELEASED || self.phase == PHASE_DROPPED)) {
        self.phase = PHASE_SWITCHING;
    }
    return hooks.lock(mutex);
}

static int unlock_hook(pthread_mutex_t *mutex) {
    uintptr_t distance = (uintptr_t)mutex - __atomic_load_n(&hooks.base, __ATOMIC_RELAXED);
    if (distance == 0) {
        return unlock_gil(mutex);
    }
    if (distance == hooks.span && self.phase == PHASE_SWITCHING) {
        return unlock_switch_after_release(mutex);
    }
    return hooks.unlock(mutex);
}

/* Called for every timed wait of the interpreter. */
static int timedwait_hook(pthread_cond_t *condition, pthread_mutex_t *mutex,
                          const struct timespec *deadline) {
    if ((uintptr_t)mutex != __atomic_load_n(&hooks.base, __ATOMIC_RELAXED) || !looks.by_waiters ||
        self.slot == NULL || self.slot->wait_since == 0) {
        return hooks.timedwait(condition, mutex, deadline);
    }
    return wait_and_look(condition, mutex, deadline);
}

/* --- installing --- */

static void watch(bool on) {
    __atomic_store_n(&hooks.base, on ? (uintptr_t)hooks.target.mutex : NO_TARGET, __ATOMIC_RELAXED);
}

/* The child has this thread only. The interpreter makes the GIL's mutex anew there and takes the
 * GIL once more. */
static void after_fork_in_child(void) {
    places_after_fork();
    charges_after_fork();
    looks.collector = NULL;
    looks.at_release &= ~(unsigned)AT_RELEASE_AUDIT;
    self.lookout.stage = LOOKOUT_NONE;
    self.errands = ERRAND_NONE;
    introduced.count = 0;
    ledger_after_fork(&ledger, self.slot, clock_ticks());
    if (self.slot != NULL) {
        self.slot->native_id = (uint64_t)syscall(SYS_gettid);
    }
    self.phase = PHASE_NONE;
}

static int prepare(char *reason, size_t reason_size) {
    if (hooks.prepared) {
        return 0;
    }
    const char *unknown = why_usage_is_unknown();
    if (unknown != NULL) {
        snprintf(reason, reason_size, "%s", unknown);
        return -1;
    }
    if (ledger_init(&ledger) < 0) {
        snprintf(reason, reason_size, "not enough memory");
        return -1;
    }
    if (pthread_key_create(&hooks.key, thread_ends) != 0) {
        snprintf(reason, reason_size, "no thread-specific data key is left");
        return -1;
    }
    prctl(PR_GET_NAME, hooks.process_name);
    pthread_atfork(NULL, NULL, after_fork_in_child);
    hooks.prepared = true;
    return 0;
}

int accounting_install(const struct accounting_target *target, const void *interpreter_function,
                       char *reason, size_t reason_size) {
    if (prepare(reason, reason_size) < 0) {
        return -1;
    }
    if (looks.reader.collecting == NULL) {
        looks.reader.collecting = &never_collecting;
    }
    hooks.target = *target;
    hooks.span = (uintptr_t)target->switch_mutex - (uintptr_t)target->mutex;
    if (hooks.installed) {
        return 0;
    }
    const struct interpose_symbol symbols[] = {
        {"pthread_mutex_lock", (void *)lock_hook, (void **)&hooks.lock},
        {"pthread_mutex_unlock", (void *)unlock_hook, (void **)&hooks.unlock},
    };
    if (interpose_install(&hooks.calls, interpreter_function, symbols, 2, reason, reason_size) <
        0) {
        return -1;
    }
    hooks.installed = true;
    return 0;
}

void accounting_uninstall(void) {
    watch(false);
    if (hooks.installed) {
        interpose_undo(&hooks.waits);
        interpose_undo(&hooks.calls);
        hooks.installed = false;
    }
}

void accounting_stop(void) { watch(false); }

bool accounting_intact(void) { return !ledger.lost && interpose_intact(&hooks.calls); }

bool accounting_active(void) { return ledger.active; }

/* --- windows; the caller has the GIL --- */

static void lock_ledger(void) { hooks.lock(hooks.target.mutex); }

static void unlock_ledger(void) { hooks.unlock(hooks.target.mutex); }

int accounting_open(struct ledger_window *window, bool by_thread, uint64_t now) {
    int error = -1;
    lock_ledger();
    struct ledger_slot *slot = own_slot();
    if (slot != NULL) {
        error = ledger_open(&ledger, window, slot, by_thread, now);
    }
    if (hooks.base == NO_TARGET) {
        looks.collector = NULL;
        looks.at_release &= ~(unsigned)AT_RELEASE_AUDIT;
    }
    watch(ledger.active);
    unlock_ledger();
    return error;
}

int accounting_read(const struct ledger_window *window, uint64_t now,
                    struct ledger_reading *reading) {
    lock_ledger();
    if (ledger.holder != self.slot) {
        ledger.lost = true;
    }
    int error = ledger_read(&ledger, window, now, reading);
    unlock_ledger();
    return error;
}

void accounting_close(struct ledger_window *window) {
    lock_ledger();
    ledger_close(&ledger, window);
    watch(ledger.active);
    unlock_ledger();
}

/* --- looking; the caller has the GIL --- */

int accounting_look(const struct accounting_reader *reader, bool waiters_look,
                    const void *interpreter_function, char *reason, size_t reason_size) {
    static const struct interpose_symbol symbol = {"pthread_cond_timedwait", (void *)timedwait_hook,
                                                   (void **)&hooks.timedwait};
    hooks.timedwait = pthread_cond_timedwait; /* the loader may find an older version of it */
    if (waiters_look && hooks.waits.n_slots == 0 &&
        interpose_install(&hooks.waits, interpreter_function, &symbol, 1, reason, reason_size) <
            0) {
        return -1;
    }
    double seconds = clock_seconds(1000000); /* 0: a tick is a nanosecond, see clock.h */
    lock_ledger();
    looks.reader = *reader;
    looks.pacing.ticks_per_ms = seconds > 0.0 ? (uint64_t)(1e3 / seconds) : 1000000;
    looks.pacing.random = clock_ticks() | 1;
    looks.by_waiters = waiters_look;
    looks.at_release = waiters_look ? 0 : AT_RELEASE_LOOK;
    unlock_ledger();
    return 0;
}

void accounting_look_no_more(void) {
    lock_ledger();
    looks.by_waiters = false;
    looks.at_release = 0;
    unlock_ledger();
}

void accounting_audit(bool on) {
    lock_ledger();
    audit.users += on ? 1 : (size_t)-1;
    unlock_ledger();
}

void accounting_names(const uint64_t *serials, size_t count, char (*names)[LEDGER_NAME_SIZE]) {
    if (hooks.lock == NULL) { /* never installed: no thread has a serial */
        memset(names, 0, count * sizeof *names);
        return;
    }
    lock_ledger();
    const struct ledger_slot *slot = ledger.oldest;
    for (size_t i = 0; i < count; i++) {
        while (slot != NULL && slot->serial < serials[i]) {
            slot = slot->next;
        }
        bool found = slot != NULL && slot->serial == serials[i];
        snprintf(names[i], LEDGER_NAME_SIZE, "%s",
                 !found                                            ? ""
                 : slot->name[0] == '\0' && ledger_has_ended(slot) ? slot->os_name
                                                                   : slot->name);
    }
    unlock_ledger();
}

/* --- recording; the caller has the GIL --- */

static void write_events_to(struct event_ring *ring) {
    lock_ledger();
    ledger.events = ring;
    unlock_ledger();
}

int accounting_start_recording(size_t capacity) {
    if (recording.users == 0) {
        if (event_ring_init(&recording.ring, capacity) < 0) {
            return -1;
        }
        write_events_to(&recording.ring);
    }
    recording.users++;
    return 0;
}

void accounting_stop_recording(void) {
    if (--recording.users == 0) {
        write_events_to(NULL);
        event_ring_free(&recording.ring);
    }
}

uint64_t accounting_next_event(void) { return recording.ring.written; }

/* The ring is at rest while the caller has the GIL. Other threads may be born meanwhile, and ask. */
int accounting_record(uint64_t first, uint64_t now, struct accounting_record *record) {
    const struct event_ring *ring = &recording.ring;
    size_t count = event_ring_count(ring, first);
    lock_ledger();
    size_t room = ledger.live;
    unlock_ledger();
    *record = (struct accounting_record){
        .events = malloc((count + room + 1) * sizeof *record->events),
        .threads = malloc((room + 1) * sizeof *record->threads),
        .dropped = ring->written - first - count,
    };
    if (record->events == NULL || record->threads == NULL) {
        accounting_free_record(record);
        return -1;
    }
    event_ring_copy(ring, first, record->events);
    lock_ledger();
    size_t unfinished = ledger_unfinished(&ledger, now, record->events + count, room);
    record->count = count + (unfinished < room ? unfinished : room);
    for (struct ledger_slot *slot = ledger.oldest; slot != NULL && record->thread_count < room;
         slot = slot->next) {
        struct accounting_thread *thread = &record->threads[record->thread_count++];
        describe(thread, slot);
        if (thread->name[0] == '\0' && ledger_has_ended(slot)) {
            memcpy(thread->name, slot->os_name, sizeof slot->os_name);
        }
    }
    unlock_ledger();
    return 0;
}

void accounting_free_record(struct accounting_record *record) {
    free(record->events);
    free(record->threads);
    *record = (struct accounting_record){.events = NULL};
}

/* --- for the knocker and the names --- */

void accounting_mark_internal(void) {
    self.internal = true;
    if (!hooks.installed) {
        return; /* where it is enrolled, it will be as a knocker */
    }
    lock_ledger();
    struct ledger_slot *slot = own_slot();
    if (slot != NULL) {
        ledger_mark_internal(&ledger, slot);
    }
    unlock_ledger();
}

uint64_t accounting_internal_wait(void) { return self.slot != NULL ? self.slot->last_wait : 0; }

bool accounting_holder(struct accounting_thread *thread) {
    bool locked = false, found = false;
    for (int i = 0; i < 100 && hooks.installed && !locked; i++) {
        locked = pthread_mutex_trylock(hooks.target.mutex) == 0;
    }
    if (locked) {
        found = ledger.active && ledger.holder != NULL;
        if (found) {
            describe(thread, ledger.holder);
        }
        unlock_ledger();
    }
    return found;
}

struct accounting_thread *accounting_nameless(size_t *count) {
    *count = 0;
    lock_ledger();
    size_t room = ledger.nameless_count;
    unlock_ledger();
    struct accounting_thread *threads = room != 0 ? malloc(room * sizeof *threads) : NULL;
    struct ledger_slot **slots = room != 0 ? malloc(room * sizeof *slots) : NULL;
    if (threads != NULL && slots != NULL) {
        lock_ledger();
        *count = ledger_take_nameless(&ledger, slots, room);
        for (size_t i = 0; i < *count; i++) {
            describe(&threads[i], slots[i]);
        }
        unlock_ledger();
    }
    free(slots);
    if (*count == 0) {
        free(threads);
        threads = NULL;
    }
    return threads;
}

void accounting_name(const struct accounting_thread *thread, const char *name) {
    lock_ledger();
    if (thread->slot->serial == thread->serial) {
        ledger_name(&ledger, thread->slot, name);
    }
    unlock_ledger();
}

void accounting_introduce(const struct accounting_thread *threads, size_t count) {
    struct accounting_thread *copy = count != 0 ? malloc(count * sizeof *copy) : NULL;
    if (copy != NULL) {
        memcpy(copy, threads, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, compare_native_ids);
    }
    lock_ledger();
    struct accounting_thread *former = introduced.threads;
    introduced.threads = copy;
    introduced.count = copy != NULL ? count : 0;
    unlock_ledger();
    free(former);
}

#else /* no accounting on this platform */

#include <stdio.h>

int accounting_install(const struct accounting_target *target, const void *interpreter_function,
                       char *reason, size_t reason_size) {
    (void)target, (void)interpreter_function;
    snprintf(reason, reason_size, "the accounting exists for Linux on x86-64 and aarch64 only");
    return -1;
}
void accounting_uninstall(void) {}
void accounting_stop(void) {}
bool accounting_intact(void) { return false; }
bool accounting_active(void) { return false; }
int accounting_open(struct ledger_window *window, bool by_thread, uint64_t now) {
    (void)window, (void)by_thread, (void)now;
    return -1;
}
int accounting_read(const struct ledger_window *window, uint64_t now,
                    struct ledger_reading *reading) {
    (void)window, (void)now, (void)reading;
    return -1;
}
void accounting_close(struct ledger_window *window) { (void)window; }
int accounting_start_recording(size_t capacity) { return (void)capacity, -1; }
void accounting_stop_recording(void) {}
uint64_t accounting_next_event(void) { return 0; }
int accounting_record(uint64_t first, uint64_t now, struct accounting_record *record) {
    (void)first, (void)now, (void)record;
    return -1;
}
void accounting_free_record(struct accounting_record *record) { (void)record; }
void accounting_mark_internal(void) {}
uint64_t accounting_internal_wait(void) { return 0; }
int accounting_look(const struct accounting_reader *reader, bool waiters_look,
                    const void *interpreter_function, char *reason, size_t reason_size) {
    (void)reader, (void)waiters_look, (void)interpreter_function;
    snprintf(reason, reason_size, "there is no accounting on this platform");
    return -1;
}
void accounting_look_no_more(void) {}
void accounting_audit(bool on) { (void)on; }
void accounting_names(const uint64_t *serials, size_t count, char (*names)[LEDGER_NAME_SIZE]) {
    (void)serials;
    for (size_t i = 0; i < count; i++) {
        names[i][0] = '\0';
    }
}
bool accounting_holder(struct accounting_thread *thread) { return (void)thread, false; }
struct accounting_thread *accounting_nameless(size_t *count) {
    *count = 0;
    return NULL;
}
void accounting_name(const struct accounting_thread *thread, const char *name) {
    (void)thread, (void)name;
}
void accounting_introduce(const struct accounting_thread *threads, size_t count) {
    (void)threads, (void)count;
}

#endif
