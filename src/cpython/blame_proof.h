/* The proof that stacks are read rightly in this process. */
#ifndef GILKNOCK_BLAME_PROOF_H
#define GILKNOCK_BLAME_PROOF_H

#include <Python.h>

#include "cpython/gil.h"

/* Get the reader of stacks ready, run known code, have another thread look at it, and check that it
 * sees exactly this code. `gil`: NULL where it is off. A thread state is current. Returns 0, or -1 with
 * a reason; sets no exception. */
int blame_proof_run(const struct gil *gil, char *reason, size_t reason_size);

#endif
