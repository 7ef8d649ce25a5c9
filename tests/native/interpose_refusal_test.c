/* Built at a fixed address, this program lends the address of its own stub for pthread_mutex_lock
 * to all objects. A replacement that passed calls on to that would call itself. */

#include "native/interpose.h"

#include <pthread.h>
#include <string.h>

#include "check.h"

static int replacement(pthread_mutex_t *mutex) {
    (void)mutex;
    return -1;
}

int main(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    void *next = NULL;
    const struct interpose_symbol symbol = {"pthread_mutex_lock", (void *)replacement, &next};
    struct interpose interpose;
    char reason[200];
    CHECK(interpose_real("pthread_mutex_lock") == (void *)pthread_mutex_lock);
    CHECK(interpose_install(&interpose, (void *)main, &symbol, 1, reason, sizeof reason) == -1);
    CHECK(strcmp(reason, "pthread_mutex_lock: its address lies in the object itself") == 0);
    CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK(pthread_mutex_trylock(&mutex) != 0);
    return 0;
}
