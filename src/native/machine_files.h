/* What the kernel's files say of the machine: idle and stolen time of each processor (/proc/stat),
 * the throttled time of the control groups this process is in (cpu.stat, versions 1 and 2), and the
 * pressure on the processors (/proc/pressure/cpu).
 *
 * Sources: proc_stat(5); Documentation/admin-guide/cgroup-v2.rst, "CPU"; Documentation/scheduler/
 * sched-bwc.rst; Documentation/accounting/psi.rst.
 *
 * Every path begins with `root`: "" in a process that measures, a folder with files of the same
 * names in a test. Any thread, without locks of its own; a file is open only while it is read. */
#ifndef GILKNOCK_MACHINE_FILES_H
#define GILKNOCK_MACHINE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_PROCESSORS 1024
#define MACHINE_GROUPS 8

/* Nanoseconds since the machine began, in steps of a clock tick (10 ms). `idle` has the time waited
 * for a disk in it: a thread could have run in it. `stolen` is what the host of a virtual machine
 * took from this processor while it had work. */
struct processor_times {
    bool online;
    uint64_t idle, stolen;
};

/* Read the times of all processors. Returns false where the file is not there, or has nothing but
 * zeros, as in a sandbox that only pretends. Costs 10 us and more on a machine of many processors. */
bool machine_files_processors(const char *root, struct processor_times times[MACHINE_PROCESSORS]);

/* The control groups that limit this process' processor time: its own and those above it that have
 * a quota. */
struct machine_groups {
    bool known; /* false where they could not be found */
    size_t count;
    char *stat[MACHINE_GROUPS]; /* paths of their cpu.stat; owned */
};

/* Find the groups, and forget those that were found before: `groups` begins as zeros. */
void machine_files_find_groups(const char *root, struct machine_groups *groups);

/* Nanoseconds for which quotas kept the groups from running, summed over groups and processors: 0
 * without a quota. Returns false where that is not known. */
bool machine_files_throttled(const struct machine_groups *groups, uint64_t *nanoseconds);

/* Nanoseconds in which some thread of the machine was ready to run and had no processor. Returns
 * false where the kernel keeps no such file. */
bool machine_files_pressure(const char *root, uint64_t *nanoseconds);

#endif
