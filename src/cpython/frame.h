/* What the calling thread was called with, read without running any Python code. */
#ifndef GILKNOCK_FRAME_H
#define GILKNOCK_FRAME_H

#include <Python.h>
#include <stdbool.h>

/* The first parameter of the calling thread's Python function, or of one that called it, that many
 * calls up; and its code. Both are borrowed. NULL when there is none, or it is not known. `state` is
 * current. Runs nothing and makes nothing. */
PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code);

/* Whether the calling thread runs that code, not what it has called, and has that object as its local
 * variable of that number. `state` is its own, current or not. False where frames are not known. Runs
 * nothing and makes nothing. */
bool frame_has_local(PyThreadState *state, const PyCodeObject *code, int local, const void *object);

#endif
