/* What is known of a thread before it runs: redirects the calls by which the interpreter starts
 * threads, and has each new thread carry the name that its creator knows.
 *
 * Linux on x86-64 and aarch64; elsewhere nothing is known. */
#ifndef GILKNOCK_THREAD_BIRTH_H
#define GILKNOCK_THREAD_BIRTH_H

#include <stddef.h>
#include <stdint.h>

#include "native/thread_name.h"

#define BIRTH_OS_NAME_SIZE 16

struct birth {
    uint64_t born;               /* ticks */
    char name[THREAD_NAME_SIZE]; /* UTF-8; "" where the creator knows none */
    char
        os_name[BIRTH_OS_NAME_SIZE]; /* what the system calls its creator, hence at first it, too */
};

/* Redirect the pthread_create calls of the loaded object that holds `interpreter_function`, for good.
 * From then on the creating thread calls `name_thread`, which writes the name of the thread to come
 * ("" for none). Further calls change nothing. One caller at a time. Where calls cannot be
 * redirected, nothing is known of any thread. */
void birth_watch(const void *interpreter_function, void (*name_thread)(char *name, size_t size));

/* What is known of the calling thread; NULL for one that the interpreter has not started since. Its
 * own until it ends. */
const struct birth *birth_of_self(void);

#endif
