#include "cpython/thread_names.h"

#include <stdlib.h>
#include <string.h>

#include "cpython/frame.h"
#include "cpython/text_reader.h"
#include "native/accounting.h"
#include "native/thread_birth.h"

#define CALLS_UP_TO_START 4 /* a debugger may have put a function of its own between */

/* Some of this runs in the knocker's thread, where no code of the program may: nothing here but
 * names_find_native asks an object of the program's for anything, raises an exception or makes an
 * object that the garbage collector knows, which could begin a collection. What is looked up is a str
 * or an int among such, in dicts. */

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

/* Copy the text of a str, as much as there is room for, in UTF-8. PyUnicode_AsUTF8 would raise where
 * a character cannot be encoded; here another one stands for it. */
static void copy_text(PyObject *text, char *copy, size_t size) {
    size_t used = 0;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++) {
        char bytes[4];
        Py_UCS4 character = PyUnicode_READ_CHAR(text, i);
        if (Py_UNICODE_IS_SURROGATE(character)) {
            character = Py_UNICODE_REPLACEMENT_CHARACTER;
        }
        size_t width = text_reader_encode(character, bytes);
        if (used + width >= size) {
            break;
        }
        memcpy(copy + used, bytes, width);
        used += width;
    }
    copy[used] = '\0';
}

/* Copy the native id and the name of a threading.Thread. Returns false when it has not both. */
static bool describe_thread(PyObject *object, struct accounting_thread *thread) {
    PyObject *native = of_thread(object, "_native_id");
    PyObject *name = of_thread(object, "_name");
    bool known = native != NULL && PyLong_Check(native) && name != NULL && PyUnicode_Check(name);
    if (known) {
        thread->native_id = PyLong_AsUnsignedLongLongMask(native);
        copy_text(name, thread->name, sizeof thread->name);
    }
    Py_XDECREF(name);
    Py_XDECREF(native);
    return known;
}

/* Take the name of a threading.Thread (NULL for none), if it is the one of that native id: idents are
 * used again, and a library may give them to other things than the system's threads. */
static bool take_name(PyObject *object, const struct accounting_thread *thread) {
    struct accounting_thread found;
    if (object == NULL || !describe_thread(object, &found) ||
        found.native_id != thread->native_id) {
        return false;
    }
    accounting_name(thread, found.name);
    return true;
}

/* The Thread of threading._active (ident -> Thread, of the threads that are alive), as a new
 * reference, or NULL without an exception. */
static PyObject *living_thread(PyObject *active, uint64_t ident) {
    PyObject *key = PyLong_FromUnsignedLongLong(ident);
    PyObject *object = NULL;
    if (key != NULL && active != NULL && PyDict_Check(active)) {
#if PY_VERSION_HEX >= 0x030D0000
        PyDict_GetItemRef(active, key, &object); /* without a GIL a borrowed one may be gone */
#else
        object = Py_XNewRef(PyDict_GetItemWithError(active, key));
#endif
    }
    Py_XDECREF(key);
    PyErr_Clear();
    return object;
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

void names_find_native(uint64_t native_id, char *name, size_t size) {
    PyObject *active = of_threading("_active");
    /* A list of its own: without a GIL other threads change the dict meanwhile. */
    PyObject *threads = active != NULL && PyDict_Check(active) ? PyDict_Values(active) : NULL;
    Py_ssize_t count = threads != NULL ? PyList_GET_SIZE(threads) : 0;
    name[0] = '\0';
    for (Py_ssize_t i = 0; i < count && name[0] == '\0'; i++) {
        PyObject *object = PyList_GET_ITEM(threads, i);
        PyObject *native = of_thread(object, "_native_id"), *value = of_thread(object, "_name");
        if (native != NULL && PyLong_Check(native) && value != NULL && PyUnicode_Check(value) &&
            PyLong_AsUnsignedLongLongMask(native) == native_id) {
            copy_text(value, name, size);
        }
        Py_XDECREF(value);
        Py_XDECREF(native);
    }
    Py_XDECREF(threads);
    PyErr_Clear();
}

uint64_t names_native_id(uint64_t ident) {
    PyObject *object = living_thread(of_threading("_active"), ident);
    PyObject *native = object != NULL ? of_thread(object, "_native_id") : NULL;
    uint64_t id =
        native != NULL && PyLong_Check(native) ? PyLong_AsUnsignedLongLongMask(native) : 0;
    Py_XDECREF(native);
    Py_XDECREF(object);
    return id;
}

void names_learn(void) {
    size_t count;
    struct accounting_thread *threads = accounting_nameless(&count);
    if (threads == NULL) {
        return;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *active = of_threading("_active"), *main_thread = of_threading("_main_thread");
    for (size_t i = 0; i < count; i++) {
        PyObject *object = living_thread(active, threads[i].ident);
        if (!take_name(object, &threads[i])) {
            take_name(main_thread, &threads[i]); /* gevent knows it by another ident */
        }
        Py_XDECREF(object);
    }
    PyErr_Restore(type, value, traceback);
    free(threads);
}

void names_introduce(void) {
    PyObject *active = of_threading("_active"), *ident, *object;
    Py_ssize_t position = 0,
               room = active != NULL && PyDict_Check(active) ? PyDict_Size(active) : 0;
    struct accounting_thread *threads = room != 0 ? calloc((size_t)room, sizeof *threads) : NULL;
    size_t count = 0;
    while (threads != NULL && count < (size_t)room &&
           PyDict_Next(active, &position, &ident, &object)) {
        if (PyLong_Check(ident) && describe_thread(object, &threads[count])) {
            threads[count++].ident = PyLong_AsUnsignedLongLongMask(ident);
        }
    }
    accounting_introduce(threads, count);
    free(threads);
}

/* Whether that is the code of a start() in the module `threading`: a subclass may have one of its own,
 * which starts other threads besides. */
static bool is_start(const PyCodeObject *code, PyTypeObject *thread_class) {
    if (PyUnicode_CompareWithASCIIString(code->co_name, "start") != 0) {
        return false;
    }
    PyObject *name = PyUnicode_FromString("_bootstrap");
    PyObject *method = name != NULL ? _PyType_Lookup(thread_class, name) : NULL;
    PyErr_Clear();
    Py_XDECREF(name);
    return method != NULL && PyFunction_Check(method) &&
           PyUnicode_Compare(((PyCodeObject *)PyFunction_GET_CODE(method))->co_filename,
                             code->co_filename) == 0;
}

/* The calling thread starts a thread: if that is a threading.Thread's, its start() is at work. Other
 * threads may come here, too, with the GIL or without. */
static void name_thread_to_come(char *name, size_t size) {
    name[0] = '\0';
#if PY_VERSION_HEX >= 0x030D0000
    PyThreadState *state = PyThreadState_GetUnchecked();
#else
    PyThreadState *state = _PyThreadState_UncheckedGet();
#endif
    /* Up to 3.11 that is the state of whoever has the GIL, so it must also be this thread's own. */
    if (state == NULL || !Py_IsInitialized() || state != PyGILState_GetThisThreadState() ||
        PyThreadState_GetInterpreter(state) != PyInterpreterState_Main()) {
        return;
    }
    PyObject *thread_class = of_threading("Thread");
    for (int i = 0; i < CALLS_UP_TO_START && thread_class != NULL; i++) {
        PyCodeObject *code;
        PyObject *object = frame_first_argument(state, i, &code);
        if (object != NULL && PyType_Check(thread_class) &&
            PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)thread_class) &&
            is_start(code, (PyTypeObject *)thread_class)) {
            PyObject *value = of_thread(object, "_name");
            if (value != NULL && PyUnicode_Check(value)) {
                copy_text(value, name, size);
            }
            Py_XDECREF(value);
            return;
        }
    }
}

void names_watch(void) { birth_watch((const void *)PyEval_SaveThread, name_thread_to_come); }

PyObject *names_as_object(const char *name) {
    return name[0] != '\0' ? PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "replace")
                           : Py_NewRef(Py_None);
}
