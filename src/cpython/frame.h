/* Where a thread stands in its Python code, read without running any. */
#ifndef GILKNOCK_FRAME_H
#define GILKNOCK_FRAME_H

#include <Python.h>
#include <stdbool.h>

struct code_position {
    PyCodeObject *code;
    int offset; /* in bytes, as PyCode_Addr2Line takes it */
};

/* Whether frames lie where frame_find looks for them. The GIL is held. */
bool frame_is_known(void);

/* Find where the thread of `state` stands. That thread is in the interpreter's list of threads and
 * does not run meanwhile: it is the caller, or the caller has the GIL. Neither allocates nor needs
 * a current thread state. position->code is borrowed. Returns false when no Python code runs there. */
bool frame_find(PyThreadState *state, struct code_position *position);

/* The first parameter of the calling thread's Python function, or of one that called it, that many
 * calls up; and its code. Both are borrowed. NULL when there is none, or it is not known. `state` is
 * current. Runs nothing and makes nothing. */
PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code);

#endif
