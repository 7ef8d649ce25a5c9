/* Looks at who holds the GIL and who waited for it: when a waiter looks (look_pacing.h), how it does
 * that within its own wait, and what the windows are told of it (charges.h). */
#define _POSIX_C_SOURCE 200809L
#include "native/accounting_looks.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>

#include "native/accounting_audit.h"
#include "native/clock.h"
#include "native/places.h"

#define FAR_NS INT64_C(3600000000000) /* farther away is no deadline of the interpreter's */
#define WAIT_CUT (-1)                 /* no error number */

struct accounting_looks looks;

/* `collecting` says that somebody collects garbage: whose finalizers may let the GIL go meanwhile. It
 * can only be set by a thread that has the GIL, so who has it when it is first seen set began. */

const int never_collecting;

void note_collector(const struct ledger_slot *slot) {
    looks.collector = somebody_collects() ? slot : NULL;
}

bool collects(const struct ledger_slot *holder) {
    return somebody_collects() && (looks.collector == NULL || looks.collector == holder);
}

struct charges_thread somebody(const struct ledger_slot *slot) {
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

uint64_t ticks_of(uint64_t nanoseconds) {
    return nanoseconds * looks.pacing.ticks_per_ms / 1000000;
}

uint64_t ns_of(uint64_t ticks) { return ticks * 1000000 / looks.pacing.ticks_per_ms; }

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
        uint64_t now = clock_ticks(); /* windows opened during the look are none of its */
        if (audits && audit_wants_look()) {
            look_at_audited_hold(mutex);
        } else if (audits) {
            continue;
        } else if (is_first) {
            look_at_holder(mutex, &lookout->first_holder);
        } else if (stands_for == 0) {
            look_later(now);
        } else if (look_at_holder(mutex, &holder)) {
            charges_look(&holder, stands_for, self.slot->internal, now);
        }
        if (!is_taken()) {
            return 0;
        }
    }
}

void end_lookout(const struct ledger_slot *slot, uint64_t now) {
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
    uint64_t now = self.released;
    struct charges_thread thread = self.release.thread;
    thread.place = looks.reader.look(&self.release.aim, self.release.collecting);
    if (self.release.ticks != 0) {
        charges_look(&thread, self.release.ticks, false, now);
    }
    if (self.release.knock_ticks != 0) {
        charges_look(&thread, self.release.knock_ticks, true, now);
    }
}

void do_at_release(const struct ledger_slot *slot) {
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

void run_errands(void) {
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

/* Called for every timed wait of the interpreter. */
static int timedwait_hook(pthread_cond_t *condition, pthread_mutex_t *mutex,
                          const struct timespec *deadline) {
    if ((uintptr_t)mutex != __atomic_load_n(&hooks.base, __ATOMIC_RELAXED) || !looks.by_waiters ||
        self.slot == NULL || self.slot->wait_since == 0) {
        return hooks.timedwait(condition, mutex, deadline);
    }
    return wait_and_look(condition, mutex, deadline);
}

/* --- starting; the caller has the GIL --- */

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

#endif
