/* How long the threads of this process were ready to run but were not let onto a processor.
 *
 * It tells "the machine was busy" apart from "the GIL was busy": a thread that waits for the GIL
 * sleeps, one that waits for a processor does not. Linux counts it for each thread
 * (Documentation/scheduler/sched-stats.rst, /proc/<pid>/task/<tid>/schedstat). */
#ifndef GILKNOCK_RUN_DELAY_H
#define GILKNOCK_RUN_DELAY_H

#include <stdbool.h>
#include <stdint.h>

/* Bring the sum up to date, unless it is no older than `age` (ns). Any thread, with or without the
 * GIL. A look at all threads takes some 50 us, and 20 more for each. */
void run_delay_refresh(uint64_t age);

/* Bring in the part of the calling thread, which ends: no later look will find it. Without the GIL;
 * waits for a look that goes on. */
void run_delay_count_self(void);

/* The threads that are none of the program's, one of each. */
enum run_delay_own_thread { RUN_DELAY_KNOCKER, RUN_DELAY_STALL_WATCH, RUN_DELAY_OWN_THREADS };

/* Leave the calling thread out from now on, beside the one that was it before and ends. */
void run_delay_leave_out_self(enum run_delay_own_thread as);

/* How long one thread of this process has been ready without a processor since it began, in
 * nanoseconds, by the kernel's id of it. Returns false where that is not known. Any thread, no lock;
 * takes some 10 us. */
bool run_delay_of(uint64_t tid, uint64_t *nanoseconds);

/* The sum since the first call of run_delay_refresh, in nanoseconds; returns false where the system
 * does not tell it or the process has too many threads to ask them all. */
bool run_delay_sum(uint64_t *nanoseconds);

/* When the latest look began, in ticks; 0: never. */
uint64_t run_delay_looked(void);

/* In a forked child: its one thread begins anew. */
void run_delay_after_fork(void);

#endif
