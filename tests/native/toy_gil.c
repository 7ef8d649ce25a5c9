#define _GNU_SOURCE

#include "toy_gil.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "native/clock.h"

#define SECOND 1000000000 /* ns */

static bool is_set(const int *word) { return __atomic_load_n(word, __ATOMIC_RELAXED) != 0; }

static void set(int *word, int value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

bool toy_gil_is_wanted(const struct toy_gil *gil) { return is_set(&gil->drop_request); }

struct toy_usage toy_usage_now(void) {
    struct timespec used;
    struct rusage usage;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    getrusage(RUSAGE_THREAD, &usage);
    return (struct toy_usage){(uint64_t)used.tv_sec * SECOND + (uint64_t)used.tv_nsec,
                              usage.ru_nvcsw};
}

void toy_gil_init(struct toy_gil *gil) {
    memset(gil, 0, sizeof *gil);
    gil->patience = TOY_GIL_PATIENCE;
    pthread_mutex_init(&gil->mutex, NULL);
    pthread_mutex_init(&gil->switch_mutex, NULL);
    pthread_cond_init(&gil->cond, NULL);
    pthread_cond_init(&gil->switch_cond, NULL);
}

static void wait_for_a_while(struct toy_gil *gil) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += gil->patience;
    until.tv_sec += until.tv_nsec / SECOND;
    until.tv_nsec %= SECOND;
    pthread_cond_timedwait(&gil->cond, &gil->mutex, &until);
}

struct toy_take toy_gil_take(struct toy_gil *gil, const void *taker) {
    pthread_mutex_lock(&gil->mutex);
    struct toy_take take = {
        .asked = clock_system_ns(), .usage = toy_usage_now(), .had_to_wait = is_set(&gil->locked)};
    while (is_set(&gil->locked)) {
        uint64_t before = gil->switch_number;
        wait_for_a_while(gil);
        if (is_set(&gil->locked) && gil->switch_number == before) {
            set(&gil->drop_request, 1);
        }
    }
    pthread_mutex_lock(&gil->switch_mutex);
    set(&gil->locked, 1);
    gil->last_holder = taker;
    gil->switch_number++;
    pthread_cond_signal(&gil->switch_cond);
    pthread_mutex_unlock(&gil->switch_mutex);
    set(&gil->drop_request, 0);
    take.got = clock_system_ns();
    pthread_mutex_unlock(&gil->mutex);
    return take;
}

struct toy_drop toy_gil_drop(struct toy_gil *gil, const void *holder) {
    pthread_mutex_lock(&gil->mutex);
    struct toy_drop drop = {.left = clock_system_ns(), .as_asked = toy_gil_is_wanted(gil)};
    set(&gil->locked, 0);
    pthread_cond_signal(&gil->cond);
    drop.usage = toy_usage_now();
    pthread_mutex_unlock(&gil->mutex);
    if (gil->holder_is_asked ? drop.as_asked : toy_gil_is_wanted(gil)) {
        drop.as_asked = true;
        pthread_mutex_lock(&gil->switch_mutex);
        if (gil->last_holder == holder) {
            set(&gil->drop_request, 0);
            pthread_cond_wait(&gil->switch_cond, &gil->switch_mutex);
        }
        drop.usage = toy_usage_now();
        pthread_mutex_unlock(&gil->switch_mutex);
    }
    return drop;
}

void toy_gil_only_look(struct toy_gil *gil) {
    pthread_mutex_lock(&gil->mutex);
    pthread_mutex_unlock(&gil->mutex);
}
