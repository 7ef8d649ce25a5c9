/* A variable that each thread has for itself, as quick to reach as a global one. In a shared object that is
 * loaded late, the default model costs a call; glibc keeps room for a little of this one. */
#ifndef GILKNOCK_FAST_THREAD_LOCAL_H
#define GILKNOCK_FAST_THREAD_LOCAL_H

#include <stdint.h> /* says whether this is glibc */

#ifdef __GLIBC__
#define FAST_THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))
#else
#define FAST_THREAD_LOCAL __thread
#endif

#endif
