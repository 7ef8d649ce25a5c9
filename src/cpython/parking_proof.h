/* Learns how this process' interpreter parks threads, and proves that its waits are told apart rightly. */
#ifndef GILKNOCK_PARKING_PROOF_H
#define GILKNOCK_PARKING_PROOF_H

#include <Python.h>
#include <stddef.h>

/* Redirect the interpreter's waits, try those that can be tried, and begin to count. Once. A thread state
 * of the main interpreter is current; it is detached for moments. Returns 0, or -1 with a reason and
 * nothing counted; sets no exception. */
int parking_proof_run(char *reason, size_t reason_size);

#endif
