/* Arguments and local variables of the calling thread's Python functions, read without running any Python
 * code. */
#ifndef GILKNOCK_FRAME_H
#define GILKNOCK_FRAME_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* The first parameter of the calling thread's Python function, or of one that called it, that many
 * calls up; and its code. Both are borrowed. NULL when there is none, or it is not known. `state` is
 * current. Runs nothing and makes nothing. */
PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code);

/* A Python function by the end of its file's name and by its qualified name, and a local variable of it. */
struct frame_variable {
    const char *file, *function, *name;
};

/* Whether the calling thread runs such a function, not what it has called, and has that object as that
 * variable. `state` is its own, current or not. False where frames are not known. Runs nothing and makes
 * nothing. */
bool frame_has_local(PyThreadState *state, const struct frame_variable *variable,
                     const void *object);

/* The same number as long as the calling thread runs the same Python functions, and these the same
 * instructions; 0 where frames are not known. As frame_has_local. */
uint64_t frame_trail(PyThreadState *state);

#endif
