#define _GNU_SOURCE
#include "native/thread_birth.h"

#ifdef __linux__

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "native/clock.h"
#include "native/interpose.h"

/* Handed from the creator to the thread, which owns it then. */
struct start {
    struct birth birth;
    void *(*run)(void *);
    void *argument;
};

static struct {
    struct interpose calls;
    bool is_ready;     /* the key is there */
    pthread_key_t key; /* its value: the thread's struct start */
    void (*name_thread)(char *name, size_t size);
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} births;

static void *start_thread(void *argument) {
    struct start *start = argument;
    void *(*run)(void *) = start->run;
    argument = start->argument;
    if (pthread_setspecific(births.key, start) != 0) {
        free(start);
    }
    return run(argument);
}

static int create_hook(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                       void *argument) {
    struct start *start = malloc(sizeof *start);
    if (start == NULL) {
        return births.create(thread, attributes, run, argument);
    }
    *start = (struct start){.birth.born = clock_ticks(), .run = run, .argument = argument};
    births.name_thread(start->birth.name, sizeof start->birth.name);
    if (start->birth.name[0] == '\0') {
        prctl(PR_GET_NAME, start->birth.os_name);
    }
    int error = births.create(thread, attributes, start_thread, start);
    if (error != 0) {
        free(start);
    }
    return error;
}

void birth_watch(const void *interpreter_function, void (*name_thread)(char *name, size_t size)) {
    const struct interpose_symbol symbol = {"pthread_create", (void *)create_hook,
                                            (void **)&births.create};
    char reason[160];
    if (!births.is_ready) {
        births.name_thread = name_thread;
        births.is_ready = pthread_key_create(&births.key, free) == 0;
        if (births.is_ready) {
            interpose_install(&births.calls, interpreter_function, &symbol, 1, reason,
                              sizeof reason);
        }
    }
}

const struct birth *birth_of_self(void) {
    const struct start *start = births.is_ready ? pthread_getspecific(births.key) : NULL;
    return start != NULL ? &start->birth : NULL;
}

#else

void birth_watch(const void *interpreter_function, void (*name_thread)(char *name, size_t size)) {
    (void)interpreter_function, (void)name_thread;
}

const struct birth *birth_of_self(void) { return NULL; }

#endif
