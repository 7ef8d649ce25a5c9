/*
 * Loads that know their own truth.
 *
 * A load takes and releases the GIL through the public API alone and stamps CLOCK_MONOTONIC around
 * every call, so that it knows from outside how long the GIL was held and how long each thread
 * waited:
 *
 *     wants              took                     lets go            gone
 *       | RestoreThread   |         hold            | SaveThread      |   free
 *   ----+-----------------+-------------------------+-----------------+---------
 *       |<---- wait ----->|<--------- held -------->|
 *
 * The GIL changes hands somewhere inside the two calls, and nobody's stamps can tell where. So
 * every load also sums up the time for which its stamps leave open whether the GIL was held:
 *
 *     handing over    from when the GIL had been let go and was wanted until it was had
 *     letting go      within SaveThread, unless another thread took the GIL meanwhile
 *     made to switch  within SaveThread, when another did: a thread that has been asked to drop
 *                     the GIL is kept there until the other has it. It does not want the GIL, but
 *                     cannot go on either
 *
 * Mostly that is what the calls cost, which every run measures without contention. It is more when
 * a thread has to be woken first, or is stopped by the operating system within the call.
 *
 * Only one thread holds the GIL at a time: the time it was held is the plain sum over the threads,
 * the coordinator among them. The coordinator calls the instrument's begin and end from C, with the
 * GIL held and no bytecode in between, where an eval loop could be made to hand the GIL over.
 *
 * One run at a time for each process. Accounts of threads are plain C data: an account is written
 * by its own thread while that thread holds the GIL, and read by whoever holds it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 1025, PAIRS = 1001 };

static const int64_t SECOND = 1000000000;
static const int64_t GATHER_LIMIT = 30 * 1000000000LL;

/* One thread's account. `wants` is when the wait in progress began, 0 without one: the one
 * field that is written without the GIL. */
struct account {
    long native_id;
    int64_t held, waited, takes;
    int64_t handing_over, letting_go, made_to_switch;
    _Atomic int64_t wants;
} __attribute__((aligned(128)));

static struct account accounts[MAX_THREADS];
static int account_count; /* under the GIL */
static atomic_int parked;
static atomic_bool stopping;
static int64_t let_go_at; /* by whoever had the GIL last; under the GIL */
static atomic_long take_count;

static pthread_mutex_t gate_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_opened = PTHREAD_COND_INITIALIZER;
static bool gate_open; /* under gate_mutex */

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * SECOND + at.tv_nsec;
}

/* Burn CPU until `deadline`; returns the stamp that ended it. */
static int64_t spin_until(int64_t deadline) {
    int64_t at;
    while ((at = now_ns()) < deadline) {
    }
    return at;
}

static void sleep_until(int64_t deadline) {
    struct timespec at = {deadline / SECOND, deadline % SECOND};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

/* splitmix64 (Steele, Lea, Flood 2014): a full-period generator in one word of state. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* `mean` itself, or a length drawn evenly from 0 to twice that. */
static int64_t draw(int64_t mean, bool random, uint64_t *state) {
    return random ? (int64_t)(next_random(state) % (uint64_t)(2 * mean + 1)) : mean;
}

/* Open an account for the calling thread, which holds the GIL. NULL with an exception when
 * there are too many. The account stays the table's. */
static struct account *open_account(void) {
    if (account_count == MAX_THREADS) {
        PyErr_Format(PyExc_RuntimeError, "at most %d threads in one run", MAX_THREADS);
        return NULL;
    }
    struct account *mine = &accounts[account_count++];
    *mine = (struct account){.native_id = syscall(SYS_gettid)};
    return mine;
}

/* Stand at the gate until it opens; the caller has let go of the GIL. */
static void wait_at_gate(void) {
    pthread_mutex_lock(&gate_mutex);
    atomic_fetch_add(&parked, 1);
    while (!gate_open) {
        pthread_cond_wait(&gate_opened, &gate_mutex);
    }
    pthread_mutex_unlock(&gate_mutex);
}

static void set_gate(bool open) {
    pthread_mutex_lock(&gate_mutex);
    gate_open = open;
    pthread_cond_broadcast(&gate_opened);
    pthread_mutex_unlock(&gate_mutex);
}

/* Take the GIL for `state` and book the wait; returns the stamp taken once it was had. */
static int64_t take(struct account *mine, PyThreadState *state) {
    int64_t wants = now_ns();
    atomic_store_explicit(&mine->wants, wants, memory_order_relaxed);
    PyEval_RestoreThread(state);
    int64_t took = now_ns();
    atomic_store_explicit(&mine->wants, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&take_count, 1, memory_order_relaxed);
    mine->waited += took - wants;
    mine->handing_over += took - (wants > let_go_at ? wants : let_go_at);
    mine->takes++;
    return took;
}

/* Let go of the GIL, had since `took`, and book the hold, which ended at `lets_go`. */
static PyThreadState *let_go(struct account *mine, int64_t took, int64_t lets_go) {
    mine->held += lets_go - took;
    let_go_at = lets_go;
    long takes = atomic_load_explicit(&take_count, memory_order_relaxed);
    PyThreadState *state = PyEval_SaveThread();
    int64_t gone = now_ns();
    bool untaken = atomic_load_explicit(&take_count, memory_order_relaxed) == takes;
    *(untaken ? &mine->letting_go : &mine->made_to_switch) += gone - lets_go;
    return state;
}

PyDoc_STRVAR(
    hold_release_doc,
    "hold_release(hold_ns, free_ns, sleeps, random, seed)\n--\n\n"
    "Wait for the run to open, then hold the GIL for hold_ns and do without it for free_ns,\n"
    "over and over, until the run is over. Holding always spins; doing without sleeps or\n"
    "spins. With random, each length is drawn evenly from 0 to twice the mean.");

static PyObject *hold_release(PyObject *module, PyObject *args) {
    (void)module;
    long long hold_ns, free_ns;
    int sleeps, random;
    unsigned long long seed;
    if (!PyArg_ParseTuple(args, "LLppK", &hold_ns, &free_ns, &sleeps, &random, &seed)) {
        return NULL;
    }
    struct account *mine = open_account();
    if (mine == NULL) {
        return NULL;
    }
    uint64_t rng = seed;
    PyThreadState *state = PyEval_SaveThread();
    wait_at_gate();
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        int64_t took = take(mine, state);
        int64_t lets_go = spin_until(took + draw(hold_ns, random, &rng));
        state = let_go(mine, took, lets_go);
        int64_t back = lets_go + draw(free_ns, random, &rng);
        if (sleeps) {
            sleep_until(back);
        } else {
            spin_until(back);
        }
    }
    PyEval_RestoreThread(state);
    Py_RETURN_NONE;
}

/* When the calling thread was last seen running by enter() or tick(). */
static _Thread_local int64_t last_seen;

PyDoc_STRVAR(
    enter_doc,
    "enter()\n--\n\n"
    "Wait for the run to open, then take the GIL; return when it was wanted and when it was\n"
    "had (ns). For threads that go on in Python, with tick().");

static PyObject *enter(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    PyThreadState *state = PyEval_SaveThread();
    wait_at_gate();
    int64_t wants = now_ns();
    PyEval_RestoreThread(state);
    last_seen = now_ns();
    return Py_BuildValue("LL", (long long)wants, (long long)last_seen);
}

PyDoc_STRVAR(
    tick_doc,
    "tick(spin_ns, gap_ns, gaps)\n--\n\n"
    "Hold the GIL for spin_ns; return whether the run goes on. When more than gap_ns have\n"
    "passed since the last tick ended, append (when that was, when this one began) to the\n"
    "list. Between two ticks there is nothing but the bytecode of a loop, where the eval loop\n"
    "hands the GIL over when it is asked to.");

static PyObject *tick(PyObject *module, PyObject *args) {
    (void)module;
    int64_t began = now_ns();
    long long spin_ns, gap_ns;
    PyObject *gaps;
    if (!PyArg_ParseTuple(args, "LLO!", &spin_ns, &gap_ns, &PyList_Type, &gaps)) {
        return NULL;
    }
    if (began - last_seen > gap_ns) {
        PyObject *gap = Py_BuildValue("LL", (long long)last_seen, (long long)began);
        int error = gap == NULL ? -1 : PyList_Append(gaps, gap);
        Py_XDECREF(gap);
        if (error < 0) {
            return NULL;
        }
    }
    PyObject *goes_on = atomic_load_explicit(&stopping, memory_order_relaxed) ? Py_False : Py_True;
    Py_INCREF(goes_on);
    last_seen = spin_until(began + spin_ns);
    return goes_on;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Median cost of a release and of a take, each between two stamps, while nobody else wants the
 * GIL. */
static void measure_calls(int64_t *release_ns, int64_t *take_ns) {
    static int64_t releases[PAIRS], takes[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        int64_t lets_go = now_ns();
        PyThreadState *state = PyEval_SaveThread();
        int64_t gone = now_ns();
        PyEval_RestoreThread(state);
        int64_t took = now_ns();
        releases[i] = gone - lets_go;
        takes[i] = took - gone;
    }
    qsort(releases, PAIRS, sizeof releases[0], by_size);
    qsort(takes, PAIRS, sizeof takes[0], by_size);
    *release_ns = releases[PAIRS / 2];
    *take_ns = takes[PAIRS / 2];
}

/* Wait, without the GIL, until `threads` stand at the gate. False when they have not come in
 * time. */
static bool gather(int threads) {
    int64_t give_up = now_ns() + GATHER_LIMIT;
    PyThreadState *state = PyEval_SaveThread();
    while (atomic_load(&parked) < threads && now_ns() < give_up) {
        sleep_until(now_ns() + SECOND / 10000);
    }
    PyEval_RestoreThread(state);
    return atomic_load(&parked) >= threads;
}

/* The accounts as a list of (native id, held, waited, takes, handing over, letting go, made to
 * switch, wants); a wait in progress is not in `waited` but began at `wants`. New reference,
 * or NULL with an exception. */
static PyObject *list_accounts(void) {
    PyObject *list = PyList_New(account_count);
    for (int i = 0; list != NULL && i < account_count; i++) {
        struct account *a = &accounts[i];
        long long wants = atomic_load_explicit(&a->wants, memory_order_relaxed);
        PyObject *row =
            Py_BuildValue("lLLLLLLL", a->native_id, (long long)a->held, (long long)a->waited,
                          (long long)a->takes, (long long)a->handing_over, (long long)a->letting_go,
                          (long long)a->made_to_switch, wants);
        if (row == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, i, row);
        }
    }
    return list;
}

/* One measured interval, between begin and end, with the gate closed before and open after.
 * `mine` is the caller's account. Returns what run() returns, or NULL with an exception. */
static PyObject *coordinate(struct account *mine, int64_t duration_ns, PyObject *begin,
                            PyObject *end) {
    int64_t release_ns, take_ns;
    measure_calls(&release_ns, &take_ns);

    int64_t before_begin = now_ns();
    PyObject *begun = PyObject_CallNoArgs(begin);
    int64_t opened = now_ns();
    if (begun == NULL) {
        return NULL;
    }
    Py_DECREF(begun);

    int64_t lets_go = now_ns();
    PyThreadState *state = let_go(mine, opened, lets_go);
    set_gate(true);
    sleep_until(opened + duration_ns);
    int64_t took = take(mine, state);
    PyObject *list = list_accounts();
    if (list == NULL) {
        return NULL;
    }

    int64_t closed = now_ns();
    PyObject *seen = PyObject_CallNoArgs(end);
    int64_t after_end = now_ns();
    if (seen == NULL) {
        Py_DECREF(list);
        return NULL;
    }
    return Py_BuildValue("N(LLLLLL)(LL)N", seen, (long long)before_begin, (long long)opened,
                         (long long)lets_go, (long long)took, (long long)closed,
                         (long long)after_end, (long long)release_ns, (long long)take_ns, list);
}

PyDoc_STRVAR(
    run_doc,
    "run(threads, duration_ns, begin, end)\n--\n\n"
    "Wait until that many threads stand at the gate, call begin, let them loose for\n"
    "duration_ns, call end, tell them to stop. Returns what end returned; the coordinator's\n"
    "stamps: before begin, opened, let go, took, closed, after end; the cost of a release and\n"
    "of a take; for the coordinator and each thread that holds and releases its native id,\n"
    "held (the coordinator's last hold is not in it), waited, takes, handing over, letting\n"
    "go, made to switch, and since when it wants the GIL or 0. All in ns, stamps of\n"
    "CLOCK_MONOTONIC.");

static PyObject *run(PyObject *module, PyObject *args) {
    (void)module;
    int threads;
    long long duration_ns;
    PyObject *begin, *end, *result = NULL;
    if (!PyArg_ParseTuple(args, "iLOO", &threads, &duration_ns, &begin, &end)) {
        return NULL;
    }
    struct account *mine = open_account();
    if (mine == NULL) {
        /* told by open_account */
    } else if (gather(threads)) {
        result = coordinate(mine, duration_ns, begin, end);
    } else {
        PyErr_Format(PyExc_TimeoutError, "%d of %d threads came to the gate", atomic_load(&parked),
                     threads);
    }
    atomic_store(&stopping, true);
    set_gate(true);
    return result;
}

PyDoc_STRVAR(
    reset_doc,
    "reset()\n--\n\n"
    "Make ready for a run: no accounts, the gate closed. Every thread of the last run has\n"
    "ended.");

static PyObject *reset(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    account_count = 0;
    atomic_store(&parked, 0);
    atomic_store(&stopping, false);
    set_gate(false);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pairs_doc, "pairs(count)\n--\n\n"
                        "Release and take the GIL that many times; return the ns it took.");

static PyObject *pairs(PyObject *module, PyObject *arg) {
    (void)module;
    long count = PyLong_AsLong(arg);
    if (count == -1 && PyErr_Occurred()) {
        return NULL;
    }
    int64_t start = now_ns();
    for (long i = 0; i < count; i++) {
        PyThreadState *state = PyEval_SaveThread();
        PyEval_RestoreThread(state);
    }
    return PyLong_FromLongLong(now_ns() - start);
}

PyDoc_STRVAR(
    volley_doc,
    "volley(side, count, line_up_ns)\n--\n\n"
    "One of two sides (0 and 1) that hand the GIL to each other `count` times. Each keeps it\n"
    "until the other has set out to take it, and for line_up_ns more, time enough to be made\n"
    "to wait.");

static PyObject *volley(PyObject *module, PyObject *args) {
    static atomic_int present, turn;
    static atomic_bool sets_out;
    (void)module;
    int side;
    long count;
    long long line_up_ns;
    if (!PyArg_ParseTuple(args, "ilL", &side, &count, &line_up_ns)) {
        return NULL;
    }
    PyThreadState *state = PyEval_SaveThread();
    atomic_fetch_add(&present, 1);
    while (atomic_load(&present) < 2) {
        sched_yield();
    }
    for (long i = 0; i < count; i++) {
        while (atomic_load(&turn) != side) {
            sched_yield();
        }
        atomic_store(&sets_out, true);
        PyEval_RestoreThread(state);
        atomic_store(&sets_out, false);
        atomic_store(&turn, 1 - side);
        bool last = side == 1 && i == count - 1;
        while (!last && !atomic_load(&sets_out)) {
            sched_yield();
        }
        spin_until(now_ns() + line_up_ns);
        state = PyEval_SaveThread();
    }
    atomic_fetch_sub(&present, 1);
    PyEval_RestoreThread(state);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"hold_release", hold_release, METH_VARARGS, hold_release_doc},
    {"enter", enter, METH_NOARGS, enter_doc},
    {"tick", tick, METH_VARARGS, tick_doc},
    {"run", run, METH_VARARGS, run_doc},
    {"reset", reset, METH_NOARGS, reset_doc},
    {"pairs", pairs, METH_O, pairs_doc},
    {"volley", volley, METH_VARARGS, volley_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_loads", .m_doc = "Loads that know their own truth.",
    .m_methods = methods,  .m_slots = slots,
};

PyMODINIT_FUNC PyInit__loads(void) { return PyModuleDef_Init(&definition); }
