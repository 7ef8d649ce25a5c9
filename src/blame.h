/* Blame: on which Python line stood the thread that kept a knock waiting. */
#ifndef GILKNOCK_BLAME_H
#define GILKNOCK_BLAME_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "native/ledger.h"

/* Where the former holder of the GIL stood. `code` is NULL when its thread has ended or runs no Python code. */
struct blamed_frame {
    PyCodeObject *code; /* owned */
    int line;
    uint64_t native_id;
    char thread[LEDGER_NAME_SIZE];
};

struct blame_item {
    struct blamed_frame frame;
    uint64_t waited; /* ticks */
    uint64_t knocks;
    uint64_t latest_knock; /* the number of the latest one that counts in `knocks` */
};

#define BLAME_ITEMS 256

/* The lines of one window; when it is full, the least of them makes room. */
struct blame {
    struct blame_item *items; /* owned, allocated with the first */
    size_t count;
    int omitted;             /* how often a line made room */
    uint64_t omitted_waited; /* ticks that were blamed on these */
};

/* The line of an instruction; the first of its code for one that the compiler added. The GIL is
 * held. */
int blame_line(PyCodeObject *code, int offset);

/* Find where the thread of `state` stands, if that state is still in the interpreter's list. The GIL
 * is held by another thread than that. Returns false when there is nobody to blame; else the caller
 * owns frame->code. Sets no exception. */
bool blame_find(struct blamed_frame *frame, const PyThreadState *state);

/* Release what blame_find gave. The GIL is held; no code of the program runs: a reference that
 * turns out to be the last one is kept for blame_drop_dead. */
void blame_release(struct blamed_frame *frame);

/* Drop the last references to code. Only in a thread of the program, where nothing is walked that
 * other threads may change: weak references call back, and the GIL may be let go. It is also called
 * in the main thread, when that next runs Python code. */
void blame_drop_dead(void);

/* Whether there is room for more of them: else no new reference to code may be taken. */
bool blame_may_take(void);

/* Enter a part of the wait of the knock with that number under the frame, who stays the caller's.
 * The GIL is held. Without memory nothing is entered. */
void blame_enter(struct blame *blame, const struct blamed_frame *frame, uint64_t waited,
                 uint64_t knock);

/* Make a copy, which the caller owns and clears. The GIL is held. Without memory it is empty. */
void blame_copy(struct blame *copy, const struct blame *blame);

/* Return a new list of (stack, native id, thread name or None, 0.0, 0, waited, knocks), most waited
 * first, or NULL with an exception set. The GIL is held, and may be let go meanwhile. */
PyObject *blame_as_list(const struct blame *blame);

/* Empty it. The GIL is held. */
void blame_clear(struct blame *blame);

#endif
