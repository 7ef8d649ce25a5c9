/* Turns charges into Python's data. The threads are named here: a thread's name is most often learned
 * after it was charged. */
#include "blame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpython/blame_proof.h"
#include "cpython/stack_reader.h"
#include "cpython/thread_names.h"
#include "native/accounting.h"
#include "native/clock.h"
#include "native/parking.h"
#include "native/places.h"

#define KNOWN_FRAMES 256 /* a power of two */

const char *const blame_method_names[3] = {"looked", "released", "none"};

/* What blame can be had of. Guarded by the GIL, or by the examination that locks.c makes without one. */
static struct {
    bool are_read;           /* rightly, as was proved */
    enum blame_method exact; /* how exact windows learn whom to blame */
    char reason[GIL_REASON_SIZE];
} stacks = {.exact = BLAME_NONE, .reason = "this interpreter's GIL was not found"};

/* --- how the holder is looked at --- */

static struct accounting_reader reader_of_stacks(void) {
    return (struct accounting_reader){
        .aim = stack_reader_aim,
        .look = stack_reader_look,
        .while_waiting = stack_reader_while_waiting,
        .waited_with = stack_reader_waited_with,
        .here = stack_reader_here,
        .collecting = stack_reader_collecting(),
    };
}

bool blame_set_up(const struct gil *gil, bool accounted) {
    stacks.exact = BLAME_NONE;
    stacks.are_read = blame_proof_run(gil, stacks.reason, sizeof stacks.reason) == 0;
    if (!accounted || !stacks.are_read) {
        return stacks.are_read;
    }
    const struct accounting_reader reader = reader_of_stacks();
    char reason[GIL_REASON_SIZE];
    if (accounting_look(&reader, true, (const void *)PyEval_SaveThread, reason, sizeof reason) ==
        0) {
        stacks.exact = BLAME_LOOKED;
        return true;
    }
    snprintf(stacks.reason, sizeof stacks.reason, "waits cannot be cut short: %.100s", reason);
    if (accounting_look(&reader, false, NULL, reason, sizeof reason) == 0) {
        stacks.exact = BLAME_RELEASED;
    }
    return true;
}

bool blame_stacks_are_read(const char **reason) {
    if (!stacks.are_read && !gil_is_enabled()) {
        stacks.are_read = blame_proof_run(NULL, stacks.reason, sizeof stacks.reason) == 0;
    }
    *reason = stacks.are_read ? NULL : stacks.reason;
    return stacks.are_read;
}

enum blame_method blame_method(bool exact, const char **reason) {
    enum blame_method method = exact ? stacks.exact : stacks.are_read ? BLAME_LOOKED : BLAME_NONE;
    *reason = method == BLAME_LOOKED ? NULL : stacks.reason;
    return method;
}

PyObject *blame_look(PyObject *module, PyObject *on) {
    (void)module;
    char reason[GIL_REASON_SIZE];
    const struct accounting_reader reader = reader_of_stacks();
    if (stacks.exact == BLAME_NONE) {
        Py_RETURN_FALSE;
    }
    if (on == Py_True) {
        bool waiters_look = stacks.exact == BLAME_LOOKED;
        accounting_look(&reader, waiters_look, (const void *)PyEval_SaveThread, reason,
                        sizeof reason);
    } else {
        accounting_look_no_more();
    }
    Py_RETURN_TRUE;
}

/* --- stacks --- */

/* Frames that were made already, by their place: the stacks of one reading share most of them. */
struct known_frames {
    uint32_t places[KNOWN_FRAMES];
    PyObject *frames[KNOWN_FRAMES]; /* owned */
};

static void forget_frames(struct known_frames *known) {
    for (size_t i = 0; i < KNOWN_FRAMES; i++) {
        Py_XDECREF(known->frames[i]);
    }
}

static PyObject *text_as_object(struct places_text text) {
    return PyUnicode_DecodeUTF8(text.bytes, (Py_ssize_t)text.size, "surrogatepass");
}

/* A name that C code has given, which may be in any encoding. */
static PyObject *c_text_as_object(struct places_text text) {
    return PyUnicode_DecodeUTF8(text.bytes, (Py_ssize_t)text.size, "replace");
}

static PyObject *new_frame(uint32_t place) {
    uint32_t caller;
    places_lock();
    struct places_frame frame = places_frame(place, &caller);
    struct places_text file = places_code(frame.code)->file, name = places_code(frame.code)->name;
    struct places_text callee =
        frame.callee != 0 ? places_callee(frame.callee) : (struct places_text){NULL, 0};
    places_unlock();
    return Py_BuildValue("NINN", text_as_object(file), (unsigned)frame.line, text_as_object(name),
                         callee.bytes != NULL ? c_text_as_object(callee) : Py_NewRef(Py_None));
}

/* A new reference to the frame of a place. */
static PyObject *frame_of(struct known_frames *known, uint32_t place) {
    size_t slot = place % KNOWN_FRAMES;
    if (known->frames[slot] == NULL || known->places[slot] != place) {
        PyObject *frame = new_frame(place);
        if (frame == NULL) {
            return NULL;
        }
        Py_XSETREF(known->frames[slot], frame);
        known->places[slot] = place;
    }
    return Py_NewRef(known->frames[slot]);
}

static uint32_t caller_of(uint32_t place) {
    places_lock();
    places_frame(place, &place);
    places_unlock();
    return place;
}

/* A new RawStack; an empty one for a place that is not known. */
static PyObject *stack_as_tuple(struct known_frames *known, uint32_t place) {
    Py_ssize_t depth = 0;
    place = place == PLACE_UNKNOWN ? PLACE_ROOT : place;
    for (uint32_t at = place; at != PLACE_ROOT; at = caller_of(at)) {
        depth++;
    }
    PyObject *stack = PyTuple_New(depth);
    for (Py_ssize_t i = 0; stack != NULL && i < depth; i++, place = caller_of(place)) {
        PyObject *frame = frame_of(known, place);
        if (frame == NULL) {
            Py_CLEAR(stack);
        } else {
            PyTuple_SET_ITEM(stack, i, frame);
        }
    }
    return stack;
}

/* --- threads --- */

static int by_serial(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* The names of the threads of a reading that the accounting knows: their rows are CHARGES_LISTED at most. */
struct known_names {
    size_t count;
    uint64_t serials[CHARGES_LISTED];
    char names[CHARGES_LISTED][THREAD_NAME_SIZE];
};

static void learn_names(struct known_names *known, const struct charges_rows *rows) {
    known->count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        uint64_t serial = rows->rows[i].thread.serial;
        if (serial != 0 && serial != CHARGES_SEVERAL && known->count < CHARGES_LISTED) {
            known->serials[known->count++] = serial;
        }
    }
    qsort(known->serials, known->count, sizeof *known->serials, by_serial);
    accounting_names(known->serials, known->count, known->names);
}

static PyObject *name_as_object(const struct known_names *known,
                                const struct charges_thread *thread) {
    char name[THREAD_NAME_SIZE] = "";
    if (thread->serial == CHARGES_SEVERAL) {
        return PyUnicode_FromString("other threads");
    }
    const uint64_t *found = thread->serial != 0
                                ? bsearch(&thread->serial, known->serials, known->count,
                                          sizeof *known->serials, by_serial)
                                : NULL;
    if (found != NULL) {
        memcpy(name, known->names[found - known->serials], sizeof name);
    } else if (thread->native_id != 0) {
        names_find_native(thread->native_id, name, sizeof name);
        if (name[0] == '\0') {
            parking_thread_name(thread->native_id, name, sizeof name);
        }
    }
    return names_as_object(name);
}

/* --- rows --- */

typedef PyObject *(*row_function)(const struct charges_row *row, PyObject *stack, PyObject *name);

static PyObject *blame_row(const struct charges_row *row, PyObject *stack, PyObject *name) {
    return Py_BuildValue("OKOdKdK", stack, (unsigned long long)row->thread.native_id, name,
                         clock_seconds(row->waited), (unsigned long long)row->looks,
                         clock_seconds(row->knock_waited), (unsigned long long)row->knock_looks);
}

static PyObject *victim_row(const struct charges_row *row, PyObject *stack, PyObject *name) {
    return Py_BuildValue("OKOddK", stack, (unsigned long long)row->thread.native_id, name,
                         clock_seconds(row->waited), clock_seconds(row->longest),
                         (unsigned long long)row->looks);
}

static PyObject *rows_as_list(const struct charges_rows *rows, row_function new_row) {
    struct known_frames *frames = calloc(1, sizeof *frames);
    struct known_names *names = malloc(sizeof *names);
    PyObject *list = frames != NULL && names != NULL ? PyList_New(0) : PyErr_NoMemory();
    if (list != NULL) {
        learn_names(names, rows);
    }
    for (size_t i = 0; list != NULL && i < rows->count; i++) {
        const struct charges_row *row = &rows->rows[i];
        PyObject *stack = stack_as_tuple(frames, row->thread.place);
        PyObject *name = stack != NULL ? name_as_object(names, &row->thread) : NULL;
        PyObject *tuple = name != NULL ? new_row(row, stack, name) : NULL;
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
        Py_XDECREF(name);
        Py_XDECREF(stack);
    }
    free(names);
    if (frames != NULL) {
        forget_frames(frames);
    }
    free(frames);
    return list;
}

PyObject *blame_as_list(const struct charges_rows *rows) { return rows_as_list(rows, blame_row); }

PyObject *blame_victims_as_list(const struct charges_rows *rows) {
    return rows_as_list(rows, victim_row);
}

PyObject *blame_longest_as_tuple(const struct charges_longest *longest, bool knock,
                                 uint64_t opened) {
    struct charges_row rows[2] = {{.thread = longest->waiter}, {.thread = longest->holder}};
    const struct charges_rows both = {.rows = rows, .count = 2};
    PyObject *list = rows_as_list(&both, victim_row);
    if (list == NULL) {
        return NULL;
    }
    PyObject *waiter = PyList_GET_ITEM(list, 0), *holder = PyList_GET_ITEM(list, 1);
    PyObject *tuple = Py_BuildValue(
        "ddOOOOOOO", clock_seconds(longest->waited),
        clock_seconds(clock_elapsed(opened, longest->since)), knock ? Py_True : Py_False,
        PyTuple_GET_ITEM(waiter, 1), PyTuple_GET_ITEM(waiter, 2), PyTuple_GET_ITEM(waiter, 0),
        PyTuple_GET_ITEM(holder, 0), PyTuple_GET_ITEM(holder, 1), PyTuple_GET_ITEM(holder, 2));
    Py_DECREF(list);
    return tuple;
}
