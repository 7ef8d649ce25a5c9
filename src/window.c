/* A window: opened, read and closed. It brings the instruments together, the accounting and the
 * knocks, and makes a raw reading of what they have counted. With the GIL off (free-threaded) it
 * touches neither, and only measures its wall time. */
#include "window.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blame.h"
#include "cpython/gil.h"
#include "cpython/thread_names.h"
#include "locks.h"
#include "native/accounting.h"
#include "native/charges.h"
#include "native/clock.h"
#include "native/histogram.h"
#include "native/machine_load.h"
#include "native/places.h"
#include "native/run_delay.h"
#include "native/stall_watch.h"
#include "trace.h"
#include "window_knocks.h"

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
    KEY_BLAME_OMITTED,
    KEY_HAND_OVER,
    KEY_UNLOOKED,
    KEY_VICTIMS,
    KEY_BLAME_METHOD,
    KEY_BLAME_REASON,
    KEY_KNOCK_WAIT,
    KEY_LONGEST_WAIT,
    KEY_MACHINE,
    KEY_WAIT_HISTOGRAM,
    KEY_LOCKS,
    KEY_MAX_HOLD,
    KEY_HOLDS,
    KEY_HOLDS_UNSEEN,
};

/* How old the looks at the run delay and at the machine may be when a window opens, and for how long
 * it must be open to tell of them: looks that often cost 0.3 % of the time. */
#define LOOK_AGE_NS 50000000u

const char *const window_key_names[STATE_KEYS] = {
    "method",       "reason",         "gil_enabled",   "switch_interval", "wall",
    "held",         "wait",           "acquisitions",  "contended",       "max_wait",
    "knocks",       "knocks_waited",  "knock_latency", "wait_latency",    "threads",
    "blame",        "run_delay",      "blame_omitted", "hand_over",       "unlooked",
    "victims",      "blame_method",   "blame_reason",  "knock_wait",      "longest_wait",
    "machine",      "wait_histogram", "locks",         "max_hold",        "holds",
    "holds_unseen",
};

const char *const window_method_names[STATE_METHODS] = {"exact", "sampled", "disabled"};

enum window_state { WINDOW_NEW, WINDOW_OPENING, WINDOW_OPEN, WINDOW_CLOSED };

typedef struct {
    PyObject head;
    enum window_state state;
    enum method method; /* from the opening on */
    const char *asked_method;
    const char *reason; /* why not exact; static or of `capability` */
    bool by_thread;
    enum locks_wish locks_wish;
    struct locks_window locks;
    bool asked_audit, audited; /* holds are to be audited; they are */
    uint64_t opened;           /* ticks */
    uint64_t run_delay_base;   /* ns */
    uint64_t run_delay_looked; /* ticks; when that was looked at */
    struct machine_counters machine_base;
    struct ledger_window ledger_window; /* if exact */
    struct charges_window charges;      /* unless disabled */
    struct trace trace;
    struct knock_window knocks; /* unless disabled */
} Window;

/* How this process measures: found out when the first window opens. Guarded by the GIL. */
static struct {
    enum {
        NOT_EXAMINED,
        EXAMINING,
        EXAMINED
    } state;                /* looking for the GIL, trying the accounting */
    unsigned long examiner; /* PyThread_get_thread_ident() of who does */
    long process;           /* its process */
    bool located;
    bool exact;
    bool ended; /* the interpreter is about to */
    char reason[GIL_REASON_SIZE];
    struct gil gil;
    uint64_t handling; /* ticks spent opening and closing */
} capability;

/* --- how to measure --- */

/* Wait while another thread examines. The GIL is held, and let go meanwhile. */
static void await_examination(void) {
    const struct timespec moment = {0, 200000};
    while (capability.state == EXAMINING && capability.examiner != PyThread_get_thread_ident() &&
           capability.process == (long)getpid()) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&moment, NULL);
        Py_END_ALLOW_THREADS
    }
}

/* Look for the GIL and try the accounting, once. The GIL is held and on; it is let go meanwhile, and
 * threads that come here then wait. Returns whether it is found out: not while this very thread is
 * about to, nor in a child that another thread than the examining one has forked. */
static bool examine(void) {
    await_examination();
    if (capability.state == NOT_EXAMINED) {
        capability.state = EXAMINING;
        capability.examiner = PyThread_get_thread_ident();
        capability.process = (long)getpid();
        clock_init();
        capability.located =
            gil_find(&capability.gil, capability.reason, sizeof capability.reason) == 0;
        knocking_set_up(capability.located ? &capability.gil : NULL);
        capability.exact =
            capability.located &&
            gil_prove_accounting(&capability.gil, capability.reason, sizeof capability.reason) == 0;
        if (capability.located && blame_set_up(&capability.gil, capability.exact)) {
            knocking_read_stacks();
        }
        capability.state = EXAMINED;
    }
    return capability.state == EXAMINED;
}

static const char gil_is_off[] = "the GIL is off";
static const char is_ending[] = "the interpreter is ending";
static const char is_examined[] = "whether it can be is still being found out";
static const char was_off[] = "the GIL was turned on after the window had opened";
static const char was_redirected[] = "the accounting lost track: another tool redirected the "
                                     "interpreter's mutex calls, or there were too many threads";

/* Choose how to measure, and say why not exactly. Returns 0, or -1 with RuntimeError when "exact" is
 * asked for and cannot be had. */
static int choose_method(const char *asked, enum method *method, const char **reason) {
    if (!gil_is_enabled()) {
        *method = METHOD_DISABLED;
        *reason = gil_is_off;
    } else {
        bool examined = examine();
        if (examined && capability.exact && !accounting_intact()) {
            capability.exact = false;
            snprintf(capability.reason, sizeof capability.reason, "%s", was_redirected);
        }
        bool sampled = strcmp(asked, "sampled") == 0;
        bool can_be_exact = examined && capability.exact && !capability.ended;
        *method = can_be_exact && !sampled ? METHOD_EXACT : METHOD_SAMPLED;
        *reason = *method == METHOD_EXACT ? NULL
                  : sampled               ? "asked for"
                  : capability.ended      ? is_ending
                  : examined              ? capability.reason
                                          : is_examined;
    }
    if (*method != METHOD_EXACT && strcmp(asked, "exact") == 0) {
        PyErr_Format(PyExc_RuntimeError, "the GIL cannot be accounted for exactly here: %s",
                     *reason);
        return -1;
    }
    return 0;
}

/* --- opening and closing --- */

/* Let go of everything an open window holds on to. The GIL is held (or off). */
static void close_window(Window *window) {
    window->state = WINDOW_CLOSED;
    locks_close(&window->locks);
    if (window->audited) {
        accounting_audit(false);
    }
    if (window->method == METHOD_EXACT) {
        trace_close(&window->trace);
        accounting_close(&window->ledger_window);
    }
    if (window->method != METHOD_DISABLED) {
        charges_close(&window->charges);
        knocking_close(&window->knocks);
    }
}

/* Choose how to measure a window, and begin. The GIL may be let go before it is measured. Returns 0,
 * or -1 with an exception set. */
static int open_window(Window *window) {
    if (choose_method(window->asked_method, &window->method, &window->reason) < 0) {
        return -1;
    }
    locks_prepare(window->locks_wish);
    if (window->method == METHOD_DISABLED) {
        window->opened = clock_ticks();
        locks_open(&window->locks, window->locks_wish, window->by_thread, window->opened);
        return 0;
    }
    run_delay_refresh(LOOK_AGE_NS);
    run_delay_sum(&window->run_delay_base);
    window->run_delay_looked = run_delay_looked();
    machine_load_refresh(LOOK_AGE_NS);
    window->machine_base = *machine_load_counters();
    window->opened = clock_ticks();
    if (window->method == METHOD_EXACT &&
        accounting_open(&window->ledger_window, window->by_thread, window->opened) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    if (window->method == METHOD_EXACT && trace_open(&window->trace, window->opened) < 0) {
        accounting_close(&window->ledger_window);
        PyErr_NoMemory();
        return -1;
    }
    charges_open(&window->charges, window->opened);
    const char *why_not;
    window->audited = window->asked_audit && window->method == METHOD_EXACT &&
                      blame_method(true, &why_not) == BLAME_LOOKED;
    if (window->audited) {
        accounting_audit(true);
    }
    knocking_open(&window->knocks, window->opened, window->method == METHOD_SAMPLED,
                  window->by_thread, window->audited);
    locks_open(&window->locks, window->locks_wish, window->by_thread, window->opened);
    return 0;
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
    window->state = WINDOW_OPENING; /* other threads must neither begin nor end it */
    if (open_window(window) < 0) {
        window->state = WINDOW_NEW;
        return NULL;
    }
    window->state = WINDOW_OPEN;
    enum method method = window->method; /* others may end it from here on */
    if (method == METHOD_EXACT) {
        names_learn();
    }
    if (method != METHOD_DISABLED) {
        capability.handling += clock_elapsed(entered, clock_ticks());
    }
    Py_RETURN_NONE;
}

/* --- the reading --- */

/* (count, p50, p90, p99, max) in seconds; None without a value, when the histogram need not be set.
 * The buckets are coarse: no quantile is more than the maximum, which is exact. */
static PyObject *latency_tuple(uint64_t count, const struct histogram *histogram,
                               uint64_t maximum) {
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

/* A new list of (least seconds, count), ascending, for the waits from each power of two microseconds
 * to the next; only where there are any. With a count of 0 the histogram need not be set. */
static PyObject *octaves_list(uint64_t count, const struct histogram *histogram) {
    struct histogram_octave octaves[HISTOGRAM_OCTAVES];
    const uint64_t many = UINT64_C(1) << 32;
    double microsecond = 1e-6 * (double)many / clock_seconds(many);
    size_t size = count != 0 ? histogram_octaves(histogram, microsecond, octaves) : 0;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < size; i++) {
        PyObject *tuple = Py_BuildValue("dK", ldexp(1e-6, octaves[i].power),
                                        (unsigned long long)octaves[i].count);
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
    }
    return list;
}

/* Not a list made with its length: without memory for that, a free-threaded build frees what is not
 * the list's own (CPython 152125). */
static PyObject *threads_list(const struct ledger_reading *reading) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < reading->thread_count; i++) {
        const struct ledger_thread *thread = &reading->threads[i];
        const struct ledger_sums *sums = &thread->sums;
        PyObject *tuple =
            Py_BuildValue("KNddKKd", (unsigned long long)thread->native_id,
                          names_as_object(thread->name), clock_seconds(sums->held),
                          clock_seconds(sums->wait), (unsigned long long)sums->acquisitions,
                          (unsigned long long)sums->contended, clock_seconds(thread->max_wait));
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
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
 * the window is too short for a look that was old when it opened. */
static PyObject *run_delay(const Window *window, uint64_t now) {
    if (window->method == METHOD_DISABLED) {
        Py_RETURN_NONE;
    }
    double lasted = clock_seconds(clock_elapsed(window->opened, now)) * 1e9;
    double age = clock_seconds(clock_elapsed(window->run_delay_looked, window->opened)) * 1e9;
    if (lasted < LOOK_AGE_NS || lasted < 2.0 * age) {
        Py_RETURN_NONE;
    }
    uint64_t sum;
    run_delay_refresh(LOOK_AGE_NS / 10);
    if (!run_delay_sum(&sum)) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)(sum - window->run_delay_base) * 1e-9);
}

static PyObject *seconds_unless_negative(double seconds) {
    return seconds < 0.0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(seconds);
}

/* Whether two states of the counters tell something of a window that lasted so long. */
static bool fits(const struct machine_load *load, double lasted) {
    return load->time >= 0.75 * lasted && load->time <= 1.5 * lasted;
}

/* Tell what others took of the machine while a window was open, which lasted so long; of a window too
 * short for that, what they took just before and in it. Returns false where neither is known. */
static bool find_load(const Window *window, double lasted, struct machine_load *load) {
    bool is_short = lasted < LOOK_AGE_NS * 1e-9;
    machine_load_refresh(is_short ? LOOK_AGE_NS : LOOK_AGE_NS / 10);
    const struct machine_counters *latest = machine_load_counters();
    if (!is_short && machine_load_between(&window->machine_base, latest, load) &&
        fits(load, lasted)) {
        return true;
    }
    const struct machine_counters *recent = machine_load_recent();
    return lasted < 2e-9 * MACHINE_RECENT_NS && recent != NULL &&
           machine_load_between(recent, latest, load);
}

/* What others took of the machine: (processors, idle, others, throttled, stalled), the last four in
 * seconds; None where that is not known. */
static PyObject *machine(const Window *window, uint64_t now) {
    double lasted = clock_seconds(clock_elapsed(window->opened, now));
    struct machine_load load;
    if (window->method == METHOD_DISABLED || !find_load(window, lasted, &load)) {
        Py_RETURN_NONE;
    }
    /* The looks do not begin and end with the window: theirs is taken for its part. */
    double part = lasted / load.time;
    return Py_BuildValue("dddNN", load.processors, load.idle * part, load.others * part,
                         seconds_unless_negative(load.throttled * part),
                         seconds_unless_negative(load.stalled * part));
}

static double switch_interval(void) {
    return capability.located ? gil_switch_interval(&capability.gil)
                              : gil_switch_interval_by_call();
}

/* What a window has seen up to a moment. */
struct findings {
    enum method method;
    const char *reason;
    uint64_t now;
    struct ledger_reading ledger; /* if exact; its threads are owned */
    struct knock_reading knocks;
    struct charges_reading charges; /* its rows are owned */
    struct locks_findings locks;
    bool knocking; /* somebody asks for the GIL, as an audit needs it */
};

/* Make ready to read a window, unless it is not open: then return -1 with RuntimeError. Learning the
 * names may run Python code, by which another thread may close the window, so it comes first. */
static int prepare_reading(Window *window) {
    if (window->state == WINDOW_OPEN && window->method == METHOD_EXACT) {
        names_learn();
    }
    if (window->state == WINDOW_OPEN) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "the window is not open");
    return -1;
}

/* Take what an open window has seen so far. No Python object is made nor dropped, which could run
 * Python code and let the GIL go: so nobody closes the window meanwhile. Returns 0, or -1 without
 * memory; sets no exception. */
static int read_window(Window *window, struct findings *findings) {
    uint64_t now = clock_ticks();
    clock_calibrate();
    findings->method = window->method;
    findings->reason = window->reason;
    findings->now = now;
    findings->ledger.sums = (struct ledger_sums){0}; /* the histograms are large: not cleared */
    findings->ledger.max_wait = 0;
    findings->ledger.threads = NULL;
    findings->knocks.count = findings->knocks.waited = 0;
    findings->knocks.wait = findings->knocks.max_wait = 0;
    findings->knocking = false;
    findings->charges = (struct charges_reading){.unlooked = 0};
    if (locks_read(&window->locks, now, &findings->locks) < 0) {
        return -1;
    }
    if (window->method == METHOD_DISABLED) {
        findings->reason = gil_is_enabled() ? was_off : gil_is_off;
        return 0;
    }
    if (window->method == METHOD_EXACT) {
        if (accounting_read(&window->ledger_window, now, &findings->ledger) < 0) {
            locks_drop(&findings->locks);
            return -1;
        }
        if (!accounting_intact() || capability.ended) {
            findings->method = METHOD_SAMPLED;
            findings->reason = capability.ended ? is_ending : was_redirected;
        }
    }
    knocking_read(&window->knocks, now, &findings->knocks);
    findings->knocking = knocking_goes_on();
    struct charges_known known = {.knock_wait = findings->knocks.wait};
    if (findings->method == METHOD_EXACT) {
        known.wait = findings->ledger.sums.wait;
        known.hand_over = findings->ledger.hand_over;
        known.pending = findings->ledger.pending;
    }
    if (charges_read(&window->charges, &known, &findings->charges) < 0) {
        free(findings->ledger.threads);
        locks_drop(&findings->locks);
        return -1;
    }
    return 0;
}

/* Whose the longest wait was: of a thread that has got the GIL since, of one that waits on, or of a
 * knock. A new RawLongestWait, None without any wait, or NULL with an exception set. */
static PyObject *longest_wait(const Window *window, const struct findings *findings) {
    const struct ledger_reading *ledger = &findings->ledger;
    const struct knock_reading *knocks = &findings->knocks;
    bool exact = findings->method == METHOD_EXACT;
    bool knock = !exact || knocks->max_wait > ledger->max_wait;
    uint64_t waited = knock ? knocks->max_wait : ledger->max_wait;
    struct charges_longest longest =
        knock ? findings->charges.longest_knock : findings->charges.longest;
    uint64_t going_on = knock ? 0 : ledger->longest_pending.waited;
    if (waited == 0) {
        Py_RETURN_NONE;
    }
    if (going_on > longest.waited ||
        (knock && knocks->max_since != longest.since && knocks->max_wait > longest.waited)) {
        longest = (struct charges_longest){
            .since = knock ? knocks->max_since : ledger->longest_pending.since,
            .waiter = {knock ? 0 : ledger->longest_pending.serial,
                       knock ? 0 : ledger->longest_pending.native_id, PLACE_UNKNOWN},
            .holder.place = PLACE_UNKNOWN};
    }
    longest.waited = waited;
    return blame_longest_as_tuple(&longest, knock, window->opened);
}

/* Turn the findings of a window, which are used up, into a new raw reading, or NULL with an exception
 * set. */
static PyObject *raw_reading(const Window *window, struct findings *findings) {
    const struct module_state *state = PyType_GetModuleState(Py_TYPE(window));
    PyObject *const *keys = state->keys;
    enum method method = findings->method;
    const char *reason = findings->reason;
    uint64_t now = findings->now;
    const struct ledger_reading *ledger = &findings->ledger;
    const struct knock_reading *knocks = &findings->knocks;
    bool exact = method == METHOD_EXACT;
    uint64_t max_wait =
        exact && ledger->max_wait > knocks->max_wait ? ledger->max_wait : knocks->max_wait;

    PyObject *raw = PyDict_Copy(state->blank); /* has room for all keys */
    const struct charges_reading *charges = &findings->charges;
    const char *why_not_looked = reason;
    enum blame_method how =
        method == METHOD_DISABLED ? BLAME_NONE : blame_method(exact, &why_not_looked);
    bool audited = exact && window->audited && findings->knocking;
    PyObject *blame = blame_as_list(&charges->blame);
    PyObject *threads = exact ? threads_list(ledger) : PyList_New(0);
    if (raw == NULL || put(raw, keys, KEY_METHOD, Py_NewRef(state->methods[method])) < 0 ||
        put(raw, keys, KEY_REASON,
            reason != NULL ? PyUnicode_FromString(reason) : Py_NewRef(Py_None)) < 0 ||
        put(raw, keys, KEY_GIL_ENABLED, PyBool_FromLong(gil_is_enabled())) < 0 ||
        put(raw, keys, KEY_SWITCH_INTERVAL, PyFloat_FromDouble(switch_interval())) < 0 ||
        put(raw, keys, KEY_WALL,
            PyFloat_FromDouble(clock_seconds(clock_elapsed(window->opened, now)))) < 0 ||
        put(raw, keys, KEY_HELD, optional_seconds(exact, ledger->sums.held)) < 0 ||
        put(raw, keys, KEY_WAIT, optional_seconds(exact, ledger->sums.wait)) < 0 ||
        put(raw, keys, KEY_ACQUISITIONS, optional_count(exact, ledger->sums.acquisitions)) < 0 ||
        put(raw, keys, KEY_CONTENDED, optional_count(exact, ledger->sums.contended)) < 0 ||
        put(raw, keys, KEY_MAX_WAIT, optional_seconds(exact || knocks->count != 0, max_wait)) < 0 ||
        put(raw, keys, KEY_KNOCKS, PyLong_FromUnsignedLongLong(knocks->count)) < 0 ||
        put(raw, keys, KEY_KNOCKS_WAITED, PyLong_FromUnsignedLongLong(knocks->waited)) < 0 ||
        put(raw, keys, KEY_KNOCK_LATENCY,
            latency_tuple(knocks->count, &knocks->latency, knocks->max_wait)) < 0 ||
        put(raw, keys, KEY_WAIT_LATENCY,
            exact ? latency_tuple(ledger->sums.contended, &ledger->waits, ledger->max_wait)
                  : Py_NewRef(Py_None)) < 0 ||
        put(raw, keys, KEY_THREADS, Py_XNewRef(threads)) < 0 ||
        put(raw, keys, KEY_BLAME, Py_XNewRef(blame)) < 0 ||
        put(raw, keys, KEY_RUN_DELAY, run_delay(window, now)) < 0 ||
        put(raw, keys, KEY_BLAME_OMITTED,
            Py_BuildValue("ndd", (Py_ssize_t)charges->blame.omitted,
                          clock_seconds(charges->blame.omitted_waited),
                          clock_seconds(charges->blame.omitted_knock_waited))) < 0 ||
        put(raw, keys, KEY_HAND_OVER, optional_seconds(exact, ledger->hand_over)) < 0 ||
        put(raw, keys, KEY_UNLOOKED, optional_seconds(exact, charges->unlooked)) < 0 ||
        put(raw, keys, KEY_VICTIMS,
            exact ? blame_victims_as_list(&charges->victims) : PyList_New(0)) < 0 ||
        put(raw, keys, KEY_BLAME_METHOD, PyUnicode_FromString(blame_method_names[how])) < 0 ||
        put(raw, keys, KEY_BLAME_REASON,
            how != BLAME_LOOKED ? PyUnicode_FromString(why_not_looked) : Py_NewRef(Py_None)) < 0 ||
        put(raw, keys, KEY_LONGEST_WAIT, longest_wait(window, findings)) < 0 ||
        put(raw, keys, KEY_KNOCK_WAIT, PyFloat_FromDouble(clock_seconds(knocks->wait))) < 0 ||
        put(raw, keys, KEY_MACHINE, machine(window, now)) < 0 ||
        put(raw, keys, KEY_WAIT_HISTOGRAM,
            exact ? octaves_list(ledger->sums.contended, &ledger->waits) : Py_NewRef(Py_None)) <
            0 ||
        put(raw, keys, KEY_LOCKS, locks_as_object(&findings->locks)) < 0 ||
        put(raw, keys, KEY_MAX_HOLD, optional_seconds(audited, charges->holds.longest)) < 0 ||
        put(raw, keys, KEY_HOLDS, audited ? blame_victims_as_list(&charges->held) : PyList_New(0)) <
            0 ||
        put(raw, keys, KEY_HOLDS_UNSEEN,
            PyLong_FromUnsignedLongLong(audited ? charges->holds.unseen : 0)) < 0) {
        Py_CLEAR(raw);
    }
    Py_XDECREF(blame);
    Py_XDECREF(threads);
    free(findings->ledger.threads);
    charges_free(&findings->charges);
    locks_drop(&findings->locks);
    return raw;
}

/* Whether a window needs no reading, as it was open for less than that many seconds. */
static bool is_too_short(const Window *window, double at_least) {
    return at_least > 0.0 && window->state == WINDOW_OPEN && window->method != METHOD_DISABLED &&
           clock_seconds(clock_elapsed(window->opened, clock_ticks())) < at_least;
}

static PyObject *window_end(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    Window *window = (Window *)object;
    double at_least = count > 0 ? PyFloat_AsDouble(arguments[0]) : 0.0;
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "end() takes at most one argument, not %zd", count);
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    uint64_t entered = clock_ticks();
    PyObject *raw;
    if (is_too_short(window, at_least)) {
        close_window(window);
        raw = Py_NewRef(Py_None);
    } else if (prepare_reading(window) == 0) {
        struct findings findings;
        int error = read_window(window, &findings);
        if (error == 0 && findings.method == METHOD_EXACT) {
            trace_take(&window->trace, findings.now);
        }
        close_window(window);
        raw = error == 0 ? raw_reading(window, &findings) : PyErr_NoMemory();
    } else {
        return NULL;
    }
    if (window->method != METHOD_DISABLED) {
        capability.handling += clock_elapsed(entered, clock_ticks());
    }
    return raw;
}

static PyObject *window_take_trace(PyObject *object, PyObject *unused) {
    (void)unused;
    return trace_hand_over(&((Window *)object)->trace);
}

static PyObject *window_peek(PyObject *object, PyObject *unused) {
    (void)unused;
    Window *window = (Window *)object;
    struct findings findings;
    if (prepare_reading(window) < 0) {
        return NULL;
    }
    if (read_window(window, &findings) < 0) {
        return PyErr_NoMemory();
    }
    return raw_reading(window, &findings);
}

/* --- the type --- */

static int window_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"method", "threads", "trace", "locks", "audit", NULL};
    static const char *const methods[] = {"auto", "exact", "sampled"};
    Window *window = (Window *)object;
    const char *method = "auto";
    int by_thread = 1, audit = 0;
    Py_ssize_t events = 0;
    PyObject *locks = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$spnOp:Window", names, &method,
                                     &by_thread, &events, &locks, &audit)) {
        return -1;
    }
    int wanted = locks == Py_None ? 0 : PyObject_IsTrue(locks);
    if (wanted < 0) {
        return -1;
    }
    if (events < 0) {
        PyErr_Format(PyExc_ValueError, "trace must be a number of events, 0 or more, not %zd",
                     events);
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
            window->locks_wish = locks == Py_None ? LOCKS_WITHOUT_GIL
                                 : wanted != 0    ? LOCKS_ALWAYS
                                                  : LOCKS_NEVER;
            window->asked_audit = audit != 0;
            trace_init(&window->trace, (size_t)events);
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "method must be 'auto', 'exact' or 'sampled', not '%s'", method);
    return -1;
}

static PyObject *window_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments, (void)keywords;
    /* Not tp_alloc, which would clear the histograms, too. */
    Window *window = PyObject_New(Window, type);
    if (window != NULL) {
        window->state = WINDOW_NEW;
        window->asked_method = "auto";
        window->by_thread = true;
        window->locks_wish = LOCKS_WITHOUT_GIL;
        window->locks.reason = NULL;
        window->asked_audit = window->audited = false;
        trace_init(&window->trace, 0);
    }
    return (PyObject *)window;
}

static void window_dealloc(PyObject *object) {
    Window *window = (Window *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (window->state == WINDOW_OPEN) {
        close_window(window);
    }
    trace_clear(&window->trace);
    type->tp_free(object);
    Py_DECREF(type);
}

void window_before_fork(void) {
    await_examination();
    knocking_before_fork();
}

PyDoc_STRVAR(
    window_doc,
    "Window(*, method='auto', threads=True, trace=0, locks=None, audit=False)\n--\n\n"
    "One interval of measuring: opened once, closed once; windows nest and overlap.\n\n"
    "With threads=False it does not tell threads apart, and if its method is exact, nobody "
    "knocks for its sake. If its method is exact, its latest `trace` holds and waits are "
    "recorded (or as many as a window that was open before it asked for). `locks` says whether "
    "waits for locks are measured, too; None: where the GIL is off. With `audit`, knocks follow "
    "one another at once, and holds of the GIL that outlast the switch interval are counted, "
    "unless its reading's max_hold is None.");
PyDoc_STRVAR(begin_doc, "begin($self, /)\n--\n\nOpen the window now.");
PyDoc_STRVAR(end_doc,
             "end($self, at_least=0.0, /)\n--\n\n"
             "Close the window and return its raw reading, or None if it was open for less "
             "than `at_least` seconds.\n\n"
             "There is always a reading where the GIL was off.");
PyDoc_STRVAR(peek_doc,
             "peek($self, /)\n--\n\nReturn the raw reading up to now and leave the window open.");

PyDoc_STRVAR(take_trace_doc,
             "take_trace($self, /)\n--\n\n"
             "Return the holds and waits of the closed window, once; None where there are none, as "
             "no trace was asked for or the window was not exact.");

static PyMethodDef window_methods[] = {
    {"begin", window_begin, METH_NOARGS, begin_doc},
    {"end", (PyCFunction)(void (*)(void))window_end, METH_FASTCALL, end_doc},
    {"peek", window_peek, METH_NOARGS, peek_doc},
    {"take_trace", window_take_trace, METH_NOARGS, take_trace_doc},
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
    if (!(seconds >= 1e-6 && seconds <= 3600.0) && seconds != 0.0) {
        PyErr_SetString(PyExc_ValueError,
                        "the knock interval must be from 1e-6 to 3600 seconds, or 0 for no knocks");
        return NULL;
    }
    knocking_set_gap(seconds);
    Py_RETURN_NONE;
}

PyObject *window_cost(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    clock_init();
    return Py_BuildValue("dd", clock_seconds(capability.handling), clock_seconds(knocking_held()));
}

PyObject *window_shutdown(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    capability.ended = true;
    locks_end();
    Py_BEGIN_ALLOW_THREADS stall_watch_stop();
    Py_END_ALLOW_THREADS knocking_end();
    if (capability.exact) {
        accounting_stop();
    }
    Py_RETURN_NONE;
}

void window_startup(void) {
    capability.ended = false;
    knocking_begin();
}
