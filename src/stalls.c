#include "stalls.h"

#include <stdlib.h>
#include <string.h>

#include "native/accounting.h"
#include "native/clock.h"
#include "native/stall_watch.h"
#include "window_knocks.h"

static void find_holder(struct stall_holder *holder) {
    struct accounting_thread thread;
    _Static_assert(sizeof holder->name == sizeof thread.name, "a name is copied whole");
    if (accounting_holder(&thread, &holder->since)) {
        holder->ident = thread.ident;
        memcpy(holder->name, thread.name, sizeof thread.name);
    }
}

PyObject *stalls_watch(PyObject *module, PyObject *arguments) {
    (void)module;
    double seconds;
    int report, scratch, signal;
    if (!PyArg_ParseTuple(arguments, "diii:watch_stalls", &seconds, &report, &scratch, &signal)) {
        return NULL;
    }
    if (!(seconds >= 1e-3 && seconds <= 86400.0)) {
        PyErr_SetString(PyExc_ValueError, "the timeout must be from 0.001 to 86400 seconds");
        return NULL;
    }
    struct stall_watch_options options = {
        .timeout = (uint64_t)(seconds * 1e9),
        .asked = knocking_asked(),
        .report = report,
        .scratch = scratch,
        .signal = signal,
        .find_holder = find_holder,
    };
    clock_init();
    if (stall_watch_start(&options) < 0) {
        PyErr_SetString(PyExc_RuntimeError, "no thread can be had to watch for stalls");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *stalls_unwatch(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    Py_BEGIN_ALLOW_THREADS stall_watch_stop();
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

PyObject *stalls_label(PyObject *module, PyObject *label) {
    (void)module;
    PyObject *bytes = PyUnicode_AsEncodedString(label, "utf-8", "backslashreplace");
    if (bytes == NULL) {
        return NULL;
    }
    stall_watch_label(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

/* A new tuple of (label, seconds, thread name or None, ident, stacks), or NULL with an exception
 * set. */
static PyObject *stall_as_tuple(const struct stall *stall) {
    PyObject *label =
        PyUnicode_DecodeUTF8(stall->label, (Py_ssize_t)strlen(stall->label), "replace");
    PyObject *name = stall->holder.name[0] != '\0'
                         ? PyUnicode_DecodeUTF8(stall->holder.name,
                                                (Py_ssize_t)strlen(stall->holder.name), "replace")
                         : Py_NewRef(Py_None);
    PyObject *stacks = PyUnicode_DecodeUTF8(stall->stacks != NULL ? stall->stacks : "",
                                            (Py_ssize_t)stall->stacks_size, "replace");
    PyObject *tuple = NULL;
    if (label != NULL && name != NULL && stacks != NULL) {
        tuple = Py_BuildValue("OdOKO", label, clock_seconds(stall->lasted), name,
                              (unsigned long long)stall->holder.ident, stacks);
    }
    Py_XDECREF(stacks);
    Py_XDECREF(name);
    Py_XDECREF(label);
    return tuple;
}

PyObject *stalls_take(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    struct stall *stalls = malloc(STALLS * sizeof *stalls);
    if (stalls == NULL) {
        return PyErr_NoMemory();
    }
    size_t omitted, count = stall_watch_take(stalls, clock_ticks(), &omitted);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; i < count; i++) {
        PyObject *tuple = list != NULL ? stall_as_tuple(&stalls[i]) : NULL;
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
        free(stalls[i].stacks);
    }
    free(stalls);
    return list != NULL ? Py_BuildValue("Nn", list, (Py_ssize_t)omitted) : NULL;
}

PyObject *stalls_free_signal(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromLong(stall_watch_free_signal());
}
