/* The object whose calls the tests redirect: a shared library, or a part of the test program. */

#ifndef GILKNOCK_TESTS_INTERPOSE_TARGET_H
#define GILKNOCK_TESTS_INTERPOSE_TARGET_H

#include <pthread.h>

/* The target's own call of pthread_mutex_lock and pthread_mutex_unlock. */
int target_lock(pthread_mutex_t *mutex);
int target_unlock(pthread_mutex_t *mutex);

/* The target's own call of pthread_create. */
int target_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                  void *argument);

/* The target's variable that the loader sets to pthread_mutex_trylock. */
typedef int target_function(pthread_mutex_t *);
target_function *target_variable(void);
void target_set_variable(target_function *function);

#endif
