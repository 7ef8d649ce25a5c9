/* The knocker of gilknocker's interface: samples for a while, knocking at short intervals, then
 * sleeps for a while. Each time it samples in a new thread, because gilknocker does and a new thread
 * is not treated like one that has slept: on Linux 6.18, with both processors busy, its knocks are
 * answered a quarter later.
 *
 * Its metric is time waiting / time sampling. Both are told up to the moment of the question: the
 * sampling phase under way and the knock under way count. The state is shared by the owner and the
 * knocking thread, and lives until both are done with it; so stopping waits for nobody.
 */
#include <Python.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cpython/gil.h"
#include "cpython/hidden_tstate.h"
#include "module.h"
#include "native/accounting.h"
#include "native/clock.h"
#include "native/knocker.h"
#include "native/sync.h"

struct duty {
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
    struct duty *duty;                    /* owned share; NULL before the first start */
    struct knocker *knocker;              /* owned; NULL when not running */
    unsigned generation;                  /* knocker_generation() at the start */
} Knocker;

static void release_duty(struct duty *duty) {
    sync_lock(&duty->guard);
    int left = --duty->owners;
    sync_unlock(&duty->guard);
    if (left == 0) {
        sync_destroy(&duty->guard);
        free(duty);
    }
}

/* Bring the sums up to now. The guard is held. */
static void settle(struct duty *duty, uint64_t now) {
    if (duty->sampling_since != 0 && !duty->stopped) {
        duty->sampled += clock_elapsed(duty->sampling_since, now);
        duty->sampling_since = now;
    }
    if (duty->asked != 0 && !duty->stopped) {
        duty->waited += clock_elapsed(duty->asked, now);
        duty->asked = now;
    }
}

/* --- the thread's side --- */

static void duty_begin(void *context) {
    struct duty *duty = context;
    accounting_disown_self();
    duty->state = unlisted_new();
    sync_lock(&duty->guard);
    if (duty->phase_start == 0) {
        duty->phase_start = duty->sampling_since = clock_ticks();
    }
    sync_unlock(&duty->guard);
}

static uint64_t duty_pace(void *context) {
    struct duty *duty = context;
    if (duty->renewing) {
        duty->renewing = false;
        return KNOCKER_ANEW;
    }
    uint64_t pause = duty->polling;
    sync_lock(&duty->guard);
    uint64_t now = clock_ticks();
    uint64_t lasted = (uint64_t)(clock_seconds(clock_elapsed(duty->phase_start, now)) * 1e9);
    if (duty->sleeping != 0 && duty->sampling_since != 0 && lasted >= duty->sampling) {
        settle(duty, now);
        duty->sampling_since = 0;
        duty->asleep = true;
        pause = duty->sleeping;
    }
    sync_unlock(&duty->guard);
    return pause;
}

static void duty_look(void *context) { (void)context; }

/* Before it samples again: leave that to a new thread, unless that cannot have a thread state now. */
static void retire(struct duty *duty) {
    if (duty->state == NULL) {
        return;
    }
    PyEval_RestoreThread(duty->state);
    duty->renewing = gil_admits_new_thread();
    if (duty->renewing) {
        unlisted_delete(duty->state);
        duty->state = NULL;
    } else {
        PyEval_SaveThread();
    }
}

static void duty_knock(void *context) {
    struct duty *duty = context;
    if (duty->asleep) {
        duty->asleep = false;
        retire(duty);
        return;
    }
    sync_lock(&duty->guard);
    uint64_t asked = clock_ticks();
    if (duty->sampling_since == 0) {
        duty->phase_start = duty->sampling_since = asked;
    }
    duty->asked = asked;
    sync_unlock(&duty->guard);
    if (duty->state == NULL) {
        duty->state = unlisted_new();
    }
    if (duty->state != NULL) { /* else no memory: this knock is not made */
        PyEval_RestoreThread(duty->state);
    }
    sync_lock(&duty->guard);
    settle(duty, clock_ticks());
    duty->asked = 0;
    sync_unlock(&duty->guard);
    if (duty->state != NULL) {
        PyEval_SaveThread();
    }
}

static void duty_end(void *context) {
    struct duty *duty = context;
    if (duty->state != NULL) {
        PyEval_RestoreThread(duty->state);
        unlisted_delete(duty->state);
    }
    release_duty(duty);
}

/* --- the owner's side; the GIL is held --- */

/* In a forked child the thread is gone, perhaps with the guard locked: what it told stays. */
static void notice_fork(Knocker *self) {
    if (self->knocker != NULL && self->generation != knocker_generation()) {
        self->knocker = NULL;
        self->duty->stopped = true;
        self->duty->owners = 1;
        sync_init(&self->duty->guard);
    }
}

static PyObject *duty_start(PyObject *object, PyObject *unused) {
    (void)unused;
    Knocker *self = (Knocker *)object;
    notice_fork(self);
    if (self->knocker != NULL) {
        Py_RETURN_NONE;
    }
    if (!gil_admits_new_thread()) {
        PyErr_SetString(PyExc_RuntimeError, "no thread can be started safely while tracemalloc "
                                            "traces (CPython issue 128679)");
        return NULL;
    }
    clock_init();
    struct duty *duty = calloc(1, sizeof *duty);
    if (duty == NULL) {
        return PyErr_NoMemory();
    }
    sync_init(&duty->guard);
    duty->polling = self->polling;
    duty->sampling = self->sampling;
    duty->sleeping = self->sleeping;
    duty->owners = 2;
    const struct knocker_work work = {duty_begin, duty_pace, duty_look, duty_knock, duty_end, duty};
    self->generation = knocker_generation();
    self->knocker = knocker_start(&work);
    if (self->knocker == NULL) {
        sync_destroy(&duty->guard);
        free(duty);
        PyErr_SetString(PyExc_RuntimeError, "no thread can be started");
        return NULL;
    }
    if (self->duty != NULL) {
        release_duty(self->duty);
    }
    self->duty = duty;
    Py_RETURN_NONE;
}

static void stop_knocking(Knocker *self) {
    notice_fork(self);
    if (self->knocker == NULL) {
        return;
    }
    sync_lock(&self->duty->guard);
    settle(self->duty, clock_ticks());
    self->duty->stopped = true;
    sync_unlock(&self->duty->guard);
    knocker_stop(self->knocker);
    self->knocker = NULL;
}

static PyObject *duty_stop(PyObject *object, PyObject *unused) {
    (void)unused;
    stop_knocking((Knocker *)object);
    Py_RETURN_NONE;
}

static PyObject *duty_reset(PyObject *object, PyObject *unused) {
    (void)unused;
    notice_fork((Knocker *)object);
    struct duty *duty = ((Knocker *)object)->duty;
    if (duty != NULL) {
        sync_lock(&duty->guard);
        settle(duty, clock_ticks());
        duty->waited = duty->sampled = 0;
        sync_unlock(&duty->guard);
    }
    Py_RETURN_NONE;
}

static PyObject *duty_times(PyObject *object, PyObject *unused) {
    (void)unused;
    notice_fork((Knocker *)object);
    struct duty *duty = ((Knocker *)object)->duty;
    uint64_t waited = 0, sampled = 0;
    if (duty != NULL) {
        sync_lock(&duty->guard);
        settle(duty, clock_ticks());
        waited = duty->waited;
        sampled = duty->sampled;
        sync_unlock(&duty->guard);
    }
    return Py_BuildValue("dd", clock_seconds(waited), clock_seconds(sampled));
}

static PyObject *duty_is_running(PyObject *object, void *closure) {
    (void)closure;
    notice_fork((Knocker *)object);
    return PyBool_FromLong(((Knocker *)object)->knocker != NULL);
}

static int duty_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
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

static void duty_dealloc(PyObject *object) {
    Knocker *self = (Knocker *)object;
    PyTypeObject *type = Py_TYPE(object);
    stop_knocking(self);
    if (self->duty != NULL) {
        release_duty(self->duty);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(duty_doc, "Knocker(polling_us, sampling_us, sleeping_us)\n--\n\n"
                       "A knocking thread with the duty cycle of gilknocker.");
PyDoc_STRVAR(start_doc, "start($self, /)\n--\n\nStart knocking; does nothing when it runs.");
PyDoc_STRVAR(stop_doc, "stop($self, /)\n--\n\nStop knocking, without waiting; the times stay.");
PyDoc_STRVAR(reset_doc, "reset($self, /)\n--\n\nBegin both times anew.");
PyDoc_STRVAR(times_doc,
             "times($self, /)\n--\n\nReturn (seconds waiting, seconds sampling) up to now.");

static PyMethodDef duty_methods[] = {
    {"start", duty_start, METH_NOARGS, start_doc},
    {"stop", duty_stop, METH_NOARGS, stop_doc},
    {"reset", duty_reset, METH_NOARGS, reset_doc},
    {"times", duty_times, METH_NOARGS, times_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef duty_properties[] = {
    {"is_running", duty_is_running, NULL, "Whether it was started and not stopped since.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot duty_slots[] = {
    {Py_tp_doc, (void *)duty_doc}, {Py_tp_init, duty_init},         {Py_tp_dealloc, duty_dealloc},
    {Py_tp_methods, duty_methods}, {Py_tp_getset, duty_properties}, {0, NULL},
};

PyType_Spec duty_spec = {
    .name = "pytest_gilknock._core.Knocker",
    .basicsize = sizeof(Knocker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = duty_slots,
};
