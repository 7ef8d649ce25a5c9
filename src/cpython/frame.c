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
           offsets->interpreter_frame.owner == offsetof(_PyInterpreterFrame, owner);
#else
    return true;
#endif
}

#if PY_VERSION_HEX >= 0x030B0000

static _PyInterpreterFrame *running_frame(PyThreadState *state) {
#if PY_VERSION_HEX >= 0x030D0000
    _PyInterpreterFrame *frame = state->current_frame;
#else
    _PyInterpreterFrame *frame = state->cframe->current_frame;
#endif
    while (frame != NULL && _PyFrame_IsIncomplete(frame)) {
        frame = frame->previous;
    }
    return frame;
}

bool frame_find(PyThreadState *state, struct code_position *position) {
    _PyInterpreterFrame *frame = running_frame(state);
    if (frame == NULL) {
        return false;
    }
#if PY_VERSION_HEX >= 0x030D0000
    position->code = _PyFrame_GetCode(frame);
#else
    position->code = frame->f_code;
#endif
    position->offset = _PyInterpreterFrame_LASTI(frame) * (int)sizeof(_Py_CODEUNIT);
    return true;
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

#endif
