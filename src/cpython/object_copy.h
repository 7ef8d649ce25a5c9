/* A copy of an object's beginning, made while the object may be going away: whether it was there.
 *
 * Of a small object that was freed the allocator overwrites the first word alone, with a pointer to
 * the next free block (Objects/obmalloc.c, "freeblock"): its type stays readable, and what was its
 * number of references looks like a very large one. */
#ifndef GILKNOCK_OBJECT_COPY_H
#define GILKNOCK_OBJECT_COPY_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* More references than any object has, immortal ones included, and a lower address than any block's. */
#define OBJECT_COPY_REFERENCES_MOST ((uint64_t)1 << 33)

/* Whether there were references to the object. Calls nothing; any thread, with or without the GIL. */
static inline bool object_copy_has_references(const PyObject *copy) {
#ifdef Py_GIL_DISABLED
    return Py_REFCNT((PyObject *)copy) > 0; /* mimalloc overwrites ob_tid, and leaves 0 here */
#else
    uint64_t count = 0;
    memcpy(&count, &copy->ob_refcnt, sizeof(void *));
    count &= UINT64_MAX >> 16; /* from 3.14 on the upper bits are flags (Include/object.h) */
    return count != 0 && count < OBJECT_COPY_REFERENCES_MOST;
#endif
}

/* Whether an object of that very type was there. Likewise. */
static inline bool object_copy_is(const PyObject *copy, const PyTypeObject *type) {
    return Py_TYPE((PyObject *)copy) == type && object_copy_has_references(copy);
}

#endif
