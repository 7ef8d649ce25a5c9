/* What the parts of the extension module share through its state. */
#ifndef GILKNOCK_MODULE_H
#define GILKNOCK_MODULE_H

#include <Python.h>

/* The keys of a raw reading, in the order of window.c's `enum key`. */
#define MODULE_KEYS 26

struct module_state {
    PyTypeObject *window_type;   /* owned */
    PyTypeObject *knocker_type;  /* owned */
    PyObject *keys[MODULE_KEYS]; /* owned, interned */
    PyObject *methods[3];        /* owned, interned; by enum method */
    PyObject *blank;             /* owned: a raw reading with nothing in it but None */
};

extern PyType_Spec window_spec;
extern PyType_Spec duty_spec;

#endif
