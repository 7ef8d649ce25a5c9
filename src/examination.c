#include "examination.h"

#include <time.h>
#include <unistd.h>

#define MOST_MOMENTS 10000

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

enum state { NOT_BEGUN, GOES_ON, OVER };

/* Whether another thread of this process finds it out. */
static bool another_examines(const struct examination *examination) {
    if (LOAD(examination->state) != GOES_ON ||
        LOAD(examination->examiner) == PyThread_get_thread_ident()) {
        return false;
    }
    long process = LOAD(examination->process);
    return process == 0 || process == (long)getpid();
}

void examination_await(const struct examination *examination) {
    const struct timespec moment = {0, 200000};
    for (int i = 0; i < MOST_MOMENTS && another_examines(examination); i++) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&moment, NULL);
        Py_END_ALLOW_THREADS
    }
}

bool examination_begin(struct examination *examination) {
    int state = NOT_BEGUN;
    if (!__atomic_compare_exchange_n(&examination->state, &state, GOES_ON, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        examination_await(examination);
        return false;
    }
    STORE(examination->examiner, PyThread_get_thread_ident());
    STORE(examination->process, (long)getpid());
    return true;
}

void examination_end(struct examination *examination) { STORE(examination->state, OVER); }

bool examination_is_over(const struct examination *examination) {
    return LOAD(examination->state) == OVER;
}

void examination_after_fork_in_child(struct examination *examination) {
    if (LOAD(examination->state) == GOES_ON &&
        LOAD(examination->examiner) != PyThread_get_thread_ident()) {
        STORE(examination->process, 0);
        STORE(examination->state, NOT_BEGUN);
    }
}
