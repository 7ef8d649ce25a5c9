#define _GNU_SOURCE
#include "native/family_time.h"

#ifdef __linux__

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_FILES 512 /* to open in one look */
#define DEEPEST 8
#define NANO UINT64_C(1000000000)

static uint64_t nanoseconds(struct timespec time) {
    return (uint64_t)time.tv_sec * NANO + (uint64_t)time.tv_nsec;
}

static uint64_t of_timeval(struct timeval time) {
    return (uint64_t)time.tv_sec * NANO + (uint64_t)time.tv_usec * 1000;
}

/* What a process waited for itself: the fields cutime and cstime of its stat, behind the name, which
 * may have any character in it. */
static uint64_t waited_for_by(long pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *behind_name = strrchr(text, ')');
    unsigned long long user, system;
    if (behind_name == NULL ||
        sscanf(behind_name, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu",
               &user, &system) != 2) {
        return 0;
    }
    return (user + system) * (NANO / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t used_by(long pid) {
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
        return 0; /* gone meanwhile */
    }
    return nanoseconds(time);
}

static bool add_descendants(const char *process, int depth, int *files, uint64_t *sum);

/* Add the children that one thread made, and theirs. */
static bool add_children_of_thread(const char *process, const char *thread, int depth, int *files,
                                   uint64_t *sum) {
    char path[80];
    snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/children", process, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        /* The thread may be gone; that the kernel has no such file shows in the first one. */
        return *files > 1;
    }
    bool complete = true;
    long pid;
    while (complete && fscanf(file, "%ld", &pid) == 1) {
        *sum += used_by(pid) + waited_for_by(pid);
        char child[24];
        snprintf(child, sizeof child, "%ld", pid);
        complete = add_descendants(child, depth + 1, files, sum);
    }
    fclose(file);
    return complete;
}

static bool add_descendants(const char *process, int depth, int *files, uint64_t *sum) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/task", process);
    DIR *threads = depth < DEEPEST ? opendir(path) : NULL;
    if (threads == NULL) {
        return depth > 0 && depth < DEEPEST; /* a child that is gone has none */
    }
    bool complete = true;
    struct dirent *entry;
    while (complete && (entry = readdir(threads)) != NULL) {
        if (atol(entry->d_name) != 0) {
            complete = ++*files <= MOST_FILES &&
                       add_children_of_thread(process, entry->d_name, depth, files, sum);
        }
    }
    closedir(threads);
    return complete;
}

/* Whether there is a child at all, waited for or not; takes nothing from who waits for it. */
static bool has_children(void) {
    siginfo_t unused;
    return waitid(P_ALL, 0, &unused, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 || errno != ECHILD;
}

bool family_time_read(struct family_time *time) {
    struct timespec self;
    struct rusage children;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &self) != 0 ||
        getrusage(RUSAGE_CHILDREN, &children) != 0) {
        return false;
    }
    time->self = nanoseconds(self);
    time->children = of_timeval(children.ru_utime) + of_timeval(children.ru_stime);
    int files = 0;
    int before = errno;
    bool complete = !has_children() || add_descendants("self", 0, &files, &time->children);
    errno = before;
    return complete;
}

#else

bool family_time_read(struct family_time *time) {
    *time = (struct family_time){0};
    return false;
}

#endif
