/* Sources: Include/internal/pycore_frame.h (3.11 to 3.13) and pycore_interpframe_structs.h (from 3.14
 * on), Include/cpython/frameobject.h (3.10), Include/cpython/code.h. */
#define Py_BUILD_CORE 1
#include "cpython/frame_layout.h"

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

#include "cpython/object_copy.h"

/* Up to 3.12 these structs no longer change; from 3.13 on they are compared with the offsets that the
 * interpreter publishes for debuggers. */
bool frame_layout_is_known(void) {
#if PY_VERSION_HEX >= 0x030D0000
    const struct _Py_DebugOffsets *offsets = (const void *)&_PyRuntime;
    return (offsets->version >> 16) == (PY_VERSION_HEX >> 16) &&
           offsets->thread_state.current_frame == offsetof(PyThreadState, current_frame) &&
           offsets->interpreter_frame.previous == offsetof(_PyInterpreterFrame, previous) &&
           offsets->interpreter_frame.executable == offsetof(_PyInterpreterFrame, f_executable) &&
           offsets->interpreter_frame.instr_ptr == offsetof(_PyInterpreterFrame, instr_ptr) &&
           offsets->interpreter_frame.localsplus == offsetof(_PyInterpreterFrame, localsplus) &&
           offsets->interpreter_frame.owner == offsetof(_PyInterpreterFrame, owner) &&
           offsets->code_object.filename == offsetof(PyCodeObject, co_filename) &&
           offsets->code_object.qualname == offsetof(PyCodeObject, co_qualname) &&
           offsets->code_object.linetable == offsetof(PyCodeObject, co_linetable) &&
           offsets->code_object.co_code_adaptive == offsetof(PyCodeObject, co_code_adaptive) &&
           offsets->interpreter_state.gc + offsets->gc.collecting ==
               offsetof(PyInterpreterState, gc.collecting);
#else
    return true;
#endif
}

static bool is_aligned(uint64_t address) { return address != 0 && address % sizeof(void *) == 0; }

#if PY_VERSION_HEX >= 0x030B0000

const size_t frame_layout_size = offsetof(_PyInterpreterFrame, localsplus);
const size_t frame_layout_code_size = offsetof(PyCodeObject, co_code_adaptive);

bool frame_layout_innermost(const PyThreadState *state,
                            bool (*follow)(void *, const void *, size_t), uint64_t *frame) {
    const void *found = NULL;
#if PY_VERSION_HEX >= 0x030D0000
    (void)follow;
    found = *(void *const volatile *)&state->current_frame;
#else
    const _PyCFrame *cframe = *(_PyCFrame *const volatile *)&state->cframe;
    if (!follow(&found, &cframe->current_frame, sizeof found)) {
        return false;
    }
#endif
    *frame = (uintptr_t)found;
    return true;
}

bool frame_layout_view(uint64_t at, const void *copy, struct frame_view *view) {
    const _PyInterpreterFrame *frame = copy;
    *view = (struct frame_view){.at = at, .caller = (uintptr_t)frame->previous};
#if PY_VERSION_HEX >= 0x030E0000
    view->is_shim = frame->owner >= FRAME_OWNED_BY_INTERPRETER;
    view->code = frame->f_executable.bits & ~(uintptr_t)3;
    view->instruction = (uintptr_t)frame->instr_ptr;
    view->stack_pointer = (uintptr_t)frame->stackpointer;
#ifdef Py_GIL_DISABLED
    view->bytecode_copy = frame->tlbc_index;
#endif
#elif PY_VERSION_HEX >= 0x030D0000
    view->is_shim = frame->owner == FRAME_OWNED_BY_CSTACK;
    view->code = (uintptr_t)frame->f_executable;
    view->instruction = (uintptr_t)frame->instr_ptr;
#else
#if PY_VERSION_HEX >= 0x030C0000
    view->is_shim = frame->owner == FRAME_OWNED_BY_CSTACK;
#endif
    view->code = (uintptr_t)frame->f_code;
    view->instruction = (uintptr_t)frame->prev_instr;
#endif
    return (view->is_shim || is_aligned(view->code)) && view->caller % sizeof(void *) == 0 &&
           view->caller != at;
}

/* The address of the bytecode that the frame runs; 0 if it cannot be read. */
static uint64_t bytecode_of(const struct frame_view *view, const PyCodeObject *code,
                            bool (*read)(void *, const void *, size_t)) {
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
    if (view->bytecode_copy != 0) {
        _PyCodeArray array;
        const char *entry = NULL, *at = (const char *)code->co_tlbc;
        if (!read(&array, at, offsetof(_PyCodeArray, entries)) || view->bytecode_copy < 0 ||
            view->bytecode_copy >= array.size ||
            !read(&entry,
                  at + offsetof(_PyCodeArray, entries) + (size_t)view->bytecode_copy * sizeof entry,
                  sizeof entry)) {
            return 0;
        }
        return (uintptr_t)entry;
    }
#else
    (void)code, (void)read;
#endif
    return view->code + frame_layout_code_size;
}

bool frame_layout_code(const struct frame_view *view, const void *copy,
                       bool (*read)(void *, const void *, size_t), struct code_view *found) {
    const PyCodeObject *code = copy;
    if (!object_copy_is((const PyObject *)code, &PyCode_Type)) {
        return false;
    }
    int64_t size = (int64_t)Py_SIZE((PyObject *)code) * (int64_t)sizeof(_Py_CODEUNIT);
    uint64_t bytecode = bytecode_of(view, code, read);
    int64_t distance = (int64_t)(view->instruction - bytecode);
    /* A frame that is just being entered has run nothing yet. */
    if (bytecode == 0 || distance < -(int64_t)sizeof(_Py_CODEUNIT) || distance >= size) {
        return false;
    }
    *found = (struct code_view){
        .key = {.at = view->code,
                .filename = (uintptr_t)code->co_filename,
                .name = (uintptr_t)code->co_qualname,
                .table = (uintptr_t)code->co_linetable,
#if PY_VERSION_HEX >= 0x030C0000
                .version = code->co_version,
#endif
                .first_line = (uint32_t)code->co_firstlineno},
        .offset = (int)distance,
        /* _Py_InitCleanup of Python/specialize.c, below an __init__() that was called without C code
         * between: Python shows a frame from there on (_PyFrame_IsIncomplete). */
        .is_shim = code->_co_firsttraceable >= Py_SIZE((PyObject *)code),
    };
    return true;
}

#else

const size_t frame_layout_size = offsetof(PyFrameObject, f_blockstack);
const size_t frame_layout_code_size = sizeof(PyCodeObject);

bool frame_layout_innermost(const PyThreadState *state,
                            bool (*follow)(void *, const void *, size_t), uint64_t *frame) {
    (void)follow;
    *frame = (uintptr_t)*(PyFrameObject *const volatile *)&state->frame;
    return true;
}

bool frame_layout_view(uint64_t at, const void *copy, struct frame_view *view) {
    const PyFrameObject *frame = copy;
    *view = (struct frame_view){
        .at = at,
        .code = (uintptr_t)frame->f_code,
        .instruction = (uint64_t)((int64_t)frame->f_lasti * (int64_t)sizeof(_Py_CODEUNIT)),
        .caller = (uintptr_t)frame->f_back,
    };
    return Py_TYPE((PyObject *)frame) == &PyFrame_Type && is_aligned(view->code) &&
           view->caller % sizeof(void *) == 0 && view->caller != at;
}

bool frame_layout_code(const struct frame_view *view, const void *copy,
                       bool (*read)(void *, const void *, size_t), struct code_view *found) {
    const PyCodeObject *code = copy;
    PyVarObject bytecode;
    int64_t distance = (int64_t)view->instruction;
    if (!object_copy_is((const PyObject *)code, &PyCode_Type) ||
        !read(&bytecode, code->co_code, sizeof bytecode) ||
        distance < -(int64_t)sizeof(_Py_CODEUNIT) || distance >= Py_SIZE(&bytecode) ||
        distance > INT32_MAX) {
        return false;
    }
    *found = (struct code_view){
        .key = {.at = view->code,
                .filename = (uintptr_t)code->co_filename,
                .name = (uintptr_t)code->co_name,
                .table = (uintptr_t)code->co_linetable,
                .first_line = (uint32_t)code->co_firstlineno},
        .offset = (int)distance,
    };
    return true;
}

#endif
