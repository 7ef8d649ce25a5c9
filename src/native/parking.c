/* Each thread that waits has a slot, and in it sums for each open window: it alone writes them, so that
 * a wait's end takes no lock and disturbs no other thread. Who reads a slot copies it between two equal,
 * even values of its sequence number.
 *
 * A window is a place in a table, with a generation of its own. Sums that a slot has of an older
 * generation are worth nothing and are wiped by their thread when it comes to them: opening a window
 * costs nothing, however many threads there are, and a thread that is late at closing harms none that
 * opens in the same place.
 *
 * A wait lies in a window from the later one of both beginnings. The wait that goes on is in its slot,
 * and counts in whatever is read meanwhile.
 *
 * A wait is over as its semaphore lets the thread go: where there is a GIL, the thread takes that back
 * only then. A lock may be snatched from a thread that was just woken for it, which waits again then: the
 * same attempt, so the same wait, from the first sleep to the last, with what lies between.
 *
 * A thread that posts the semaphore for which it waited last had that lock meanwhile, perhaps without another
 * sleep: when it sleeps for it again, that is another attempt.
 *
 * A thread that enters the critical section of an object twice parks on a mutex that it has itself, and as
 * it is detached to sleep, lets that go and wakes itself: it has waited for nobody, which is no wait.
 *
 * Which waits a place is charged for is drawn by their length: one of `mean` and more always; a shorter
 * one with a chance of its length / mean, and then each tick of it counts mean / length times: once for
 * itself, and else for waits that were not drawn. In the mean that is right, and reading a stack takes but a
 * small part of the time waited. The thread that wakes another one draws, by the length until then, and reads
 * its own stack before it does so: its lines and those of the woken one tell of the same waits. The woken
 * one waits for longer, until it is up: what it waits counts by the length that was drawn by, as its chance
 * came from that. Who wakes finds whose semaphore it posts in a table, from which a thread may push another
 * one's out.
 *
 * A thread has its slot from its first wait to its end, whether a window is open or not: where more are
 * alive that have waited than there are slots, the windows that are open until they end do not have all
 * (parking_is_whole). A slot outlives its thread while a window is open that tells threads apart and may
 * have met it. In the others its sums are added up when it ends. The lock is for that, for the windows
 * and for a thread's first wait; no thread waits or computes while it has it. */
#define _GNU_SOURCE
#include "native/parking_state.h"

#ifdef ELF_SUPPORTED

#include <errno.h>
#include <stdio.h>

#include "native/clock.h"
#include "native/lock_charges.h"
#include "native/parking_places.h"
#include "native/parking_recording.h"
#include "native/parking_threads.h"

struct parking_lot lot = {.lock = PTHREAD_MUTEX_INITIALIZER};
struct slot slots[PARKING_THREADS];
struct window windows[PARKING_WINDOWS];
FAST_THREAD_LOCAL struct parking_self own;

/* --- the hooks --- */

static void fill(struct parking_probe *probe, const struct parking_call *call) {
    const uintptr_t *words = (const uintptr_t *)call->semaphore;
    probe->call = *call;
    if (parking_is_on_stack(call)) {
        probe->before[0] = words[-2];
        probe->before[1] = words[-1];
    }
    probe->calls++;
    if (probe->wake != NULL) {
        probe->wake(probe);
    }
}

/* The calling thread is about to wait. Returns its slot if that is to be counted. */
static struct slot *before_wait(const struct parking_call *call) {
    parking_classifier classify = LOAD(lot.classify);
    if (own.probe != NULL) {
        struct parking_probe *probe = own.probe;
        own.probe = NULL; /* what wakes may wait itself */
        fill(probe, call);
        own.probe = probe;
        return NULL;
    }
    if (classify == NULL || own.left_out) {
        return NULL;
    }
    struct parking_purpose purpose = classify(call);
    bool wakes_itself = purpose.is_parked && own.posted == call->semaphore;
    own.posted = 0;
    if (purpose.kind >= PARKING_KINDS || wakes_itself) {
        return NULL;
    }
    struct slot *slot = own.slot != NULL ? own.slot : enroll();
    if (slot != NULL) {
        own.awaited = purpose.is_parked ? 0 : call->semaphore;
        begin_wait(slot, &purpose, clock_ticks());
        if (purpose.is_parked && call->semaphore >> 47 == 0) {
            show_parked(slot, call->semaphore);
        }
    }
    return slot;
}

/* What wakes a thread must not change errno: who takes the interpreter's locks counts on it. */
static void after_wait(struct slot *slot, int result, int error_before) {
    int error = result == 0 ? error_before : errno;
    if (slot != NULL) {
        end_wait(slot, clock_ticks(), result == 0 ? 0 : error);
    }
    errno = error;
}

static int wait_hook(sem_t *semaphore) {
    const struct parking_call call = {(uintptr_t)semaphore, (uintptr_t)__builtin_frame_address(0),
                                      (uintptr_t)__builtin_return_address(0), false, 0};
    int error_before = errno;
    struct slot *slot = before_wait(&call);
    int result = lot.wait(semaphore);
    after_wait(slot, result, error_before);
    return result;
}

static int clockwait_hook(sem_t *semaphore, clockid_t clock, const struct timespec *deadline) {
    uint64_t until = clock == CLOCK_MONOTONIC
                         ? (uint64_t)deadline->tv_sec * 1000000000u + (uint64_t)deadline->tv_nsec
                         : 0;
    const struct parking_call call = {(uintptr_t)semaphore, (uintptr_t)__builtin_frame_address(0),
                                      (uintptr_t)__builtin_return_address(0), true, until};
    int error_before = errno;
    struct slot *slot = before_wait(&call);
    int result = lot.clockwait(semaphore, clock, deadline);
    after_wait(slot, result, error_before);
    return result;
}

static int post_hook(sem_t *semaphore) {
    own.posted = (uintptr_t)semaphore;
    if (own.posted == own.awaited && own.slot != NULL) {
        end_attempt(own.slot);
    }
    if (LOAD(lot.look) != NULL && LOAD(lot.classify) != NULL) {
        struct slot *slot = waiter_of((uintptr_t)semaphore);
        if (slot != NULL) {
            int error = errno;
            let_go(slot);
            errno = error;
        }
    }
    return lot.post(semaphore);
}

static int yield_hook(void) {
    uintptr_t site = (uintptr_t)__builtin_return_address(0);
    if (own.learns_yield) {
        STORE(lot.other_yield, site);
    } else if (LOAD(lot.classify) != NULL && site != LOAD(lot.other_yield) && !own.left_out) {
        int error = errno;
        struct slot *slot = own.slot != NULL ? own.slot : enroll();
        if (slot != NULL) {
            count_spin(slot);
        }
        errno = error;
    }
    int result = lot.yield();
    __asm__ volatile("" ::: "memory");
    return result;
}

/* --- installing --- */

/* The child has this thread only. The waits of the others that went on are dropped. */
static void after_fork_in_child(void) {
    pthread_mutex_init(&lot.lock, NULL);
    lock_charges_after_fork();
    forget_parked();
    lot.left_out = own.left_out;
    lot.waiting = own.slot != NULL && own.slot->wait.goes_on != 0; /* forked in a handler */
    own.native_id = 0;
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        /* Another thread may have been about to say so, or to wipe them. */
        windows[i].has_lengths = 1;
    }
    end_other_threads();
}

int parking_install(const void *interpreter_function, char *reason, size_t reason_size) {
    const struct interpose_symbol symbols[] = {
        {"sem_wait", (void *)wait_hook, (void **)&lot.wait},
        {"sem_clockwait", (void *)clockwait_hook, (void **)&lot.clockwait},
        {"sem_post", (void *)post_hook, (void **)&lot.post},
    };
    if (interpose_intact(&lot.calls)) {
        return 0; /* by the process that this one was forked from */
    }
    if (!lot.prepared) {
        if (pthread_key_create(&lot.key, waiter_ends) != 0) {
            snprintf(reason, reason_size, "no thread-specific data key is left");
            return -1;
        }
        pthread_atfork(NULL, NULL, after_fork_in_child);
        lot.prepared = true;
    }
    return interpose_install(&lot.calls, interpreter_function, symbols, 3, reason, reason_size);
}

void parking_set_probe(struct parking_probe *probe) { own.probe = probe; }

void parking_count_spins(const void *interpreter_function, void (*yield)(void)) {
    const struct interpose_symbol symbol = {"sched_yield", (void *)yield_hook, (void **)&lot.yield};
    char reason[160];
    if (interpose_intact(&lot.yields) ||
        interpose_install(&lot.yields, interpreter_function, &symbol, 1, reason, sizeof reason) ==
            0) {
        own.learns_yield = true;
        yield();
        own.learns_yield = false;
        lot.spins_are_seen = true;
    }
}

void parking_start(parking_classifier classify) {
    const uint64_t many = UINT64_C(1) << 32;
    lot.ticks_per_ns = (double)many / (clock_seconds(many) * 1e9);
    STORE(lot.classify, classify);
}

void parking_stop(void) {
    STORE(lot.classify, NULL);
    STORE(lot.look, NULL); /* threads that still wait have a state that may be gone as they wake */
}

bool parking_intact(void) { return interpose_intact(&lot.calls); }

#endif
