#include "capability.h"

#include <stdio.h>
#include <string.h>

#include "blame.h"
#include "native/accounting.h"
#include "native/clock.h"
#include "window_knocks.h"

struct capability capability;

/* Look for the GIL and try the accounting, once. The GIL is held and on; it is let go meanwhile, and
 * threads that come here then wait. Returns whether it is found out. Not begun at the interpreter's end, at
 * which a thread that lets the GIL go may never come back for it, and for the window that it tries. */
static bool examine(void) {
    if (!capability.ended && examination_begin(&capability.examination)) {
        clock_init();
        capability.located =
            gil_find(&capability.gil, capability.reason, sizeof capability.reason) == 0;
        knocking_set_up(capability.located ? &capability.gil : NULL);
        capability.exact =
            capability.located &&
            gil_prove_accounting(&capability.gil, capability.reason, sizeof capability.reason) == 0;
        if (capability.located && blame_set_up(&capability.gil, capability.exact)) {
            knocking_read_stacks();
        }
        examination_end(&capability.examination);
    }
    return examination_is_over(&capability.examination);
}

const char gil_is_off[] = "the GIL is off";
const char is_ending[] = "the interpreter is ending";
static const char is_examined[] = "whether it can be is still being found out";
const char was_off[] = "the GIL was turned on after the window had opened";
const char was_redirected[] = "the accounting lost track: another tool redirected the "
                              "interpreter's mutex calls, or there were too many threads";

int choose_method(const char *asked, enum method *method, const char **reason) {
    if (!gil_is_enabled()) {
        *method = METHOD_DISABLED;
        *reason = gil_is_off;
    } else {
        bool examined = examine();
        if (examined && capability.exact && !accounting_intact()) {
            capability.exact = false;
            snprintf(capability.reason, sizeof capability.reason, "%s", was_redirected);
        }
        bool sampled = strcmp(asked, "sampled") == 0;
        bool can_be_exact = examined && capability.exact && !capability.ended;
        *method = can_be_exact && !sampled ? METHOD_EXACT : METHOD_SAMPLED;
        *reason = *method == METHOD_EXACT ? NULL
                  : sampled               ? "asked for"
                  : capability.ended      ? is_ending
                  : examined              ? capability.reason
                                          : is_examined;
    }
    if (*method != METHOD_EXACT && strcmp(asked, "exact") == 0) {
        PyErr_Format(PyExc_RuntimeError, "the GIL cannot be accounted for exactly here: %s",
                     *reason);
        return -1;
    }
    return 0;
}

double switch_interval(void) {
    return capability.located ? gil_switch_interval(&capability.gil)
                              : gil_switch_interval_by_call();
}
