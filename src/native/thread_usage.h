/* What a thread has used of the processor, which shows whether it has done anything since. */
#ifndef GILKNOCK_THREAD_USAGE_H
#define GILKNOCK_THREAD_USAGE_H

#include <stdint.h>

#define IDLE_NS 30000 /* a thread that used less of the processor has done nothing but switch */
#define UNKNOWN_SLEEPS (-1)

/* What a thread has used of the processor so far. */
struct usage {
    int64_t nanoseconds;
    long sleeps; /* voluntary context switches */
};

/* Of the calling thread; UNKNOWN_SLEEPS where the system does not tell. errno stays as it is. */
struct usage usage_now(void);

/* Try whether the system counts this rightly here. Takes some hundred microseconds, in which the calling
 * thread sleeps and computes. NULL if it does, else what it does not tell. */
const char *why_usage_is_unknown(void);

#endif
