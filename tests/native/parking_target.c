#define _GNU_SOURCE
#include "parking_target.h"

#include <sched.h>

int target_wait(sem_t *semaphore) {
    int result = sem_wait(semaphore);
    __asm__ volatile("" ::: "memory"); /* no tail call: it returns to here */
    return result;
}

int target_clockwait(sem_t *semaphore, const struct timespec *deadline) {
    int result = sem_clockwait(semaphore, CLOCK_MONOTONIC, deadline);
    __asm__ volatile("" ::: "memory");
    return result;
}

int target_post(sem_t *semaphore) {
    int result = sem_post(semaphore);
    __asm__ volatile("" ::: "memory");
    return result;
}

void target_spin(void) {
    sched_yield();
    __asm__ volatile("" ::: "memory");
}

void target_yield(void) {
    sched_yield();
    __asm__ volatile("" ::: "memory");
}
