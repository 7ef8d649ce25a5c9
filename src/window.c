/* What is open, and what it has seen.
 *
 * There is one GIL to watch in a process, hence one `office` that watches it: the windows open now,
 * the knocker they share, and whether the accounting is to be had. Everything in it is guarded by
 * the GIL itself, except the few atomic words through which the knocker paces itself without it.
 * With the GIL off (free-threaded) nothing of it is touched: a window then only tells its wall
 * time.
 *
 * A window costs its opener two looks at the ledger. It wakes no thread, but for the first one: the
 * knocker sees for itself, when it next looks, that a window is young, and knocks more densely for
 * a while. So a thousand windows of 50 us do not become a thousand wake-ups.
 */
#include "window.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accounting.h"
#include "blame.h"
#include "clock.h"
#include "frame.h"
#include "gil.h"
#include "histogram.h"
#include "knocker.h"
#include "names.h"
#include "run_delay.h"

#ifndef _WIN32
#include <pthread.h>
#endif

/* The mean time between knocks, and that at the start of a window, from which it doubles. A knock
 * costs a thread that computes two wake-ups, some 200 us. Where the accounting has the sums and the
 * knocks only tell whom to blame, fewer of them do. */
static const struct gaps {
    uint64_t mean, first; /* ns */
} gaps_accounted = {50000000, 4000000}, gaps_sampled = {20000000, 1000000};

#define YOUNG_AFTER_NS 1000000u /* windows that end sooner get no denser knocks */
/* How long the end of the interpreter waits for a knock under way. */
#define LAST_KNOCK_NS 2000000000u
/* Where the flag cannot be read, a knock that took longer has waited. */
#define UNSEEN_WAIT_NS 20000u

#define KNOCK_HOLDS 64 /* the holders that are told apart while one knock waits */

enum key {
    KEY_METHOD,
    KEY_REASON,
    KEY_GIL_ENABLED,
    KEY_SWITCH_INTERVAL,
    KEY_WALL,
    KEY_HELD,
    KEY_WAIT,
    KEY_ACQUISITIONS,
    KEY_CONTENDED,
    KEY_MAX_WAIT,
    KEY_KNOCKS,
    KEY_KNOCKS_WAITED,
    KEY_KNOCK_LATENCY,
    KEY_WAIT_LATENCY,
    KEY_THREADS,
    KEY_BLAME,
    KEY_RUN_DELAY,
};

const char *const window_key_names[MODULE_KEYS] = {
    "method",        "reason",       "gil_enabled", "switch_interval", "wall",      "held",
    "wait",          "acquisitions", "contended",   "max_wait",        "knocks",    "knocks_waited",
    "knock_latency", "wait_latency", "threads",     "blame",           "run_delay",
};

const char *const window_method_names[3] = {"exact", "sampled", "disabled"};

struct knocks {
    uint64_t knocks;
    uint64_t waited;
    struct histogram latency;
};

enum window_state { WINDOW_NEW, WINDOW_OPEN, WINDOW_CLOSED };

typedef struct Window {
    PyObject head;
    struct Window *older, *newer;
    enum window_state state;
    enum method method;
    const char *asked_method;
    const char *reason; /* why not exact; static or the office's */
    bool by_thread;
    bool in_office; /* linked; false with the GIL off */
    uint64_t opened;
    struct ledger_window book;
    struct knocks base;
    uint64_t run_delay_base; /* ns */
    uint64_t max_knock;      /* the longest part of an answered knock that lies in the window */
    struct blame blame;
} Window;

/* Somebody who held the GIL while a knock waited. */
struct knock_hold {
    struct culprit culprit; /* its line is still to be found, from the offset */
    int offset;
    uint64_t from, until; /* ticks */
};

static struct {
    bool examined; /* the GIL was looked for, and the accounting tried */
    bool located;
    bool exact;
    bool shut;
    char reason[GIL_REASON_SIZE];
    struct gil gil;
    Window *newest;
    struct knocker *knocker;
    struct knocks knocks;
    bool frames_known;
    struct knock_hold held[KNOCK_HOLDS]; /* guarded by the GIL's own mutex, and by the GIL */
    size_t held_count;
    uint64_t handling; /* ticks spent opening and closing */
    uint64_t knocking; /* ticks for which the knocker had the GIL */

    /* Atomic: between the knocker and the windows. */
    int open;
    int sampled; /* of these, how many tell what the knocks alone saw */
    uint64_t newest_opened;
    uint64_t knock_asked; /* when the knock under way asked for the GIL; 0: none is */
    uint64_t gap_ticks;   /* the mean gap in force */
    uint64_t asked_gap;   /* ns; the mean gap that was asked for, or 0 */

    /* The knocker's alone. */
    uint64_t seen_opened;
    uint64_t gap;         /* ns */
    uint64_t stratum_end; /* system ns */
    bool knocked;         /* since the pace was last asked for; else a window woke the knocker */
    uint64_t random;
    PyThreadState *knocker_state; /* owned; made by the first knock, and kept: with tracemalloc on,
                                     making one is not safe (see gil_admits_new_thread) */
    PyGILState_STATE knocker_gilstate;
    bool taken;                /* by somebody, at the latest look */
    const PyThreadState *seen; /* who; may be gone since */
} office;

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELAXED)

/* --- the knock --- */

/* A thread gives up the GIL while the knocker waits for it: remember on which line, and for how long
 * it kept it. Called by that thread; see accounting_bear_witness. */
static void witness(const struct accounting_hold *hold) {
    if (office.held_count == KNOCK_HOLDS) {
        return;
    }
    struct knock_hold *held = &office.held[office.held_count];
    *held = (struct knock_hold){.from = hold->from, .until = hold->until};
    held->culprit.native_id = hold->thread.native_id;
    memcpy(held->culprit.thread, hold->thread.name, sizeof held->culprit.thread);
    PyThreadState *former = gil_last_holder(&office.gil);
    PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    while (state != NULL && state != former) {
        state = PyThreadState_Next(state);
    }
    struct place place;
    if (office.frames_known && state != NULL && state->thread_id == hold->thread.ident &&
        frame_find(state, &place)) {
        held->culprit.code = (PyCodeObject *)Py_NewRef((PyObject *)place.code);
        held->offset = place.offset;
    }
    office.held_count++;
}

/* Blame those who held the GIL while the knock waited, each for its part. The GIL is held. */
static void blame_holders(void) {
    for (size_t i = 0; i < office.held_count; i++) {
        struct knock_hold *held = &office.held[i];
        struct culprit *culprit = &held->culprit;
        if (culprit->code != NULL) {
            culprit->line = PyCode_Addr2Line(culprit->code, held->offset);
        }
        for (Window *window = office.newest; window != NULL; window = window->older) {
            uint64_t from = held->from > window->opened ? held->from : window->opened;
            if (held->until > from) {
                blame_enter(&window->blame, culprit, held->until - from, office.knocks.knocks);
            }
        }
        blame_release(culprit);
    }
    office.held_count = 0;
}

/* Without the accounting: blame whoever was seen with the GIL as the knocker woke. */
static void blame_seen(uint64_t asked, uint64_t now) {
    struct culprit culprit;
    if (office.seen == NULL || !office.frames_known || !blame_find(&culprit, office.seen)) {
        return;
    }
    for (Window *window = office.newest; window != NULL; window = window->older) {
        uint64_t from = asked > window->opened ? asked : window->opened;
        blame_enter(&window->blame, &culprit, clock_elapsed(from, now), office.knocks.knocks);
    }
    blame_release(&culprit);
}

/* Count a knock. One that waits outlasts the moments at which others were due: they would have
 * waited, too, each for what was left. Without them a GIL that is held for long would seem free. */
static void count_knock(struct knocks *knocks, bool waited, uint64_t latency) {
    knocks->knocks++;
    knocks->waited += waited;
    histogram_add(&knocks->latency, latency);
    uint64_t gap = LOAD(office.gap_ticks);
    for (uint64_t left = latency; waited && gap != 0 && left > gap;) {
        left -= gap;
        knocks->knocks++;
        knocks->waited++;
        histogram_add(&knocks->latency, left);
    }
}

/* Enter an answered knock. The knocker has the GIL. */
static void enter_knock(uint64_t asked, uint64_t now, bool accounted, bool waited,
                        uint64_t latency) {
    count_knock(&office.knocks, waited, latency);
    if (accounted) {
        names_learn(false);
        blame_holders();
    } else if (waited) {
        blame_seen(asked, now);
    }
    for (Window *window = office.newest; window != NULL && waited; window = window->older) {
        uint64_t inside = clock_elapsed(window->opened > asked ? window->opened : asked, now);
        if (inside > latency) {
            inside = latency;
        }
        if (inside > window->max_knock) {
            window->max_knock = inside;
        }
    }
}

/* Without the accounting, what the GIL was like at the random moment is known from this look only.
 */
static void look(void *context) {
    (void)context;
    office.taken = office.located && gil_is_taken(&office.gil);
    office.seen = office.taken ? gil_last_holder(&office.gil) : NULL;
}

static void knock(void *context) {
    (void)context;
    office.knocked = true;
    run_delay_refresh();
    uint64_t asked = clock_ticks();
    STORE(office.knock_asked, asked);
    if (office.knocker_state == NULL) {
        office.knocker_gilstate = PyGILState_Ensure();
    } else {
        PyEval_RestoreThread(office.knocker_state);
    }
    uint64_t now = clock_ticks();
    STORE(office.knock_asked, 0);
    if (LOAD(office.open) != 0) {
        bool accounted = office.exact && accounting_active();
        uint64_t latency = accounted ? accounting_own_wait() : clock_elapsed(asked, now);
        bool waited = accounted        ? latency != 0
                      : office.located ? office.taken
                                       : clock_seconds(latency) * 1e9 > UNSEEN_WAIT_NS;
        enter_knock(asked, now, accounted, waited, latency);
        office.knocking += clock_elapsed(now, clock_ticks());
    }
    office.knocker_state = PyEval_SaveThread();
}

/* One random moment in each stratum of time. A stratum is as long as the mean gap, but short when a
 * window is young. */
static uint64_t pace(void *context) {
    (void)context;
    bool woken = !office.knocked;
    office.knocked = false;
    if (LOAD(office.open) == 0) {
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
        PyGILState_Release(office.knocker_gilstate);
        office.knocker_state = NULL;
    }
}

/* In a forked child: its parent's knocker is not there. Windows stay open, and start one of their
 * own when needed. */
static void after_fork_in_child(void) {
    office.knocker = NULL;
    office.knocker_state = NULL;
    STORE(office.knock_asked, 0);
    knocker_after_fork();
    run_delay_after_fork();
}

/* Have a knocker that is awake. The GIL is held. Without one (no thread to be had) there are no
 * knocks to tell of. */
static void rouse_knocker(void) {
    if (office.shut) {
        return;
    }
    if (office.knocker != NULL) {
        if (LOAD(office.open) == 1) {
            knocker_wake(office.knocker);
        }
        return;
    }
    if (!gil_admits_new_thread()) {
        return;
    }
    office.random = clock_ticks() | 1;
    const struct knocker_work work = {begin_knocking, pace, look, knock, end_knocking, NULL};
    office.knocker = knocker_start(&work);
}

/* --- how to measure --- */

/* Look for the GIL and try the accounting, once. The GIL is held and on. */
static void examine(void) {
    if (office.examined) {
        return;
    }
    office.examined = true;
    clock_init();
#ifndef _WIN32
    static bool fork_handler;
    if (!fork_handler) {
        pthread_atfork(NULL, NULL, after_fork_in_child);
        fork_handler = true;
    }
#endif
    office.frames_known = frame_is_known();
    office.located = gil_find(&office.gil, office.reason, sizeof office.reason) == 0;
    office.exact = office.located &&
                   gil_prove_accounting(&office.gil, office.reason, sizeof office.reason) == 0;
}

static const char gil_is_off[] = "the GIL is off";
static const char was_redirected[] = "the accounting lost track: another tool redirected the "
                                     "interpreter's mutex calls, or there were too many threads";

/* Choose how to measure, and say why not exactly. Returns 0, or -1 with RuntimeError when "exact" is
 * asked for and cannot be had. */
static int choose_method(const char *asked, enum method *method, const char **reason) {
    if (!gil_is_enabled()) {
        *method = METHOD_DISABLED;
        *reason = gil_is_off;
    } else {
        examine();
        if (office.exact && !accounting_intact()) {
            office.exact = false;
            snprintf(office.reason, sizeof office.reason, "%s", was_redirected);
        }
        bool sampled = strcmp(asked, "sampled") == 0;
        *method = office.exact && !sampled ? METHOD_EXACT : METHOD_SAMPLED;
        *reason = *method == METHOD_EXACT ? NULL : sampled ? "asked for" : office.reason;
    }
    if (*method != METHOD_EXACT && strcmp(asked, "exact") == 0) {
        PyErr_Format(PyExc_RuntimeError, "the GIL cannot be accounted for exactly here: %s",
                     *reason);
        return -1;
    }
    return 0;
}

/* --- opening and closing --- */

static void link_window(Window *window) {
    window->older = office.newest;
    if (window->older != NULL) {
        window->older->newer = window;
    }
    office.newest = window;
    window->in_office = true;
    STORE(office.newest_opened, window->opened);
    STORE(office.sampled, office.sampled + (window->method == METHOD_SAMPLED));
    STORE(office.open, office.open + 1);
}

static void unlink_window(Window *window) {
    *(window->newer ? &window->newer->older : &office.newest) = window->older;
    if (window->older != NULL) {
        window->older->newer = window->newer;
    }
    window->in_office = false;
    STORE(office.sampled, office.sampled - (window->method == METHOD_SAMPLED));
    STORE(office.open, office.open - 1);
}

/* Let go of everything an open window holds on to. The GIL is held (or off). */
static void close_window(Window *window) {
    if (window->in_office) {
        if (window->method == METHOD_EXACT) {
            accounting_close(&window->book);
        }
        unlink_window(window);
    }
    blame_clear(&window->blame);
    window->state = WINDOW_CLOSED;
}

static PyObject *window_begin(PyObject *object, PyObject *unused) {
    (void)unused;
    Window *window = (Window *)object;
    if (window->state != WINDOW_NEW) {
        PyErr_SetString(PyExc_RuntimeError, "a window opens once");
        return NULL;
    }
    clock_init();
    uint64_t entered = clock_ticks();
    if (choose_method(window->asked_method, &window->method, &window->reason) < 0) {
        return NULL;
    }
    if (window->method == METHOD_DISABLED) {
        window->opened = clock_ticks();
        window->state = WINDOW_OPEN;
        Py_RETURN_NONE;
    }
    run_delay_refresh();
    run_delay_sum(&window->run_delay_base);
    window->base = office.knocks;
    window->opened = clock_ticks();
    if (window->method == METHOD_EXACT &&
        accounting_open(&window->book, window->by_thread, window->opened) < 0) {
        return PyErr_NoMemory();
    }
    link_window(window);
    window->state = WINDOW_OPEN;
    rouse_knocker();
    if (window->method == METHOD_EXACT) {
        names_learn(false);
    }
    office.handling += clock_elapsed(entered, clock_ticks());
    Py_RETURN_NONE;
}

/* --- the reading --- */

/* What an unanswered knock adds. */
static void add_knock_under_way(const Window *window, uint64_t now, struct knocks *knocks,
                                uint64_t *max_knock) {
    uint64_t asked = LOAD(office.knock_asked);
    if (asked == 0) {
        return;
    }
    uint64_t inside = clock_elapsed(asked > window->opened ? asked : window->opened, now);
    count_knock(knocks, true, inside);
    if (inside > *max_knock) {
        *max_knock = inside;
    }
}

/* (count, p50, p90, p99, max) in seconds; None for an empty histogram. The buckets are coarse: no
 * quantile is more than the maximum, which is exact. */
static PyObject *latency_tuple(const struct histogram *histogram, uint64_t maximum) {
    uint64_t count = histogram_count(histogram);
    if (count == 0) {
        Py_RETURN_NONE;
    }
    double quantiles[3];
    static const double shares[3] = {0.5, 0.9, 0.99};
    for (int i = 0; i < 3; i++) {
        uint64_t ticks = histogram_quantile(histogram, shares[i]);
        quantiles[i] = clock_seconds(ticks < maximum ? ticks : maximum);
    }
    return Py_BuildValue("Kdddd", (unsigned long long)count, quantiles[0], quantiles[1],
                         quantiles[2], clock_seconds(maximum));
}

static PyObject *threads_list(const struct ledger_reading *reading) {
    PyObject *list = PyList_New((Py_ssize_t)reading->thread_count);
    for (size_t i = 0; list != NULL && i < reading->thread_count; i++) {
        const struct ledger_thread *thread = &reading->threads[i];
        const struct ledger_sums *sums = &thread->sums;
        PyObject *tuple =
            Py_BuildValue("KNddKKd", (unsigned long long)thread->native_id,
                          names_as_object(thread->name), clock_seconds(sums->held),
                          clock_seconds(sums->wait), (unsigned long long)sums->acquisitions,
                          (unsigned long long)sums->contended, clock_seconds(thread->max_wait));
        if (tuple == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, tuple);
        }
    }
    return list;
}

/* Put a new reference into the raw reading; steals `value`, NULL stands for an exception that is
 * set. */
static int put(PyObject *raw, PyObject *const *keys, enum key key, PyObject *value) {
    if (value == NULL) {
        return -1;
    }
    int error = PyDict_SetItem(raw, keys[key], value);
    Py_DECREF(value);
    return error;
}

static PyObject *optional_seconds(bool measured, uint64_t ticks) {
    return measured ? PyFloat_FromDouble(clock_seconds(ticks)) : Py_NewRef(Py_None);
}

static PyObject *optional_count(bool measured, uint64_t count) {
    return measured ? PyLong_FromUnsignedLongLong(count) : Py_NewRef(Py_None);
}

/* How long the process' threads waited for a processor, in seconds; None where that is not known or
 * the window is too short for looks so far apart. */
static PyObject *run_delay(const Window *window, uint64_t now) {
    uint64_t sum;
    run_delay_refresh();
    if (!window->in_office || !run_delay_sum(&sum) ||
        clock_seconds(clock_elapsed(window->opened, now)) * 1e9 < 2.0 * RUN_DELAY_FRESH_NS) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(sum - window->run_delay_base) * 1e-9);
}

static double switch_interval(void) {
    return office.located ? gil_switch_interval(&office.gil) : gil_switch_interval_by_call();
}

/* What a window has seen so far, as a new raw reading, or NULL with an exception set. */
static PyObject *read_window(Window *window) {
    uint64_t now = clock_ticks();
    clock_calibrate();
    const struct module_state *state = PyType_GetModuleState(Py_TYPE(window));
    PyObject *const *keys = state->keys;
    enum method method = window->method;
    const char *reason = window->reason;

    struct ledger_reading book = {.threads = NULL};
    if (method == METHOD_EXACT) {
        names_learn(window->by_thread);
        if (accounting_read(&window->book, now, &book) < 0) {
            return PyErr_NoMemory();
        }
        if (!accounting_intact() || office.shut) {
            method = METHOD_SAMPLED;
            reason = office.shut ? "the interpreter is ending" : was_redirected;
        }
    }
    bool exact = method == METHOD_EXACT;
    blame_holders();

    struct knocks knocks = {0};
    uint64_t max_knock = window->max_knock;
    if (window->in_office) {
        knocks = office.knocks;
        knocks.knocks -= window->base.knocks;
        knocks.waited -= window->base.waited;
        histogram_subtract(&knocks.latency, &window->base.latency);
        add_knock_under_way(window, now, &knocks, &max_knock);
    }
    uint64_t max_wait = exact && book.max_wait > max_knock ? book.max_wait : max_knock;

    PyObject *raw = PyDict_New();
    PyObject *threads = exact ? threads_list(&book) : PyList_New(0);
    if (raw == NULL || put(raw, keys, KEY_METHOD, Py_NewRef(state->methods[method])) < 0 ||
        put(raw, keys, KEY_REASON,
            reason != NULL ? PyUnicode_FromString(reason) : Py_NewRef(Py_None)) < 0 ||
        put(raw, keys, KEY_GIL_ENABLED, PyBool_FromLong(gil_is_enabled())) < 0 ||
        put(raw, keys, KEY_SWITCH_INTERVAL, PyFloat_FromDouble(switch_interval())) < 0 ||
        put(raw, keys, KEY_WALL,
            PyFloat_FromDouble(clock_seconds(clock_elapsed(window->opened, now)))) < 0 ||
        put(raw, keys, KEY_HELD, optional_seconds(exact, book.sums.held)) < 0 ||
        put(raw, keys, KEY_WAIT, optional_seconds(exact, book.sums.wait)) < 0 ||
        put(raw, keys, KEY_ACQUISITIONS, optional_count(exact, book.sums.acquisitions)) < 0 ||
        put(raw, keys, KEY_CONTENDED, optional_count(exact, book.sums.contended)) < 0 ||
        put(raw, keys, KEY_MAX_WAIT, optional_seconds(exact || knocks.knocks != 0, max_wait)) < 0 ||
        put(raw, keys, KEY_KNOCKS, PyLong_FromUnsignedLongLong(knocks.knocks)) < 0 ||
        put(raw, keys, KEY_KNOCKS_WAITED, PyLong_FromUnsignedLongLong(knocks.waited)) < 0 ||
        put(raw, keys, KEY_KNOCK_LATENCY, latency_tuple(&knocks.latency, max_knock)) < 0 ||
        put(raw, keys, KEY_WAIT_LATENCY,
            exact ? latency_tuple(&book.waits, book.max_wait) : Py_NewRef(Py_None)) < 0 ||
        put(raw, keys, KEY_THREADS, Py_XNewRef(threads)) < 0 ||
        put(raw, keys, KEY_BLAME, blame_as_list(&window->blame)) < 0 ||
        put(raw, keys, KEY_RUN_DELAY, run_delay(window, now)) < 0) {
        Py_CLEAR(raw);
    }
    Py_XDECREF(threads);
    free(book.threads);
    return raw;
}

static int require_open(const Window *window) {
    if (window->state == WINDOW_OPEN) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "the window is not open");
    return -1;
}

static PyObject *window_end(PyObject *object, PyObject *unused) {
    (void)unused;
    Window *window = (Window *)object;
    if (require_open(window) < 0) {
        return NULL;
    }
    uint64_t entered = clock_ticks();
    PyObject *raw = read_window(window);
    bool counted = window->in_office;
    close_window(window);
    if (counted) {
        office.handling += clock_elapsed(entered, clock_ticks());
    }
    return raw;
}

static PyObject *window_peek(PyObject *object, PyObject *unused) {
    (void)unused;
    Window *window = (Window *)object;
    return require_open(window) < 0 ? NULL : read_window(window);
}

/* --- the type --- */

static int window_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"method", "threads", NULL};
    static const char *const methods[] = {"auto", "exact", "sampled"};
    Window *window = (Window *)object;
    const char *method = "auto";
    int by_thread = 1;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$sp:Window", names, &method,
                                     &by_thread)) {
        return -1;
    }
    if (window->state != WINDOW_NEW) {
        PyErr_SetString(PyExc_RuntimeError, "a window opens once");
        return -1;
    }
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(method, methods[i]) == 0) {
            window->asked_method = methods[i];
            window->by_thread = by_thread != 0;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "method must be 'auto', 'exact' or 'sampled', not '%s'", method);
    return -1;
}

static PyObject *window_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments, (void)keywords;
    Window *window = (Window *)type->tp_alloc(type, 0);
    if (window != NULL) {
        window->asked_method = "auto";
        window->by_thread = true;
    }
    return (PyObject *)window;
}

static void window_dealloc(PyObject *object) {
    Window *window = (Window *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (window->state == WINDOW_OPEN) {
        close_window(window);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(window_doc,
             "Window(*, method='auto', threads=True)\n--\n\n"
             "One interval of measuring: opened once, closed once; windows nest and overlap.");
PyDoc_STRVAR(begin_doc, "begin($self, /)\n--\n\nOpen the window now.");
PyDoc_STRVAR(end_doc, "end($self, /)\n--\n\nClose the window and return its raw reading.");
PyDoc_STRVAR(peek_doc,
             "peek($self, /)\n--\n\nReturn the raw reading up to now and leave the window open.");

static PyMethodDef window_methods[] = {
    {"begin", window_begin, METH_NOARGS, begin_doc},
    {"end", window_end, METH_NOARGS, end_doc},
    {"peek", window_peek, METH_NOARGS, peek_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot window_slots[] = {
    {Py_tp_doc, (void *)window_doc}, {Py_tp_new, window_new},         {Py_tp_init, window_init},
    {Py_tp_dealloc, window_dealloc}, {Py_tp_methods, window_methods}, {0, NULL},
};

PyType_Spec window_spec = {
    .name = "pytest_gilknock._core.Window",
    .basicsize = sizeof(Window),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = window_slots,
};

/* --- module functions --- */

PyObject *window_status(PyObject *module, PyObject *unused) {
    (void)unused;
    const struct module_state *state = PyModule_GetState(module);
    enum method method;
    const char *reason;
    if (choose_method("auto", &method, &reason) < 0) {
        return NULL;
    }
    return Py_BuildValue("Oz", state->methods[method], reason);
}

PyObject *window_set_knock_interval(PyObject *module, PyObject *argument) {
    (void)module;
    double seconds = PyFloat_AsDouble(argument);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (!(seconds >= 1e-6 && seconds <= 3600.0)) {
        PyErr_SetString(PyExc_ValueError, "the knock interval must be from 1e-6 to 3600 seconds");
        return NULL;
    }
    STORE(office.asked_gap, (uint64_t)(seconds * 1e9));
    Py_RETURN_NONE;
}

PyObject *window_cost(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    clock_init();
    return Py_BuildValue("dd", clock_seconds(office.handling), clock_seconds(office.knocking));
}

PyObject *window_shutdown(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    office.shut = true;
    if (office.knocker != NULL) {
        knocker_stop(office.knocker);
        office.knocker = NULL;
    }
    Py_BEGIN_ALLOW_THREADS knocker_stop_all(LAST_KNOCK_NS);
    Py_END_ALLOW_THREADS if (office.exact) { accounting_stop(); }
    Py_RETURN_NONE;
}

void window_startup(void) { office.shut = false; }
