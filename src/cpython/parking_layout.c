/* Sources: Python/parking_lot.c (`struct wait_entry`: an argument, the address that the thread parks on,
 * the semaphore), Python/lock.c (`struct mutex_entry`), Python/critical_section.c, Python/pystate.c
 * (tstate_wait_attach), Modules/_threadmodule.c and Modules/_queuemodule.c of CPython 3.13 to 3.15.
 *
 * What parks, and how it is known:
 *
 *     on its own thread state's `state`        the world is stopped. Nothing else parks there.
 *     a critical section's mutex               the thread's innermost critical section has no mutex
 *                                              yet: it is being entered, so its object lives, and the
 *                                              address is that of `ob_mutex` in it
 *     any other PyMutex                        the argument is an entry on the thread's own stack whose
 *                                              first word is a moment of the monotonic clock (from when
 *                                              on the lock is handed over) about now, and the mutex says
 *                                              that a thread is parked for it, unless it was released
 *                                              just now. In front of a lock object's mutex lies its type
 *     an event, a flag                         the argument is NULL
 *     SimpleQueue.get()                        the argument is where the item is put, perhaps before the
 *                                              thread sleeps: the address of an object may be a moment of
 *                                              the clock, too. The byte that it parks on is 0 or 1
 *     the parking lot's own raw mutexes        have no address; a list of waiters is where others have it
 *
 * All but the last ends in a semaphore on the thread's own stack, called from sites that are known.
 *
 * Locks that are semaphores themselves (PyThread_acquire_lock, of which up to 3.13 RLock is one) do not lie
 * there. Their sites cannot all be tried: compilers put copies of the call where only the interpreter itself
 * comes by, as for the lock of a file, or after a signal. The one other semaphore off the stack is that of a
 * SemLock (Modules/_multiprocessing/semaphore.c): where this module is built into the interpreter, only sites
 * that were tried count. Such a lock is asked for by a wait even where it is free.
 * A signal ends the wait for such a lock, and where its handler raises nothing the thread waits on: its Python
 * functions are the same, at the same instructions, it has not let the lock go meanwhile, and the moment at
 * which it gives up lies ahead. Where the handler raises and a loop asks for the same lock again by the same
 * instruction, at once, nothing tells that from waiting on: it counts as one wait.
 *
 * threading.Condition.wait() sleeps until somebody releases a lock that it has locked itself: nobody is
 * kept from anything by that. What its local variable `waiter` holds is that lock. The function is known
 * by its names, as the module may be imported at any time.
 *
 * This runs as a thread is about to wait, often for a few microseconds: it reads the mutex, its object and
 * its own frame directly, as all of them live while it waits. A system call is made only for memory that may
 * be gone: the page before a mutex that lies at the beginning of its own, and the type of an object, unless
 * it is one that is known never to go. */
#define Py_BUILD_CORE 1
#include "cpython/parking_layout.h"

#include <semaphore.h>
#include <stddef.h>

#if PY_VERSION_HEX >= 0x030D0000

#include "internal/pycore_lock.h"
#include "internal/pycore_runtime.h"

#include "cpython/frame.h"
#include "cpython/text_reader.h"
#include "native/clock.h"
#include "native/own_memory.h"

#define ENTRY_REACH 8192       /* from the semaphore to the caller's caller's entry */
#define HANDED_OVER_NS 1000000 /* after so long a wait a mutex is handed over */
#define JUST_RELEASED_NS (100 * 1000000)

static struct parking_layout layout;

static const struct frame_variable condition_waiter = {"threading.py", "Condition.wait", "waiter"};

void parking_layout_set(const struct parking_layout *learned) { layout = *learned; }

bool parking_layout_is_site(const uintptr_t *sites, uintptr_t site) {
    for (int i = 0; i < PARKING_SITES; i++) {
        if (sites[i] == site) {
            return true;
        }
    }
    return false;
}

bool parking_layout_add_site(uintptr_t *sites, uintptr_t site) {
    for (int i = 0; i < PARKING_SITES; i++) {
        if (sites[i] == site || sites[i] == 0) {
            sites[i] = site;
            return true;
        }
    }
    return false;
}

/* As parking_layout_deadline, `now` being what the clock says. */
static int64_t deadline_at(uintptr_t semaphore, uintptr_t argument, int64_t now) {
    if (argument % sizeof(int64_t) != 0 || argument <= semaphore ||
        argument - semaphore > ENTRY_REACH) {
        return 0;
    }
    int64_t deadline = *(const volatile int64_t *)argument;
    return deadline > 0 && deadline <= now + HANDED_OVER_NS ? deadline : 0;
}

int64_t parking_layout_deadline(uintptr_t semaphore, uintptr_t argument) {
    return deadline_at(semaphore, argument, (int64_t)clock_system_ns());
}

/* Whether what a thread parks on with such a deadline is a mutex. */
static bool is_mutex(uintptr_t address, int64_t deadline, int64_t now) {
    uint8_t bits = __atomic_load_n((const uint8_t *)address, __ATOMIC_RELAXED);
    return (bits & _Py_HAS_PARKED) != 0 || deadline > now - JUST_RELEASED_NS;
}

static bool is_of_runtime(uintptr_t address) {
    return address - (uintptr_t)&_PyRuntime < sizeof _PyRuntime;
}

#ifdef Py_GIL_DISABLED

/* Types that are no heap types: they are there until the process ends. Each is its address and, in the
 * lowest 16 bits, the number of its name. Atomic; one takes the place of another. */
#define LASTING_TYPES 64
static uint64_t lasting_types[LASTING_TYPES];

static uint64_t *lasting_place(uint64_t type) {
    return &lasting_types[(type * UINT64_C(0x9E3779B97F4A7C15)) >> 58 & (LASTING_TYPES - 1)];
}

static uint32_t lasting_number(uint64_t type) {
    uint64_t entry = __atomic_load_n(lasting_place(type), __ATOMIC_RELAXED);
    return entry >> 16 == type ? (uint32_t)(entry & 0xFFFF) : 0;
}

static void remember_lasting(uint64_t type, uint32_t number) {
    if (type >> 48 == 0) {
        __atomic_store_n(lasting_place(type), type << 16 | number, __ATOMIC_RELAXED);
    }
}

/* The number of a type's name; 0 if that is no type. The object of that type is alive, but may be given
 * another type meanwhile, so nothing is taken on trust. */
static uint32_t type_of(const PyObject *object) {
    const PyTypeObject *type = *(PyTypeObject *const volatile *)&object->ob_type;
    uint32_t number = lasting_number((uintptr_t)type);
    if (number != 0) {
        return number;
    }
    union {
        PyTypeObject type;
        char bytes[offsetof(PyTypeObject, tp_flags) + sizeof(unsigned long)];
    } copy;
    char name[PARKING_TYPE_SIZE];
    if ((uintptr_t)type % sizeof(void *) != 0 || type == NULL ||
        !own_memory_read(&copy, type, sizeof copy.bytes)) {
        return 0;
    }
    const PyTypeObject *metatype = Py_TYPE((PyObject *)&copy.type);
    unsigned long flags = copy.type.tp_flags;
    if ((uintptr_t)metatype % sizeof(void *) != 0 || metatype == NULL ||
        (flags & Py_TPFLAGS_READY) == 0 ||
        text_reader_copy_c_string(copy.type.tp_name, name, sizeof name) == 0) {
        return 0;
    }
    number = parking_type(name);
    if ((flags & Py_TPFLAGS_HEAPTYPE) == 0) {
        remember_lasting((uintptr_t)type, number);
    }
    return number;
}

/* Whether the thread is entering a critical section, whose mutex that is. */
static bool enters_critical_section(const PyThreadState *state, uintptr_t address) {
    const PyCriticalSection *section =
        (const PyCriticalSection *)(state->critical_section & ~(uintptr_t)3);
    return section != NULL && section->_cs_mutex == NULL &&
           address % sizeof(void *) == offsetof(PyObject, ob_mutex) % sizeof(void *) &&
           !is_of_runtime(address);
}

#endif

/* What lies in front of an address that is a mutex: the type, if it is a lock object's. The mutex may be
 * the first thing in its memory; what is before it is looked at, whatever it is. */
__attribute__((no_sanitize("address", "thread"))) static const void *
word_before(uintptr_t address) {
    const void *word = NULL;
    if (address % sizeof word != 0) {
        return NULL;
    }
    if (address % OWN_MEMORY_PAGE != 0) {
        return *(const void *const volatile *)(address - sizeof word);
    }
    return own_memory_read(&word, (const void *)(address - sizeof word), sizeof word) ? word : NULL;
}

static bool sleeps_in_condition(PyThreadState *state, uintptr_t address) {
    return frame_has_local(state, &condition_waiter,
                           (const void *)(address - PARKING_MUTEX_OFFSET));
}

/* `deadline`: of handing the mutex over, which shows when the thread began to ask for it. */
static struct parking_purpose of_mutex(PyThreadState *state, uintptr_t address, int64_t deadline,
                                       int64_t now) {
    int64_t ago = now - (deadline - HANDED_OVER_NS);
    struct parking_purpose purpose = {.kind = PARKING_INTERPRETER,
                                      .identity = (uint64_t)deadline ^ (address << 20),
                                      .began_ago_ns = ago > 0 ? (uint64_t)ago : 0,
                                      .is_parked = true};
#ifdef Py_GIL_DISABLED
    if (enters_critical_section(state, address)) {
        purpose.type = type_of((const PyObject *)(address - offsetof(PyObject, ob_mutex)));
        if (purpose.type != 0) {
            purpose.kind = PARKING_OBJECT;
            return purpose;
        }
    }
#endif
    if (is_of_runtime(address)) {
        return purpose;
    }
    const void *before = word_before(address);
    bool is_lock = before != NULL && (before == layout.lock_type || before == layout.rlock_type);
    /* Another interpreter has types of its own for its locks. */
    bool may_be_lock = is_lock || state->interp != PyInterpreterState_Main();
    if (may_be_lock && sleeps_in_condition(state, address)) {
        purpose.kind = PARKING_SLEEP;
    } else if (may_be_lock) {
        purpose.kind = is_lock ? PARKING_PROGRAM : PARKING_UNPROVEN;
    }
    return purpose;
}

static bool is_free(uintptr_t semaphore) {
    int value;
    return sem_getvalue((sem_t *)semaphore, &value) == 0 && value > 0;
}

/* What the sleeps of one wait for what is at that address have in common, if the thread goes to sleep again
 * where it stands: its functions and their instructions. 0: not known. */
static uint64_t attempt_at(PyThreadState *state, uintptr_t address) {
    uint64_t trail = frame_trail(state);
    return trail != 0 ? (trail ^ (uint64_t)address << 16) | 1 : 0;
}

struct parking_purpose parking_layout_classify(const struct parking_call *call) {
    struct parking_purpose purpose = {.kind = PARKING_SLEEP};
    PyThreadState *state = PyGILState_GetThisThreadState();
    if (state == NULL) {
        return purpose; /* no thread that runs Python */
    }
    if (!parking_is_on_stack(call)) {
        if ((layout.all_are_thread_sites ||
             parking_layout_is_site(layout.thread_sites, call->site)) &&
            !is_free(call->semaphore)) {
            purpose.kind = PARKING_PROGRAM;
            purpose.identity = attempt_at(state, call->semaphore);
            purpose.after = PARKING_SIGNALLED;
            purpose.gap_ns = PARKING_HANDLER_GAP_NS;
            purpose.until = call->until;
        }
        return purpose;
    }
    if (!parking_layout_is_site(layout.sites, call->site)) {
        purpose.kind = PARKING_UNPROVEN;
        return purpose;
    }
    const uintptr_t *words = (const uintptr_t *)call->semaphore;
    uintptr_t argument = words[-2], address = words[-1];
    if (address == 0) {
        /* A raw mutex with one waiter. In some versions that is not sure to wait until its semaphore is
         * posted, if a signal wakes it: who lets the mutex go must not take its time to look. */
        purpose.kind = PARKING_INTERPRETER;
        return purpose;
    }
    purpose.is_parked = true;
#ifdef Py_GIL_DISABLED
    if (address == (uintptr_t)&state->state) {
        /* No handler runs before the world goes on. */
        purpose.kind = PARKING_STOP_THE_WORLD;
        purpose.identity = attempt_at(state, address);
        purpose.after = PARKING_SIGNALLED;
        purpose.gap_ns = PARKING_GAP_NS;
        return purpose;
    }
#endif
    int64_t now = (int64_t)clock_system_ns(),
            deadline = deadline_at(call->semaphore, argument, now);
    if (deadline != 0 && is_mutex(address, deadline, now)) {
        return of_mutex(state, address, deadline, now);
    }
    if (is_of_runtime(address)) {
        /* Who stops the world waits until all have stopped, and looks after them each time that a
         * sleep has timed out. */
        purpose.kind = PARKING_INTERPRETER;
        purpose.identity = address;
        purpose.after = PARKING_TIMED_OUT | PARKING_SIGNALLED;
        purpose.gap_ns = PARKING_GAP_NS;
    }
    return purpose;
}

#endif
