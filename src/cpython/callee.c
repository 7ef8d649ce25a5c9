/* A frame that calls keeps the called object on its stack of values, below the arguments, and from
 * 3.14 on the pointer to the top of that stack while native code runs. Both the instruction and the
 * pointer may be those of a moment before or after: they are read once more at the end, and a frame
 * that has moved on meanwhile is calling nothing that can be named. Python functions are not named:
 * they have a frame of their own. */
#define Py_BUILD_CORE 1
#include "cpython/callee.h"

#if PY_VERSION_HEX >= 0x030E0000

#include <stdio.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030F0000
#define NEED_OPCODE_METADATA
#endif
#include "internal/pycore_interpframe.h"
#include "internal/pycore_opcode_metadata.h"

#include "cpython/text_reader.h"

typedef bool (*read_function)(void *, const void *, size_t);

#define ARGUMENTS_MOST 255

/* How far below the top of the stack the called object lies; 0 if the instruction is no call. */
static size_t depth_of_callee(const unsigned char *instruction) {
    size_t arguments = instruction[1];
    switch (_PyOpcode_Deopt[instruction[0]]) {
    case CALL:
        return arguments + 2; /* and self or NULL above it */
    case CALL_KW:
        return arguments + 3; /* and the names on top */
    case CALL_FUNCTION_EX:
        return 4; /* NULL, the tuple, and the dict or NULL */
    default:
        return 0;
    }
}

static bool read_type_name(const PyTypeObject *type, read_function read, char *name) {
    const char *from;
    return read(&from, &type->tp_name, sizeof from) &&
           text_reader_copy_c_string(from, name, CALLEE_NAME_SIZE) != 0;
}

static bool copy_text(const void *text, char *name) {
    struct text_copy copy;
    if (text == NULL || !text_reader_copy(text, &copy)) {
        return false;
    }
    bool fits = copy.size < CALLEE_NAME_SIZE;
    if (fits) {
        memcpy(name, copy.bytes, copy.size);
        name[copy.size] = '\0';
    }
    free(copy.bytes);
    return fits && name[0] != '\0';
}

/* What a builtin function belongs to: its module, or the type of the object it is a method of. */
static bool name_owner(const PyCFunctionObject *function, read_function read, char *owner) {
    if (copy_text(function->m_module, owner)) {
        return true;
    }
    PyObject self;
    if (function->m_self == NULL || !read(&self, function->m_self, sizeof self)) {
        return false;
    }
    const PyTypeObject *type =
        Py_TYPE(&self) == &PyType_Type ? (PyTypeObject *)function->m_self : Py_TYPE(&self);
    return type != &PyModule_Type && read_type_name(type, read, owner);
}

/* Name the object that is called. Returns the length of its name, or 0. */
static size_t name_called(uintptr_t object, read_function read, char *name) {
    union {
        PyObject head;
        PyCFunctionObject function;
        PyDescrObject descriptor;
    } called;
    char owner[CALLEE_NAME_SIZE] = "", own[CALLEE_NAME_SIZE] = "";
    if (!read(&called.head, (const void *)object, sizeof called.head)) {
        return 0;
    }
    const PyTypeObject *type = Py_TYPE(&called.head);
    if (type == &PyCFunction_Type || type == &PyCMethod_Type) {
        PyMethodDef method;
        if (!read(&called, (const void *)object, sizeof called.function) ||
            !read(&method, called.function.m_ml, sizeof method) ||
            text_reader_copy_c_string(method.ml_name, own, sizeof own) == 0) {
            return 0;
        }
        name_owner(&called.function, read, owner);
    } else if (type == &PyMethodDescr_Type || type == &PyWrapperDescr_Type ||
               type == &PyClassMethodDescr_Type) {
        if (!read(&called, (const void *)object, sizeof called.descriptor) ||
            !copy_text(called.descriptor.d_name, own) ||
            !read_type_name(called.descriptor.d_type, read, owner)) {
            return 0;
        }
    } else if (type == &PyType_Type) {
        if (!read_type_name((const PyTypeObject *)object, read, own)) {
            return 0;
        }
    } else {
        return 0;
    }
    bool bare = owner[0] == '\0' || strcmp(owner, "builtins") == 0;
    int size = snprintf(name, CALLEE_NAME_SIZE, "%s%s%s", bare ? "" : owner, bare ? "" : ".", own);
    return size > 0 && size < CALLEE_NAME_SIZE ? (size_t)size : 0;
}

size_t callee_find(const struct frame_view *view, bool (*read)(void *, const void *, size_t),
                   char *name) {
    unsigned char instructions[2 * sizeof(_Py_CODEUNIT)];
    union {
        _PyInterpreterFrame frame;
        char bytes[sizeof(_PyInterpreterFrame)];
    } again;
    struct frame_view then;
    uintptr_t object;
    if (view->stack_pointer == 0 || view->stack_pointer % sizeof object != 0 ||
        !read(instructions, (const void *)(uintptr_t)(view->instruction - sizeof(_Py_CODEUNIT)),
              sizeof instructions) ||
        _PyOpcode_Deopt[instructions[0]] == EXTENDED_ARG) {
        return 0;
    }
    size_t depth = depth_of_callee(instructions + sizeof(_Py_CODEUNIT));
    uint64_t values = view->at + frame_layout_size;
    if (depth == 0 || view->stack_pointer < values + depth * sizeof object ||
        !read(&object, (const void *)(uintptr_t)(view->stack_pointer - depth * sizeof object),
              sizeof object)) {
        return 0;
    }
    object &= ~(uintptr_t)3;
    size_t size = object != 0 ? name_called(object, read, name) : 0;
    bool stands_still =
        size != 0 && read(&again, (const void *)(uintptr_t)view->at, frame_layout_size) &&
        frame_layout_view(view->at, &again, &then) && then.code == view->code &&
        then.instruction == view->instruction && then.stack_pointer == view->stack_pointer;
    return stands_still ? size : 0;
}

#else

size_t callee_find(const struct frame_view *view, bool (*read)(void *, const void *, size_t),
                   char *name) {
    (void)view, (void)read, (void)name;
    return 0;
}

#endif
