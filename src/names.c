#include "names.h"

#include <string.h>

#include "accounting.h"

#define NAMES_AT_ONCE 256

/* A new reference to an attribute of the module `threading`, or NULL without an exception. The
 * module is not imported for this: without it no thread has a name. */
static PyObject *of_threading(const char *attribute) {
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name != NULL ? PyImport_GetModule(name) : NULL;
    PyObject *value = threading != NULL ? PyObject_GetAttrString(threading, attribute) : NULL;
    Py_XDECREF(name);
    Py_XDECREF(threading);
    PyErr_Clear();
    return value;
}

/* Take the name of a threading.Thread. */
static void take_name(PyObject *object, uint64_t serial) {
    PyObject *name = PyObject_GetAttrString(object, "_name");
    const char *text = name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text != NULL) {
        accounting_name(serial, text);
    }
    PyErr_Clear();
    Py_XDECREF(name);
}

/* threading._active: ident -> Thread, of the threads that are alive. */
static void look_among_living(const struct accounting_thread *threads, size_t count) {
    PyObject *active = of_threading("_active");
    for (size_t i = 0; active != NULL && PyDict_Check(active) && i < count; i++) {
        PyObject *ident = PyLong_FromUnsignedLongLong(threads[i].ident);
        PyObject *object =
            ident != NULL ? PyDict_GetItemWithError(active, ident) : NULL; /* borrowed */
        if (object != NULL) {
            Py_INCREF(object);
            take_name(object, threads[i].serial);
            Py_DECREF(object);
        }
        PyErr_Clear();
        Py_XDECREF(ident);
    }
    Py_XDECREF(active);
}

/* threading._dangling: the Thread objects that somebody still refers to, ended or not. */
static void look_among_ended(const struct accounting_thread *threads, size_t count) {
    PyObject *dangling = of_threading("_dangling");
    PyObject *objects = dangling != NULL ? PySequence_List(dangling) : NULL;
    for (Py_ssize_t i = 0; objects != NULL && i < PyList_GET_SIZE(objects); i++) {
        PyObject *object = PyList_GET_ITEM(objects, i);
        PyObject *native = PyObject_GetAttrString(object, "_native_id");
        uint64_t native_id =
            native != NULL && PyLong_Check(native) ? PyLong_AsUnsignedLongLong(native) : 0;
        PyErr_Clear();
        Py_XDECREF(native);
        for (size_t j = 0; j < count && native_id != 0; j++) {
            if (threads[j].native_id == native_id) {
                take_name(object, threads[j].serial);
            }
        }
    }
    PyErr_Clear();
    Py_XDECREF(objects);
    Py_XDECREF(dangling);
}

void names_learn(bool ended) {
    struct accounting_thread threads[NAMES_AT_ONCE];
    size_t count = accounting_nameless(threads, NAMES_AT_ONCE, ended);
    if (count == 0) {
        return;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (ended) {
        look_among_ended(threads, count);
    } else {
        look_among_living(threads, count);
    }
    PyErr_Restore(type, value, traceback);
}

PyObject *names_as_object(const char *name) {
    return name[0] != '\0' ? PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace")
                           : Py_NewRef(Py_None);
}
