/* What the calling thread was called with, read without running any Python code. */
#ifndef GILKNOCK_FRAME_H
#define GILKNOCK_FRAME_H

#include <Python.h>

/* The first parameter of the calling thread's Python function, or of one that called it, that many
 * calls up; and its code. Both are borrowed. NULL when there is none, or it is not known. `state` is
 * current. Runs nothing and makes nothing. */
PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code);

#endif
