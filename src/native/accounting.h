/* The accounting: watches the GIL's own mutex and keeps the ledger. */
#ifndef GILKNOCK_ACCOUNTING_H
#define GILKNOCK_ACCOUNTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/event_ring.h"
#include "native/ledger.h"
#include "native/stack_aim.h"

/* Where to look, found by gil.c. `locked` is the interpreter's flag: 1 while some thread has the
 * GIL. */
struct accounting_target {
    void *mutex;        /* pthread_mutex_t */
    void *switch_mutex; /* pthread_mutex_t, behind `mutex` in the same struct */
    const int *locked;
    const int *drop_request; /* set while a thread asks the holder to let go; NULL where each thread
                                has its own */
};

/* A thread as the accounting knows it. */
struct accounting_thread {
    struct ledger_slot *slot; /* its own while it has that serial */
    uint64_t serial;
    uint64_t ident; /* pthread_self() */
    uint64_t native_id;
    char name[THREAD_NAME_SIZE];
};

/* Redirect the mutex calls of the loaded object that holds `interpreter_function`. The GIL is held.
 * Returns 0, or -1 with a reason and nothing changed. A second call after success only moves the
 * target. */
int accounting_install(const struct accounting_target *target, const void *interpreter_function,
                       char *reason, size_t reason_size);

/* Put the interpreter's calls back. The GIL is held, no window is open. */
void accounting_uninstall(void);

/* Stop watching for good, whatever is open: the interpreter ends. The GIL is held. */
void accounting_stop(void);

/* Whether the interpreter's calls still come here, and every event so far made sense. The GIL is
 * held. */
bool accounting_intact(void);

/* Whether some window is open. The GIL is held. */
bool accounting_active(void);

/* Open, read and close a window; see ledger.h. The caller holds the GIL. */
int accounting_open(struct ledger_window *window, bool by_thread, uint64_t now);
int accounting_read(const struct ledger_window *window, uint64_t now,
                    struct ledger_reading *reading);
void accounting_close(struct ledger_window *window);

/* The holds and waits since some moment, and the threads they are of. */
struct accounting_record {
    struct event *events; /* owned; oldest first, those that go on last */
    size_t count;
    uint64_t dropped;                  /* older ones that made room */
    struct accounting_thread *threads; /* owned; not those whose slot another thread has by now */
    size_t thread_count;
};

/* Record each hold and wait in a ring of `capacity` events, or in the one there is already. Every
 * success needs an accounting_stop_recording. The caller has the GIL; the accounting is installed.
 * Returns 0, or -1 when memory cannot be had. */
int accounting_start_recording(size_t capacity);

/* Let the ring rest, unless others still record: its memory is kept for who records next, or until the
 * system needs it. The caller has the GIL. */
void accounting_stop_recording(void);

/* The number of the next event. The caller has the GIL, and records. */
uint64_t accounting_next_event(void);

/* Copy the events from number `first` on, with what goes on at `now`. The caller has the GIL,
 * records, and owns the record afterwards. Returns 0, or -1 when memory cannot be had. */
int accounting_record(uint64_t first, uint64_t now, struct accounting_record *record);

/* Free what a record owns. Any thread. */
void accounting_free_record(struct accounting_record *record);

/* Declare the calling thread a knocker's, be it before accounting_install. No lock is held. */
void accounting_mark_internal(void);

/* How long the calling knocker thread waited at its latest acquisition, in ticks; 0 when the GIL
 * was free. It has the GIL. */
uint64_t accounting_internal_wait(void);

/* Whether threads of the program got the GIL during that wait. */
bool accounting_taken_meanwhile(void);

/* Reads where threads stand; see cpython/stack_reader.h for what each does and may be called from. */
struct accounting_reader {
    void (*aim)(struct stack_aim *aim);
    uint32_t (*look)(const struct stack_aim *aim, bool collecting);
    struct own_stack (*while_waiting)(void);
    bool (*waited_with)(const void *state);
    uint32_t (*here)(void);
    const int *collecting; /* the interpreter's flag: some thread collects garbage */
};

/* Have the windows charged (charges.h) with where the GIL is held and waited for: threads that wait
 * look at the holder (`waiters_look`), or each holder is looked at as it lets the GIL go. For the
 * former the calls of pthread_cond_timedwait are redirected as well. The accounting is installed, the
 * GIL is held. Returns 0, or -1 with a reason; then nobody looks. */
int accounting_look(const struct accounting_reader *reader, bool waiters_look,
                    const void *interpreter_function, char *reason, size_t reason_size);

/* Nobody looks any more. The GIL is held. */
void accounting_look_no_more(void);

/* Report holds of the GIL that go on for more than ACCOUNTING_GRACE_NS after a thread that has waited for
 * a whole switch interval, all of it in that hold, has asked the holder to let the GIL go: see
 * charges_held. Bytecode lets it go at once; a native function that keeps it does not. Time that the
 * holder stood ready without a processor does not count, where the system counts it. Calls with true and
 * with false pair up; the GIL is held. Holds are reported only where waiters look. */
#define ACCOUNTING_GRACE_NS 1000000u
void accounting_audit(bool on);

/* Copy the names of threads, "" where they are not known: names[i] for serials[i], which ascend. The
 * GIL is held. */
void accounting_names(const uint64_t *serials, size_t count, char (*names)[THREAD_NAME_SIZE]);

/* Find out who has the GIL, and since when (ticks; now, where no thread of the program has it; 0: not known).
 * Any thread, with the GIL or without; takes the GIL's mutex for a moment, and may wait some 10 ms for it.
 * Returns false where nobody is on record, the record is not intact, or the mutex is not to be had. */
bool accounting_holder(struct accounting_thread *thread, uint64_t *since);

/* The threads whose name is not known and may have changed, to be freed with free(), or NULL if there
 * is none. The GIL is held. */
struct accounting_thread *accounting_nameless(size_t *count);

/* Note the name of a thread, if it is still known. The GIL is held. */
void accounting_name(const struct accounting_thread *thread, const char *name);

/* Give the names of threads that are alive but have not come here yet; `serial` and `slot` mean
 * nothing. Their names are noted when they do. Replaces what was given before. The GIL is held. */
void accounting_introduce(const struct accounting_thread *threads, size_t count);

#endif
