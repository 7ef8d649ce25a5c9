#define _GNU_SOURCE
#include "native/run_delay.h"

#ifdef __linux__

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/clock.h"

#define MOST_THREADS 128

struct seen {
    long tid;
    uint64_t delay; /* ns */
};

static struct {
    pthread_mutex_t guard; /* of all below, for a look at most */
    struct seen threads[MOST_THREADS];
    size_t count;
    /* The threads that are left out, and those before them, which may not have ended yet; 0: none. */
    long own[RUN_DELAY_OWN_THREADS], former[RUN_DELAY_OWN_THREADS];
    uint64_t sum;    /* ns; atomic */
    uint64_t looked; /* ticks; 0: never; atomic */
    int unknown;     /* atomic */
} state = {.guard = PTHREAD_MUTEX_INITIALIZER};

/* The second number of a thread's schedstat. Returns false when the thread is gone or the system
 * keeps no such file. */
static bool read_delay(int tasks, const char *name, uint64_t *delay) {
    char path[300], text[96];
    snprintf(path, sizeof path, "%s/schedstat", name);
    int file = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0) {
        return false;
    }
    text[size] = '\0';
    unsigned long long running, waiting;
    if (sscanf(text, "%llu %llu", &running, &waiting) != 2) {
        return false;
    }
    *delay = waiting;
    return true;
}

bool run_delay_of(uint64_t tid, uint64_t *delay) {
    char name[40];
    snprintf(name, sizeof name, "/proc/self/task/%llu", (unsigned long long)tid);
    return read_delay(AT_FDCWD, name, delay);
}

/* Whether it is one of ours. The guard is held. */
static bool is_own(long tid) {
    for (size_t i = 0; i < RUN_DELAY_OWN_THREADS; i++) {
        if (state.own[i] == tid || state.former[i] == tid) {
            return true;
        }
    }
    return false;
}

/* What is known of a thread; NULL when no look has found it. The guard is held. */
static struct seen *seen_before(long tid) {
    for (size_t i = 0; i < state.count; i++) {
        if (state.threads[i].tid == tid) {
            return &state.threads[i];
        }
    }
    return NULL;
}

/* How much a thread's delay has grown since it was last seen: all of it when it never was. The guard
 * is held. */
static uint64_t growth(const struct seen *thread) {
    const struct seen *before = seen_before(thread->tid);
    uint64_t base = before != NULL ? before->delay : 0;
    return thread->delay > base ? thread->delay - base : 0;
}

/* Look at every thread. Those that are new since the last look count from their beginning; of those
 * that ended without run_delay_count_self the last stretch is lost. The guard is held. */
static void look(void) {
    int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = tasks >= 0 ? fdopendir(tasks) : NULL;
    if (directory == NULL) {
        if (tasks >= 0) {
            close(tasks);
        }
        __atomic_store_n(&state.unknown, 1, __ATOMIC_RELAXED);
        return;
    }
    bool first = state.looked == 0;
    uint64_t grown = 0;
    struct seen now[MOST_THREADS];
    size_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL && count < MOST_THREADS) {
        struct seen thread = {.tid = atol(entry->d_name)};
        if (thread.tid != 0 && !is_own(thread.tid) &&
            read_delay(tasks, entry->d_name, &thread.delay)) {
            grown += first ? 0 : growth(&thread);
            now[count++] = thread;
        }
    }
    bool known = count != 0 && count < MOST_THREADS;
    closedir(directory);
    memcpy(state.threads, now, count * sizeof *now);
    state.count = count;
    __atomic_store_n(&state.unknown, !known, __ATOMIC_RELAXED);
    __atomic_store_n(&state.sum, state.sum + grown, __ATOMIC_RELAXED);
}

void run_delay_refresh(uint64_t age) {
    uint64_t now = clock_ticks(), looked = __atomic_load_n(&state.looked, __ATOMIC_RELAXED);
    if (looked != 0 && clock_seconds(clock_elapsed(looked, now)) * 1e9 <= (double)age) {
        return;
    }
    pthread_mutex_lock(&state.guard);
    look();
    __atomic_store_n(&state.looked, now, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&state.guard);
}

void run_delay_count_self(void) {
    struct seen self = {.tid = syscall(SYS_gettid)};
    char name[40];
    snprintf(name, sizeof name, "/proc/self/task/%ld", self.tid);
    pthread_mutex_lock(&state.guard);
    if (state.looked != 0 && !is_own(self.tid) && read_delay(AT_FDCWD, name, &self.delay)) {
        __atomic_store_n(&state.sum, state.sum + growth(&self), __ATOMIC_RELAXED);
        /* A look may find it still. */
        struct seen *known = seen_before(self.tid);
        if (known == NULL && state.count < MOST_THREADS) {
            known = &state.threads[state.count++];
        }
        if (known != NULL) {
            *known = self;
        }
    }
    pthread_mutex_unlock(&state.guard);
}

void run_delay_leave_out_self(enum run_delay_own_thread as) {
    pthread_mutex_lock(&state.guard);
    state.former[as] = state.own[as];
    state.own[as] = syscall(SYS_gettid);
    pthread_mutex_unlock(&state.guard);
}

bool run_delay_sum(uint64_t *nanoseconds) {
    *nanoseconds = __atomic_load_n(&state.sum, __ATOMIC_RELAXED);
    return !__atomic_load_n(&state.unknown, __ATOMIC_RELAXED);
}

uint64_t run_delay_looked(void) { return __atomic_load_n(&state.looked, __ATOMIC_RELAXED); }

void run_delay_after_fork(void) {
    pthread_mutex_init(&state.guard, NULL);
    state.count = 0;
    memset(state.own, 0, sizeof state.own);
    memset(state.former, 0, sizeof state.former);
    state.looked = 0;
}

#else

bool run_delay_of(uint64_t tid, uint64_t *delay) { return (void)tid, (void)delay, false; }
void run_delay_refresh(uint64_t age) { (void)age; }
void run_delay_count_self(void) {}
void run_delay_leave_out_self(enum run_delay_own_thread as) { (void)as; }
bool run_delay_sum(uint64_t *nanoseconds) {
    *nanoseconds = 0;
    return false;
}
uint64_t run_delay_looked(void) { return 0; }
void run_delay_after_fork(void) {}

#endif
