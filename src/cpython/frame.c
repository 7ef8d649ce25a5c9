/* By the inline functions of the interpreter's headers, as nothing may be made: the public
 * PyThreadState_GetFrame may have to make a frame object. */
#define Py_BUILD_CORE 1
#include "cpython/frame.h"

#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_interpframe.h"
#elif PY_VERSION_HEX >= 0x030B0000
#include "internal/pycore_frame.h"
#else
#include <frameobject.h>
#endif

#include "cpython/frame_layout.h"

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

PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code) {
    _PyInterpreterFrame *frame = running_frame(state);
    while (frame != NULL && calls_up-- > 0) {
        frame = first_complete(frame->previous);
    }
    if (frame == NULL || !frame_layout_is_known()) {
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

bool frame_has_local(PyThreadState *state, const PyCodeObject *code, int local,
                     const void *object) {
    _PyInterpreterFrame *frame = running_frame(state);
    if (frame == NULL || !frame_layout_is_known() || code_of(frame) != code) {
        return false;
    }
#if PY_VERSION_HEX >= 0x030E0000
    return !PyStackRef_IsNull(frame->localsplus[local]) &&
           PyStackRef_AsPyObjectBorrow(frame->localsplus[local]) == object;
#else
    return frame->localsplus[local] == object;
#endif
}

#else

bool frame_has_local(PyThreadState *state, const PyCodeObject *code, int local,
                     const void *object) {
    (void)state, (void)code, (void)local, (void)object;
    return false;
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
