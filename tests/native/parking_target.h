/* The object whose waits the tests redirect: it calls a semaphore as the interpreter does. */

#ifndef GILKNOCK_TESTS_PARKING_TARGET_H
#define GILKNOCK_TESTS_PARKING_TARGET_H

#include <semaphore.h>
#include <stdint.h>
#include <time.h>

struct target_entry {
    uintptr_t argument, address;
    sem_t semaphore;
};

/* The target's own calls of sem_wait and sem_clockwait. */
int target_wait(sem_t *semaphore);
int target_clockwait(sem_t *semaphore, const struct timespec *deadline);

/* Its calls of sem_post, and of sched_yield: from one place to spin, from another for other reasons. */
int target_post(sem_t *semaphore);
void target_spin(void);
void target_yield(void);

#endif
