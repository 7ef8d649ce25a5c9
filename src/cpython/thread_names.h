/* What `threading` calls the threads of the ledger. */
#ifndef GILKNOCK_NAMES_H
#define GILKNOCK_NAMES_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* Give threads that the ledger knows by number only the name that their threading.Thread has: those
 * that are alive, and (thorough) those that have ended, if their Thread object is still there. The
 * GIL is held. Sets no exception and leaves one that is set alone. */
void names_learn(bool thorough);

/* Copy the name of the living thread with this `ident` (threading.get_ident()), "" if it has none.
 * The GIL is held. Sets no exception. */
void names_find(uint64_t ident, char *name, size_t size);

/* A new reference to a thread's name, None for "", or NULL with an exception set. */
PyObject *names_as_object(const char *name);

#endif
