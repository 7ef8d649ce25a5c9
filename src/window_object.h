/* A window's fields, and what it has seen up to a moment. */
#ifndef GILKNOCK_WINDOW_OBJECT_H
#define GILKNOCK_WINDOW_OBJECT_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "locks.h"
#include "native/charges.h"
#include "native/ledger.h"
#include "native/machine_load.h"
#include "trace.h"
#include "window.h"
#include "window_knocks.h"

/* How old the looks at the run delay and at the machine may be when a window opens, and for how long
 * it must be open to show them: looks that often cost 0.3 % of the time. */
#define LOOK_AGE_NS 50000000u

enum window_state { WINDOW_NEW, WINDOW_OPENING, WINDOW_OPEN, WINDOW_CLOSED };

typedef struct {
    PyObject head;
    enum window_state state; /* atomic */
    enum method method;      /* from the opening on */
    const char *asked_method;
    const char *reason; /* why not exact; static or of `capability` */
    bool by_thread;
    enum locks_wish locks_wish;
    struct locks_window locks;
    bool asked_audit, audited; /* holds are to be audited; they are */
    uint64_t knock_gap;        /* ns; 0: as usual */
    uint64_t opened;           /* ticks */
    uint64_t run_delay_base;   /* ns */
    uint64_t run_delay_looked; /* ticks; when that was looked at */
    struct machine_counters machine_base;
    uint64_t places_refused_base;       /* how often there had been no room for a place */
    struct ledger_window ledger_window; /* if exact */
    struct charges_window charges;      /* unless disabled */
    struct trace trace;
    struct knock_window knocks; /* unless disabled */
} Window;

/* What a window has seen up to a moment. */
struct findings {
    enum method method;
    const char *reason;
    uint64_t now;
    struct ledger_reading ledger; /* if exact; its threads are owned */
    struct knock_reading knocks;
    struct charges_reading charges; /* its rows are owned */
    struct locks_findings locks;
    bool knocking; /* somebody asks for the GIL, as an audit needs it */
};

#endif
