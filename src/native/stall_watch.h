/* Notices a stall: a knock on the GIL that is not answered for long, while nobody else got it either. (Many
 * threads that take turns let a knock wait, too.)
 *
 * A thread of its own looks now and then at the moment at which the knock under way asked. Once that
 * is longer ago than the timeout, it writes whose GIL it is and the stacks of all threads, once for
 * each stall, and notes it. It needs no GIL for that: the stacks are written by the handler of a
 * signal, faulthandler's, which it calls in a copy of the process (on Linux). In the process itself
 * a thread that runs on while its frames are read could make the handler crash.
 */
#ifndef GILKNOCK_STALL_WATCH_H
#define GILKNOCK_STALL_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/thread_name.h"

#define STALL_LABEL_SIZE 512
#define STALL_STACKS_SIZE 65536 /* at most so much of them is kept */
#define STALLS 64               /* that are kept until they are taken */

/* Who has the GIL. */
struct stall_holder {
    uint64_t ident; /* pthread_self(); 0: not known */
    uint64_t since; /* ticks: nobody else got it since then; 0: not known */
    char name[THREAD_NAME_SIZE];
};

struct stall {
    char label[STALL_LABEL_SIZE]; /* what was running */
    uint64_t asked;               /* ticks: the knock */
    uint64_t since;               /* ticks; later where threads took turns before */
    uint64_t lasted;              /* ticks; so far where the knock is not answered yet */
    struct stall_holder holder;
    char *stacks; /* owned; NULL: not written, or no memory */
    size_t stacks_size;
};

struct stall_watch_options {
    uint64_t timeout;      /* ns */
    const uint64_t *asked; /* atomic: when the knock under way asked, in ticks; 0: there is none */
    int report;            /* the file descriptor to write to; not owned */
    int scratch;           /* a file that the handler of `signal` writes the stacks to; not owned */
    int signal;            /* 0: there is no handler, and no stacks are written */
    void (*find_holder)(struct stall_holder *holder); /* called by the watching thread */
};

/* The number of a real-time signal that nobody handles, for the stacks; 0: there is none. */
int stall_watch_free_signal(void);

/* Begin to watch. The handler of the signal is there. Call knocker_init before. Returns 0, or -1
 * when no thread can be had. Any thread may call this and the three below. */
int stall_watch_start(const struct stall_watch_options *options);

/* Stop watching and wait for the thread to end. It needs no GIL. */
void stall_watch_stop(void);

/* Around a fork in which the process should have no thread of ours; only in the parent. */
void stall_watch_pause(void);
void stall_watch_resume(void);

/* Name what runs. It is cut off where it is longer than STALL_LABEL_SIZE. */
void stall_watch_label(const char *label, size_t size);

/* The knock that asked at `asked` got the GIL at `now` (ticks), and others of the program may have got it
 * before. Costs a compare unless it was a stall. */
void stall_watch_answered(uint64_t asked, uint64_t now, bool taken_meanwhile);

/* Move the stalls noted until `now` (ticks) to `stalls`, which has room for STALLS; the caller owns
 * their stacks. Returns how many there are; `*omitted` more had no room. */
size_t stall_watch_take(struct stall *stalls, uint64_t now, size_t *omitted);

#endif
