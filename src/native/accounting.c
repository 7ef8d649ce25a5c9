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
 * A thread that waits already as the first window opens was not seen asking. It shows when its own deadline
 * passes, or when it has the GIL, and has waited since the opening then.
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
 * let go soon after; the holder finds the note as it releases, and reports the hold if it went on for
 * long. Nothing is paid for that where nobody was asked: the note is one bit of a word that is tested at
 * a release anyway.
 *
 * Where a thread waited needs no look from outside: it looks at itself, as it waits or as it gets the GIL
 * (accounting_waits.c).
 *
 * All state of the ledger is guarded by the GIL's mutex, and so is the word that says whether a
 * window is open. A hook may have read that word before it got the mutex, and enter a request into
 * a ledger at rest: it is wiped when the next window opens. A thread that has the GIL may lock that
 * mutex, as the interpreter itself does: nobody waits for the GIL under it. It is held for a few
 * instructions in the hooks, and while a window opens or is read for as long as it takes to go through
 * the threads.
 */
#define _GNU_SOURCE
#include "native/accounting_state.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/accounting_audit.h"
#include "native/accounting_looks.h"
#include "native/accounting_threads.h"
#include "native/accounting_waits.h"
#include "native/clock.h"
#include "native/places.h"

FAST_THREAD_LOCAL struct self self;

struct accounting_hooks hooks = {.base = NO_TARGET};
struct ledger ledger;

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

/* --- events; the mutex is held ---
 *
 * A thread that releases and takes a GIL that nobody else wants runs through the functions called
 * `quick` only; what happens less often is kept out of them, and out of line. */

static const struct lookout nothing_seen = {
    .stage = LOOKOUT_NEW, .first_holder.place = PLACE_UNKNOWN, .own_stack_due = OWN_STACK_NEVER};

/* `blocked_since` is 0 when the mutex was had at once. */
NEVER_INLINE static void ask(uint64_t blocked_since, bool forced) {
    struct ledger_slot *slot = own_slot();
    if (slot == NULL) {
        return;
    }
    self.phase = PHASE_NONE;
    self.lookout = nothing_seen;
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
    if (slot->state == LEDGER_NOT_REQUESTING) {
        wait_began_unseen(now);
    }
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

/* errno stays as it is. The interpreter restores it as it takes the GIL, but not as it lets it go: os.listdir()
 * sets it to 0, lets the GIL go, calls readdir(), and takes anything else for an error. */
NEVER_INLINE static int unlock_gil(pthread_mutex_t *mutex) {
    quick_unlocking();
    int error = hooks.unlock(mutex);
    if (self.errands != ERRAND_NONE) {
        int error_before = errno;
        run_errands();
        errno = error_before;
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
    forget_introduced();
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
    if (!ledger.active) { /* else it goes on unless it was stopped */
        watch(false);
    }
    unlock_ledger();
}

#endif
