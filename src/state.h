/* The state of the extension module, which its parts share. */
#ifndef GILKNOCK_STATE_H
#define GILKNOCK_STATE_H

#include <Python.h>

#define STATE_KEYS 33   /* keys of a raw reading, in the order of raw_reading.c's `enum key` */
#define STATE_METHODS 3 /* in the order of window.h's `enum method` */

struct module_state {
    PyObject *keys[STATE_KEYS];       /* owned, interned */
    PyObject *methods[STATE_METHODS]; /* owned, interned */
    PyObject *blank;                  /* owned: a raw reading in which every value is None */
};

#endif
