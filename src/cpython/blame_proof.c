/* What the code below goes through when it is looked at: a function of C, called by a generator, called
 * by a method, called by a function, called by a module. Names and file name are of all the widths
 * in which CPython keeps text. The look is made by a thread of C, as all looks are, while the thread
 * that runs the code has the GIL and waits for it.
 */
#define Py_BUILD_CORE 1
#include "cpython/blame_proof.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x030D0000
#include "internal/pycore_signal.h"
#endif

#include "cpython/stack_reader.h"
#include "native/places.h"

#define FILE_NAME "<pytest-gilknock \xF0\x9F\x94\x92>"

static const char source[] = "def generate(halt):\n"
                             "    yield (\n"
                             "        halt()\n"
                             "    )\n"
                             "class Gr\xC3\xB6\xC3\x9F"
                             "e:\n"
                             "    def z\xC3\xA4hle(self, halt):\n"
                             "        return list(generate(halt))\n"
                             "def \xE7\xAC\xAC\xE4\xB8\x89(halt):\n"
                             "    return Gr\xC3\xB6\xC3\x9F"
                             "e().z\xC3\xA4hle(halt)\n"
                             "\n"
                             "\xE7\xAC\xAC\xE4\xB8\x89(halt)\n";

static const struct {
    const char *function;
    uint32_t line;
} expected[] = {
    {"generate", 3},
#if PY_VERSION_HEX >= 0x030B0000
    {"Gr\xC3\xB6\xC3\x9F"
     "e.z\xC3\xA4hle",
     7},
#else
    {"z\xC3\xA4hle", 7},
#endif
    {"\xE7\xAC\xAC\xE4\xB8\x89", 9},
    {"<module>", 11},
};

/* A signal that arrives meanwhile, or another thread, may raise an exception here that is the program's. One
 * that comes each time belongs to this code: the program does not let it be compiled, for one. */
#define TRIES 3

#define FRAMES (sizeof expected / sizeof *expected)

/* What the looking thread is to look at, and what it saw. */
struct proof {
    bool without_gil;
    struct stack_aim aims[2]; /* one with the frame, one without */
    uint32_t places[2];
    bool looked;
};

static void *look(void *argument) {
    struct proof *proof = argument;
    for (int i = 0; i < 2; i++) {
        proof->places[i] = stack_reader_look(&proof->aims[i], false);
    }
    return NULL;
}

/* The function `halt` of the code: be looked at. */
static PyObject *halt(PyObject *capsule, PyObject *unused) {
    (void)unused;
    struct proof *proof = PyCapsule_GetPointer(capsule, NULL);
    if (proof == NULL) {
        return NULL;
    }
    if (proof->without_gil) {
        proof->aims[0] = (struct stack_aim){.state = PyThreadState_Get()};
    } else {
        stack_reader_aim(&proof->aims[0]);
    }
    proof->aims[1] = (struct stack_aim){.state = proof->aims[0].state};
    pthread_t thread;
    if (pthread_create(&thread, NULL, look, proof) == 0) {
        pthread_join(thread, NULL);
        proof->looked = true;
    }
    Py_RETURN_NONE;
}

static PyMethodDef halt_definition = {"halt", halt, METH_NOARGS, NULL};

static bool text_is(struct places_text text, const char *wanted) {
    return text.size == strlen(wanted) && memcmp(text.bytes, wanted, text.size) == 0;
}

/* Whether a place is that of the code above. Sets `callee` to what its innermost frame calls. */
static bool is_expected(uint32_t place, struct places_text *callee) {
    *callee = (struct places_text){"", 0};
    for (size_t i = 0; i < FRAMES; i++) {
        if (place == PLACE_ROOT || place == PLACE_UNKNOWN) {
            return false;
        }
        struct places_frame frame = places_frame(place, &place);
        const struct places_code *code = places_code(frame.code);
        if (!text_is(code->file, FILE_NAME) || !text_is(code->name, expected[i].function) ||
            frame.line != expected[i].line) {
            return false;
        }
        if (i == 0 && frame.callee != 0) {
            *callee = places_callee(frame.callee);
        }
    }
    return true;
}

/* Run the code. Nobody who traces or profiles is told of it. Returns false with an exception set. */
static bool run(PyObject *function) {
    PyObject *file = PyUnicode_FromString(FILE_NAME);
    PyObject *code =
        file != NULL ? Py_CompileStringObject(source, file, Py_file_input, NULL, 0) : NULL;
    PyObject *globals = PyDict_New(), *result = NULL;
    if (code != NULL && globals != NULL &&
        PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0 &&
        PyDict_SetItemString(globals, "__name__", file) == 0 &&
        PyDict_SetItemString(globals, "list", (PyObject *)&PyList_Type) == 0 &&
        PyDict_SetItemString(globals, "halt", function) == 0) {
        PyThreadState *state = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030B0000
        PyThreadState_EnterTracing(state);
#else
        state->tracing++;
#endif
        result = PyEval_EvalCode(code, globals, globals);
#if PY_VERSION_HEX >= 0x030B0000
        PyThreadState_LeaveTracing(state);
#else
        state->tracing--;
#endif
    }
    bool good = result != NULL;
    Py_XDECREF(result);
    Py_XDECREF(globals);
    Py_XDECREF(code);
    Py_XDECREF(file);
    return good;
}

/* Whether an exception came out of Python code other than ours: the handler of a signal, for one. */
static bool is_raised_elsewhere(PyObject *traceback) {
    if (traceback == NULL || !PyTraceBack_Check(traceback)) {
        return false;
    }
    const PyTracebackObject *last = (PyTracebackObject *)traceback;
    while (last->tb_next != NULL) {
        last = last->tb_next;
    }
    PyCodeObject *code = PyFrame_GetCode(last->tb_frame);
    const char *file = PyUnicode_AsUTF8(code->co_filename);
    bool elsewhere = file == NULL || strcmp(file, FILE_NAME) != 0;
    PyErr_Clear();
    Py_DECREF(code);
    return elsewhere;
}

/* Take the exception that is set, a new reference, or NULL for one of ours: there is no memory, or no
 * stack left for another call. */
static PyObject *take_exception(void) {
    PyObject *type, *value, *traceback;
    bool may_be_ours =
        PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_RecursionError);
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (may_be_ours && !is_raised_elsewhere(traceback)) {
        Py_CLEAR(value);
    }
    Py_XDECREF(traceback);
    Py_XDECREF(type);
    return value;
}

/* A pending call; owns the exception. */
static int raise_in_main_thread(void *exception) {
    PyErr_SetObject((PyObject *)Py_TYPE((PyObject *)exception), exception);
    Py_DECREF((PyObject *)exception);
    return -1;
}

/* Have an exception raised as the program goes on. In the main thread a signal's handler has raised it,
 * in others PyThreadState_SetAsyncExc(), which knows classes only. Takes the reference. */
static void hand_on(PyObject *exception) {
    if (!_PyOS_IsMainThread()) {
        PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), (PyObject *)Py_TYPE(exception));
    } else if (Py_AddPendingCall(raise_in_main_thread, exception) == 0) {
        return;
    }
    Py_DECREF(exception);
}

/* Run the code, again if the program is interrupted meanwhile. Returns whether it has run. */
static bool run_to_its_end(PyObject *function) {
    PyObject *exceptions[TRIES];
    size_t count = 0;
    bool ran = false;
    while (!ran && count < TRIES) {
        ran = run(function);
        PyObject *exception = ran ? NULL : take_exception();
        if (exception == NULL) {
            break;
        }
        exceptions[count++] = exception;
    }
    for (size_t i = 0; i < count; i++) { /* not before, or the next run would get them */
        if (count < TRIES) {
            hand_on(exceptions[i]);
        } else {
            Py_DECREF(exceptions[i]);
        }
    }
    return ran;
}

/* Returns NULL, or why stacks cannot be read. */
static const char *prove(struct proof *proof) {
    PyObject *capsule = PyCapsule_New(proof, NULL, NULL);
    PyObject *function = capsule != NULL ? PyCFunction_New(&halt_definition, capsule) : NULL;
    bool ran = function != NULL && run_to_its_end(function);
    Py_XDECREF(function);
    Py_XDECREF(capsule);
    PyErr_Clear();
    if (!ran) {
        return "the known code that stacks are proved to be read by could not be run";
    }
    if (!proof->looked) {
        return "no thread could be started to prove that stacks are read rightly";
    }
    struct places_text callees[2];
    places_lock();
    bool seen =
        is_expected(proof->places[0], &callees[0]) && is_expected(proof->places[1], &callees[1]);
    bool named =
        seen && text_is(callees[0], "PyCapsule.halt") && text_is(callees[1], "PyCapsule.halt");
    places_unlock();
    stack_reader_name_callees(named);
    return seen ? NULL : "a look at known code of this process did not see it";
}

int blame_proof_run(const struct gil *gil, char *reason, size_t reason_size) {
    if (stack_reader_set_up(gil, reason, reason_size) < 0) {
        return -1;
    }
    stack_reader_name_callees(true);
    struct proof proof = {.without_gil = gil == NULL};
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    const char *why = prove(&proof);
    PyErr_Restore(type, value, traceback);
    if (why != NULL) {
        snprintf(reason, reason_size, "%s", why);
        return -1;
    }
    return 0;
}
