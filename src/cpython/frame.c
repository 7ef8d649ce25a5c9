/* The sole file that knows where CPython keeps the running frame of a thread.
 *
 * The public PyThreadState_GetFrame may have to make a frame object, for which the calling thread
 * needs a current thread state. A thread that is just giving up the GIL has none any more. So the
 * interpreter's own struct is read, by the inline functions of its headers. Up to 3.12 these
 * structs no longer change; from 3.13 on they are compared with the offsets that the interpreter
 * publishes for debuggers.
 */
#define Py_BUILD_CORE 1
#include "cpython/frame.h"

#include <stddef.h>

#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_interpframe.h"
#elif PY_VERSION_HEX >= 0x030B0000
#include "internal/pycore_frame.h"
#else
#include <frameobject.h>
#endif
#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_runtime.h"
#endif

bool frame_is_known(void) {
#ifdef Py_REF_DEBUG
    return false; /* taking a reference needs a current thread state there */
#elif PY_VERSION_HEX >= 0x030D0000
    const struct _Py_DebugOffsets *offsets = (const void *)&_PyRuntime;
    return (offsets->version >> 16) == (PY_VERSION_HEX >> 16) &&
           offsets->thread_state.current_frame == offsetof(PyThreadState, current_frame) &&
           offsets->interpreter_frame.previous == offsetof(_PyInterpreterFrame, previous) &&
           offsets->interpreter_frame.executable == offsetof(_PyInterpreterFrame, f_executable) &&
           offsets->interpreter_frame.instr_ptr == offsetof(_PyInterpreterFrame, instr_ptr) &&
           offsets->interpreter_frame.localsplus == offsetof(_PyInterpreterFrame, localsplus) &&
           offsets->interpreter_frame.owner == offsetof(_PyInterpreterFrame, owner);
#else
    return true;
#endif
}

#if PY_VERSION_HEX >= 0x030B0000

static _PyInterpreterFrame *first_complete(_PyInterpreterFrame *frame) {
    while (frame != NULL && _PyFrame_IsIncomplete(frame)) {
        frame = frame->previous;
    }
    return frame;
}

static _PyInterpreterFrame *running_frame(PyThreadState *state) {
#if PY_VERSION_HEX >= 0x030D0000
    return first_complete(state->current_frame);
#else
    return first_complete(state->cframe->current_frame);
#endif
}

static PyCodeObject *code_of(_PyInterpreterFrame *frame) {
#if PY_VERSION_HEX >= 0x030D0000
    return _PyFrame_GetCode(frame);
#else
    return frame->f_code;
#endif
}

bool frame_find(PyThreadState *state, struct code_position *position) {
    _PyInterpreterFrame *frame = running_frame(state);
    if (frame == NULL) {
        return false;
    }
    position->code = code_of(frame);
    position->offset = _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT);
    return true;
}

PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code) {
    _PyInterpreterFrame *frame = running_frame(state);
    while (frame != NULL && calls_up-- > 0) {
        frame = first_complete(frame->previous);
    }
    if (frame == NULL || !frame_is_known()) {
        return NULL;
    }
    *code = code_of(frame);
    if ((*code)->co_argcount == 0) {
        return NULL;
    }
#if PY_VERSION_HEX >= 0x030E0000
    return PyStackRef_IsNull(frame->localsplus[0])
               ? NULL
               : PyStackRef_AsPyObjectBorrow(frame->localsplus[0]);
#else
    return frame->localsplus[0];
#endif
}

#else

bool frame_find(PyThreadState *state, struct code_position *position) {
    PyFrameObject *frame = state->frame;
    if (frame == NULL) {
        return false;
    }
    position->code = frame->f_code;
    position->offset = frame->f_lasti * (int)sizeof(_Py_CODEUNIT);
    return true;
}

PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code) {
    PyFrameObject *frame = state->frame;
    while (frame != NULL && calls_up-- > 0) {
        frame = frame->f_back;
    }
    if (frame == NULL) {
        return NULL;
    }
    *code = frame->f_code;
    return frame->f_code->co_argcount != 0 ? frame->f_localsplus[0] : NULL;
}

#endif
