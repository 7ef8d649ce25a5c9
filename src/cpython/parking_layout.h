/* What a thread of this interpreter is about to wait for in its parking lot, from what lies around the
 * semaphore. */
#ifndef GILKNOCK_PARKING_LAYOUT_H
#define GILKNOCK_PARKING_LAYOUT_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "native/parking.h"

#define PARKING_SITES 8

/* What was learned and proved of this process (parking_proof.c). Set once, before the first
 * classification. */
struct parking_layout {
    uintptr_t sites[PARKING_SITES];        /* where the parking lot calls a semaphore */
    uintptr_t thread_sites[PARKING_SITES]; /* where PyThread_acquire_lock does; 0: none */
    bool all_are_thread_sites; /* whatever the site: a semaphore off the stack is such a lock */
    const PyTypeObject *lock_type, *rlock_type; /* kept; NULL where their mutex is not in them */
};

/* The place in front of an object's data at which a lock object's mutex is: behind its head. */
#define PARKING_MUTEX_OFFSET sizeof(PyObject)

/* When the lock of the program or interpreter that a thread sleeps for may be handed to it: the first
 * word of what it passes along (`struct mutex_entry` in Python/lock.c). 0 if that is not what is there. */
int64_t parking_layout_deadline(uintptr_t semaphore, uintptr_t argument);

/* Whether a value is a site among those; adds it where there is room. */
bool parking_layout_is_site(const uintptr_t *sites, uintptr_t site);
bool parking_layout_add_site(uintptr_t *sites, uintptr_t site);

void parking_layout_set(const struct parking_layout *layout);

/* A parking_classifier. */
struct parking_purpose parking_layout_classify(const struct parking_call *call);

#endif
