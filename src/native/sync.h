/* A mutex, a condition with a monotonic timeout and a detached thread, on Linux and macOS. */
#ifndef GILKNOCK_SYNC_H
#define GILKNOCK_SYNC_H

#include <stdint.h>

#include <pthread.h>
#include <signal.h>
#include <time.h>

struct sync_event {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
};

static inline void sync_init(struct sync_event *event) {
    pthread_mutex_init(&event->mutex, NULL);
#ifdef __APPLE__
    pthread_cond_init(&event->condition, NULL);
#else
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&event->condition, &attributes);
    pthread_condattr_destroy(&attributes);
#endif
}

static inline void sync_destroy(struct sync_event *event) {
    pthread_cond_destroy(&event->condition);
    pthread_mutex_destroy(&event->mutex);
}
static inline void sync_lock(struct sync_event *event) { pthread_mutex_lock(&event->mutex); }
static inline void sync_unlock(struct sync_event *event) { pthread_mutex_unlock(&event->mutex); }
static inline void sync_wait(struct sync_event *event) {
    pthread_cond_wait(&event->condition, &event->mutex);
}
static inline void sync_signal(struct sync_event *event) {
    pthread_cond_broadcast(&event->condition);
}

static inline void sync_wait_for(struct sync_event *event, uint64_t nanoseconds) {
    struct timespec until = {0, 0};
#ifndef __APPLE__
    clock_gettime(CLOCK_MONOTONIC, &until);
#endif
    nanoseconds += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
#ifdef __APPLE__
    pthread_cond_timedwait_relative_np(&event->condition, &event->mutex, &until);
#else
    pthread_cond_timedwait(&event->condition, &event->mutex, &until);
#endif
}

/* Start a thread that nobody joins. All signals are blocked in it but the synchronous ones, which
 * report a fault of the thread itself: blocked, they kill the process without calling their
 * handlers. Returns 0, or -1. */
static inline int sync_detached_thread(void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return -1;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigset_t blocked, before;
    static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
        sigdelset(&blocked, synchronous[i]);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : -1;
}

#endif
