/* A window: opened, read and closed. It brings the instruments together, the accounting and the
 * knocks, and has a raw reading made of what they have counted. With the GIL off (free-threaded) it
 * touches neither, and only measures its wall time and what threads wait for besides. */
#include "window.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "blame.h"
#include "capability.h"
#include "cpython/thread_names.h"
#include "locks.h"
#include "native/accounting.h"
#include "native/charges.h"
#include "native/clock.h"
#include "native/machine_load.h"
#include "native/places.h"
#include "native/run_delay.h"
#include "native/stall_watch.h"
#include "raw_reading.h"
#include "trace.h"
#include "window_knocks.h"
#include "window_object.h"

const char *const window_method_names[STATE_METHODS] = {"exact", "sampled", "disabled"};

/* --- opening and closing --- */

/* Have a window in that state be in the next one; with the GIL off other threads may try the same. Returns
 * whether this thread has done so. */
static bool change_state(Window *window, enum window_state from, enum window_state to) {
    return __atomic_compare_exchange_n(&window->state, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static enum window_state current_state(const Window *window) {
    return __atomic_load_n(&window->state, __ATOMIC_ACQUIRE);
}

static void set_state(Window *window, enum window_state state) {
    __atomic_store_n(&window->state, state, __ATOMIC_RELEASE);
}

/* Let go of everything that a window holds on to which was open until now. The GIL is held (or off). */
static void close_window(Window *window) {
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

/* Note how much others have had of the machine so far, and how long threads stood ready. */
static void note_machine(Window *window) {
    run_delay_refresh(LOOK_AGE_NS);
    run_delay_sum(&window->run_delay_base);
    window->run_delay_looked = run_delay_looked();
    machine_load_refresh(LOOK_AGE_NS);
    window->machine_base = *machine_load_counters();
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
    if (window->method == METHOD_EXACT && trace_prepare(&window->trace) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    note_machine(window);
    window->places_refused_base = places_refused();
    window->opened = clock_ticks();
    if (window->method == METHOD_EXACT &&
        accounting_open(&window->ledger_window, window->by_thread, window->opened) < 0) {
        trace_close(&window->trace);
        PyErr_NoMemory();
        return -1;
    }
    trace_open(&window->trace, window->opened);
    charges_open(&window->charges, window->opened);
    const char *why_not;
    window->audited = window->asked_audit && window->method == METHOD_EXACT &&
                      blame_method(true, &why_not) == BLAME_LOOKED;
    if (window->audited) {
        accounting_audit(true);
    }
    const struct knock_wish wish = {.sampled = window->method == METHOD_SAMPLED,
                                    .knocks = window->by_thread,
                                    .audited = window->audited,
                                    .gap = window->knock_gap};
    knocking_open(&window->knocks, window->opened, wish);
    locks_open(&window->locks, window->locks_wish, window->by_thread, window->opened);
    return 0;
}

static PyObject *window_begin(PyObject *object, PyObject *unused) {
    (void)unused;
    Window *window = (Window *)object;
    /* From here on other threads neither begin nor end it. */
    if (!change_state(window, WINDOW_NEW, WINDOW_OPENING)) {
        PyErr_SetString(PyExc_RuntimeError, "a window opens once");
        return NULL;
    }
    clock_init();
    uint64_t entered = clock_ticks();
    if (open_window(window) < 0) {
        set_state(window, WINDOW_NEW);
        return NULL;
    }
    enum method method = window->method;
    set_state(window, WINDOW_OPEN); /* others may end it from here on */
    if (method == METHOD_EXACT) {
        names_learn();
    }
    if (method != METHOD_DISABLED) {
        capability.handling += clock_elapsed(entered, clock_ticks());
    }
    Py_RETURN_NONE;
}

/* --- the reading --- */

/* Make ready to read a window. Learning the names may run Python code, by which another thread may close
 * the window, so it comes before it is known to be open. */
static void prepare_reading(Window *window) {
    if (current_state(window) == WINDOW_OPEN && window->method == METHOD_EXACT) {
        names_learn();
    }
}

static PyObject *error_not_open(void) {
    PyErr_SetString(PyExc_RuntimeError, "the window is not open");
    return NULL;
}

/* Nothing is seen yet. The histograms and the rows of types are large: what says that they are not set is
 * enough. */
static void clear(struct findings *findings, const Window *window, uint64_t now) {
    findings->method = window->method;
    findings->reason = window->reason;
    findings->now = now;
    findings->ledger.sums = (struct ledger_sums){0};
    findings->ledger.max_wait = 0;
    findings->ledger.threads = NULL;
    findings->ledger.omitted = 0;
    findings->knocks.count = findings->knocks.waited = 0;
    findings->knocks.wait = findings->knocks.max_wait = 0;
    findings->knocking = false;
    findings->charges = (struct charges_reading){.unlooked = 0};
}

/* Take what a window that is open, or was until now, has seen so far. No Python object is made nor dropped,
 * which could run Python code and let the GIL go: so nobody closes the window meanwhile (with the GIL off
 * somebody may; then there is less to be read). Returns 0, or -1 without memory; sets no exception. */
static int read_window(Window *window, struct findings *findings) {
    uint64_t now = clock_ticks();
    clock_calibrate();
    clear(findings, window, now);
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

/* Whether a window needs no reading, as it was open for less than that many seconds. */
static bool is_too_short(const Window *window, double at_least) {
    return at_least > 0.0 && current_state(window) == WINDOW_OPEN &&
           window->method != METHOD_DISABLED &&
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
    bool too_short = is_too_short(window, at_least);
    if (!too_short) {
        prepare_reading(window);
    }
    if (!change_state(window, WINDOW_OPEN, WINDOW_CLOSED)) {
        return error_not_open();
    }
    PyObject *raw;
    if (too_short) {
        close_window(window);
        raw = Py_NewRef(Py_None);
    } else {
        struct findings findings;
        int error = read_window(window, &findings);
        if (error == 0 && findings.method == METHOD_EXACT) {
            trace_take(&window->trace, findings.now);
        }
        close_window(window);
        raw = error == 0 ? raw_reading(window, &findings) : PyErr_NoMemory();
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
    prepare_reading(window);
    if (current_state(window) != WINDOW_OPEN) {
        return error_not_open();
    }
    if (read_window(window, &findings) < 0) {
        return PyErr_NoMemory();
    }
    return raw_reading(window, &findings);
}

/* --- the type --- */

static int window_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"method", "threads", "trace", "locks", "audit", "knocks_every", NULL};
    static const char *const methods[] = {"auto", "exact", "sampled"};
    Window *window = (Window *)object;
    const char *method = "auto";
    int by_thread = 1, audit = 0;
    Py_ssize_t events = 0;
    PyObject *locks = Py_None;
    double gap = 0.0; /* s */
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$spnOpd:Window", names, &method,
                                     &by_thread, &events, &locks, &audit, &gap)) {
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
    if (!(gap >= 1e-6 && gap <= 3600.0) && gap != 0.0) {
        PyErr_SetString(PyExc_ValueError,
                        "knocks_every must be from 1e-6 to 3600 seconds, or 0 for the usual");
        return -1;
    }
    if (current_state(window) != WINDOW_NEW) {
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
            window->knock_gap = (uint64_t)(gap * 1e9);
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
        window->knock_gap = 0;
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
    examination_await(&capability.examination);
    locks_await_examination();
    knocking_before_fork();
}

PyDoc_STRVAR(
    window_doc,
    "Window(*, method='auto', threads=True, trace=0, locks=None, audit=False, knocks_every=0.0)\n"
    "--\n\n"
    "One interval of measuring: opened once, closed once; windows nest and overlap.\n\n"
    "With threads=False it does not tell threads apart, and if its method is exact, nobody "
    "knocks for its sake. If its method is exact, its latest `trace` holds and waits are "
    "recorded (or as many as a window that was open before it asked for). `locks` says whether "
    "waits for locks are measured, too; None: where the GIL is off. With `audit`, knocks follow "
    "one another at once, and holds of the GIL that outlast the switch interval are counted, "
    "unless its reading's max_hold is None. `knocks_every` is the mean time between two knocks, "
    "in seconds, that is short enough for it, where it is shorter than the usual one; an interval "
    "that is set (set_knock_interval) stays as it is.");
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
    bool usual = argument == Py_None;
    double seconds = usual ? KNOCKING_USUAL_GAP : PyFloat_AsDouble(argument);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (!(seconds >= 1e-6 && seconds <= 3600.0) && seconds != 0.0 && !usual) {
        PyErr_SetString(PyExc_ValueError, "the knock interval must be from 1e-6 to 3600 seconds, 0 "
                                          "for no knocks or None for the usual one");
        return NULL;
    }
    double before = knocking_set_gap(seconds);
    return before == KNOCKING_USUAL_GAP ? Py_NewRef(Py_None) : PyFloat_FromDouble(before);
}

PyObject *window_cost(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    clock_init();
    return Py_BuildValue("dd", clock_seconds(capability.handling), clock_seconds(knocking_held()));
}

PyObject *window_shutdown(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    capability.ended = true;
    examination_await(&capability.examination); /* a daemon thread may be at it */
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
