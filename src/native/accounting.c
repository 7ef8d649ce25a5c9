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
 * All state of the ledger is guarded by the GIL's mutex, and so is the word that says whether a
 * window is open. A hook may have read that word before it got the mutex, and enter a request into
 * a ledger at rest: it is wiped when the next window opens. A thread that has the GIL may lock that
 * mutex, as the interpreter itself does: it is never held for longer than a few instructions.
 */
#define _GNU_SOURCE
#include "native/accounting.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "native/clock.h"
#include "native/interpose.h"
#include "native/run_delay.h"
#include "native/thread_birth.h"

#define IDLE_NS 30000 /* a thread that used less of the processor has done nothing but switch */
#define UNKNOWN_SLEEPS (-1)
#define PROOF_TRIES 12
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

/* What a thread has used of the processor so far. */
struct usage {
    int64_t nanoseconds;
    long sleeps; /* voluntary context switches */
};

/* What a thread knows of itself; nobody else looks at it. */
struct self {
    struct ledger_slot *slot;
    struct ledger_slot *ended; /* its slot before a destructor of a key came back for the GIL */
    uint64_t ended_serial;
    bool own;                                   /* a knocker's */
    bool is_named;                              /* by its creator, or by accounting_introduce */
    char os_name_at_birth[LEDGER_OS_NAME_SIZE]; /* "": not known */
    enum phase phase;
    uint64_t leaving;  /* when it locked the mutex with the GIL in hand */
    uint64_t released; /* when it last gave up the GIL */
    struct usage usage;
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
    const uint64_t *knock_asked; /* since when a knock waits for the GIL; NULL: nobody asks */
    void (*at_release)(const struct accounting_hold *hold);
    struct interpose calls;
    int (*lock)(pthread_mutex_t *);
    int (*unlock)(pthread_mutex_t *);
} tap = {.base = NO_TARGET};

static struct ledger ledger;

/* Where the ledger writes its events while somebody records them. Guarded by the GIL. */
static struct {
    struct event_ring ring;
    size_t users;
} recording;

static bool is_taken(void) { return __atomic_load_n(tap.target.locked, __ATOMIC_RELAXED) == 1; }

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
    if (strcmp(name, inherited) == 0 || strcmp(name, tap.process_name) == 0) {
        name[0] = '\0';
    }
}

/* The processor time that getrusage tells is only brought up to date now and then. */
static struct usage usage_now(void) {
    struct timespec used = {0, 0};
    struct rusage usage = {.ru_nvcsw = 0}; /* a sandbox may answer without a word */
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0 ||
        getrusage(RUSAGE_THREAD, &usage) != 0) {
        return (struct usage){0, UNKNOWN_SLEEPS};
    }
    return (struct usage){(int64_t)used.tv_sec * 1000000000 + used.tv_nsec, usage.ru_nvcsw};
}

/* Whether the calling thread, which ends, was off the processor for so long that it is worth asking
 * for how much of that it was ready to run. Asking is dear: the file in /proc is made for it, and
 * has to go before the thread can. A thread that runs a short function lives for less. */
static bool may_have_been_delayed(void) {
    const uint64_t worth_asking = 200000; /* ns */
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
            pthread_setspecific(tap.key, self.slot);
        }
        if (self.slot != NULL && self.own) {
            ledger_disown(&ledger, self.slot);
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

/* Whether a sleep counts as one. A sandbox may deny getrusage, or fake it. */
static bool sleeps_are_counted(void) {
    struct timespec nap = {0, 20000};
    for (int i = 0; i < PROOF_TRIES; i++) {
        struct usage before = usage_now();
        nanosleep(&nap, NULL);
        struct usage after = usage_now();
        if (before.sleeps != UNKNOWN_SLEEPS && after.sleeps > before.sleeps) {
            return true;
        }
        nap.tv_nsec *= 2; /* one that is over before the thread lies down is none */
    }
    return false;
}

/* Whether the processor time of a thread that computes grows by what passes, not in large steps. The
 * thread may be kept from the processor meanwhile. */
static bool processor_time_is_counted(void) {
    for (int i = 0; i < PROOF_TRIES; i++) {
        struct usage before = usage_now();
        uint64_t start = clock_system_ns(), passed = 0;
        while (passed < 2 * IDLE_NS) {
            passed = clock_system_ns() - start;
        }
        int64_t used = usage_now().nanoseconds - before.nanoseconds;
        uint64_t most = clock_system_ns() - start + IDLE_NS;
        if (used > IDLE_NS && (uint64_t)used < most) {
            return true;
        }
    }
    return false;
}

static const char *why_usage_is_unknown(void) {
    if (!sleeps_are_counted()) {
        return "the system does not count a thread's voluntary context switches (getrusage)";
    }
    if (!processor_time_is_counted()) {
        return "the system does not tell a thread's processor time to the microsecond";
    }
    return NULL;
}

static bool drop_is_requested(void) {
    return tap.target.drop_request != NULL &&
           __atomic_load_n(tap.target.drop_request, __ATOMIC_RELAXED) != 0;
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

static inline uint64_t knock_asked(void) {
    return tap.knock_asked != NULL ? __atomic_load_n(tap.knock_asked, __ATOMIC_RELAXED) : 0;
}

/* The calling thread has just released the GIL, for which a knock waits since `asked`. */
NEVER_INLINE static void call_back_at_release(struct ledger_slot *slot, uint64_t asked) {
    struct accounting_hold hold = {
        .from = asked > ledger.held_since ? asked : ledger.held_since,
        .until = self.leaving,
    };
    describe(&hold.thread, slot);
    tap.at_release(&hold);
}

NEVER_INLINE static void released_as_asked(void) {
    self.phase = PHASE_DROPPED;
    self.usage = usage_now();
}

/* Neither a release nor an acquisition by a known thread. */
NEVER_INLINE static void unlocking_otherwise(void) {
    if (is_taken() && ledger.holder == NULL) {
        struct ledger_slot *slot = own_slot();
        if (slot != NULL) {
            ledger_acquire(&ledger, slot, clock_ticks());
        }
    } else if (self.slot != NULL && self.slot != ledger.holder) {
        ledger_abandon(self.slot);
    }
}

static inline void quick_unlocking(void) {
    struct ledger_slot *slot = self.slot;
    bool taken = is_taken();
    if (slot != NULL && slot == ledger.holder && !taken) {
        ledger_release(&ledger, slot, self.leaving);
        self.released = self.leaving;
        self.phase = PHASE_RELEASED;
        uint64_t asked = knock_asked();
        if (asked != 0 && !slot->own) {
            call_back_at_release(slot, asked);
        }
        if (drop_is_requested()) {
            released_as_asked();
        }
    } else if (slot != NULL && ledger.holder == NULL && taken) {
        ledger_acquire(&ledger, slot, clock_ticks());
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
    int error = tap.lock(mutex);
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
    int error = tap.lock(mutex);
    if (error == 0) {
        quick_locked();
    }
    return error;
}

NEVER_INLINE static int unlock_gil(pthread_mutex_t *mutex) {
    quick_unlocking();
    return tap.unlock(mutex);
}

NEVER_INLINE static int unlock_switch_after_release(pthread_mutex_t *mutex) {
    released_as_asked();
    return tap.unlock(mutex);
}

/* These two are called for every mutex of the interpreter, and pass by most. */
static int lock_hook(pthread_mutex_t *mutex) {
    uintptr_t distance = (uintptr_t)mutex - __atomic_load_n(&tap.base, __ATOMIC_RELAXED);
    if (distance == 0) {
        return lock_gil(mutex);
    }
    if (distance == tap.span && (self.phase == PHASE_RELEASED || self.phase == PHASE_DROPPED)) {
        self.phase = PHASE_SWITCHING;
    }
    return tap.lock(mutex);
}

static int unlock_hook(pthread_mutex_t *mutex) {
    uintptr_t distance = (uintptr_t)mutex - __atomic_load_n(&tap.base, __ATOMIC_RELAXED);
    if (distance == 0) {
        return unlock_gil(mutex);
    }
    if (distance == tap.span && self.phase == PHASE_SWITCHING) {
        return unlock_switch_after_release(mutex);
    }
    return tap.unlock(mutex);
}

/* --- installing --- */

static void watch(bool on) {
    __atomic_store_n(&tap.base, on ? (uintptr_t)tap.target.mutex : NO_TARGET, __ATOMIC_RELAXED);
}

/* The child has this thread only. The interpreter makes the GIL's mutex anew there and takes the
 * GIL once more. */
static void after_fork_in_child(void) {
    tap.knock_asked = NULL;
    introduced.count = 0;
    ledger_after_fork(&ledger, self.slot, clock_ticks());
    if (self.slot != NULL) {
        self.slot->native_id = (uint64_t)syscall(SYS_gettid);
    }
    self.phase = PHASE_NONE;
}

static int prepare(char *reason, size_t reason_size) {
    if (tap.prepared) {
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
    if (pthread_key_create(&tap.key, thread_ends) != 0) {
        snprintf(reason, reason_size, "no thread-specific data key is left");
        return -1;
    }
    prctl(PR_GET_NAME, tap.process_name);
    pthread_atfork(NULL, NULL, after_fork_in_child);
    tap.prepared = true;
    return 0;
}

int accounting_install(const struct accounting_target *target, const void *interpreter_function,
                       char *reason, size_t reason_size) {
    if (prepare(reason, reason_size) < 0) {
        return -1;
    }
    tap.target = *target;
    tap.span = (uintptr_t)target->switch_mutex - (uintptr_t)target->mutex;
    if (tap.installed) {
        return 0;
    }
    const struct interpose_symbol symbols[] = {
        {"pthread_mutex_lock", (void *)lock_hook, (void **)&tap.lock},
        {"pthread_mutex_unlock", (void *)unlock_hook, (void **)&tap.unlock},
    };
    if (interpose_install(&tap.calls, interpreter_function, symbols, 2, reason, reason_size) < 0) {
        return -1;
    }
    tap.installed = true;
    return 0;
}

void accounting_uninstall(void) {
    watch(false);
    if (tap.installed) {
        interpose_undo(&tap.calls);
        tap.installed = false;
    }
}

void accounting_stop(void) { watch(false); }

bool accounting_intact(void) { return !ledger.lost && interpose_intact(&tap.calls); }

bool accounting_active(void) { return ledger.active; }

/* --- windows; the caller has the GIL --- */

static void lock_ledger(void) { tap.lock(tap.target.mutex); }

static void unlock_ledger(void) { tap.unlock(tap.target.mutex); }

int accounting_open(struct ledger_window *window, bool by_thread, uint64_t now) {
    int error = -1;
    lock_ledger();
    struct ledger_slot *slot = own_slot();
    if (slot != NULL) {
        error = ledger_open(&ledger, window, slot, by_thread, now);
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

void accounting_disown_self(void) {
    self.own = true;
    if (!tap.installed) {
        return; /* where it is enrolled, it will be as a knocker */
    }
    lock_ledger();
    struct ledger_slot *slot = own_slot();
    if (slot != NULL) {
        ledger_disown(&ledger, slot);
    }
    unlock_ledger();
}

uint64_t accounting_own_wait(void) { return self.slot != NULL ? self.slot->last_wait : 0; }

void accounting_set_release_callback(const uint64_t *asked,
                                     void (*at_release)(const struct accounting_hold *)) {
    if (tap.installed) {
        lock_ledger();
        tap.knock_asked = asked;
        tap.at_release = at_release;
        unlock_ledger();
    }
}

bool accounting_holder(struct accounting_thread *thread) {
    bool locked = false, found = false;
    for (int i = 0; i < 100 && tap.installed && !locked; i++) {
        locked = pthread_mutex_trylock(tap.target.mutex) == 0;
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
void accounting_disown_self(void) {}
uint64_t accounting_own_wait(void) { return 0; }
void accounting_set_release_callback(const uint64_t *asked,
                                     void (*at_release)(const struct accounting_hold *)) {
    (void)asked, (void)at_release;
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
