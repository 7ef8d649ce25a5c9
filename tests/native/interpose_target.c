#include "interpose_target.h"

static target_function *variable = pthread_mutex_trylock;

target_function *target_variable(void) { return variable; }

void target_set_variable(target_function *function) { variable = function; }

int target_lock(pthread_mutex_t *mutex) { return pthread_mutex_lock(mutex); }

int target_unlock(pthread_mutex_t *mutex) { return pthread_mutex_unlock(mutex); }

int target_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                  void *argument) {
    return pthread_create(thread, attributes, run, argument);
}
