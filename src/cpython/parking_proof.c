/* The thread parks itself: with a deadline of a microsecond; without one, being woken from inside the
 * hook; on a lock that it has locked itself. Each time what the hook finds around the semaphore must be
 * what was handed to the parking lot. Wherever it is not, nothing is measured.
 *
 * Functions that the interpreter does not promise are looked up by name: where one is missing, that is a
 * reason, too. */
#define _GNU_SOURCE
#define Py_BUILD_CORE 1
#include "cpython/parking_proof.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#if PY_VERSION_HEX >= 0x030D0000

#include <dlfcn.h>
#include <string.h>

#include "cpython/parking_layout.h"
#include "cpython/thread_names.h"
#include "native/clock.h"
#include "native/own_memory.h"
#include "native/parking.h"

#define PARKED_OK 0
#define PARKED_TIMEOUT (-2)
#define MICROSECOND 1000
#define ATTEMPTS 5            /* a signal may wake the thread */
#define FAIR_AFTER_NS 1000000 /* a mutex is handed over to a thread that has waited so long */

typedef int (*park_function)(const void *address, const void *expected, size_t size,
                             int64_t nanoseconds, void *argument, int detach);
typedef void (*unpark_function)(const void *address);

static struct {
    park_function park;
    unpark_function unpark_all;
    struct parking_layout layout;
} proof;

static bool find_functions(void) {
    proof.park = (park_function)dlsym(RTLD_DEFAULT, "_PyParkingLot_Park");
    proof.unpark_all = (unpark_function)dlsym(RTLD_DEFAULT, "_PyParkingLot_UnparkAll");
    return proof.park != NULL && proof.unpark_all != NULL;
}

static void unpark(struct parking_probe *probe) { proof.unpark_all(probe->argument); }

/* Park on a byte, and be woken by the deadline or, without one, from the hook. */
static bool park_is_seen(unsigned char *byte, bool timed, bool detach) {
    struct parking_probe probe = {.wake = timed ? NULL : unpark, .argument = byte};
    uintptr_t argument[2] = {0, 0};
    parking_set_probe(&probe);
    int result = proof.park(byte, byte, 1, timed ? MICROSECOND : -1, argument, detach);
    parking_set_probe(NULL);
    return result == (timed ? PARKED_TIMEOUT : PARKED_OK) && probe.calls == 1 &&
           probe.call.timed == timed && probe.before[0] == (uintptr_t)argument &&
           probe.before[1] == (uintptr_t)byte &&
           probe.call.semaphore - probe.call.frame < sizeof(void *) * 1024 &&
           (uintptr_t)argument > probe.call.semaphore &&
           parking_layout_add_site(proof.layout.sites, probe.call.site);
}

static bool parks_are_seen(void) {
    unsigned char bytes[64] = {1};
    for (int i = 0; i < 64; i += 21) {
        for (int how = 0; how < 4; how++) {
            bool seen = false;
            for (int attempt = 0; attempt < ATTEMPTS && !seen; attempt++) {
                seen = park_is_seen(&bytes[i], (how & 1) != 0, (how & 2) != 0);
            }
            if (!seen) {
                return false;
            }
        }
    }
    return true;
}

static PyObject *of_module(const char *module, const char *name) {
    PyObject *object = PyImport_ImportModule(module);
    PyObject *attribute = object != NULL ? PyObject_GetAttrString(object, name) : NULL;
    Py_XDECREF(object);
    PyErr_Clear();
    return attribute;
}

static PyObject *make_lock(const char *name) {
    PyObject *function = of_module("_thread", name);
    PyObject *lock = function != NULL ? PyObject_CallNoArgs(function) : NULL;
    Py_XDECREF(function);
    PyErr_Clear();
    return lock;
}

/* Call a method of a lock object, and forget what it returns. */
static bool call(PyObject *lock, const char *method, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    PyObject *function = PyObject_GetAttrString(lock, method);
    PyObject *tuple = Py_VaBuildValue(format, arguments);
    va_end(arguments);
    PyObject *result =
        function != NULL && tuple != NULL ? PyObject_Call(function, tuple, NULL) : NULL;
    bool called = result != NULL;
    Py_XDECREF(result);
    Py_XDECREF(tuple);
    Py_XDECREF(function);
    PyErr_Clear();
    return called;
}

/* Wait for a lock that this thread has locked: its mutex must lie where it is looked for, and the entry
 * of the wait on this stack. */
static bool lock_is_seen(PyObject *lock) {
    struct parking_probe probe = {.wake = NULL};
    if (!call(lock, "acquire", "()")) {
        return false;
    }
    int64_t before = (int64_t)clock_system_ns();
    parking_set_probe(&probe);
    bool called = call(lock, "acquire", "(Od)", Py_True, 2e-6);
    parking_set_probe(NULL);
    int64_t after = (int64_t)clock_system_ns();
    int64_t fair =
        probe.calls != 0 ? parking_layout_deadline(probe.call.semaphore, probe.before[0]) : 0;
    return call(lock, "release", "()") && called && probe.calls == 1 &&
           probe.before[1] == (uintptr_t)lock + PARKING_MUTEX_OFFSET &&
           fair >= before + FAIR_AFTER_NS && fair <= after + FAIR_AFTER_NS &&
           parking_layout_is_site(proof.layout.sites, probe.call.site);
}

static bool learn_lock(void) {
    PyObject *lock = make_lock("allocate_lock");
    bool seen = false;
    for (int attempt = 0; attempt < ATTEMPTS && lock != NULL && !seen; attempt++) {
        seen = lock_is_seen(lock);
    }
    if (seen) {
        proof.layout.lock_type = (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(lock));
    }
    Py_XDECREF(lock);
    return seen;
}

static void release_semaphore(struct parking_probe *probe) {
    PyThread_release_lock((PyThread_type_lock)probe->call.semaphore);
}

/* Wait for an RLock that was acquired for a thread which does not exist. Its mutex is in it, or it has
 * the address of a semaphore. */
static void learn_rlock(void) {
    PyObject *lock = make_lock("RLock");
    if (lock == NULL || !call(lock, "_acquire_restore", "((kk))", 1ul, 1ul)) {
        Py_XDECREF(lock);
        return;
    }
    uintptr_t mutex = (uintptr_t)lock + PARKING_MUTEX_OFFSET;
    struct parking_probe probe = {.wake = NULL};
    parking_set_probe(&probe);
    bool called = call(lock, "acquire", "(Od)", Py_True, 2e-6);
    parking_set_probe(NULL);
    if (called && probe.calls == 1 && probe.before[1] == mutex) {
        proof.layout.rlock_type = (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(lock));
    } else if (called && probe.calls == 1 && probe.call.semaphore == *(uintptr_t *)mutex) {
        parking_layout_add_site(proof.layout.thread_sites, probe.call.site);
        probe = (struct parking_probe){.wake = release_semaphore};
        parking_set_probe(&probe);
        called = call(lock, "acquire", "()");
        parking_set_probe(NULL);
        if (called && probe.calls == 1 && probe.call.semaphore == *(uintptr_t *)mutex) {
            parking_layout_add_site(proof.layout.thread_sites, probe.call.site);
        }
    }
    Py_DECREF(lock);
}

static void release_lock(struct parking_probe *probe) { PyThread_release_lock(probe->argument); }

enum way { WAY_PLAIN, WAY_ENDLESS, WAY_TIMED, WAYS };

static PyLockStatus wait_for(PyThread_type_lock lock, enum way way) {
    if (way == WAY_PLAIN) {
        return PyThread_acquire_lock(lock, WAIT_LOCK) ? PY_LOCK_ACQUIRED : PY_LOCK_FAILURE;
    }
    return PyThread_acquire_lock_timed(lock, way == WAY_TIMED ? 1 : -1, 0);
}

/* Locks of C code: in some versions these are semaphores, which no parking lot knows. */
static void learn_thread_locks(void) {
    PyThread_type_lock lock = PyThread_allocate_lock();
    for (enum way way = 0; lock != NULL && way < WAYS; way++) {
        bool timed = way == WAY_TIMED;
        struct parking_probe probe = {.wake = timed ? NULL : release_lock, .argument = lock};
        if (PyThread_acquire_lock(lock, NOWAIT_LOCK) == 0) {
            break;
        }
        parking_set_probe(&probe);
        PyLockStatus status = wait_for(lock, way);
        parking_set_probe(NULL);
        if (probe.calls == 1 && probe.call.semaphore == (uintptr_t)lock &&
            status == (timed ? PY_LOCK_FAILURE : PY_LOCK_ACQUIRED)) {
            parking_layout_add_site(proof.layout.thread_sites, probe.call.site);
        }
        PyThread_release_lock(lock);
    }
    if (lock != NULL) {
        PyThread_free_lock(lock);
    }
}

static bool is_built_in(const char *name) {
    const struct _inittab *module = PyImport_Inittab;
    while (module->name != NULL && strcmp(module->name, name) != 0) {
        module++;
    }
    return module->name != NULL;
}

#ifdef Py_GIL_DISABLED

/* Enter a critical section, and be detached: the thread state must tell so where it is looked for. */
static bool thread_state_is_known(void) {
    PyThreadState *state = PyThreadState_Get();
    PyObject *object = PyList_New(0);
    if (object == NULL) {
        PyErr_Clear();
        return false;
    }
    uintptr_t before = state->critical_section;
    PyCriticalSection section;
    PyCriticalSection_Begin(&section, object);
    bool known = (state->critical_section & ~(uintptr_t)3) == (uintptr_t)&section &&
                 (uintptr_t)section._cs_mutex == (uintptr_t)object + offsetof(PyObject, ob_mutex) &&
                 section._cs_prev == before;
    PyCriticalSection_End(&section);
    known = known && state->critical_section == before &&
            __atomic_load_n(&state->state, __ATOMIC_RELAXED) == 1;
    PyEval_SaveThread();
    int detached = __atomic_load_n(&state->state, __ATOMIC_RELAXED);
    PyEval_RestoreThread(state);
    Py_DECREF(object);
    return known && (detached == 0 || detached == 2);
}

#else

static bool thread_state_is_known(void) { return true; }

#endif

/* os.sched_yield(), by which the program gives up the processor for reasons of its own. */
static void yield(void) {
    PyObject *function = of_module("os", "sched_yield");
    PyObject *result = function != NULL ? PyObject_CallNoArgs(function) : NULL;
    Py_XDECREF(result);
    Py_XDECREF(function);
    PyErr_Clear();
}

static const char *why_not(void) {
    if (PyGILState_GetThisThreadState() != PyThreadState_Get()) {
        return "this thread's state is not the one that PyGILState knows";
    }
    if (own_memory_init() == OWN_MEMORY_CLOSED) {
        return "this process may not read its own memory by a system call";
    }
    if (!parks_are_seen()) {
        return "parking lies otherwise in memory than in Python " PY_VERSION;
    }
    if (!learn_lock()) {
        return "threading.Lock does not wait in the parking lot of Python " PY_VERSION;
    }
    if (!thread_state_is_known()) {
        return "thread states are laid out otherwise than in Python " PY_VERSION;
    }
    return NULL;
}

int parking_proof_run(char *reason, size_t reason_size) {
    if (!find_functions()) {
        snprintf(reason, reason_size, "this interpreter does not export its parking lot");
        return -1;
    }
    if (parking_install((const void *)PyEval_SaveThread, reason, reason_size) < 0) {
        return -1;
    }
    names_watch();
    const char *why = why_not();
    if (why != NULL) {
        snprintf(reason, reason_size, "%s", why);
        return -1;
    }
    learn_rlock();
    learn_thread_locks();
    proof.layout.all_are_thread_sites =
        proof.layout.thread_sites[0] != 0 && !is_built_in("_multiprocessing");
    parking_count_spins((const void *)PyEval_SaveThread, yield);
    parking_layout_set(&proof.layout);
    parking_start(parking_layout_classify);
    return 0;
}

#else

int parking_proof_run(char *reason, size_t reason_size) {
    snprintf(reason, reason_size, "locks park since Python 3.13 only");
    return -1;
}

#endif
