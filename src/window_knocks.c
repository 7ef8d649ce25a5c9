/* How the windows are knocked for.
 *
 * There is one GIL to knock on in a process, hence one `knock_state`. Everything in it is guarded by the
 * GIL itself, except the few atomic words through which the knocker paces itself without it. With
 * the GIL off (free-threaded) no window comes here.
 *
 * A window wakes no thread, but for the first one: the knocker sees for itself, when it next looks,
 * that a window is young, and knocks more densely for a while. So a thousand windows of 50 us do
 * not become a thousand wake-ups. One that cannot wait for the next knock does wake it.
 */
#include "window_knocks.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "cpython/hidden_tstate.h"
#include "cpython/stack_reader.h"
#include "cpython/thread_names.h"
#include "native/accounting.h"
#include "native/charges.h"
#include "native/clock.h"
#include "native/knock_pacing.h"
#include "native/knocker.h"
#include "native/machine_load.h"
#include "native/places.h"
#include "native/run_delay.h"
#include "native/stall_watch.h"

#define YOUNG_AFTER_NS 1000000u /* windows that end sooner get no denser knocks */
/* How long the end of the interpreter waits for a knock under way. */
#define LAST_KNOCK_NS 2000000000u
/* Where the flag cannot be read, a knock that took longer has waited. */
#define UNSEEN_WAIT_NS 20000u
/* How many knocks that were due while one waited are counted with it: it is done with the GIL held. */
#define MOST_DUE 10000u

static struct {
    bool ended;
    bool ending; /* the last knocker has not ended yet: no other may start */
    struct knock_window *newest;
    struct knocker *knocker;
    uint64_t count, waited; /* knocks so far */
    struct histogram latency;
    uint64_t lost_asked, lost_until; /* of the knock that was under way when the process was forked;
                                        0: none was */
    uint64_t knocking;               /* ticks for which the knocker had the GIL */

    /* Atomic: between the knocker and the windows. */
    const struct gil *gil; /* NULL: not found */
    bool stacks_known;     /* they can be read, see blame.h */
    int open;              /* windows */
    int sampled;           /* of these, how many report what the knocks alone saw */
    int knocks;            /* and how many have a use for knocks */
    int audited;           /* and how many have holds audited */
    uint64_t wished_gap;   /* ns; the shortest that one of them wishes for; 0: none does */
    uint64_t newest_opened;
    uint64_t knock_asked; /* when the knock under way asked for the GIL; 0: none is */
    uint64_t gap_ticks;   /* the mean gap in force */
    int knocks_off;       /* no knocks are wanted */
    uint64_t asked_gap;   /* ns; the mean gap that was asked for, or 0 */
    uint64_t due;         /* system ns; when the next knock is made; UINT64_MAX: none is */

    /* The knocker's alone. */
    uint64_t seen_opened;
    struct knock_pacing pacing; /* by the system's clock */
    bool knocked; /* since the pace was last asked for; else a window woke the knocker */
    PyThreadState *knocker_state; /* owned; made by the first knock, and kept: with tracemalloc on,
                                     making one is not safe (see gil_admits_new_thread) */
    bool taken;                   /* the GIL was, at the latest look */
    struct charges_thread seen;   /* its holder then, and where that stood */
    uint64_t seen_ident;          /* what threading.get_ident() returns there; 0: not known */
    bool had_to_wait;             /* the latest knock */
} knock_state;

/* The knocker, which has no GIL as it looks, finds what was made ready before a word was stored. */
#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

/* --- the knock --- */

/* Without the accounting, whoever was seen with the GIL as the knocker woke is to blame for all of the
 * knock's wait. */
static void charge_seen(uint64_t asked, uint64_t now) {
    knock_state.seen.native_id = names_native_id(knock_state.seen_ident);
    charges_waited(&(struct charges_wait){
        .since = asked,
        .now = now,
        .knock = true,
        .first_holder = knock_state.seen,
        .first_until = now,
        .weight = 1,
        .holder = knock_state.seen,
    });
}

/* The histogram is large and most windows end before a knock, so each keeps what it was like only
 * once a knock is about to be added. Windows older than one that did so have done so, too. */
static void keep_latency_base(void) {
    for (struct knock_window *window = knock_state.newest; window != NULL && !window->saw_knock;
         window = window->older) {
        window->latency_base = knock_state.latency;
        window->saw_knock = true;
    }
}

/* Add a knock to a histogram, and return how many it counts for. One that waits outlasts the moments
 * at which others were due: they would have waited, too, each for what was left. Without them a GIL
 * that is held for long would seem free. Of more than MOST_DUE so many stand for all. */
static uint64_t count_knock(struct histogram *histogram, bool waited, uint64_t latency) {
    uint64_t count = 1;
    histogram_add(histogram, latency);
    uint64_t gap = LOAD(knock_state.gap_ticks);
    if (gap != 0 && gap < latency / MOST_DUE) {
        gap = latency / MOST_DUE;
    }
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
    uint64_t count = count_knock(&knock_state.latency, waited, latency);
    knock_state.count += count;
    knock_state.waited += waited ? count : 0;
    if (accounted) {
        names_learn();
    } else if (waited) {
        charge_seen(asked, now);
    }
    for (struct knock_window *window = knock_state.newest; window != NULL && waited;
         window = window->older) {
        uint64_t inside = clock_elapsed(window->opened > asked ? window->opened : asked, now);
        window->wait += inside;
        if (inside > latency) {
            inside = latency;
        }
        if (inside > window->max_wait) {
            window->max_wait = inside;
            window->max_since = asked;
        }
    }
}

/* In a child whose parent's knock was under way: it has waited until the fork. The GIL is held; here,
 * as in the child's first moment no lock may be had. */
static void enter_lost_knock(void) {
    uint64_t asked = knock_state.lost_asked;
    if (asked != 0) {
        knock_state.lost_asked = 0;
        enter_knock(asked, knock_state.lost_until, accounting_active() && accounting_intact(), true,
                    clock_elapsed(asked, knock_state.lost_until));
    }
}

/* Look at the GIL at the random moment, before the knock. Without the accounting nothing else says whether
 * the knock has to wait, and for whom. */
static void sample(void *context) {
    (void)context;
    const struct gil *gil = LOAD(knock_state.gil);
    knock_state.taken = gil != NULL && gil_is_taken(gil);
    knock_state.seen = (struct charges_thread){.place = PLACE_UNKNOWN};
    knock_state.seen_ident = 0;
    if (knock_state.taken && LOAD(knock_state.stacks_known) &&
        LOAD(knock_state.sampled) == LOAD(knock_state.open)) {
        knock_state.seen.place = stack_reader_look_from_afar(&knock_state.seen_ident);
    }
}

static void knock(void *context) {
    (void)context;
    knock_state.knocked = true;
    if (LOAD(knock_state.knocks) == 0) {
        return;
    }
    if (knock_state.knocker_state == NULL) {
        knock_state.knocker_state = hidden_tstate_new();
    }
    if (knock_state.knocker_state == NULL) { /* no memory, or a fork: this knock is not made */
        return;
    }
    uint64_t asked = clock_ticks();
    STORE(knock_state.knock_asked, asked);
    PyEval_RestoreThread(knock_state.knocker_state);
    uint64_t now = clock_ticks();
    bool accounted = accounting_active() && accounting_intact();
    STORE(knock_state.knock_asked, 0);
    stall_watch_answered(asked, now, accounted && accounting_taken_meanwhile());
    enter_lost_knock();
    if (LOAD(knock_state.open) != 0) {
        uint64_t latency = accounted ? accounting_internal_wait() : clock_elapsed(asked, now);
        bool waited = accounted                 ? latency != 0
                      : knock_state.gil != NULL ? knock_state.taken
                                                : clock_seconds(latency) * 1e9 > UNSEEN_WAIT_NS;
        enter_knock(asked, now, accounted, waited, latency);
        knock_state.had_to_wait = waited;
        knock_state.knocking += clock_elapsed(now, clock_ticks());
    }
    PyEval_SaveThread();
}

static uint64_t mean_gap_in_force(uint64_t usual) {
    uint64_t asked = LOAD(knock_state.asked_gap), wished = LOAD(knock_state.wished_gap);
    return asked != 0 ? asked : wished != 0 && wished < usual ? wished : usual;
}

static enum knock_pace pace_in_force(bool woken) {
    uint64_t opened = LOAD(knock_state.newest_opened);
    bool lasting = clock_seconds(clock_elapsed(opened, clock_ticks())) * 1e9 > YOUNG_AFTER_NS;
    if (!woken && (opened == knock_state.seen_opened || !lasting)) {
        return KNOCKS_GO_ON;
    }
    knock_state.seen_opened = opened;
    return woken ? KNOCKS_FROM_NOW : KNOCKS_OF_YOUNG_WINDOW;
}

static uint64_t time_until_knock(void) {
    bool woken = !knock_state.knocked;
    knock_state.knocked = false;
    if (LOAD(knock_state.open) == 0 || LOAD(knock_state.knocks_off)) {
        return KNOCKER_ASLEEP;
    }
    if (LOAD(knock_state.audited) != 0 && LOAD(knock_state.sampled) == 0) {
        STORE(knock_state.gap_ticks, 0); /* no other knock would be due meanwhile */
        return knock_pacing_next_of_audit(&knock_state.pacing, knock_state.had_to_wait);
    }
    struct knock_gaps gaps = LOAD(knock_state.sampled) == 0 ? gaps_accounted : gaps_sampled;
    gaps.mean = mean_gap_in_force(gaps.mean);
    STORE(knock_state.gap_ticks, (uint64_t)((double)gaps.mean * 1e-3 / clock_seconds(1000000)));
    return knock_pacing_next(&knock_state.pacing, clock_system_ns(), gaps, pace_in_force(woken));
}

static uint64_t pace(void *context) {
    (void)context;
    uint64_t pause = time_until_knock();
    STORE(knock_state.due, pause == KNOCKER_ASLEEP ? UINT64_MAX : clock_system_ns() + pause);
    return pause;
}

static void begin_knocking(void *context) {
    (void)context;
    run_delay_leave_out_self(RUN_DELAY_KNOCKER);
    accounting_mark_internal();
}

static void end_knocking(void *context) {
    (void)context;
    if (knock_state.knocker_state != NULL) {
        PyEval_RestoreThread(knock_state.knocker_state);
        hidden_tstate_delete(knock_state.knocker_state);
        knock_state.knocker_state = NULL;
    }
}

/* In a child, however it was forked: its parent's knocker is not there. Windows stay open, and
 * start one of their own when needed. */
static void after_fork_in_child(void) {
    knock_state.ending = false;
    knock_state.knocker = NULL;
    knock_state.knocker_state = NULL;
    if (knock_state.lost_asked == 0) {
        knock_state.lost_asked = LOAD(knock_state.knock_asked);
        knock_state.lost_until = clock_ticks();
    }
    STORE(knock_state.knock_asked, 0);
    places_after_fork();
    charges_after_fork();
    hidden_tstate_after_fork_in_child();
    run_delay_after_fork();
    machine_load_after_fork();
}

static bool no_knocker_is_wanted(void) {
    return knock_state.ended || knock_state.ending || knock_state.knocks_off;
}

/* Have a knocker that is awake, or with `at_once` one that asks its pace again now. The GIL is held, and
 * may be let go for a moment. Without one (no thread to be had) there are no knocks. */
static void rouse_knocker(bool at_once) {
    if (no_knocker_is_wanted()) {
        return;
    }
    if (knock_state.knocker != NULL) {
        if (LOAD(knock_state.open) == 1 || at_once) {
            knocker_wake(knock_state.knocker);
        }
        return;
    }
    hidden_tstate_prepare();
    if (no_knocker_is_wanted() || knock_state.knocker != NULL || !gil_admits_new_thread()) {
        return;
    }
    knock_state.pacing.random = clock_ticks() | 1;
    const struct knocker_work work = {begin_knocking, pace, sample, knock, end_knocking, NULL};
    knock_state.knocker = knocker_start(&work);
}

/* --- forks --- */

/* Where the knocker is the only other thread, a warning of it is none of the program's doing. */
static bool python_warns_of_knocker(void) {
    return gil_fork_warns_of_threads() && knocker_threads_of_process() <= 2;
}

/* A knocker whom the warning is not about stays: to end it takes a turn at the GIL, for which the
 * program's other threads make the forking one wait. */
void knocking_before_fork(void) {
    stall_watch_pause();
    hidden_tstate_before_fork();
    struct knocker *knocker = knock_state.knocker;
    if (knocker == NULL || !python_warns_of_knocker()) {
        return;
    }
    knock_state.knocker = NULL;
    knock_state.ending = true;
    Py_BEGIN_ALLOW_THREADS knocker_stop_and_wait(knocker);
    Py_END_ALLOW_THREADS knock_state.ending = false;
}

static int resume_knocking(void *unused) {
    (void)unused;
    if (LOAD(knock_state.open) != 0) {
        rouse_knocker(false);
    }
    stall_watch_resume();
    return 0;
}

/* 3.13.0 counts the threads after this, so where there is no other, ours wait until os.fork() is over.
 * Only the main thread makes pending calls (Py_AddPendingCall): it is the one that has forked, as there
 * was none beside it. */
void knocking_after_fork_in_parent(void) {
    hidden_tstate_after_fork_in_parent();
    if (knock_state.knocker == NULL) {
        Py_AddPendingCall(resume_knocking, NULL);
    }
    if (knock_state.knocker != NULL || knocker_threads_of_process() > 1) {
        stall_watch_resume();
    }
}

/* --- the windows' side --- */

void knocking_read_stacks(void) { STORE(knock_state.stacks_known, true); }

void knocking_set_up(const struct gil *gil) { STORE(knock_state.gil, gil); }

/* Count a window in, or (by -1) out. */
static void count_wish(const struct knock_wish *wish, int by) {
    STORE(knock_state.sampled, knock_state.sampled + by * wish->sampled);
    STORE(knock_state.knocks, knock_state.knocks + by * wish->knocks);
    STORE(knock_state.audited, knock_state.audited + by * wish->audited);
    STORE(knock_state.open, knock_state.open + by);
}

/* Have the shortest gap in force that a window wishes for. */
static void find_wished_gap(void) {
    uint64_t shortest = 0;
    for (const struct knock_window *window = knock_state.newest; window != NULL;
         window = window->older) {
        uint64_t gap = window->wish.gap;
        shortest = gap != 0 && (shortest == 0 || gap < shortest) ? gap : shortest;
    }
    STORE(knock_state.wished_gap, shortest);
}

void knocking_open(struct knock_window *window, uint64_t opened, struct knock_wish wish) {
    enter_lost_knock();
    memset(window, 0, offsetof(struct knock_window, latency_base));
    window->older = knock_state.newest;
    window->opened = opened;
    window->wish = wish;
    window->wish.knocks = wish.knocks || wish.sampled || wish.audited;
    window->count_base = knock_state.count;
    window->waited_base = knock_state.waited;
    if (window->older != NULL) {
        window->older->newer = window;
    }
    knock_state.newest = window;
    STORE(knock_state.newest_opened, opened);
    count_wish(&window->wish, 1);
    bool needs_more = wish.audited && LOAD(knock_state.audited) == 1;
    if (wish.gap != 0) {
        find_wished_gap();
        bool is_late = LOAD(knock_state.due) > clock_system_ns() + wish.gap;
        needs_more = needs_more || (is_late && LOAD(knock_state.asked_gap) == 0);
    }
    rouse_knocker(needs_more);
}

/* Add an unanswered knock, for as long as it has waited. */
static void add_knock_under_way(const struct knock_window *window, uint64_t now,
                                struct knock_reading *reading) {
    uint64_t asked = LOAD(knock_state.knock_asked);
    if (asked == 0 || asked >= now) {
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
        reading->max_since = asked;
    }
}

bool knocking_goes_on(void) { return knock_state.knocker != NULL && !LOAD(knock_state.knocks_off); }

void knocking_read(struct knock_window *window, uint64_t now, struct knock_reading *reading) {
    enter_lost_knock();
    reading->count = knock_state.count - window->count_base;
    reading->waited = knock_state.waited - window->waited_base;
    reading->wait = window->wait;
    reading->max_wait = window->max_wait;
    reading->max_since = window->max_since;
    if (window->saw_knock) {
        reading->latency = knock_state.latency;
        histogram_subtract(&reading->latency, &window->latency_base);
    }
    add_knock_under_way(window, now, reading);
}

void knocking_close(struct knock_window *window) {
    *(window->newer ? &window->newer->older : &knock_state.newest) = window->older;
    if (window->older != NULL) {
        window->older->newer = window->newer;
    }
    count_wish(&window->wish, -1);
    if (window->wish.gap != 0) {
        find_wished_gap();
    }
}

double knocking_set_gap(double seconds) {
    uint64_t asked_gap = LOAD(knock_state.asked_gap);
    bool were_off = LOAD(knock_state.knocks_off), off = seconds == 0.0;
    STORE(knock_state.asked_gap, seconds > 0.0 ? (uint64_t)(seconds * 1e9) : 0);
    STORE(knock_state.knocks_off, off);
    if (were_off && !off && LOAD(knock_state.open) != 0) { /* the knocker is asleep, or not there */
        rouse_knocker(true);
    }
    return were_off ? 0.0 : asked_gap != 0 ? (double)asked_gap / 1e9 : KNOCKING_USUAL_GAP;
}

const uint64_t *knocking_asked(void) { return &knock_state.knock_asked; }

uint64_t knocking_held(void) { return knock_state.knocking; }

void knocking_end(void) {
    knock_state.ended = true;
    if (knock_state.knocker != NULL) {
        knocker_stop(knock_state.knocker);
        knock_state.knocker = NULL;
    }
    Py_BEGIN_ALLOW_THREADS knocker_stop_all(LAST_KNOCK_NS);
    Py_END_ALLOW_THREADS
}

void knocking_begin(void) {
    static bool handles_forks;
    if (!handles_forks) {
        handles_forks = pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
    }
    knock_state.ended = false;
}
