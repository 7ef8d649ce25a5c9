/* The module's functions for stalls; see native/stall_watch.h. The GIL is held; each returns a new
 * reference, or NULL with an exception set. */
#ifndef GILKNOCK_STALLS_H
#define GILKNOCK_STALLS_H

#include <Python.h>

PyObject *stalls_watch(PyObject *module, PyObject *arguments);
PyObject *stalls_unwatch(PyObject *module, PyObject *unused);
PyObject *stalls_label(PyObject *module, PyObject *label);
PyObject *stalls_take(PyObject *module, PyObject *unused);
PyObject *stalls_free_signal(PyObject *module, PyObject *unused);

#endif
