/* Which native function a frame is calling. */
#ifndef GILKNOCK_CALLEE_H
#define GILKNOCK_CALLEE_H

#include <Python.h>
#include <stdbool.h>
#include <stddef.h>

#include "cpython/frame_layout.h"

#define CALLEE_NAME_SIZE 128

/* Write the name of the native function that the frame is calling into `name`, not terminated: like
 * "zlib.compress" or "list.sort". Returns its length; 0 where that is not known for sure. */
size_t callee_find(const struct frame_view *view, bool (*read)(void *, const void *, size_t),
                   char *name);

#endif
