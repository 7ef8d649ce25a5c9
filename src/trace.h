/* The trace of a window: every hold and every wait for the GIL while it was open. */
#ifndef GILKNOCK_TRACE_H
#define GILKNOCK_TRACE_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "native/accounting.h"

struct trace {
    size_t capacity; /* of the ring that is made for it, in events; 0: no trace is asked for */
    bool recording;
    bool taken;             /* the record is set */
    uint64_t first;         /* the number of the first event */
    uint64_t opened, ended; /* ticks */
    struct accounting_record record;
};

/* Set to what records nothing yet. */
void trace_init(struct trace *trace, size_t capacity);

/* Begin to record, if a trace is asked for, in a window that is about to open. Takes milliseconds where
 * memory is to be had. The GIL is held; the accounting is installed. Returns 0, or -1 when memory cannot
 * be had; sets no exception. */
int trace_prepare(struct trace *trace);

/* The window opened at that moment: what comes now belongs to it. The GIL is held since. */
void trace_open(struct trace *trace, uint64_t opened);

/* Keep what happened until `now`. The GIL is held. Makes no Python object. Without memory nothing is
 * kept. */
void trace_take(struct trace *trace, uint64_t now);

/* End the recording, if there is one. The GIL is held. */
void trace_close(struct trace *trace);

/* Return what was kept as a new dict (RawTrace of model/wire.py), and free it; None where no trace
 * was asked for or the window was not exact; NULL with an exception set. The GIL is held. */
PyObject *trace_hand_over(struct trace *trace);

/* Free what was kept and not handed over. */
void trace_clear(struct trace *trace);

/* Return clock_ticks() as an int: the time of a trace. */
PyObject *trace_ticks(PyObject *module, PyObject *unused);

#endif
