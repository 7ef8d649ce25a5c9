/* An interpreter lists its threads, and much goes by that list: what faulthandler (pytest's, too)
 * prints of a program that crashes or hangs, sys._current_exceptions(), whether Python 3.11 thinks
 * that an interpreter runs. The thread that knocks is not the program's, and has no place there.
 *
 * The list is doubly linked, from PyInterpreterState.threads.head (3.10: tstate_head) through
 * PyThreadState.next, and guarded by _PyRuntime.interpreters.mutex (HEAD_LOCK of Python/pystate.c).
 * Whoever deletes a thread state takes it out, so before that it is put back.
 */
#define Py_BUILD_CORE 1
#include "cpython/hidden_tstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#if PY_VERSION_HEX < 0x030D0000
#include "internal/pycore_interp.h"
#endif
#include "internal/pycore_runtime.h"
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
#include "internal/pycore_pystate.h"
#endif

/* Where the list begins; NULL where that is not known. */
static PyThreadState **find_head(void) {
    PyInterpreterState *interpreter = PyInterpreterState_Main();
    if (_PyRuntime.interpreters.main != interpreter) {
        return NULL;
    }
#ifdef Py_GIL_DISABLED
    return NULL;
#elif PY_VERSION_HEX >= 0x030D0000
    const struct _Py_DebugOffsets *offsets = (const void *)&_PyRuntime;
    return offsets->runtime_state.interpreters_head == offsetof(_PyRuntimeState, interpreters.head)
               ? (void *)((char *)interpreter + offsets->interpreter_state.threads_head)
               : NULL;
#elif PY_VERSION_HEX >= 0x030B0000
    return &interpreter->threads.head;
#else
    return &interpreter->tstate_head;
#endif
}

static void lock_list(void) {
#if PY_VERSION_HEX >= 0x030D0000
    PyMutex_Lock(&_PyRuntime.interpreters.mutex);
#else
    PyThread_acquire_lock(_PyRuntime.interpreters.mutex, WAIT_LOCK);
#endif
}

static void unlock_list(void) {
#if PY_VERSION_HEX >= 0x030D0000
    PyMutex_Unlock(&_PyRuntime.interpreters.mutex);
#else
    PyThread_release_lock(_PyRuntime.interpreters.mutex);
#endif
}

static void take_out(PyThreadState **head, PyThreadState *state) {
    PyThreadState **link = state->prev != NULL ? &state->prev->next : head;
    if (*head != PyInterpreterState_ThreadHead(PyInterpreterState_Main()) || *link != state ||
        (state->next != NULL && state->next->prev != state)) {
        return; /* this is not how the list is made: leave it alone */
    }
    *link = state->next;
    if (state->next != NULL) {
        state->next->prev = state->prev;
    }
    state->prev = state->next = NULL;
}

static void put_back(PyThreadState **head, PyThreadState *state) {
    state->next = *head;
    if (state->next != NULL) {
        state->next->prev = state;
    }
    *head = state;
}

static bool is_listed(PyThreadState *const *head, const PyThreadState *state) {
    return *head == state || state->prev != NULL || state->next != NULL;
}

/* A free-threaded 3.13 stops the world for its second thread state, when that is in the list and not
 * finished yet (new_threadstate in Python/pystate.c, _PyGC_ImmortalizeDeferredObjects). A knocker
 * that makes it waits for whoever has the GIL, and meanwhile faulthandler sees a half-made state. So
 * one is made and deleted by a thread that has the GIL. */
void hidden_tstate_prepare(void) {
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030E0000
    PyThreadState *second = PyThreadState_New(PyInterpreterState_Main());
    if (second != NULL) {
        PyThreadState_Clear(second);
        PyThreadState_Delete(second);
    }
#endif
}

/* A fork sees that a state is being made, or who would make one sees the fork: each first says what
 * it does, then looks at the other. */
static int making, forking; /* atomic: how many are */

void hidden_tstate_before_fork(void) {
    __atomic_add_fetch(&forking, 1, __ATOMIC_SEQ_CST);
    const struct timespec moment = {0, 20000};
    while (__atomic_load_n(&making, __ATOMIC_SEQ_CST) != 0) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&moment, NULL);
        Py_END_ALLOW_THREADS
    }
}

void hidden_tstate_after_fork_in_parent(void) { __atomic_sub_fetch(&forking, 1, __ATOMIC_SEQ_CST); }

void hidden_tstate_after_fork_in_child(void) { making = forking = 0; }

/* A new state for the calling thread; NULL without memory, at which PyThreadState_New of 3.11 crashes
 * (Python/pystate.c): it has the two steps, too, but no look at what the first one returns. */
static PyThreadState *new_state(PyInterpreterState *interpreter) {
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
    PyThreadState *state = _PyThreadState_Prealloc(interpreter);
    if (state != NULL) {
        _PyThreadState_SetCurrent(state);
    }
    return state;
#else
    return PyThreadState_New(interpreter);
#endif
}

static PyThreadState *make_state(void) {
    PyThreadState *state = new_state(PyInterpreterState_Main());
    PyThreadState **head = state != NULL ? find_head() : NULL;
    if (head != NULL) {
        lock_list();
        take_out(head, state);
        unlock_list();
    }
    return state;
}

PyThreadState *hidden_tstate_new(void) {
    __atomic_add_fetch(&making, 1, __ATOMIC_SEQ_CST);
    PyThreadState *state = __atomic_load_n(&forking, __ATOMIC_SEQ_CST) == 0 ? make_state() : NULL;
    __atomic_sub_fetch(&making, 1, __ATOMIC_SEQ_CST);
    return state;
}

void hidden_tstate_delete(PyThreadState *state) {
    PyThreadState **head = find_head();
    if (head != NULL) {
        lock_list();
        if (!is_listed(head, state)) {
            put_back(head, state);
        }
        unlock_list();
    }
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
}
