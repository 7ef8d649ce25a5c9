/* The raw reading: what a window has seen, as a dict. */
#ifndef GILKNOCK_RAW_READING_H
#define GILKNOCK_RAW_READING_H

#include <Python.h>

#include "window_object.h"

extern const char *const raw_reading_key_names[STATE_KEYS];

/* Turn the findings of a window, which are used up, into a new raw reading, or NULL with an exception
 * set. */
PyObject *raw_reading(const Window *window, struct findings *findings);

#endif
