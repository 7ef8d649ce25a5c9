/* Waiting for a thread that finds out what this process can measure. */
#ifndef GILKNOCK_EXAMINATION_H
#define GILKNOCK_EXAMINATION_H

#include <Python.h>
#include <stdbool.h>

/* Wait while another thread examines, for some seconds at most: what it needs may be kept by this one, as
 * it runs code of the program and imports modules. A thread state is current; it is detached for
 * moments. */
void examination_await(bool (*another_examines)(void));

#endif
