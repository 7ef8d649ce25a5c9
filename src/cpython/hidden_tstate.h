/* Thread states that Python's list of threads does not show. */
#ifndef GILKNOCK_HIDDEN_TSTATE_H
#define GILKNOCK_HIDDEN_TSTATE_H

#include <Python.h>

/* Have the main interpreter ready for a second thread; only a free-threaded 3.13 needs it. The GIL is
 * held. */
void hidden_tstate_prepare(void);

/* A thread state of the main interpreter for the calling thread, which has none and no lock, or NULL
 * when there is no memory or the process is about to fork. It is listed where Python's list does not lie
 * where it should, and on free-threaded builds, which stop the world by it. The caller owns it until
 * hidden_tstate_delete. */
PyThreadState *hidden_tstate_new(void);

/* Around os.fork(): no thread is in the midst of making a state, which up to 3.11 would leave the
 * child a half-changed list. The GIL is held; the first lets it go while one is being made. In a child
 * that comes into being otherwise the last one is called all the same. */
void hidden_tstate_before_fork(void);
void hidden_tstate_after_fork_in_parent(void);
void hidden_tstate_after_fork_in_child(void);

/* Delete a state of hidden_tstate_new; by its thread, which has the GIL and loses it. */
void hidden_tstate_delete(PyThreadState *state);

#endif
