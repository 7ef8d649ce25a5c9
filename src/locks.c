#include "locks.h"

#include <pthread.h>
#include <stdlib.h>

#include "blame.h"
#include "cpython/gil.h"
#include "cpython/parking_proof.h"
#include "cpython/stack_reader.h"
#include "cpython/thread_names.h"
#include "examination.h"
#include "latency.h"
#include "native/clock.h"

/* Whether waits for locks are measured here. Without a GIL several threads may come here at once: who
 * examines writes the rest, which others read when that is over. */
static struct {
    struct examination examination;
    bool measured;
    char reason[160];          /* why not */
    const char *why_no_places; /* NULL: threads look where they stand */
    int ended;                 /* atomic: the interpreter ends, or has ended before */
} waits;

static const char *const kind_names[PARKING_KINDS] = {"objects", "stop_the_world", "interpreter",
                                                      "program", "unproven"};

#define DIGITS(number) #number
#define AS_TEXT(number) DIGITS(number)
#define TOO_MANY_THREADS                                                                           \
    "more than " AS_TEXT(PARKING_THREADS) " threads were there at once that had waited"

static bool is_wanted(enum locks_wish wish) {
    return wish == LOCKS_ALWAYS || (wish == LOCKS_WITHOUT_GIL && !gil_is_enabled());
}

static bool have_ended(void) { return __atomic_load_n(&waits.ended, __ATOMIC_ACQUIRE) != 0; }

/* In a child that another thread has forked while one examined. os.fork() waits until that is over, but
 * the fork() of C code does not. */
static void after_fork_in_child(void) { examination_after_fork_in_child(&waits.examination); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

/* Find out, and begin to measure where it can be. One thread, once. */
static void examine(void) {
    clock_init();
    waits.measured = parking_proof_run(waits.reason, sizeof waits.reason) == 0;
    if (waits.measured && blame_stacks_are_read(&waits.why_no_places)) {
        parking_look(stack_reader_own);
    }
    /* Measuring has begun; the interpreter may have ended meanwhile. See locks_end: to change the word, be
     * it by nothing, puts what either side does before in order with what the other does after. */
    if (__atomic_fetch_add(&waits.ended, 0, __ATOMIC_ACQ_REL) != 0) {
        parking_stop();
    }
}

void locks_await_examination(void) { examination_await(&waits.examination); }

void locks_prepare(enum locks_wish wish) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (!is_wanted(wish) || have_ended()) {
        return;
    }
    pthread_once(&once, watch_forks); /* before there is anything to drop */
    if (examination_begin(&waits.examination)) {
        examine();
        examination_end(&waits.examination);
    }
}

static const char *why_not(enum locks_wish wish) {
    if (!is_wanted(wish)) {
        return wish == LOCKS_NEVER ? "not asked for"
                                   : "with the GIL, only if it is asked for: --gil-locks";
    }
    if (have_ended()) {
        return "the interpreter is ending, or has ended before";
    }
    if (!examination_is_over(&waits.examination)) {
        return "whether it can be is still being found out";
    }
    if (!waits.measured) {
        return waits.reason;
    }
    return parking_intact() ? NULL : "another tool redirected the interpreter's semaphore calls";
}

void locks_open(struct locks_window *window, enum locks_wish wish, bool by_thread,
                uint64_t opened) {
    window->reason = why_not(wish);
    window->opened = opened;
    if (window->reason == NULL && parking_open(&window->parking, by_thread, opened) < 0) {
        window->reason = "too many windows are open at once";
    }
}

int locks_read(const struct locks_window *window, uint64_t now, struct locks_findings *findings) {
    findings->reason = window->reason;
    findings->opened = window->opened;
    findings->reading.threads = NULL;
    findings->reading.details = NULL;
    if (window->reason == NULL) {
        findings->reason = why_not(LOCKS_ALWAYS);
    }
    if (findings->reason == NULL && !parking_is_whole(&window->parking)) {
        findings->reason = TOO_MANY_THREADS;
    }
    if (findings->reason != NULL) {
        return 0;
    }
    return parking_read(&window->parking, now, &findings->reading);
}

void locks_close(struct locks_window *window) {
    if (window->reason == NULL) {
        parking_close(&window->parking);
    }
}

void locks_drop(struct locks_findings *findings) { parking_free(&findings->reading); }

/* --- what Python gets --- */

/* Add a new object to a list; steals it, NULL stands for an exception that is set. */
static int append(PyObject *list, PyObject *item) {
    int error = list != NULL && item != NULL ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return error;
}

/* (count, waited, longest) */
static PyObject *sums_as_tuple(const struct parking_sums *sums) {
    return Py_BuildValue("Kdd", (unsigned long long)sums->count, clock_seconds(sums->total),
                         clock_seconds(sums->longest));
}

static PyObject *kinds_as_dict(const struct parking_sums *kinds) {
    PyObject *dict = PyDict_New();
    for (int i = 0; dict != NULL && i < PARKING_KINDS; i++) {
        PyObject *sums = sums_as_tuple(&kinds[i]);
        if (sums == NULL || PyDict_SetItemString(dict, kind_names[i], sums) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(sums);
    }
    return dict;
}

static PyObject *types_as_list(const struct parking_reading *reading) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < PARKING_TYPE_NAMES; i++) {
        const struct parking_sums *sums = &reading->types[i];
        if (sums->count != 0 &&
            append(list, Py_BuildValue("NN", names_as_object(parking_type_name(i)),
                                       sums_as_tuple(sums))) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *threads_as_list(struct parking_reading *reading) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < reading->thread_count; i++) {
        struct parking_thread *thread = &reading->threads[i];
        if (thread->name[0] == '\0' && !thread->ended) {
            names_find(thread->ident, thread->name, sizeof thread->name);
        }
        if (append(list, Py_BuildValue("KNN", (unsigned long long)thread->native_id,
                                       names_as_object(thread->name),
                                       kinds_as_dict(thread->kinds))) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* A new RawLongestWait, or None. */
static PyObject *longest_as_tuple(const struct parking_longest *longest, uint64_t opened) {
    const struct charges_longest as_charged = {
        .waited = longest->waited,
        .since = longest->began,
        .waiter = {.native_id = longest->native_id, .place = (uint32_t)longest->place},
        .holder = {.native_id = longest->let_go_by, .place = (uint32_t)longest->let_go_at},
    };
    return longest->waited != 0 ? blame_longest_as_tuple(&as_charged, false, opened)
                                : Py_NewRef(Py_None);
}

/* A new list of the RawVictims of one kind, in one role. */
static PyObject *places_as_list(const struct lock_charges_reading *charges, enum lock_role role,
                                int kind) {
    struct charges_rows found = {.rows = malloc(sizeof *found.rows * LOCK_CHARGES_ROWS)};
    if (found.rows == NULL) {
        return PyErr_NoMemory();
    }
    for (size_t i = 0; i < charges->count; i++) {
        const struct lock_charge *charge = &charges->rows[i];
        if (charge->role == role && charge->kind == kind) {
            found.rows[found.count++] = (struct charges_row){
                .thread = {.serial = charge->native_id == 0 ? CHARGES_SEVERAL : 0,
                           .native_id = charge->native_id,
                           .place = charge->place},
                .waited = charge->waited,
                .longest = charge->longest,
                .looks = charge->waits,
            };
        }
    }
    PyObject *list = blame_victims_as_list(&found);
    free(found.rows);
    return list;
}

/* The time (s) of charges for which a window had no room. */
static PyObject *omitted_as_float(const struct locks_findings *findings, enum lock_role role) {
    uint64_t omitted = 0;
    for (int kind = 0; kind < PARKING_KINDS; kind++) {
        omitted += findings->reading.details->charges.omitted[role][kind].waited;
    }
    return PyFloat_FromDouble(clock_seconds(omitted));
}

/* {kind: what that is made to}, of the kinds that were waited for. */
static PyObject *by_kind(const struct locks_findings *findings,
                         PyObject *(*make)(const struct locks_findings *, int kind)) {
    PyObject *dict = PyDict_New();
    for (int i = 0; dict != NULL && i < PARKING_KINDS; i++) {
        if (findings->reading.kinds[i].count == 0) {
            continue;
        }
        PyObject *value = make(findings, i);
        if (value == NULL || PyDict_SetItemString(dict, kind_names[i], value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *victims_of_kind(const struct locks_findings *findings, int kind) {
    return places_as_list(&findings->reading.details->charges, LOCK_WAITED, kind);
}

static PyObject *blame_of_kind(const struct locks_findings *findings, int kind) {
    return places_as_list(&findings->reading.details->charges, LOCK_LET_GO, kind);
}

static PyObject *longest_of_kind(const struct locks_findings *findings, int kind) {
    return longest_as_tuple(&findings->reading.longest[kind], findings->opened);
}

static PyObject *latency_of_kind(const struct locks_findings *findings, int kind) {
    const struct histogram *lengths = &findings->reading.details->lengths[kind];
    return latency_as_tuple(histogram_count(lengths), lengths,
                            findings->reading.longest[kind].waited);
}

static PyObject *spins_as_object(const struct parking_reading *reading) {
    return reading->spins_are_seen ? PyLong_FromUnsignedLongLong(reading->spins)
                                   : Py_NewRef(Py_None);
}

PyObject *locks_as_object(struct locks_findings *findings) {
    PyObject *raw;
    if (findings->reason != NULL) {
        raw =
            PyUnicode_InternFromString(findings->reason); /* the same one for every test of a run */
    } else {
        raw = Py_BuildValue(
            "{sNsNsNsKsNsNsNsNsNsNsNsz}", "kinds", kinds_as_dict(findings->reading.kinds), "types",
            types_as_list(&findings->reading), "threads", threads_as_list(&findings->reading),
            "threads_omitted", (unsigned long long)findings->reading.omitted, "victims",
            by_kind(findings, victims_of_kind), "victims_omitted",
            omitted_as_float(findings, LOCK_WAITED), "blame", by_kind(findings, blame_of_kind),
            "blame_omitted", omitted_as_float(findings, LOCK_LET_GO), "longest",
            by_kind(findings, longest_of_kind), "latency", by_kind(findings, latency_of_kind),
            "spins", spins_as_object(&findings->reading), "places_reason", waits.why_no_places);
    }
    locks_drop(findings);
    return raw;
}

/* In this order: who examines begins to measure, and then looks whether that was too late. */
void locks_end(void) {
    __atomic_exchange_n(&waits.ended, 1, __ATOMIC_ACQ_REL);
    parking_stop();
}
