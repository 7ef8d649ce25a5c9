/* Looks at who holds the GIL and who waited for it: when a waiter looks (look_pacing.h), how it does
 * that within its own wait, and what the windows get of it (charges.h). */
#define _POSIX_C_SOURCE 200809L
#include "native/accounting_looks.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>

#include "native/accounting_audit.h"
#include "native/accounting_threads.h"
#include "native/accounting_waits.h"
#include "native/clock.h"
#include "native/places.h"

#define FAR_NS INT64_C(3600000000000) /* farther away is no deadline of the interpreter's */
#define WAIT_CUT (-1)                 /* no error number */
#define LOOK_LEAST_WAIT_NS 10000u     /* less is over before the wait begins */

_Alignas(CACHE_LINE) struct accounting_looks looks;

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
    uint64_t begun = clock_ticks();
    looks.reader.aim(&aim);
    hooks.unlock(mutex);
    holder->place = looks.reader.look(&aim, collecting);
    hooks.lock(mutex);
    look_cost_note(&looks.pacing, &looks.cost, clock_elapsed(begun, clock_ticks()));
    look_votes_add(&self.lookout.votes, holder);
    recent_looks_add(&looks.recent, holder, begun);
    return true;
}

/* A value in another unit; the product of the two numbers may be more than a word can hold. */
static uint64_t convert(uint64_t value, uint64_t factor, uint64_t divisor) {
    return value / divisor * factor + value % divisor * factor / divisor;
}

uint64_t ticks_of(uint64_t nanoseconds) {
    return convert(nanoseconds, looks.pacing.ticks_per_ms, 1000000);
}

uint64_t ns_of(uint64_t ticks) { return convert(ticks, 1000000, looks.pacing.ticks_per_ms); }

/* With a look of the program's threads goes the cost of handing the wait to the windows. */
uint64_t mean_between_looks(bool knock) {
    uint64_t cost = looks.cost.ticks + (knock ? 0 : looks.telling_cost.ticks) +
                    (looks.by_waiters ? ticks_of(LOOK_WAKE_NS) : 0);
    return ticks_of(look_pacing_mean_ns(charges_looks(knock), ns_of(cost)));
}

uint64_t mean_for_each(uint64_t mean) { return mean * (ledger.waiting == 0 ? 1 : ledger.waiting); }

/* Threads that wait at the same time share the looks, and so does a knock with all of them. */
static uint64_t mean_of_own_looks(void) {
    bool knock = self.slot->internal;
    uint64_t mean = mean_between_looks(knock);
    return knock ? mean * (1 + ledger.waiting) : mean_for_each(mean);
}

/* A moment of a clock, and how far it is from now, in ns. */
static int64_t distance(clockid_t clock, const struct timespec *moment) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)(moment->tv_sec - now.tv_sec) * 1000000000 + (moment->tv_nsec - now.tv_nsec);
}

/* How long it is until a deadline, which is not far, by a clock that is not known. */
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

static struct look_rate rate_of_looks(void) {
    const struct lookout *lookout = &self.lookout;
    uint64_t mean = mean_of_own_looks(), shortest = ticks_of(LOOK_BLIND_NS);
    if (lookout->stage == LOOKOUT_LATER) {
        return (struct look_rate){mean, 1};
    }
    mean /= lookout->chosen.rest;
    return (struct look_rate){mean > shortest ? mean : shortest, lookout->chosen.rest};
}

/* How far ahead of now a look is made at once: a timer would wake no nearer to when it is due. */
static uint64_t reach_of_looks(void) { return looks.lateness[self.slot->internal].ticks / 2; }

/* All waits are looked at from then on, or from when that was known to begin. */
static void look_later(uint64_t from) {
    struct lookout *lookout = &self.lookout;
    if (lookout->stage != LOOKOUT_LATER || from < lookout->chosen_until) {
        lookout->stage = LOOKOUT_LATER;
        lookout->chosen_until = least(from, lookout->chosen_until);
        lookout->series = look_series_from(&looks.pacing, lookout->chosen_until, rate_of_looks());
    }
}

/* Take the looks that are due. A wait that was chosen comes to be looked at like all when these do. */
static uint64_t take_due_looks(void) {
    struct lookout *lookout = &self.lookout;
    uint64_t until = clock_ticks() + reach_of_looks(), taken = 0;
    if (lookout->stage == LOOKOUT_FIRST) {
        taken = look_series_take(&looks.pacing, &lookout->series,
                                 least(until, lookout->chosen_until), rate_of_looks());
        if (lookout->series.due <= lookout->chosen_until) {
            return taken;
        }
        look_later(lookout->chosen_until);
    }
    return taken + look_series_take(&looks.pacing, &lookout->series, until, rate_of_looks());
}

/* What follows the beginning of the wait. */
static void look_at_rest(void) {
    struct lookout *lookout = &self.lookout;
    lookout->stage = LOOKOUT_FIRST;
    if (lookout->chosen.rest == 0) {
        lookout->series = (struct look_series){.due = lookout->chosen_until};
        return;
    }
    lookout->series = look_series_from(&looks.pacing, lookout->beginning_until, rate_of_looks());
    if (lookout->series.due > lookout->chosen_until) {
        look_later(lookout->chosen_until);
    }
}

/* Look at the holder for the beginning of the wait, and for what of the rest is due by then. */
static void look_at_beginning(pthread_mutex_t *mutex) {
    struct lookout *lookout = &self.lookout;
    look_at_holder(mutex, &lookout->first_holder);
    look_at_rest();
    lookout->first_stands_for = lookout->chosen.rest != 0 ? take_due_looks() : 0;
}

/* The wait begins, and may be chosen. Returns false if the GIL is free since. */
static bool begin_to_look(pthread_mutex_t *mutex) {
    struct lookout *lookout = &self.lookout;
    uint64_t now = clock_ticks(), since = self.slot->wait_since;
    lookout->beginning_until = since + ticks_of(LOOK_BLIND_NS);
    lookout->chosen_until = now + ticks_of(LOOK_UNCHOSEN_NS);
    if (self.slot->internal) {
        lookout->chosen = (struct look_choice){1, 1};
    } else {
        uint64_t mean = mean_between_looks(false);
        lookout->chosen = look_pacing_choose(&looks.pacing, mean, since);
        wait_begins(mean, since);
    }
    if (lookout->chosen.beginning == 0) {
        if (lookout->chosen.rest == 1) {
            /* For its vote: there may be no other look. */
            look_at_holder(mutex, &lookout->first_holder);
        }
        look_at_rest();
        return is_taken();
    }
    uint64_t drawn = look_pacing_below(&looks.pacing, LOOK_BLIND_NS);
    uint64_t due = since + ticks_of(drawn);
    if (drawn < LOOK_AT_ONCE_NS || due <= now) {
        look_at_beginning(mutex);
        return is_taken();
    }
    lookout->stage = LOOKOUT_BEGINNING;
    look_at_holder(mutex, &lookout->first_holder);
    /* Whoever woke this thread may stand still while it is on the processor, at that very line: so not
     * without a timer. */
    uint64_t soonest =
        clock_ticks() + looks.lateness[self.slot->internal].ticks + ticks_of(LOOK_LEAST_WAIT_NS);
    lookout->series.due = due > soonest ? due : soonest;
    return is_taken();
}

/* A look is due. The mutex is held, and let go meanwhile. */
static void look_as_due(pthread_mutex_t *mutex) {
    struct lookout *lookout = &self.lookout;
    if (lookout->stage == LOOKOUT_BEGINNING) {
        look_at_beginning(mutex);
    } else if (lookout->stage == LOOKOUT_FIRST && lookout->chosen.rest == 0) {
        look_later(lookout->chosen_until);
    } else {
        struct charges_thread holder;
        uint64_t now = clock_ticks(); /* windows opened during the look are none of its */
        bool seen = look_at_holder(mutex, &holder);
        uint64_t stands_for = take_due_looks();
        if (seen) {
            hooks.unlock(mutex); /* charges may be read or grow meanwhile, which takes its time */
            charges_look(&holder, stands_for, self.slot->internal, now);
            hooks.lock(mutex);
        }
    }
}

/* For how many ns to wait until a look that is due then can be made. The interpreter's own deadline is no
 * later than the first look at a wait that was not chosen, and a timer of ours would add to that. */
static uint64_t time_until_look(uint64_t now, uint64_t due) {
    const struct lookout *lookout = &self.lookout;
    if (lookout->stage == LOOKOUT_FIRST && lookout->chosen.rest == 0) {
        return due > now ? ns_of(due - now) : 0;
    }
    uint64_t late = looks.lateness[self.slot->internal].ticks;
    uint64_t most = due > now + late ? ns_of(due - now - late) : 0;
    return most > LOOK_LEAST_WAIT_NS ? most : LOOK_LEAST_WAIT_NS;
}

/* For how many ns to wait until the thread reads where it waits: shortly before the interpreter's own
 * deadline, so that it is awake once for both, and the holder is not asked later to let go. */
static uint64_t own_stack_in(uint64_t now, const struct timespec *deadline) {
    int64_t left = time_left(deadline), most = left - (int64_t)ns_of(looks.telling_cost.ticks);
    bool comes_due = most > 0 && most < FAR_NS && own_stack_is_due(now + ticks_of((uint64_t)most));
    return comes_due ? (uint64_t)most : UINT64_MAX;
}

/* The calling thread waits since before the first of the open windows, and this is its first sign since. The
 * mutex is held. */
static void begin_unseen_wait(struct ledger_slot *slot) {
    uint64_t now = clock_ticks();
    ledger_request_unseen(&ledger, slot, now);
    self.phase = PHASE_NONE;
    wait_began_unseen(now);
    wait_begins(mean_between_looks(false), slot->wait_since);
    self.lookout.series = look_series_from(&looks.pacing, now, rate_of_looks());
}

/* See to it that it is known since when the calling thread waits. Returns false if it is not. The mutex is
 * held. */
static bool know_wait(void) {
    struct ledger_slot *slot = self.slot != NULL || ledger.lost ? self.slot : own_slot();
    bool is_watched = ledger.newest != NULL;
    if (slot != NULL && slot->wait_since == 0 && !slot->internal && is_watched) {
        begin_unseen_wait(slot);
    }
    return slot != NULL && slot->wait_since != 0;
}

/* Wait as the caller asks for, and look meanwhile. The mutex is held. */
NEVER_INLINE static int wait_and_look(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                      const struct timespec *deadline) {
    struct lookout *lookout = &self.lookout;
    uint64_t turn = ledger.turns;
    if (lookout->stage != LOOKOUT_NEW) {
        look_later(clock_ticks());
    } else if (!begin_to_look(mutex)) {
        return 0;
    }
    for (;;) {
        know_wait(); /* all windows may have closed, and others opened, while the mutex was let go */
        uint64_t now = clock_ticks();
        bool look_is_due = lookout->series.due <= now + reach_of_looks();
        if (look_is_due || own_stack_is_due(now)) {
            if (look_is_due) {
                look_as_due(mutex);
            } else {
                consider_own_stack(mutex, now);
            }
            if (!is_taken()) {
                return 0;
            }
            continue;
        }
        uint64_t most = time_until_look(now, lookout->series.due);
        uint64_t others_in = least(audit_look_in(), own_stack_in(now, deadline));
        bool looks_next = most <= others_in;
        most = least(most, others_in);
        int error = wait_at_most(condition, mutex, deadline, most);
        if (error != WAIT_CUT) {
            return error == ETIMEDOUT && audit.users != 0 ? ask_audited_hold(mutex, turn) : error;
        }
        if (looks_next && most > LOOK_LEAST_WAIT_NS) {
            look_lateness_note(&looks.pacing, &looks.lateness[self.slot->internal],
                               clock_elapsed(now + ticks_of(most), clock_ticks()));
        } else if (is_taken() && audit_wants_look()) {
            look_at_audited_hold(mutex);
        }
        if (!is_taken()) {
            return 0;
        }
    }
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
            waited[knock] >= mean || look_pacing_below(&looks.pacing, mean) < waited[knock];
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
        !know_wait()) {
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
    if (looks.cost.ticks == 0) {
        looks.cost.ticks = looks.telling_cost.ticks = ticks_of(LOOK_COST_NS / 2);
    }
    for (int knock = 0; knock < 2 && looks.lateness[knock].ticks == 0; knock++) {
        looks.lateness[knock].ticks = ticks_of(LOOK_LATE_NS);
    }
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
