/* A frame that calls keeps the called object on its stack of values, below the arguments, and from
 * 3.14 on the pointer to the top of that stack while native code runs. Both the instruction and the
 * pointer may be those of a moment before or after: they are read once more at the end, and a frame
 * that has moved on meanwhile is calling nothing that can be named. Python functions are not named:
 * they have a frame of their own.
 *
 * A call that is over drops its arguments, which may take long, while the frame stands at the same
 * instruction. Some of them are NULL by then, or have no references left, or all are off the stack, and
 * what lies below belongs to a call that is yet to come, or is a local variable. So every argument must
 * be there and alive, and the called object must be what the specialized instruction is for. */
#define Py_BUILD_CORE 1
#include "cpython/callee.h"

#if PY_VERSION_HEX >= 0x030E0000

#include <stdio.h>
#include <stdlib.h>
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

/* These three copy a name into room for CALLEE_NAME_SIZE bytes. False, with "" there, where it cannot be
 * read, or there is not room for all of it. */

static bool copy_c_string(const char *from, char *name) {
    size_t length = text_reader_copy_c_string(from, name, CALLEE_NAME_SIZE);
    if (length == CALLEE_NAME_SIZE - 1) {
        length = 0;
        name[0] = '\0';
    }
    return length != 0;
}

static bool read_type_name(const PyTypeObject *type, read_function read, char *name) {
    const char *from;
    name[0] = '\0';
    return read(&from, &type->tp_name, sizeof from) && copy_c_string(from, name);
}

static bool copy_text(const void *text, char *name) {
    struct text_copy copy;
    name[0] = '\0';
    if (text == NULL || !text_reader_copy(text, &copy)) {
        return false;
    }
    if (copy.size < CALLEE_NAME_SIZE) {
        memcpy(name, copy.bytes, copy.size);
        name[copy.size] = '\0';
    }
    free(copy.bytes);
    return name[0] != '\0';
}

/* What a builtin function belongs to: its module, or the type of the object it is a method of. As the
 * three above. */
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

/* What is read of an object that may be called: how its arguments come (0: as they like), and its names. */
struct description {
    int flags;
    char owner[CALLEE_NAME_SIZE]; /* "": it goes by its own name */
    char own[CALLEE_NAME_SIZE];
};

static bool describe_function(const void *object, read_function read,
                              struct description *description) {
    PyCFunctionObject function;
    PyMethodDef definition;
    if (!read(&function, object, sizeof function) ||
        !read(&definition, function.m_ml, sizeof definition) ||
        !copy_c_string(definition.ml_name, description->own)) {
        return false;
    }
    description->flags = definition.ml_flags & HOW_ARGUMENTS_COME;
    name_owner(&function, read, description->owner);
    return true;
}

/* A method of a type; `has_flags`: it is a PyMethodDescrObject, which says how its arguments come. */
static bool describe_method(const void *object, bool has_flags, read_function read,
                            struct description *description) {
    PyMethodDescrObject method;
    PyMethodDef definition = {.ml_flags = 0};
    if (!read(&method, object, has_flags ? sizeof method : sizeof method.d_common) ||
        (has_flags && !read(&definition, method.d_method, sizeof definition))) {
        return false;
    }
    description->flags = definition.ml_flags & HOW_ARGUMENTS_COME;
    return copy_text(method.d_common.d_name, description->own) &&
           read_type_name(method.d_common.d_type, read, description->owner);
}

static bool describe(const struct called *called, read_function read,
                     struct description *description) {
    const void *object = (const void *)called->at;
    const PyTypeObject *type = called->type;
    if (type == &PyCFunction_Type || type == &PyCMethod_Type) {
        return describe_function(object, read, description);
    }
    if (type == &PyMethodDescr_Type || type == &PyWrapperDescr_Type ||
        type == &PyClassMethodDescr_Type) {
        return describe_method(object, type == &PyMethodDescr_Type, read, description);
    }
    return type == &PyType_Type && read_type_name(object, read, description->own);
}

/* Name the object, if this instruction can call it. Returns the length of its name, or 0. */
static size_t name_called(uintptr_t object, uint8_t instruction, read_function read, char *name) {
    PyObject head;
    struct description found = {.flags = 0};
    if (!read(&head, (const void *)object, sizeof head) || !object_copy_has_references(&head)) {
        return 0;
    }
    struct called called = {object, Py_TYPE(&head), 0};
    if (!describe(&called, read, &found)) {
        return 0;
    }
    called.flags = found.flags;
    if (!fits(&called, instruction)) {
        return 0;
    }
    bool bare = found.owner[0] == '\0' || strcmp(found.owner, "builtins") == 0 ||
                strlen(found.owner) + 1 + strlen(found.own) >= CALLEE_NAME_SIZE;
    int size = snprintf(name, CALLEE_NAME_SIZE, "%s%s%s", bare ? "" : found.owner, bare ? "" : ".",
                        found.own);
    return size > 0 ? (size_t)size : 0;
}

static bool is_alive(uintptr_t object, read_function read) {
    PyObject head;
    return read(&head, (const void *)object, sizeof head) && object_copy_has_references(&head);
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
    for (size_t i = 1; i < call->depth; i++) {
        uintptr_t object = values[i] & ~TAGS;
        bool may_be_null = i < call->depth - call->there;
        if (object == 0 ? !may_be_null : !is_alive(object, read)) {
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
