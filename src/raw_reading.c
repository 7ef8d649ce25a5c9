#include "raw_reading.h"

#include <stddef.h>
#include <stdlib.h>

#include "blame.h"
#include "capability.h"
#include "cpython/thread_names.h"
#include "latency.h"
#include "native/clock.h"
#include "native/places.h"
#include "native/run_delay.h"

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
    KEY_THREADS_OMITTED,
    KEY_BLAME,
    KEY_RUN_DELAY,
    KEY_BLAME_OMITTED,
    KEY_HAND_OVER,
    KEY_UNLOOKED,
    KEY_UNLOOKED_REASON,
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
    KEYS,
};

_Static_assert((int)KEYS == STATE_KEYS, "the module's state has room for each key");

const char *const raw_reading_key_names[STATE_KEYS] = {
    [KEY_METHOD] = "method",
    [KEY_REASON] = "reason",
    [KEY_GIL_ENABLED] = "gil_enabled",
    [KEY_SWITCH_INTERVAL] = "switch_interval",
    [KEY_WALL] = "wall",
    [KEY_HELD] = "held",
    [KEY_WAIT] = "wait",
    [KEY_ACQUISITIONS] = "acquisitions",
    [KEY_CONTENDED] = "contended",
    [KEY_MAX_WAIT] = "max_wait",
    [KEY_KNOCKS] = "knocks",
    [KEY_KNOCKS_WAITED] = "knocks_waited",
    [KEY_KNOCK_LATENCY] = "knock_latency",
    [KEY_WAIT_LATENCY] = "wait_latency",
    [KEY_THREADS] = "threads",
    [KEY_THREADS_OMITTED] = "threads_omitted",
    [KEY_BLAME] = "blame",
    [KEY_RUN_DELAY] = "run_delay",
    [KEY_BLAME_OMITTED] = "blame_omitted",
    [KEY_HAND_OVER] = "hand_over",
    [KEY_UNLOOKED] = "unlooked",
    [KEY_UNLOOKED_REASON] = "unlooked_reason",
    [KEY_VICTIMS] = "victims",
    [KEY_BLAME_METHOD] = "blame_method",
    [KEY_BLAME_REASON] = "blame_reason",
    [KEY_KNOCK_WAIT] = "knock_wait",
    [KEY_LONGEST_WAIT] = "longest_wait",
    [KEY_MACHINE] = "machine",
    [KEY_WAIT_HISTOGRAM] = "wait_histogram",
    [KEY_LOCKS] = "locks",
    [KEY_MAX_HOLD] = "max_hold",
    [KEY_HOLDS] = "holds",
    [KEY_HOLDS_UNSEEN] = "holds_unseen",
};

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

static PyObject *optional_text(const char *text) {
    return text != NULL ? PyUnicode_FromString(text) : Py_NewRef(Py_None);
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

/* Whether the time between two looks is near enough to that of a window, which lasted so long (s). */
static bool fits(const struct machine_load *load, double lasted) {
    return load->time >= 0.75 * lasted && load->time <= 1.5 * lasted;
}

/* Write what others took of the machine while a window was open, which lasted so long; of a window too
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

/* What the parts of a raw reading are made of, and into what. */
struct making {
    PyObject *raw;
    PyObject *const *keys;
    const Window *window;
    struct findings *findings;
    bool exact;
};

/* Each of these puts a group of values in. Returns 0, or -1 with an exception set. */

static int put_method(const struct making *making) {
    const struct module_state *state = PyType_GetModuleState(Py_TYPE(making->window));
    const struct findings *findings = making->findings;
    PyObject *raw = making->raw, *const *keys = making->keys;
    double wall = clock_seconds(clock_elapsed(making->window->opened, findings->now));
    if (put(raw, keys, KEY_METHOD, Py_NewRef(state->methods[findings->method])) < 0 ||
        put(raw, keys, KEY_REASON, optional_text(findings->reason)) < 0 ||
        put(raw, keys, KEY_GIL_ENABLED, PyBool_FromLong(gil_is_enabled())) < 0 ||
        put(raw, keys, KEY_SWITCH_INTERVAL, PyFloat_FromDouble(switch_interval())) < 0 ||
        put(raw, keys, KEY_WALL, PyFloat_FromDouble(wall)) < 0) {
        return -1;
    }
    return 0;
}

/* What the accounting knows. */
static int put_ledger(const struct making *making) {
    const struct ledger_reading *ledger = &making->findings->ledger;
    const struct ledger_sums *sums = &ledger->sums;
    PyObject *raw = making->raw, *const *keys = making->keys;
    bool exact = making->exact;
    if (put(raw, keys, KEY_HELD, optional_seconds(exact, sums->held)) < 0 ||
        put(raw, keys, KEY_WAIT, optional_seconds(exact, sums->wait)) < 0 ||
        put(raw, keys, KEY_ACQUISITIONS, optional_count(exact, sums->acquisitions)) < 0 ||
        put(raw, keys, KEY_CONTENDED, optional_count(exact, sums->contended)) < 0 ||
        put(raw, keys, KEY_HAND_OVER, optional_seconds(exact, ledger->hand_over)) < 0 ||
        put(raw, keys, KEY_THREADS, exact ? threads_list(ledger) : PyList_New(0)) < 0 ||
        put(raw, keys, KEY_THREADS_OMITTED, PyLong_FromSize_t(exact ? ledger->omitted : 0)) < 0 ||
        put(raw, keys, KEY_WAIT_LATENCY,
            exact ? latency_as_tuple(sums->contended, &ledger->waits, ledger->max_wait)
                  : Py_NewRef(Py_None)) < 0 ||
        put(raw, keys, KEY_WAIT_HISTOGRAM,
            exact ? latency_octaves_as_list(sums->contended, &ledger->waits) : Py_NewRef(Py_None)) <
            0) {
        return -1;
    }
    return 0;
}

static int put_knocks(const struct making *making) {
    const struct knock_reading *knocks = &making->findings->knocks;
    PyObject *raw = making->raw, *const *keys = making->keys;
    if (put(raw, keys, KEY_KNOCKS, PyLong_FromUnsignedLongLong(knocks->count)) < 0 ||
        put(raw, keys, KEY_KNOCKS_WAITED, PyLong_FromUnsignedLongLong(knocks->waited)) < 0 ||
        put(raw, keys, KEY_KNOCK_WAIT, PyFloat_FromDouble(clock_seconds(knocks->wait))) < 0 ||
        put(raw, keys, KEY_KNOCK_LATENCY,
            latency_as_tuple(knocks->count, &knocks->latency, knocks->max_wait)) < 0) {
        return -1;
    }
    return 0;
}

/* The longest wait, be it a thread's or a knock's. */
static int put_longest_wait(const struct making *making) {
    const struct findings *findings = making->findings;
    uint64_t of_knocks = findings->knocks.max_wait, of_threads = findings->ledger.max_wait;
    uint64_t longest = making->exact && of_threads > of_knocks ? of_threads : of_knocks;
    bool measured = making->exact || findings->knocks.count != 0;
    if (put(making->raw, making->keys, KEY_MAX_WAIT, optional_seconds(measured, longest)) < 0 ||
        put(making->raw, making->keys, KEY_LONGEST_WAIT, longest_wait(making->window, findings)) <
            0) {
        return -1;
    }
    return 0;
}

/* Why nobody saw where the GIL was held for a part of the wait, as far as that is known; else NULL. */
static const char *unlooked_reason(const struct making *making) {
    return making->exact && making->findings->charges.unlooked != 0 &&
                   places_refused() != making->window->places_refused_base
               ? "there is no room for more functions, names and stacks"
               : NULL;
}

/* Where the GIL was held and waited for, and how that was found. */
static int put_blame(const struct making *making) {
    const struct charges_reading *charges = &making->findings->charges;
    PyObject *raw = making->raw, *const *keys = making->keys;
    bool exact = making->exact;
    const char *reason = making->findings->reason; /* why nobody looked */
    enum blame_method method =
        making->findings->method == METHOD_DISABLED ? BLAME_NONE : blame_method(exact, &reason);
    if (put(raw, keys, KEY_BLAME_METHOD, PyUnicode_FromString(blame_method_names[method])) < 0 ||
        put(raw, keys, KEY_BLAME_REASON, optional_text(method != BLAME_LOOKED ? reason : NULL)) <
            0 ||
        put(raw, keys, KEY_BLAME, blame_as_list(&charges->blame)) < 0 ||
        put(raw, keys, KEY_BLAME_OMITTED,
            Py_BuildValue("ndd", (Py_ssize_t)charges->blame.omitted,
                          clock_seconds(charges->blame.omitted_waited),
                          clock_seconds(charges->blame.omitted_knock_waited))) < 0 ||
        put(raw, keys, KEY_UNLOOKED, optional_seconds(exact, charges->unlooked)) < 0 ||
        put(raw, keys, KEY_UNLOOKED_REASON, optional_text(unlooked_reason(making))) < 0 ||
        put(raw, keys, KEY_VICTIMS,
            exact ? blame_victims_as_list(&charges->victims) : PyList_New(0)) < 0) {
        return -1;
    }
    return 0;
}

/* The holds that went on although their threads were asked to let the GIL go. */
static int put_holds(const struct making *making) {
    const struct charges_reading *charges = &making->findings->charges;
    PyObject *raw = making->raw, *const *keys = making->keys;
    bool audited = making->exact && making->window->audited && making->findings->knocking;
    if (put(raw, keys, KEY_MAX_HOLD, optional_seconds(audited, charges->holds.longest)) < 0 ||
        put(raw, keys, KEY_HOLDS, audited ? blame_victims_as_list(&charges->held) : PyList_New(0)) <
            0 ||
        put(raw, keys, KEY_HOLDS_UNSEEN,
            PyLong_FromUnsignedLongLong(audited ? charges->holds.unseen : 0)) < 0) {
        return -1;
    }
    return 0;
}

/* What threads waited for besides the GIL: processors and locks. */
static int put_surroundings(const struct making *making) {
    const Window *window = making->window;
    struct findings *findings = making->findings;
    PyObject *raw = making->raw, *const *keys = making->keys;
    if (put(raw, keys, KEY_RUN_DELAY, run_delay(window, findings->now)) < 0 ||
        put(raw, keys, KEY_MACHINE, machine(window, findings->now)) < 0 ||
        put(raw, keys, KEY_LOCKS, locks_as_object(&findings->locks)) < 0) {
        return -1;
    }
    return 0;
}

PyObject *raw_reading(const Window *window, struct findings *findings) {
    const struct module_state *state = PyType_GetModuleState(Py_TYPE(window));
    const struct making making = {
        .raw = PyDict_Copy(state->blank), /* has room for all keys */
        .keys = state->keys,
        .window = window,
        .findings = findings,
        .exact = findings->method == METHOD_EXACT,
    };
    PyObject *raw = making.raw;
    if (raw == NULL || put_method(&making) < 0 || put_ledger(&making) < 0 ||
        put_knocks(&making) < 0 || put_longest_wait(&making) < 0 || put_blame(&making) < 0 ||
        put_holds(&making) < 0 || put_surroundings(&making) < 0) {
        Py_CLEAR(raw);
    }
    free(findings->ledger.threads);
    charges_free(&findings->charges);
    locks_drop(&findings->locks);
    return raw;
}
