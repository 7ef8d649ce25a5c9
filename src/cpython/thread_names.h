/* What `threading` calls the threads of the ledger. */
#ifndef GILKNOCK_NAMES_H
#define GILKNOCK_NAMES_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* Have every thread that a threading.Thread starts from here on known by its name, however soon it
 * ends. The GIL is held. */
void names_watch(void);

/* Tell the accounting, which is installed, the names of the threads that are alive. The GIL is held.
 * Sets no exception. */
void names_introduce(void);

/* Give threads that the ledger knows by number only the name that their threading.Thread has, if they
 * are alive: those that C code has started, and the main thread. The GIL is held. Sets no exception
 * and leaves one that is set alone. */
void names_learn(void);

/* Copy the name of the living thread with this `ident` (threading.get_ident()), "" if it has none.
 * The GIL is held. Sets no exception. */
void names_find(uint64_t ident, char *name, size_t size);

/* Likewise of the living thread with this `native_id` (threading.get_native_id()). Not for the knocker's
 * thread: code of the program may run, and the GIL be let go meanwhile. */
void names_find_native(uint64_t native_id, char *name, size_t size);

/* The system's id of the living thread with this `ident`, 0 if threading does not know it. The GIL is
 * held. Sets no exception. */
uint64_t names_native_id(uint64_t ident);

/* A new reference to a thread's name, None for "", or NULL with an exception set. */
PyObject *names_as_object(const char *name);

#endif
