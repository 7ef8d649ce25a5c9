/* The knocker of gilknocker's interface: samples for a while, knocking at short intervals, then
 * sleeps for a while. Each time it samples in a new thread, because gilknocker does and a new thread
 * is not treated like one that has slept: on Linux 6.18, with both processors busy, its knocks are
 * answered a quarter later.
 *
 * Its metric is time waiting / time sampling. Both are read up to the moment of the question: the
 * sampling phase under way and the knock under way count. The state is shared by the owner and the
 * knocking thread, and lives until both are done with it; so stopping waits for nobody.
 */
#include "gilknocker_compat.h"

#include <stdbool.h>
#include <stdlib.h>

#include "capability.h"
#include "cpython/gil.h"
#include "cpython/hidden_tstate.h"
#include "native/accounting.h"
#include "native/clock.h"
#include "native/knocker.h"
#include "native/sync.h"

struct compat {
    struct sync_event guard; /* of all below; held for moments, never while asking for the GIL */
    uint64_t polling, sampling, sleeping; /* ns */
    int owners;
    bool stopped;
    uint64_t waited, sampled; /* ticks, of what is over */
    uint64_t phase_start;     /* ticks; when this sampling phase began */
    uint64_t sampling_since;  /* ticks; up to where its time is in `sampled`; 0: asleep */
    PyThreadState *state;     /* the thread's alone, as are the next two */
    bool asleep;              /* between two sampling phases */
    bool renewing;            /* the next thread is to go on */
    uint64_t asked;           /* ticks; 0: no knock under way */
};

typedef struct {
    PyObject head;
    uint64_t polling, sampling, sleeping; /* ns */
    struct compat *compat;                /* owned share; NULL before the first start */
    struct knocker *knocker;              /* owned; NULL when not running */
    unsigned generation;                  /* knocker_generation() at the start */
} Knocker;

static void release_compat(struct compat *compat) {
    sync_lock(&compat->guard);
    int left = --compat->owners;
    sync_unlock(&compat->guard);
    if (left == 0) {
        sync_destroy(&compat->guard);
        free(compat);
    }
}

/* Bring the sums up to now. The guard is held. */
static void accrue(struct compat *compat, uint64_t now) {
    if (compat->sampling_since != 0 && !compat->stopped) {
        compat->sampled += clock_elapsed(compat->sampling_since, now);
        compat->sampling_since = now;
    }
    if (compat->asked != 0 && !compat->stopped) {
        compat->waited += clock_elapsed(compat->asked, now);
        compat->asked = now;
    }
}

/* --- the thread's side --- */

static void compat_begin(void *context) {
    struct compat *compat = context;
    accounting_mark_internal();
    compat->state = hidden_tstate_new();
    sync_lock(&compat->guard);
    if (compat->phase_start == 0) {
        compat->phase_start = compat->sampling_since = clock_ticks();
    }
    sync_unlock(&compat->guard);
}

static uint64_t compat_pace(void *context) {
    struct compat *compat = context;
    if (compat->renewing) {
        compat->renewing = false;
        return KNOCKER_ANEW;
    }
    uint64_t pause = compat->polling;
    sync_lock(&compat->guard);
    uint64_t now = clock_ticks();
    uint64_t lasted = (uint64_t)(clock_seconds(clock_elapsed(compat->phase_start, now)) * 1e9);
    if (compat->sleeping != 0 && compat->sampling_since != 0 && lasted >= compat->sampling) {
        accrue(compat, now);
        compat->sampling_since = 0;
        compat->asleep = true;
        pause = compat->sleeping;
    }
    sync_unlock(&compat->guard);
    return pause;
}

static void compat_sample(void *context) { (void)context; }

/* Before it samples again: leave that to a new thread, unless that cannot have a thread state now. */
static void restart_in_new_thread(struct compat *compat) {
    if (compat->state == NULL) {
        return;
    }
    PyEval_RestoreThread(compat->state);
    compat->renewing = gil_admits_new_thread();
    if (compat->renewing) {
        hidden_tstate_delete(compat->state);
        compat->state = NULL;
    } else {
        PyEval_SaveThread();
    }
}

static void compat_knock(void *context) {
    struct compat *compat = context;
    if (compat->asleep) {
        compat->asleep = false;
        restart_in_new_thread(compat);
        return;
    }
    sync_lock(&compat->guard);
    uint64_t asked = clock_ticks();
    if (compat->sampling_since == 0) {
        compat->phase_start = compat->sampling_since = asked;
    }
    compat->asked = asked;
    sync_unlock(&compat->guard);
    if (compat->state == NULL) {
        compat->state = hidden_tstate_new();
    }
    if (compat->state != NULL) { /* else no memory: this knock is not made */
        PyEval_RestoreThread(compat->state);
    }
    sync_lock(&compat->guard);
    accrue(compat, clock_ticks());
    compat->asked = 0;
    sync_unlock(&compat->guard);
    if (compat->state != NULL) {
        PyEval_SaveThread();
    }
}

static void compat_end(void *context) {
    struct compat *compat = context;
    if (compat->state != NULL) {
        PyEval_RestoreThread(compat->state);
        hidden_tstate_delete(compat->state);
    }
    release_compat(compat);
}

/* --- the owner's side ---
 *
 * The GIL is held. Without one several threads may call methods of the same object: then its critical section
 * is what the functions below are called in. */

#ifndef Py_BEGIN_CRITICAL_SECTION /* before CPython 3.13 nobody is without a GIL */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* In a forked child the thread is gone, perhaps with the guard locked: what it has measured stays. */
static void notice_fork(Knocker *self) {
    if (self->knocker != NULL && self->generation != knocker_generation()) {
        self->knocker = NULL;
        self->compat->stopped = true;
        self->compat->owners = 1;
        sync_init(&self->compat->guard);
    }
}

/* What the thread and its owner are to share, not yet begun; NULL without memory. */
static struct compat *new_compat(const Knocker *self) {
    struct compat *compat = calloc(1, sizeof *compat);
    if (compat != NULL) {
        sync_init(&compat->guard);
        compat->polling = self->polling;
        compat->sampling = self->sampling;
        compat->sleeping = self->sleeping;
        compat->owners = 2;
    }
    return compat;
}

/* Returns 0, or -1 with an exception set. */
static int start_knocking(Knocker *self) {
    notice_fork(self);
    if (self->knocker != NULL) {
        return 0;
    }
    if (capability.ended) { /* nobody would wait for the thread before its state is gone */
        PyErr_Format(PyExc_RuntimeError, "no thread can be started: %s", is_ending);
        return -1;
    }
    if (!gil_admits_new_thread()) {
        PyErr_SetString(PyExc_RuntimeError, "no thread can be started safely while tracemalloc "
                                            "traces (CPython issue 128679)");
        return -1;
    }
    struct compat *compat = new_compat(self);
    if (compat == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const struct knocker_work work = {compat_begin, compat_pace, compat_sample,
                                      compat_knock, compat_end,  compat};
    self->generation = knocker_generation();
    self->knocker = knocker_start(&work);
    if (self->knocker == NULL) {
        sync_destroy(&compat->guard);
        free(compat);
        PyErr_SetString(PyExc_RuntimeError, "no thread can be started");
        return -1;
    }
    if (self->compat != NULL) {
        release_compat(self->compat);
    }
    self->compat = compat;
    return 0;
}

static PyObject *compat_start(PyObject *object, PyObject *unused) {
    (void)unused;
    int error;
    clock_init();
    hidden_tstate_prepare(); /* stops the world, for which critical sections are left */
    Py_BEGIN_CRITICAL_SECTION(object);
    error = start_knocking((Knocker *)object);
    Py_END_CRITICAL_SECTION();
    return error == 0 ? Py_NewRef(Py_None) : NULL;
}

static void stop_knocking(Knocker *self) {
    notice_fork(self);
    if (self->knocker == NULL) {
        return;
    }
    sync_lock(&self->compat->guard);
    accrue(self->compat, clock_ticks());
    self->compat->stopped = true;
    sync_unlock(&self->compat->guard);
    knocker_stop(self->knocker);
    self->knocker = NULL;
}

static PyObject *compat_stop(PyObject *object, PyObject *unused) {
    (void)unused;
    Py_BEGIN_CRITICAL_SECTION(object);
    stop_knocking((Knocker *)object);
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

/* Ticks, up to now. */
struct times {
    uint64_t waited, sampled;
};

/* What it has measured; with `anew` it measures from here on. */
static struct times read_times(Knocker *self, bool anew) {
    struct times times = {0, 0};
    notice_fork(self);
    struct compat *compat = self->compat;
    if (compat != NULL) {
        sync_lock(&compat->guard);
        accrue(compat, clock_ticks());
        times = (struct times){compat->waited, compat->sampled};
        if (anew) {
            compat->waited = compat->sampled = 0;
        }
        sync_unlock(&compat->guard);
    }
    return times;
}

static PyObject *compat_reset(PyObject *object, PyObject *unused) {
    (void)unused;
    Py_BEGIN_CRITICAL_SECTION(object);
    read_times((Knocker *)object, true);
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

static PyObject *compat_times(PyObject *object, PyObject *unused) {
    (void)unused;
    struct times times;
    Py_BEGIN_CRITICAL_SECTION(object);
    times = read_times((Knocker *)object, false);
    Py_END_CRITICAL_SECTION();
    return Py_BuildValue("dd", clock_seconds(times.waited), clock_seconds(times.sampled));
}

static PyObject *compat_is_running(PyObject *object, void *closure) {
    (void)closure;
    bool running;
    Py_BEGIN_CRITICAL_SECTION(object);
    notice_fork((Knocker *)object);
    running = ((Knocker *)object)->knocker != NULL;
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(running);
}

static int compat_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"polling_us", "sampling_us", "sleeping_us", NULL};
    Knocker *self = (Knocker *)object;
    long long polling, sampling, sleeping;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "LLL:Knocker", names, &polling, &sampling,
                                     &sleeping)) {
        return -1;
    }
    const long long most = 1000000000000; /* eleven days */
    if (polling < 0 || polling > most || sampling < 0 || sampling > most || sleeping < 0 ||
        sleeping > most) {
        PyErr_SetString(PyExc_ValueError, "intervals must be from 0 to 10**12 microseconds");
        return -1;
    }
    self->polling = (uint64_t)polling * 1000;
    self->sampling = (uint64_t)sampling * 1000;
    self->sleeping = (uint64_t)sleeping * 1000;
    return 0;
}

static void compat_dealloc(PyObject *object) {
    Knocker *self = (Knocker *)object;
    PyTypeObject *type = Py_TYPE(object);
    stop_knocking(self);
    if (self->compat != NULL) {
        release_compat(self->compat);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(compat_doc, "Knocker(polling_us, sampling_us, sleeping_us)\n--\n\n"
                         "A knocking thread with the compat cycle of gilknocker.");
PyDoc_STRVAR(start_doc, "start($self, /)\n--\n\nStart knocking; does nothing when it runs.");
PyDoc_STRVAR(stop_doc, "stop($self, /)\n--\n\nStop knocking, without waiting; the times stay.");
PyDoc_STRVAR(reset_doc, "reset($self, /)\n--\n\nBegin both times anew.");
PyDoc_STRVAR(times_doc,
             "times($self, /)\n--\n\nReturn (seconds waiting, seconds sampling) up to now.");

static PyMethodDef compat_methods[] = {
    {"start", compat_start, METH_NOARGS, start_doc},
    {"stop", compat_stop, METH_NOARGS, stop_doc},
    {"reset", compat_reset, METH_NOARGS, reset_doc},
    {"times", compat_times, METH_NOARGS, times_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef compat_properties[] = {
    {"is_running", compat_is_running, NULL, "Whether it was started and not stopped since.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot compat_slots[] = {
    {Py_tp_doc, (void *)compat_doc},   {Py_tp_init, compat_init},
    {Py_tp_dealloc, compat_dealloc},   {Py_tp_methods, compat_methods},
    {Py_tp_getset, compat_properties}, {0, NULL},
};

PyType_Spec gilknocker_compat_spec = {
    .name = "pytest_gilknock._core.Knocker",
    .basicsize = sizeof(Knocker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = compat_slots,
};
