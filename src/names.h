/* What `threading` calls the threads of the ledger. */
#ifndef GILKNOCK_NAMES_H
#define GILKNOCK_NAMES_H

#include <Python.h>

/* Give every live thread that the ledger knows by number only the name that its threading.Thread has, where it has
 * one. The GIL is held. Sets no exception and leaves one that is set alone. */
void names_learn(void);

/* A new reference to a thread's name, None for "", or NULL with an exception set. */
PyObject *names_as_object(const char *name);

#endif
