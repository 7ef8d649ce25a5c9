/* Finding out what this process can measure: once, by one thread, while the others wait for it. */
#ifndef GILKNOCK_EXAMINATION_H
#define GILKNOCK_EXAMINATION_H

#include <Python.h>
#include <stdbool.h>

/* All zero is one that is yet to begin. Threads may come to it at once, with the GIL or without. */
struct examination {
    int state;              /* of examination.c; atomic, like the next two */
    unsigned long examiner; /* PyThread_get_thread_ident() of the thread that does it */
    long process;           /* in which it does so; 0: it has only just begun */
};

/* Begin, unless somebody has. Returns whether the calling thread is to find out, and to call
 * examination_end then. Otherwise waits as examination_await does. A thread state is current; it is
 * detached for moments. */
bool examination_begin(struct examination *examination);

/* It is found out: what was written before is there for all that see it over. */
void examination_end(struct examination *examination);

/* Whether it is found out. Not while the calling thread is about to, nor in a child that another thread
 * has forked meanwhile. */
bool examination_is_over(const struct examination *examination);

/* Wait while another thread finds out, for some seconds at most: what it needs may be kept by this one, as
 * it runs code of the program and imports modules. A thread state is current; it is detached for
 * moments. */
void examination_await(const struct examination *examination);

/* In a forked child: have it begin anew where the thread that does it is not there. */
void examination_after_fork_in_child(struct examination *examination);

#endif
