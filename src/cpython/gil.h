/* This interpreter's GIL: where it is, whether it is on, and the proof that watching it works. */
#ifndef GILKNOCK_GIL_H
#define GILKNOCK_GIL_H

#include <Python.h>
#include <stdbool.h>

#define GIL_REASON_SIZE 160

struct gil {
    void *mutex;
    void *switch_mutex;
    const int *locked;
    const int *drop_request; /* NULL from 3.13 on, where it is a bit of each thread state */
    PyThreadState *const *last_holder;
    const unsigned long *interval; /* microseconds */
};

/* Find the GIL of the main interpreter and check what is found against what is known. The GIL is
 * held by a thread of that interpreter. Returns 0, or -1 with a reason; sets no exception. */
int gil_find(struct gil *gil, char *reason, size_t reason_size);

/* Whether the GIL is on, for good: always, but on a free-threaded build. Where that does not find its GIL,
 * as the interpreter itself says. A thread state is current. */
bool gil_is_enabled(void);

/* Watch the GIL with the accounting, take and release it a few times, and check that exactly this
 * was seen. The GIL is held and on; it is released for moments. Returns 0, or -1 with a reason and
 * nothing left redirected; sets no exception. */
int gil_prove_accounting(const struct gil *gil, char *reason, size_t reason_size);

/* A look at the flag without asking for the GIL: whether some thread has it. Any thread. */
bool gil_is_taken(const struct gil *gil);

/* The thread state that has or last had the GIL; may be gone already. Any thread. */
PyThreadState *gil_last_holder(const struct gil *gil);

/* sys.getswitchinterval() in seconds, without a call. Any thread. */
double gil_switch_interval(const struct gil *gil);

/* The same by a call of that function, for where the GIL was not found; -1 when even that fails. A
 * thread state is current. Sets no exception. */
double gil_switch_interval_by_call(void);

/* Whether a thread of our own may ask for a thread state now: always from 3.14 on. Up to 3.12.8
 * and 3.13.1 one that does while tracemalloc traces waits for the GIL inside the tracer, and
 * crashes when another thread stops the tracing meanwhile
 * (https://github.com/python/cpython/issues/128679). Any thread; makes no object. */
bool gil_admits_new_thread(void);

/* Whether os.fork() warns of a fork beside another thread: from 3.12 on. Any thread. */
bool gil_fork_warns_of_threads(void);

#endif
