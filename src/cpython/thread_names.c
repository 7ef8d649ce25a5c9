#include "cpython/thread_names.h"

#include <string.h>

#include "native/accounting.h"

#define NAMES_AT_ONCE 256

/* All of this but look_among_referenced runs in the knocker's thread, too, where no code of the
 * program may: nothing here asks an object of the program's for anything, raises an exception or
 * makes an object that the garbage collector knows, which could begin a collection. What is
 * looked up is a str or an int among such, in dicts. */

/* What a dict has under a name; borrowed, or NULL without an exception. */
static PyObject *in_dict(PyObject *dict, const char *text) {
    PyObject *name = PyUnicode_FromString(text);
    PyObject *value = name != NULL && dict != NULL && PyDict_Check(dict)
                          ? PyDict_GetItemWithError(dict, name)
                          : NULL;
    Py_XDECREF(name);
    PyErr_Clear();
    return value;
}

/* An attribute of the module `threading`; borrowed, or NULL without an exception. The module is not
 * imported for this: without it no thread has a name. */
static PyObject *of_threading(const char *attribute) {
    PyObject *threading = in_dict(PyImport_GetModuleDict(), "threading");
    return threading != NULL && PyModule_Check(threading)
               ? in_dict(PyModule_GetDict(threading), attribute)
               : NULL;
}

/* What the instance of a threading.Thread has under that name, as a new reference, or NULL without
 * an exception. Its class may have other ideas of attributes; they are not asked. Nor is a dict made
 * of the instance's attributes (by its `__dict__` it is, since 3.11). */
static PyObject *of_thread(PyObject *object, const char *attribute) {
    PyObject *name = PyUnicode_FromString(attribute);
    PyObject *value = name != NULL && _PyType_Lookup(Py_TYPE(object), name) == NULL
                          ? _PyObject_GenericGetAttrWithDict(object, name, NULL, 1)
                          : NULL;
    PyErr_Clear();
    Py_XDECREF(name);
    return value;
}

/* How many bytes a character takes in UTF-8; they are put there. */
static size_t encode(Py_UCS4 character, char bytes[4]) {
    if (Py_UNICODE_IS_SURROGATE(character)) {
        character = Py_UNICODE_REPLACEMENT_CHARACTER;
    }
    if (character < 0x80) {
        bytes[0] = (char)character;
        return 1;
    }
    size_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = size; --i > 0; character >>= 6) {
        bytes[i] = (char)(0x80 | (character & 0x3F));
    }
    bytes[0] = (char)((0xF00 >> size) | character);
    return size;
}

/* Copy the text of a str, as much as there is room for, in UTF-8. PyUnicode_AsUTF8 would raise where
 * a character cannot be encoded. */
static void copy_text(PyObject *text, char *copy, size_t size) {
    size_t used = 0;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++) {
        char bytes[4];
        size_t width = encode(PyUnicode_READ_CHAR(text, i), bytes);
        if (used + width >= size) {
            break;
        }
        memcpy(copy + used, bytes, width);
        used += width;
    }
    copy[used] = '\0';
}

/* Take the name of a threading.Thread, if it is the one of that native id: idents are used again. */
static void take_name(PyObject *object, const struct accounting_thread *thread) {
    PyObject *native = of_thread(object, "_native_id");
    PyObject *name = of_thread(object, "_name");
    if (native != NULL && PyLong_Check(native) && name != NULL && PyUnicode_Check(name) &&
        PyLong_AsUnsignedLongLongMask(native) == thread->native_id) {
        char text[LEDGER_NAME_SIZE];
        copy_text(name, text, sizeof text);
        accounting_name(thread->serial, text);
    }
    Py_XDECREF(name);
    Py_XDECREF(native);
}

/* The Thread of threading._active (ident -> Thread, of the threads that are alive), as a new
 * reference, or NULL without an exception. */
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
}

void names_find(uint64_t ident, char *name, size_t size) {
    PyObject *object = living_thread(of_threading("_active"), ident);
    PyObject *value = object != NULL ? of_thread(object, "_name") : NULL;
    name[0] = '\0';
    if (value != NULL && PyUnicode_Check(value)) {
        copy_text(value, name, size);
    }
    Py_XDECREF(value);
    Py_XDECREF(object);
}

/* threading._dangling: the Thread objects that somebody still refers to, ended or not. */
static void look_among_referenced(const struct accounting_thread *threads, size_t count) {
    PyObject *dangling = Py_XNewRef(of_threading("_dangling"));
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
