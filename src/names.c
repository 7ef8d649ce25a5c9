#include "names.h"

#include <string.h>

#include "accounting.h"

#define NAMES_AT_ONCE 64

/* threading._active, ident -> Thread: a new reference, or NULL without an exception. `threading` is not imported for
 * this: without it no thread has a name. */
static PyObject *active_threads(void) {
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name != NULL ? PyImport_GetModule(name) : NULL;
    PyObject *active = threading != NULL ? PyObject_GetAttrString(threading, "_active") : NULL;
    Py_XDECREF(name);
    Py_XDECREF(threading);
    if (active != NULL && !PyDict_Check(active)) {
        Py_CLEAR(active);
    }
    PyErr_Clear();
    return active;
}

static void learn_one(PyObject *active, const struct accounting_thread *thread) {
    PyObject *ident = PyLong_FromUnsignedLongLong(thread->ident);
    PyObject *object = ident != NULL ? PyDict_GetItemWithError(active, ident) : NULL; /* borrowed */
    Py_XINCREF(object);
    PyObject *name = object != NULL ? PyObject_GetAttrString(object, "_name") : NULL;
    const char *text = name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text != NULL) {
        accounting_name(thread->serial, text);
    }
    PyErr_Clear();
    Py_XDECREF(name);
    Py_XDECREF(object);
    Py_XDECREF(ident);
}

void names_learn(void) {
    struct accounting_thread threads[NAMES_AT_ONCE];
    size_t count = accounting_nameless(threads, NAMES_AT_ONCE);
    if (count == 0) {
        return;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *active = active_threads();
    for (size_t i = 0; active != NULL && i < count; i++) {
        learn_one(active, &threads[i]);
    }
    Py_XDECREF(active);
    PyErr_Restore(type, value, traceback);
}

PyObject *names_as_object(const char *name) {
    return name[0] != '\0' ? PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace") : Py_NewRef(Py_None);
}
