/* Threads that interpose_target.c starts, and what they know of themselves. */

#define _GNU_SOURCE

#include "native/thread_birth.h"

#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>

#include "check.h"
#include "interpose_target.h"

#define THREADS 200

static const char *next_name = "";

static void name_thread(char *name, size_t size) {
    CHECK(size == THREAD_NAME_SIZE);
    strcpy(name, next_name);
}

/* Returns its argument if it knows its name to be that. */
static void *know_name(void *name) {
    const struct birth *birth = birth_of_self();
    return birth != NULL && strcmp(birth->name, name) == 0 ? name : NULL;
}

static void *know_os_name(void *name) {
    const struct birth *birth = birth_of_self();
    return birth != NULL && birth->name[0] == '\0' && strcmp(birth->os_name, name) == 0 ? name
                                                                                        : NULL;
}

static void *know_nothing(void *argument) { return birth_of_self() == NULL ? argument : NULL; }

static void *leave_at_once(void *argument) { pthread_exit(argument); }

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static void check_thread(create_function *create, void *(*run)(void *), const char *argument) {
    pthread_t thread;
    void *result;
    CHECK(create(&thread, NULL, run, (void *)argument) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == argument);
}

static void test_a_thread_knows_the_name_that_its_creator_knew(void) {
    for (int i = 0; i < THREADS; i++) {
        char name[THREAD_NAME_SIZE];
        snprintf(name, sizeof name, "worker %d", i);
        next_name = name;
        check_thread(target_create, know_name, name);
        check_thread(target_create, leave_at_once, name);
    }
}

static void test_a_thread_without_a_name_knows_what_the_system_called_it_first(void) {
    next_name = "";
    CHECK(prctl(PR_SET_NAME, "creator") == 0);
    check_thread(target_create, know_os_name, "creator");
}

static void test_other_threads_know_nothing(void) {
    CHECK(birth_of_self() == NULL);
    check_thread(pthread_create, know_nothing, "something");
}

static void test_a_thread_that_cannot_be_had_is_refused_as_ever(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, (size_t)1 << 46) == 0);
    CHECK(target_create(&thread, &attributes, know_nothing, NULL) != 0);
    pthread_attr_destroy(&attributes);
}

int main(void) {
    check_thread(target_create, know_nothing, "before");
    birth_watch((const void *)target_create, name_thread);
    birth_watch((const void *)target_create, NULL);
    test_a_thread_knows_the_name_that_its_creator_knew();
    test_a_thread_without_a_name_knows_what_the_system_called_it_first();
    test_other_threads_know_nothing();
    test_a_thread_that_cannot_be_had_is_refused_as_ever();
    return 0;
}
