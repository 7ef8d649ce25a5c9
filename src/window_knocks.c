/* How the windows are knocked for.
 *
 * There is one GIL to knock on in a process, hence one `office`. Everything in it is guarded by the
 * GIL itself, except the few atomic words through which the knocker paces itself without it. With
 * the GIL off (free-threaded) no window comes here.
 *
 * A window wakes no thread, but for the first one: the knocker sees for itself, when it next looks,
 * that a window is young, and knocks more densely for a while. So a thousand windows of 50 us do
 * not become a thousand wake-ups.
 */
#include "window_knocks.h"

#include <stddef.h>
#include <string.h>

#include "cpython/frame.h"
#include "cpython/hidden_tstate.h"
#include "cpython/thread_names.h"
#include "native/accounting.h"
#include "native/clock.h"
#include "native/knocker.h"
#include "native/machine_load.h"
#include "native/run_delay.h"

#ifndef _WIN32
#include <pthread.h>
#endif

/* The mean time between knocks, and that at the start of a window, from which it doubles. A knock
 * costs a thread that computes two wake-ups, some 200 us on a virtual machine. Where the accounting
 * has the sums and the knocks only tell whom to blame, fewer of them do. */
static const struct gaps {
    uint64_t mean, first; /* ns */
} gaps_accounted = {50000000, 4000000}, gaps_sampled = {20000000, 1000000};

#define YOUNG_AFTER_NS 1000000u /* windows that end sooner get no denser knocks */
/* How long the end of the interpreter waits for a knock under way. */
#define LAST_KNOCK_NS 2000000000u
/* Where the flag cannot be read, a knock that took longer has waited. */
#define UNSEEN_WAIT_NS 20000u
#define KNOCK_HOLDS 1024 /* the holds that are told apart while one knock waits */

/* Somebody who held the GIL while a knock waited, once or several times in a row. */
struct knock_hold {
    struct culprit culprit; /* its line is still to be found, from the offset */
    int offset;
    uint64_t from, until; /* ticks; when the first began and the last ended */
    uint64_t held;        /* ticks in between */
};

static struct {
    const struct gil *gil; /* NULL: not found */
    bool frames_known;
    bool ended;
    bool ending; /* the last knocker has not ended yet: no other may start */
    struct knock_window *newest;
    struct knocker *knocker;
    uint64_t count, waited; /* knocks so far */
    struct histogram latency;
    struct knock_hold held[KNOCK_HOLDS]; /* guarded by the GIL's own mutex, and by the GIL */
    size_t held_count;
    uint64_t untold; /* ticks of the holds after these; for whom there was no room */
    uint64_t lost_asked, lost_until; /* of the knock that was under way when the process was forked;
                                        0: none was */
    uint64_t knocking;               /* ticks for which the knocker had the GIL */

    /* Atomic: between the knocker and the windows. */
    int open;
    int sampled; /* of these, how many tell what the knocks alone saw */
    int curious; /* and how many have a use for knocks */
    uint64_t newest_opened;
    uint64_t knock_asked; /* when the knock under way asked for the GIL; 0: none is */
    uint64_t gap_ticks;   /* the mean gap in force */
    int silent;           /* no knocks are wanted */
    uint64_t asked_gap;   /* ns; the mean gap that was asked for, or 0 */

    /* The knocker's alone. */
    uint64_t seen_opened;
    uint64_t gap;         /* ns */
    uint64_t stratum_end; /* system ns */
    bool knocked;         /* since the pace was last asked for; else a window woke the knocker */
    uint64_t random;
    PyThreadState *knocker_state; /* owned; made by the first knock, and kept: with tracemalloc on,
                                     making one is not safe (see gil_admits_new_thread) */
    bool taken;                   /* by somebody, at the latest look */
    const PyThreadState *seen;    /* who; may be gone since */
} office;

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELAXED)

/* --- the knock --- */

/* A thread gives up the GIL while the knocker waits for it: remember on which line, and for how long
 * it kept it. Called by that thread; see accounting_bear_witness. */
static void witness(const struct accounting_hold *hold) {
    uint64_t held_for = clock_elapsed(hold->from, hold->until);
    /* The thread's own state, or NULL once it is being deleted: then it is not to be looked at. */
    PyThreadState *state = PyGILState_GetThisThreadState();
    struct place place = {.code = NULL};
    if (!office.frames_known || state == NULL || state != gil_last_holder(office.gil) ||
        PyThreadState_GetInterpreter(state) != PyInterpreterState_Main() || !blame_may_take() ||
        !frame_find(state, &place)) {
        place.code = NULL;
    }
    struct knock_hold *held = office.held_count != 0 ? &office.held[office.held_count - 1] : NULL;
    if (held != NULL && held->culprit.native_id == hold->thread.native_id &&
        held->culprit.code == place.code && held->offset == place.offset) {
        held->held += held_for;
        held->until = hold->until;
        return;
    }
    if (office.held_count == KNOCK_HOLDS) {
        office.untold += held_for;
        return;
    }
    held = &office.held[office.held_count++];
    *held = (struct knock_hold){
        .offset = place.offset, .from = hold->from, .until = hold->until, .held = held_for};
    held->culprit.code = (PyCodeObject *)Py_XNewRef((PyObject *)place.code);
    held->culprit.native_id = hold->thread.native_id;
    memcpy(held->culprit.thread, hold->thread.name, sizeof held->culprit.thread);
}

/* For how much of a hold a window was open. */
static double held_inside(const struct knock_hold *held, const struct knock_window *window) {
    uint64_t from = held->from > window->opened ? held->from : window->opened;
    uint64_t all = clock_elapsed(held->from, held->until),
             inside = clock_elapsed(from, held->until);
    return all != 0 ? (double)held->held * ((double)inside / (double)all) : 0.0;
}

/* Blame the holders in one window. Those that there was no room for are taken to be like the rest. */
static void blame_holders_in(struct knock_window *window, uint64_t asked) {
    double told = 0.0;
    for (size_t i = 0; i < office.held_count; i++) {
        told += held_inside(&office.held[i], window);
    }
    double factor = told > 0.0 ? (told + (double)office.untold) / told : 0.0;
    for (size_t i = 0; i < office.held_count; i++) {
        double waited = held_inside(&office.held[i], window) * factor;
        if (waited > 0.0) {
            blame_enter(&window->blame, &office.held[i].culprit, (uint64_t)waited, asked);
        }
    }
}

static void forget_holders(void) {
    for (size_t i = 0; i < office.held_count; i++) {
        blame_release(&office.held[i].culprit);
    }
    office.held_count = 0;
    office.untold = 0;
}

/* Blame those who held the GIL while the knock of `asked` waited, each for its part. The GIL is
 * held. */
static void blame_holders(uint64_t asked) {
    for (size_t i = 0; i < office.held_count; i++) {
        struct knock_hold *held = &office.held[i];
        struct culprit *culprit = &held->culprit;
        if (culprit->code != NULL) {
            culprit->line = blame_line(culprit->code, held->offset);
        }
    }
    for (struct knock_window *window = office.newest; window != NULL; window = window->older) {
        blame_holders_in(window, asked);
    }
    forget_holders();
}

/* Without the accounting: blame whoever was seen with the GIL as the knocker woke. */
static void blame_seen(uint64_t asked, uint64_t now) {
    struct culprit culprit;
    if (office.seen == NULL || !office.frames_known || !blame_may_take() ||
        !blame_find(&culprit, office.seen)) {
        return;
    }
    for (struct knock_window *window = office.newest; window != NULL; window = window->older) {
        uint64_t from = asked > window->opened ? asked : window->opened;
        blame_enter(&window->blame, &culprit, clock_elapsed(from, now), asked);
    }
    blame_release(&culprit);
}

/* The histogram is large and most windows end before a knock, so each keeps what it was like only
 * once a knock is about to be added. Windows older than one that did so have done so, too. */
static void keep_latency_base(void) {
    for (struct knock_window *window = office.newest; window != NULL && !window->saw_knock;
         window = window->older) {
        window->latency_base = office.latency;
        window->saw_knock = true;
    }
}

/* Add a knock to a histogram, and return how many it counts for. One that waits outlasts the moments
 * at which others were due: they would have waited, too, each for what was left. Without them a GIL
 * that is held for long would seem free. */
static uint64_t count_knock(struct histogram *histogram, bool waited, uint64_t latency) {
    uint64_t count = 1;
    histogram_add(histogram, latency);
    uint64_t gap = LOAD(office.gap_ticks);
    for (uint64_t left = latency; waited && gap != 0 && left > gap; count++) {
        left -= gap;
        histogram_add(histogram, left);
    }
    return count;
}

/* Enter an answered knock. The knocker has the GIL. */
static void enter_knock(uint64_t asked, uint64_t now, bool accounted, bool waited,
                        uint64_t latency) {
    keep_latency_base();
    uint64_t count = count_knock(&office.latency, waited, latency);
    office.count += count;
    office.waited += waited ? count : 0;
    if (accounted) {
        names_learn(false);
        if (waited) {
            blame_holders(asked);
        }
        forget_holders();
    } else if (waited) {
        blame_seen(asked, now);
    }
    for (struct knock_window *window = office.newest; window != NULL && waited;
         window = window->older) {
        uint64_t inside = clock_elapsed(window->opened > asked ? window->opened : asked, now);
        window->wait += inside;
        if (inside > latency) {
            inside = latency;
        }
        if (inside > window->max_wait) {
            window->max_wait = inside;
        }
    }
}

/* In a child whose parent's knock was under way: it has waited until the fork. The GIL is held; here,
 * as in the child's first moment no lock may be had. */
static void enter_lost_knock(void) {
    uint64_t asked = office.lost_asked;
    if (asked != 0) {
        office.lost_asked = 0;
        enter_knock(asked, office.lost_until, accounting_active() && accounting_intact(), true,
                    clock_elapsed(asked, office.lost_until));
    }
}

/* Without the accounting, what the GIL was like at the random moment is known from this look only.
 */
static void look(void *context) {
    (void)context;
    office.taken = office.gil != NULL && gil_is_taken(office.gil);
    office.seen = office.taken ? gil_last_holder(office.gil) : NULL;
}

static void knock(void *context) {
    (void)context;
    office.knocked = true;
    if (LOAD(office.curious) == 0) {
        return;
    }
    uint64_t asked = clock_ticks();
    STORE(office.knock_asked, asked);
    if (office.knocker_state == NULL) {
        office.knocker_state = unlisted_new();
    }
    if (office.knocker_state == NULL) { /* no memory: this knock is not made */
        STORE(office.knock_asked, 0);
        return;
    }
    PyEval_RestoreThread(office.knocker_state);
    uint64_t now = clock_ticks();
    STORE(office.knock_asked, 0);
    enter_lost_knock();
    if (LOAD(office.open) != 0) {
        bool accounted = accounting_active() && accounting_intact();
        uint64_t latency = accounted ? accounting_own_wait() : clock_elapsed(asked, now);
        bool waited = accounted            ? latency != 0
                      : office.gil != NULL ? office.taken
                                           : clock_seconds(latency) * 1e9 > UNSEEN_WAIT_NS;
        enter_knock(asked, now, accounted, waited, latency);
        office.knocking += clock_elapsed(now, clock_ticks());
    }
    PyEval_SaveThread();
}

/* One random moment in each stratum of time. A stratum is as long as the mean gap, but short when a
 * window is young. */
static uint64_t pace(void *context) {
    (void)context;
    bool woken = !office.knocked;
    office.knocked = false;
    if (LOAD(office.open) == 0 || LOAD(office.silent)) {
        return KNOCKER_ASLEEP;
    }
    uint64_t now = clock_system_ns();
    const struct gaps *gaps = LOAD(office.sampled) == 0 ? &gaps_accounted : &gaps_sampled;
    uint64_t asked_gap = LOAD(office.asked_gap);
    uint64_t mean_gap = asked_gap != 0 ? asked_gap : gaps->mean;
    STORE(office.gap_ticks, (uint64_t)((double)mean_gap * 1e-3 / clock_seconds(1000000)));
    uint64_t opened = LOAD(office.newest_opened);
    bool lasting = clock_seconds(clock_elapsed(opened, clock_ticks())) * 1e9 > YOUNG_AFTER_NS;
    if (woken || (opened != office.seen_opened && lasting)) {
        office.seen_opened = opened;
        office.gap = gaps->first;
    }
    if (office.gap > mean_gap) {
        office.gap = mean_gap;
    }
    uint64_t start = woken || office.stratum_end < now ? now : office.stratum_end;
    office.stratum_end = start + office.gap;
    uint64_t moment = start + knocker_random(&office.random, office.gap);
    office.gap *= 2;
    return moment - now;
}

static void begin_knocking(void *context) {
    (void)context;
    run_delay_leave_out_self();
    accounting_disown_self();
    accounting_bear_witness(&office.knock_asked, witness);
}

static void end_knocking(void *context) {
    (void)context;
    if (office.knocker_state != NULL) {
        PyEval_RestoreThread(office.knocker_state);
        unlisted_delete(office.knocker_state);
        office.knocker_state = NULL;
    }
}

/* In a child, however it was forked: its parent's knocker is not there. Windows stay open, and
 * start one of their own when needed. */
static void after_fork_in_child(void) {
    office.ending = false;
    office.knocker = NULL;
    office.knocker_state = NULL;
    if (office.lost_asked == 0) {
        office.lost_asked = LOAD(office.knock_asked);
        office.lost_until = clock_ticks();
    }
    STORE(office.knock_asked, 0);
    unlisted_after_fork_in_child();
    knocker_after_fork();
    run_delay_after_fork();
    machine_load_after_fork();
}

static bool no_knocker_is_wanted(void) { return office.ended || office.ending || office.silent; }

/* Have a knocker that is awake. The GIL is held, and may be let go for a moment. Without one (no
 * thread to be had) there are no knocks to tell of. */
static void rouse_knocker(void) {
    if (no_knocker_is_wanted()) {
        return;
    }
    if (office.knocker != NULL) {
        if (LOAD(office.open) == 1) {
            knocker_wake(office.knocker);
        }
        return;
    }
    unlisted_prepare();
    if (no_knocker_is_wanted() || office.knocker != NULL || !gil_admits_new_thread()) {
        return;
    }
    office.random = clock_ticks() | 1;
    const struct knocker_work work = {begin_knocking, pace, look, knock, end_knocking, NULL};
    office.knocker = knocker_start(&work);
}

/* --- forks --- */

/* From 3.12 on, os.fork() warns of a fork beside another thread. Where the knocker is the only one,
 * that is none of the program's doing. */
static bool python_warns_of_knocker(void) {
    return PY_VERSION_HEX >= 0x030C0000 && knocker_threads_of_process() <= 2;
}

/* A knocker whom the warning is not about stays: to end it takes a turn at the GIL, for which the
 * program's other threads make the forking one wait. */
void knocking_before_fork(void) {
    unlisted_before_fork();
    struct knocker *knocker = office.knocker;
    if (knocker == NULL || !python_warns_of_knocker()) {
        return;
    }
    office.knocker = NULL;
    office.ending = true;
    Py_BEGIN_ALLOW_THREADS knocker_stop_and_wait(knocker);
    Py_END_ALLOW_THREADS office.ending = false;
}

static int resume_knocking(void *unused) {
    (void)unused;
    rouse_knocker();
    return 0;
}

/* 3.13.0 counts the threads after this, so the knocker waits until os.fork() is over. Only the main
 * thread makes pending calls (Py_AddPendingCall): it is the one that has forked, as there was none
 * beside it. */
void knocking_after_fork_in_parent(void) {
    unlisted_after_fork_in_parent();
    if (LOAD(office.open) != 0 && office.knocker == NULL) {
        Py_AddPendingCall(resume_knocking, NULL);
    }
}

/* --- the windows' side --- */

void knocking_set_up(const struct gil *gil) {
    office.gil = gil;
    office.frames_known = frame_is_known();
#ifndef _WIN32
    static bool fork_handler;
    if (!fork_handler) {
        pthread_atfork(NULL, NULL, after_fork_in_child);
        fork_handler = true;
    }
#endif
}

void knocking_open(struct knock_window *window, uint64_t opened, bool sampled, bool curious) {
    enter_lost_knock();
    memset(window, 0, offsetof(struct knock_window, latency_base));
    window->older = office.newest;
    window->opened = opened;
    window->sampled = sampled;
    window->curious = sampled || curious;
    window->count_base = office.count;
    window->waited_base = office.waited;
    if (window->older != NULL) {
        window->older->newer = window;
    }
    office.newest = window;
    STORE(office.newest_opened, opened);
    STORE(office.sampled, office.sampled + sampled);
    STORE(office.curious, office.curious + window->curious);
    STORE(office.open, office.open + 1);
    rouse_knocker();
}

/* Add what an unanswered knock tells so far. */
static void add_knock_under_way(const struct knock_window *window, uint64_t now,
                                struct knock_reading *reading) {
    uint64_t asked = LOAD(office.knock_asked);
    if (asked == 0) {
        return;
    }
    if (reading->count == 0) {
        memset(&reading->latency, 0, sizeof reading->latency);
    }
    uint64_t inside = clock_elapsed(asked > window->opened ? asked : window->opened, now);
    uint64_t count = count_knock(&reading->latency, true, inside);
    reading->count += count;
    reading->waited += count;
    reading->wait += inside;
    if (inside > reading->max_wait) {
        reading->max_wait = inside;
    }
}

void knocking_read(struct knock_window *window, uint64_t now, struct knock_reading *reading) {
    enter_lost_knock();
    blame_holders(LOAD(office.knock_asked));
    reading->count = office.count - window->count_base;
    reading->waited = office.waited - window->waited_base;
    reading->wait = window->wait;
    reading->max_wait = window->max_wait;
    if (window->saw_knock) {
        reading->latency = office.latency;
        histogram_subtract(&reading->latency, &window->latency_base);
    }
    add_knock_under_way(window, now, reading);
}

void knocking_close(struct knock_window *window) {
    *(window->newer ? &window->newer->older : &office.newest) = window->older;
    if (window->older != NULL) {
        window->older->newer = window->newer;
    }
    STORE(office.sampled, office.sampled - window->sampled);
    STORE(office.curious, office.curious - window->curious);
    STORE(office.open, office.open - 1);
    blame_clear(&window->blame);
}

void knocking_set_gap(double seconds) {
    STORE(office.asked_gap, (uint64_t)(seconds * 1e9));
    STORE(office.silent, seconds == 0.0);
}

uint64_t knocking_held(void) { return office.knocking; }

void knocking_end(void) {
    office.ended = true;
    if (office.knocker != NULL) {
        knocker_stop(office.knocker);
        office.knocker = NULL;
    }
    Py_BEGIN_ALLOW_THREADS knocker_stop_all(LAST_KNOCK_NS);
    Py_END_ALLOW_THREADS
}

void knocking_begin(void) { office.ended = false; }
