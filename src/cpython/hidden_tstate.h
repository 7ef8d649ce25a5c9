/* Thread states that Python's list of threads does not show. */
#ifndef GILKNOCK_UNLISTED_H
#define GILKNOCK_UNLISTED_H

#include <Python.h>

/* Have the main interpreter ready for a second thread; only a free-threaded 3.13 needs it. The GIL is
 * held. */
void unlisted_prepare(void);

/* A thread state of the main interpreter for the calling thread, which has none and no lock, or NULL
 * when there is no memory. It is listed where Python's list does not lie where it should, and on
 * free-threaded builds, which stop the world by it. The caller owns it until unlisted_delete. */
PyThreadState *unlisted_new(void);

/* Delete a state of unlisted_new; by its thread, which has the GIL and loses it. */
void unlisted_delete(PyThreadState *state);

#endif
