/* A frame that calls keeps the called object on its stack of values, below the arguments, and from
 * 3.14 on the pointer to the top of that stack while native code runs. Both the instruction and the
 * pointer may be those of a moment before or after: they are read once more at the end, and a frame
 * that has moved on meanwhile is calling nothing that can be named. Python functions are not named:
 * they have a frame of their own.
 *
 * A call that is over drops its arguments, which may take long, while the frame stands at the same
 * instruction. Some of them are NULL by then, or all are off the stack, and what lies below belongs to
 * a call that is yet to come, or is a local variable. So every argument must be there, and the called
 * object must be what the specialized instruction is for. */
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

#include "cpython/object_copy.h"
#include "cpython/text_reader.h"

typedef bool (*read_function)(void *, const void *, size_t);

#define VALUES_MOST (UINT8_MAX + 3) /* on the stack for one call */
#define TAGS ((uintptr_t)3)         /* bits of a reference on the stack that are not its address */
#define HOW_ARGUMENTS_COME                                                                         \
    (METH_VARARGS | METH_FASTCALL | METH_NOARGS | METH_O | METH_KEYWORDS | METH_METHOD)

/* What lies on the stack of a frame that calls. */
struct call {
    uint8_t instruction; /* specialized */
    size_t depth;        /* of the called object below the top; 0: it is no call */
    size_t there;        /* how many values on top of it become NULL only when the call is over */
};

static struct call view_call(const unsigned char *instruction) {
    size_t arguments = instruction[1];
    struct call call = {.instruction = instruction[0]};
    switch (_PyOpcode_Deopt[instruction[0]]) {
    case CALL: /* the object, self or NULL, the arguments */
        call.depth = arguments + 2;
        call.there = arguments;
        break;
    case CALL_KW: /* and the names on top */
        call.depth = arguments + 3;
        call.there = arguments + 1;
        break;
    case CALL_FUNCTION_EX: /* the object, NULL, the tuple, the dict or NULL */
        call.depth = 4;
        break;
    default:
        break;
    }
    return call;
}

/* An object that may be what a frame calls. */
struct called {
    uintptr_t at;
    const PyTypeObject *type;
    int flags; /* of a function or method: how it takes its arguments */
};

static bool is_function(const struct called *called, int flags) {
    return (called->type == &PyCFunction_Type || called->type == &PyCMethod_Type) &&
           called->flags == flags;
}

static bool is_method(const struct called *called, int flags) {
    return called->type == &PyMethodDescr_Type && called->flags == flags;
}

/* Whether it can be what this instruction calls. */
static bool fits(const struct called *called, uint8_t instruction) {
    switch (instruction) {
    case CALL:
    case CALL_KW:
    case CALL_FUNCTION_EX:
    case CALL_NON_PY_GENERAL:
    case CALL_KW_NON_PY:
#ifdef CALL_EX_NON_PY_GENERAL
    case CALL_EX_NON_PY_GENERAL:
#endif
        return true;
    case CALL_TYPE_1:
        return called->at == (uintptr_t)&PyType_Type;
    case CALL_STR_1:
        return called->at == (uintptr_t)&PyUnicode_Type;
    case CALL_TUPLE_1:
        return called->at == (uintptr_t)&PyTuple_Type;
    case CALL_BUILTIN_CLASS:
        return called->type == &PyType_Type;
    case CALL_LEN:
    case CALL_BUILTIN_O:
        return is_function(called, METH_O);
    case CALL_ISINSTANCE:
    case CALL_BUILTIN_FAST:
        return is_function(called, METH_FASTCALL);
    case CALL_BUILTIN_FAST_WITH_KEYWORDS:
        return is_function(called, METH_FASTCALL | METH_KEYWORDS);
    case CALL_LIST_APPEND:
    case CALL_METHOD_DESCRIPTOR_O:
        return is_method(called, METH_O);
    case CALL_METHOD_DESCRIPTOR_NOARGS:
        return is_method(called, METH_NOARGS);
    case CALL_METHOD_DESCRIPTOR_FAST:
        return is_method(called, METH_FASTCALL);
    case CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS:
        return is_method(called, METH_FASTCALL | METH_KEYWORDS);
    default:
        return false; /* it calls Python code */
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
    if (function->m_self == NULL || !read(&self, function->m_self, sizeof self) ||
        !object_copy_has_references(&self)) {
        return false;
    }
    const PyTypeObject *type =
        Py_TYPE(&self) == &PyType_Type ? (PyTypeObject *)function->m_self : Py_TYPE(&self);
    return type != &PyModule_Type && read_type_name(type, read, owner);
}

/* Name the object, if this instruction can call it. Returns the length of its name, or 0. */
static size_t name_called(uintptr_t object, uint8_t instruction, read_function read, char *name) {
    union {
        PyObject head;
        PyCFunctionObject function;
        PyMethodDescrObject method;
        PyDescrObject descriptor;
    } copy;
    PyMethodDef definition = {.ml_flags = 0};
    char owner[CALLEE_NAME_SIZE] = "", own[CALLEE_NAME_SIZE] = "";
    if (!read(&copy.head, (const void *)object, sizeof copy.head) ||
        !object_copy_has_references(&copy.head)) {
        return 0;
    }
    struct called called = {object, Py_TYPE(&copy.head), 0};
    if (called.type == &PyCFunction_Type || called.type == &PyCMethod_Type) {
        if (!read(&copy, (const void *)object, sizeof copy.function) ||
            !read(&definition, copy.function.m_ml, sizeof definition) ||
            text_reader_copy_c_string(definition.ml_name, own, sizeof own) == 0) {
            return 0;
        }
        name_owner(&copy.function, read, owner);
    } else if (called.type == &PyMethodDescr_Type || called.type == &PyWrapperDescr_Type ||
               called.type == &PyClassMethodDescr_Type) {
        if (!read(&copy, (const void *)object, sizeof copy.descriptor) ||
            (called.type == &PyMethodDescr_Type &&
             (!read(&copy, (const void *)object, sizeof copy.method) ||
              !read(&definition, copy.method.d_method, sizeof definition))) ||
            !copy_text(copy.descriptor.d_name, own) ||
            !read_type_name(copy.descriptor.d_type, read, owner)) {
            return 0;
        }
    } else if (called.type == &PyType_Type) {
        if (!read_type_name((const PyTypeObject *)object, read, own)) {
            return 0;
        }
    } else {
        return 0;
    }
    called.flags = definition.ml_flags & HOW_ARGUMENTS_COME;
    if (!fits(&called, instruction)) {
        return 0;
    }
    bool bare = owner[0] == '\0' || strcmp(owner, "builtins") == 0;
    int size = snprintf(name, CALLEE_NAME_SIZE, "%s%s%s", bare ? "" : owner, bare ? "" : ".", own);
    return size > 0 && size < CALLEE_NAME_SIZE ? (size_t)size : 0;
}

/* Read the called object, and see that its arguments are there. Returns 0 if they are not. */
static uintptr_t read_called(const struct frame_view *view, const struct call *call,
                             read_function read) {
    uintptr_t values[VALUES_MOST];
    uint64_t first = view->at + frame_layout_size;
    size_t size = call->depth * sizeof *values;
    if (call->depth == 0 || view->stack_pointer < first + size ||
        !read(values, (const void *)(uintptr_t)(view->stack_pointer - size), size)) {
        return 0;
    }
    for (size_t i = call->depth - call->there; i < call->depth; i++) {
        if ((values[i] & ~TAGS) == 0) {
            return 0;
        }
    }
    return values[0] & ~TAGS;
}

size_t callee_find(const struct frame_view *view, bool (*read)(void *, const void *, size_t),
                   char *name) {
    unsigned char instructions[2 * sizeof(_Py_CODEUNIT)];
    union {
        _PyInterpreterFrame frame;
        char bytes[sizeof(_PyInterpreterFrame)];
    } again;
    struct frame_view then;
    if (view->stack_pointer == 0 || view->stack_pointer % sizeof(void *) != 0 ||
        !read(instructions, (const void *)(uintptr_t)(view->instruction - sizeof(_Py_CODEUNIT)),
              sizeof instructions) ||
        _PyOpcode_Deopt[instructions[0]] == EXTENDED_ARG) {
        return 0;
    }
    struct call call = view_call(instructions + sizeof(_Py_CODEUNIT));
    uintptr_t object = read_called(view, &call, read);
    size_t size = object != 0 ? name_called(object, call.instruction, read, name) : 0;
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
