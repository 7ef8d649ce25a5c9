/* How this process measures, found out when its first window opens. */
#ifndef GILKNOCK_CAPABILITY_H
#define GILKNOCK_CAPABILITY_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpython/gil.h"
#include "examination.h"
#include "window.h"

/* Guarded by the GIL. */
extern struct capability {
    struct examination examination; /* it looks for the GIL and tries the accounting */
    bool located;                   /* the GIL was found */
    bool exact;                     /* the accounting works */
    bool ended;                     /* the interpreter is ending */
    char reason[GIL_REASON_SIZE];   /* why not exact */
    struct gil gil;                 /* if located */
    uint64_t handling;              /* ticks spent opening and closing */
} capability;

/* Why a window is not exact. */
extern const char gil_is_off[], is_ending[], was_off[], was_redirected[];

/* Choose how to measure, and say why not exactly. Returns 0, or -1 with RuntimeError when "exact" is
 * asked for and cannot be had. */
int choose_method(const char *asked, enum method *method, const char **reason);

/* The interpreter's switch interval, in seconds. */
double switch_interval(void);

#endif
