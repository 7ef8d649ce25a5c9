/* Waits for locks, as windows have them: whether they are measured, and what of them Python gets. */
#ifndef GILKNOCK_LOCKS_H
#define GILKNOCK_LOCKS_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "native/parking.h"

enum locks_wish {
    LOCKS_WITHOUT_GIL, /* where the GIL is off */
    LOCKS_NEVER,
    LOCKS_ALWAYS,
};

struct locks_window {
    const char *reason; /* why they are not measured; NULL if they are */
    uint64_t opened;    /* ticks */
    struct parking_window parking;
};

struct locks_findings {
    const char *reason;
    uint64_t opened;
    struct parking_reading reading; /* unless there is a reason */
};

/* Find out, once, whether this interpreter's waits can be told apart, if the window wants that. A thread
 * state is current; it is detached for moments. */
void locks_prepare(enum locks_wish wish);

/* Wait until no other thread finds that out, for some seconds at most. It may import a module meanwhile,
 * whose lock a child that is forked in the middle of it would wait for in vain. A thread state is current;
 * it is detached for moments. */
void locks_await_examination(void);

/* Open, read and close; a thread state is current. locks_read makes no Python object and returns -1
 * without memory; the findings are used up by locks_as_object or locks_drop. */
void locks_open(struct locks_window *window, enum locks_wish wish, bool by_thread, uint64_t opened);
int locks_read(const struct locks_window *window, uint64_t now, struct locks_findings *findings);
void locks_close(struct locks_window *window);
void locks_drop(struct locks_findings *findings);

/* A new RawLocks, or why there is none as a str; or NULL with an exception set. */
PyObject *locks_as_object(struct locks_findings *findings);

/* The interpreter ends: nothing is measured any more, for good. */
void locks_end(void);

#endif
