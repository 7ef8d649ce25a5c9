#include "cpython/thread_names.h"

#include <stdio.h>
#include <string.h>

#include "native/accounting.h"

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

/* What the instance of a threading.Thread has under that name, as a new reference, or NULL without
 * an exception. Its class may have other ideas of attributes; they are not asked: no Python code of
 * the program's runs in the knocker's thread. Nor is a dict made of the instance's attributes (by
 * its `__dict__` it is, since 3.11), which could collect garbage there. */
static PyObject *of_thread(PyObject *object, const char *attribute) {
    PyObject *name = PyUnicode_FromString(attribute);
    PyObject *value = name != NULL && _PyType_Lookup(Py_TYPE(object), name) == NULL
                          ? _PyObject_GenericGetAttrWithDict(object, name, NULL, 1)
                          : NULL;
    PyErr_Clear();
    Py_XDECREF(name);
    return value;
}

/* Take the name of a threading.Thread, if it is the one of that native id: idents are used again. */
static void take_name(PyObject *object, const struct accounting_thread *thread) {
    PyObject *native = of_thread(object, "_native_id");
    PyObject *name = of_thread(object, "_name");
    if (native != NULL && PyLong_Check(native) && name != NULL && PyUnicode_Check(name) &&
        PyLong_AsUnsignedLongLong(native) == thread->native_id) {
        const char *text = PyUnicode_AsUTF8(name);
        if (text != NULL) {
            accounting_name(thread->serial, text);
        }
    }
    PyErr_Clear();
    Py_XDECREF(name);
    Py_XDECREF(native);
}

/* A new reference to the Thread of threading._active (ident -> Thread, of the threads that are
 * alive), or NULL without an exception. */
static PyObject *living_thread(PyObject *active, uint64_t ident) {
    PyObject *key = PyLong_FromUnsignedLongLong(ident);
    PyObject *object = key != NULL && active != NULL && PyDict_Check(active)
                           ? PyDict_GetItemWithError(active, key) /* borrowed */
                           : NULL;
    Py_XINCREF(object);
    Py_XDECREF(key);
    PyErr_Clear();
    return object;
}

static void look_among_living(const struct accounting_thread *threads, size_t count) {
    PyObject *active = of_threading("_active");
    for (size_t i = 0; i < count; i++) {
        PyObject *object = living_thread(active, threads[i].ident);
        if (object != NULL) {
            take_name(object, &threads[i]);
            Py_DECREF(object);
        }
    }
    Py_XDECREF(active);
}

void names_find(uint64_t ident, char *name, size_t size) {
    PyObject *active = of_threading("_active");
    PyObject *object = living_thread(active, ident);
    PyObject *value = object != NULL ? of_thread(object, "_name") : NULL;
    const char *text = value != NULL && PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : NULL;
    snprintf(name, size, "%s", text != NULL ? text : "");
    PyErr_Clear();
    Py_XDECREF(value);
    Py_XDECREF(object);
    Py_XDECREF(active);
}

/* threading._dangling: the Thread objects that somebody still refers to, ended or not. */
static void look_among_referenced(const struct accounting_thread *threads, size_t count) {
    PyObject *dangling = of_threading("_dangling");
    PyObject *objects = dangling != NULL ? PySequence_List(dangling) : NULL;
    PyErr_Clear();
    for (Py_ssize_t i = 0; objects != NULL && i < PyList_GET_SIZE(objects); i++) {
        for (size_t j = 0; j < count; j++) {
            take_name(PyList_GET_ITEM(objects, i), &threads[j]);
        }
    }
    Py_XDECREF(objects);
    Py_XDECREF(dangling);
}

static void learn(struct accounting_thread *threads, bool thorough) {
    size_t count = accounting_nameless(threads, NAMES_AT_ONCE);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    look_among_living(threads, count);
    count = thorough ? accounting_nameless(threads, NAMES_AT_ONCE) : 0;
    if (count != 0) {
        look_among_referenced(threads, count);
    }
    PyErr_Restore(type, value, traceback);
}

void names_learn(bool thorough) {
    struct accounting_thread one;
    if (accounting_nameless(&one, 1) == 0) {
        return;
    }
    struct accounting_thread *threads = PyMem_RawMalloc(NAMES_AT_ONCE * sizeof *threads);
    if (threads != NULL) {
        learn(threads, thorough);
        PyMem_RawFree(threads);
    }
}

PyObject *names_as_object(const char *name) {
    return name[0] != '\0' ? PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace")
                           : Py_NewRef(Py_None);
}
