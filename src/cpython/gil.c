/* The sole file that knows where CPython keeps its GIL.
 *
 * `struct _gil_runtime_state` (Include/internal/pycore_gil.h) lies
 *     in 3.10 and 3.11   in the runtime: _PyRuntime.ceval.gil
 *     in 3.12            behind interp->ceval.gil; the main interpreter's own is interp->_gil
 *     from 3.13 on       likewise, at the offsets published for debuggers (_Py_DebugOffsets)
 *
 * Its layout is that of the headers the extension is compiled with. An interpreter of the same
 * minor version may still differ, so nothing is trusted before it agrees with what is known by
 * other means: the flag says "taken", the holder is this thread, the interval is
 * sys.getswitchinterval(). No pointer is followed before it is known to lie within the
 * interpreter's own memory.
 */
#define Py_BUILD_CORE 1
#include "cpython/gil.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_gil.h"
#include "internal/pycore_runtime.h"
#else
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#endif

#include "cpython/thread_names.h"
#include "native/accounting.h"
#include "native/clock.h"

#define PROOF_ROUNDS 5
/* A knock that comes between two rounds makes them one hold of the program's: then it is tried again. */
#define PROOF_ATTEMPTS 50

typedef struct _gil_runtime_state gil_state;

/* The GIL's state, or NULL with a reason. */
static gil_state *find_state(char *reason, size_t reason_size) {
#if PY_VERSION_HEX >= 0x030D0000
    const char *interpreter = (const char *)PyInterpreterState_Main();
    const struct _Py_DebugOffsets *offsets = (const void *)&_PyRuntime;
    if (memcmp(offsets->cookie, "xdebugpy", 8) != 0 ||
        (offsets->version >> 16) != (PY_VERSION_HEX >> 16)) {
        snprintf(reason, reason_size, "this interpreter publishes no offsets of version %d.%d",
                 PY_MAJOR_VERSION, PY_MINOR_VERSION);
        return NULL;
    }
    uint64_t own = offsets->interpreter_state.gil_runtime_state;
    gil_state *state = *(gil_state *const *)(interpreter + offsets->interpreter_state.ceval_gil);
    bool agrees =
        (const char *)state == interpreter + own &&
        offsets->interpreter_state.gil_runtime_state_locked == own + offsetof(gil_state, locked) &&
        offsets->interpreter_state.gil_runtime_state_holder ==
            own + offsetof(gil_state, last_holder);
#elif PY_VERSION_HEX >= 0x030C0000
    PyInterpreterState *interpreter = PyInterpreterState_Main();
    gil_state *state = interpreter->ceval.gil;
    bool agrees = state == &interpreter->_gil;
#else
    gil_state *state = &_PyRuntime.ceval.gil;
    bool agrees = true;
#endif
    if (!agrees) {
        snprintf(reason, reason_size,
                 "this interpreter's GIL does not lie where Python %s keeps it", PY_VERSION);
        return NULL;
    }
    return state;
}

/* What a function of the module sys returns; NULL, perhaps with an exception set, where it fails. */
static PyObject *call_of_sys(const char *name) {
    PyObject *function = PySys_GetObject(name); /* borrowed */
    return function != NULL ? PyObject_CallNoArgs(function) : NULL;
}

double gil_switch_interval_by_call(void) {
    double seconds = -1.0;
    PyObject *result = call_of_sys("getswitchinterval");
    if (result != NULL) {
        seconds = PyFloat_AsDouble(result);
        Py_DECREF(result);
    }
    PyErr_Clear();
    return seconds;
}

int gil_find(struct gil *gil, char *reason, size_t reason_size) {
    gil_state *state = find_state(reason, reason_size);
    if (state == NULL) {
        return -1;
    }
    *gil = (struct gil){
        .mutex = &state->mutex,
        .switch_mutex = &state->switch_mutex,
        .locked = (const int *)&state->locked,
#if PY_VERSION_HEX < 0x030D0000
        .drop_request = (const int *)&PyInterpreterState_Main()->ceval.gil_drop_request,
#endif
        .last_holder = (PyThreadState *const *)&state->last_holder,
        .interval = &state->interval,
    };
    double difference = gil_switch_interval_by_call() * 1e6 - (double)*gil->interval;
    if (!gil_is_taken(gil) || gil_last_holder(gil) != PyThreadState_Get() || difference > 1.0 ||
        difference < -1.0) {
        snprintf(reason, reason_size,
                 "what lies where Python %s keeps its GIL does not behave like it", PY_VERSION);
        return -1;
    }
    return 0;
}

#ifdef Py_GIL_DISABLED
static bool is_enabled_by_call(void) {
    PyObject *result = call_of_sys("_is_gil_enabled");
    bool enabled = result != Py_False;
    Py_XDECREF(result);
    PyErr_Clear();
    return enabled;
}
#endif

bool gil_is_enabled(void) {
#ifdef Py_GIL_DISABLED
    char reason[GIL_REASON_SIZE];
    gil_state *state = find_state(reason, sizeof reason);
    return state != NULL ? __atomic_load_n(&state->enabled, __ATOMIC_RELAXED) == INT_MAX
                         : is_enabled_by_call();
#else
    return true;
#endif
}

bool gil_is_taken(const struct gil *gil) { return *(const volatile int *)gil->locked == 1; }

PyThreadState *gil_last_holder(const struct gil *gil) {
    return *(PyThreadState *const volatile *)gil->last_holder;
}

double gil_switch_interval(const struct gil *gil) { return (double)*gil->interval * 1e-6; }

/* Take and release the GIL under watch. Returns whether this thread's part of the reading is
 * exactly that. */
static bool rounds_are_seen(void) {
    struct ledger_window window;
    struct ledger_reading reading;
    if (accounting_open(&window, true, clock_ticks()) < 0) {
        return false;
    }
    uint64_t self = PyThread_get_thread_native_id();
    for (int i = 0; i < PROOF_ROUNDS; i++) {
        PyThreadState *state = PyEval_SaveThread();
        PyEval_RestoreThread(state);
    }
    bool seen = false;
    if (accounting_read(&window, clock_ticks(), &reading) == 0) {
        for (size_t i = 0; i < reading.thread_count; i++) {
            const struct ledger_thread *thread = &reading.threads[i];
            seen |= thread->native_id == self && thread->sums.acquisitions == PROOF_ROUNDS &&
                    thread->sums.held > 0;
        }
        free(reading.threads);
    }
    accounting_close(&window);
    return seen && accounting_intact();
}

int gil_prove_accounting(const struct gil *gil, char *reason, size_t reason_size) {
    const struct accounting_target target = {gil->mutex, gil->switch_mutex, gil->locked,
                                             gil->drop_request};
    if (accounting_install(&target, (const void *)PyEval_SaveThread, reason, reason_size) < 0) {
        return -1;
    }
    names_watch();
    names_introduce();
    bool seen = false;
    for (int i = 0; i < PROOF_ATTEMPTS && !seen; i++) {
        seen = rounds_are_seen();
    }
    if (!seen) {
        accounting_uninstall();
        snprintf(reason, reason_size,
                 "the accounting did not see this thread take and release the GIL");
        return -1;
    }
    return 0;
}

#define NO_DOMAIN 0x6b6e6f63u /* of tracemalloc's; nothing is tracked there */

bool gil_admits_new_thread(void) {
    /* Of what is not tracked this only tells whether anything could be: -2 if not. */
    return PY_VERSION_HEX >= 0x030E0000 || PyTraceMalloc_Untrack(NO_DOMAIN, 0) == -2;
}

bool gil_fork_warns_of_threads(void) { return PY_VERSION_HEX >= 0x030C0000; }
