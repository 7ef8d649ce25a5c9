/* How this process measures, found out when its first window opens. */
#ifndef GILKNOCK_CAPABILITY_H
#define GILKNOCK_CAPABILITY_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpython/gil.h"
#include "window.h"

/* Guarded by the GIL. */
extern struct capability {
    enum {
        NOT_EXAMINED,
        EXAMINING,
        EXAMINED
    } state;                /* whether the GIL was looked for and the accounting tried */
    unsigned long examiner; /* PyThread_get_thread_ident() of the thread that does so */
    long process;           /* the process it does so in */
    bool located;
    bool exact;
    bool ended; /* the interpreter is ending */
    char reason[GIL_REASON_SIZE];
    struct gil gil;
    uint64_t handling; /* ticks spent opening and closing */
} capability;

/* Why a window is not exact. */
extern const char gil_is_off[], is_ending[], was_off[], was_redirected[];

/* Wait while another thread examines, for some seconds at most. The GIL is held, and let go meanwhile. */
void await_examination(void);

/* Choose how to measure, and say why not exactly. Returns 0, or -1 with RuntimeError when "exact" is
 * asked for and cannot be had. */
int choose_method(const char *asked, enum method *method, const char **reason);

/* The interpreter's switch interval, in seconds. */
double switch_interval(void);

#endif
