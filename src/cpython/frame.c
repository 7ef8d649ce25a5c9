/* By the inline functions of the interpreter's headers, as nothing may be made: the public
 * PyThreadState_GetFrame may have to make a frame object. */
#define Py_BUILD_CORE 1
#include "cpython/frame.h"

#include <string.h>

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

static PyObject *local_of(const _PyInterpreterFrame *frame, Py_ssize_t local) {
#if PY_VERSION_HEX >= 0x030E0000
    return PyStackRef_IsNull(frame->localsplus[local])
               ? NULL
               : PyStackRef_AsPyObjectBorrow(frame->localsplus[local]);
#else
    return frame->localsplus[local];
#endif
}

PyObject *frame_first_argument(PyThreadState *state, int calls_up, PyCodeObject **code) {
    _PyInterpreterFrame *frame = frame_layout_is_known() ? running_frame(state) : NULL;
    while (frame != NULL && calls_up-- > 0) {
        frame = first_complete(frame->previous);
    }
    if (frame == NULL) {
        return NULL;
    }
    *code = code_of(frame);
    if ((*code)->co_argcount == 0) {
        return NULL;
    }
    return local_of(frame, 0);
}

/* Of so many functions, from the innermost one. */
#define TRAIL_LENGTH 100

uint64_t frame_trail(PyThreadState *state) {
    const _PyInterpreterFrame *frame = frame_layout_is_known() ? running_frame(state) : NULL;
    uint64_t trail = 0;
    for (int i = 0; i < TRAIL_LENGTH && frame != NULL; i++) {
        struct frame_view view;
        if (!frame_layout_view((uintptr_t)frame, frame, &view)) {
            return 0;
        }
        trail = (trail ^ view.at) * 1099511628211u;
        trail = (trail ^ view.instruction) * 1099511628211u;
        trail ^= trail >> 29;
        frame = frame->previous;
    }
    return trail;
}

static const char *characters_of(PyObject *text, size_t *length) {
    if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) {
        return NULL;
    }
    *length = (size_t)PyUnicode_GET_LENGTH(text);
    return (const char *)PyUnicode_1BYTE_DATA(text);
}

static bool ends_with(PyObject *text, const char *end) {
    size_t length, wanted = strlen(end);
    const char *characters = characters_of(text, &length);
    return characters != NULL && length >= wanted &&
           memcmp(characters + (length - wanted), end, wanted) == 0;
}

static bool equals(PyObject *text, const char *wanted) {
    size_t length;
    return characters_of(text, &length) != NULL && length == strlen(wanted) &&
           ends_with(text, wanted);
}

bool frame_has_local(PyThreadState *state, const struct frame_variable *variable,
                     const void *object) {
    _PyInterpreterFrame *frame = frame_layout_is_known() ? running_frame(state) : NULL;
    if (frame == NULL) {
        return false;
    }
    const PyCodeObject *code = code_of(frame);
    if (!equals(code->co_qualname, variable->function) ||
        !ends_with(code->co_filename, variable->file)) {
        return false;
    }
    PyObject *names = code->co_localsplusnames;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        if (equals(PyTuple_GET_ITEM(names, i), variable->name)) {
            return local_of(frame, i) == object;
        }
    }
    return false;
}

#else

uint64_t frame_trail(PyThreadState *state) {
    (void)state;
    return 0;
}

bool frame_has_local(PyThreadState *state, const struct frame_variable *variable,
                     const void *object) {
    (void)state, (void)variable, (void)object;
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
