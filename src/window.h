/* Windows: what is open, how it is measured, and the reading. */
#ifndef GILKNOCK_WINDOW_H
#define GILKNOCK_WINDOW_H

#include <Python.h>

#include "state.h"

enum method { METHOD_EXACT, METHOD_SAMPLED, METHOD_DISABLED };

extern const char *const window_method_names[STATE_METHODS];
extern PyType_Spec window_spec;

/* The functions of the module, with the GIL held; each returns a new reference or NULL with an
 * exception set. */
PyObject *window_status(PyObject *module, PyObject *unused);
PyObject *window_set_knock_interval(PyObject *module, PyObject *seconds);
PyObject *window_cost(PyObject *module, PyObject *unused);

/* Before os.fork(). The GIL is held, and may be let go for a while. */
void window_before_fork(void);

/* The interpreter is about to end: no knock any more, nothing is watched any more. The GIL is held;
 * it is released while a knock under way comes to its end. */
PyObject *window_shutdown(PyObject *module, PyObject *unused);

/* A new interpreter runs in this process, or the first: windows may be opened (again). */
void window_startup(void);

#endif
