/* Registers the extension module pytest_gilknock._core. What it offers is in window.c,
 * gilknocker_compat.c, stalls.c, trace.c and blame.c. */
#include <Python.h>

#include "blame.h"
#include "gilknocker_compat.h"
#include "native/clock.h"
#include "native/knocker.h"
#include "raw_reading.h"
#include "stalls.h"
#include "state.h"
#include "trace.h"
#include "window.h"
#include "window_knocks.h"

static int add_atexit(PyObject *module) {
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *shutdown = atexit != NULL ? PyObject_GetAttrString(module, "_shutdown") : NULL;
    PyObject *result =
        shutdown != NULL ? PyObject_CallMethod(atexit, "register", "O", shutdown) : NULL;
    int error = result != NULL ? 0 : -1;
    Py_XDECREF(result);
    Py_XDECREF(shutdown);
    Py_XDECREF(atexit);
    return error;
}

static PyObject *before_fork(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    window_before_fork();
    Py_RETURN_NONE;
}

static PyObject *after_fork_in_parent(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    knocking_after_fork_in_parent();
    Py_RETURN_NONE;
}

/* Have os.fork() call these two, where there is one. */
static int add_at_fork(PyObject *module) {
    int error = 0;
#ifdef HAVE_FORK
    PyObject *os = PyImport_ImportModule("os");
    PyObject *add = os != NULL ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *nothing = PyTuple_New(0);
    PyObject *before = PyObject_GetAttrString(module, "_before_fork");
    PyObject *after = PyObject_GetAttrString(module, "_after_fork_in_parent");
    PyObject *hooks = Py_BuildValue("{sOsO}", "before", before, "after_in_parent", after);
    PyObject *result =
        add != NULL && nothing != NULL && hooks != NULL ? PyObject_Call(add, nothing, hooks) : NULL;
    error = result != NULL ? 0 : -1;
    Py_XDECREF(result);
    Py_XDECREF(hooks);
    Py_XDECREF(after);
    Py_XDECREF(before);
    Py_XDECREF(nothing);
    Py_XDECREF(add);
    Py_XDECREF(os);
#else
    (void)module;
#endif
    return error;
}

static int add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int error = type != NULL ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return error;
}

static int module_exec(PyObject *module) {
    struct module_state *state = PyModule_GetState(module);
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "pytest_gilknock measures the GIL of the main interpreter; "
                        "it cannot be imported in another interpreter");
        return -1;
    }
    if ((state->blank = PyDict_New()) == NULL) {
        return -1;
    }
    for (int i = 0; i < STATE_KEYS; i++) {
        if ((state->keys[i] = PyUnicode_InternFromString(raw_reading_key_names[i])) == NULL ||
            PyDict_SetItem(state->blank, state->keys[i], Py_None) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < STATE_METHODS; i++) {
        if ((state->methods[i] = PyUnicode_InternFromString(window_method_names[i])) == NULL) {
            return -1;
        }
    }
    if (add_type(module, &window_spec) < 0 || add_type(module, &gilknocker_compat_spec) < 0) {
        return -1;
    }
    clock_init();
    knocker_init();
    window_startup();
    if (add_atexit(module) < 0) {
        return -1;
    }
    return add_at_fork(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->blank);
    return 0;
}

static int module_clear(PyObject *module) {
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->blank);
    for (int i = 0; i < STATE_KEYS; i++) {
        Py_CLEAR(state->keys[i]);
    }
    for (int i = 0; i < STATE_METHODS; i++) {
        Py_CLEAR(state->methods[i]);
    }
    return 0;
}

static void module_free(void *module) { module_clear(module); }

PyDoc_STRVAR(
    status_doc,
    "status($module, /)\n--\n\n"
    "Return how windows are measured here, and why not exactly: (method, reason or None).");
PyDoc_STRVAR(set_knock_interval_doc,
             "set_knock_interval($module, seconds, /)\n--\n\n"
             "Set the mean time between two knocks, in seconds (1e-6 to 3600), and return what it "
             "was: 0 for no knocks, for which no knocking thread is started, None for the usual "
             "time.");
PyDoc_STRVAR(
    cost_doc,
    "cost($module, /)\n--\n\n"
    "Return what the measuring itself took so far: (seconds spent opening and closing windows, "
    "seconds for which the knocker had the GIL).");

PyDoc_STRVAR(ticks_doc, "ticks($module, /)\n--\n\n"
                        "Return the time now, by the clock of the traces.");

PyDoc_STRVAR(
    watch_stalls_doc,
    "watch_stalls(timeout, report, scratch, signal, /)\n--\n\n"
    "Watch for knocks that are not answered for `timeout` seconds: write of each to the file "
    "descriptor `report`, with what the handler of `signal` (0: none) writes to the file "
    "`scratch`.");
PyDoc_STRVAR(unwatch_stalls_doc,
             "unwatch_stalls($module, /)\n--\n\nEnd what watch_stalls() began.");
PyDoc_STRVAR(label_stalls_doc, "label_stalls($module, label, /)\n--\n\n"
                               "Name what is running, for the stalls from now on.");
PyDoc_STRVAR(take_stalls_doc,
             "take_stalls($module, /)\n--\n\n"
             "Return the stalls noted since the last call, and how many more there were: "
             "([(label, seconds, thread name or None, ident or 0, stacks)], omitted).");
PyDoc_STRVAR(free_signal_doc,
             "free_signal($module, /)\n--\n\n"
             "Return the number of a real-time signal that nobody handles; 0: there is none.");

static PyMethodDef module_methods[] = {
    {"status", window_status, METH_NOARGS, status_doc},
    {"set_knock_interval", window_set_knock_interval, METH_O, set_knock_interval_doc},
    {"cost", window_cost, METH_NOARGS, cost_doc},
    {"ticks", trace_ticks, METH_NOARGS, ticks_doc},
    {"watch_stalls", stalls_watch, METH_VARARGS, watch_stalls_doc},
    {"unwatch_stalls", stalls_unwatch, METH_NOARGS, unwatch_stalls_doc},
    {"label_stalls", stalls_label, METH_O, label_stalls_doc},
    {"take_stalls", stalls_take, METH_NOARGS, take_stalls_doc},
    {"free_signal", stalls_free_signal, METH_NOARGS, free_signal_doc},
    {"_look", blame_look, METH_O, NULL},
    {"_shutdown", window_shutdown, METH_NOARGS, NULL},
    {"_before_fork", before_fork, METH_NOARGS, NULL},
    {"_after_fork_in_parent", after_fork_in_parent, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pytest_gilknock._core",
    .m_doc = "The C core of pytest-gilknock: windows and knockers.",
    .m_size = sizeof(struct module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&module_definition); }
