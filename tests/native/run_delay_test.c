/* Threads that keep one processor busy, so that each is ready without it for most of the time: what the
 * kernel says of each is what the sum has to be made of. */

#define _GNU_SOURCE

#include "native/run_delay.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "native/clock.h"

#define BUSY_NS UINT64_C(200000000)

enum { FORMER_KNOCKER, KNOCKER, STALL_WATCH, OF_THE_PROGRAM, THREADS };

static struct {
    pthread_t thread;
    long tid;
} threads[THREADS];
static atomic_bool over;
static pthread_barrier_t all_run, looked;

static void *keep_busy(void *number) {
    long i = (long)number;
    threads[i].tid = syscall(SYS_gettid);
    if (i == KNOCKER || i == FORMER_KNOCKER) {
        run_delay_leave_out_self(RUN_DELAY_KNOCKER);
    } else if (i == STALL_WATCH) {
        run_delay_leave_out_self(RUN_DELAY_STALL_WATCH);
    }
    pthread_barrier_wait(&all_run);
    while (!atomic_load(&over)) {
    }
    pthread_barrier_wait(&looked);
    return NULL;
}

static void stay_on_one_processor(void) {
    cpu_set_t allowed, one;
    int processor = 0;
    CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    while (!CPU_ISSET(processor, &allowed)) {
        processor++;
    }
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

static uint64_t delay_of(long tid) {
    uint64_t nanoseconds;
    CHECK(run_delay_of((uint64_t)tid, &nanoseconds));
    return nanoseconds;
}

static uint64_t sum(void) {
    uint64_t nanoseconds;
    run_delay_refresh(0);
    CHECK(run_delay_sum(&nanoseconds));
    return nanoseconds;
}

int main(void) {
    clock_init();
    stay_on_one_processor();
    pthread_barrier_init(&all_run, NULL, THREADS + 1);
    pthread_barrier_init(&looked, NULL, THREADS + 1);
    long self = syscall(SYS_gettid);
    /* Whoever runs beside this may take the processor at any moment: what this thread was kept waiting
     * between two readings belongs to the span of one sum and not to that of the other. */
    uint64_t own_before, own_after, before;
    if (!run_delay_of((uint64_t)self, &own_before)) {
        puts("this system does not tell how long a thread was ready");
        return 0;
    }
    before = sum();
    own_after = delay_of(self);
    for (long i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i].thread, NULL, keep_busy, (void *)i) == 0);
    }
    pthread_barrier_wait(&all_run);
    uint64_t start = clock_system_ns();
    while (clock_system_ns() - start < BUSY_NS) {
        usleep(1000);
    }
    atomic_store(&over, true);
    uint64_t left_out = 0;
    for (int i = FORMER_KNOCKER; i <= STALL_WATCH; i++) {
        left_out += delay_of(threads[i].tid);
    }
    uint64_t least = delay_of(threads[OF_THE_PROGRAM].tid) + delay_of(self) - own_after;
    uint64_t counted = sum() - before;
    uint64_t most = delay_of(threads[OF_THE_PROGRAM].tid) + delay_of(self) - own_before;
    CHECK(left_out > most / 4); /* else it would not be seen whether they are in the sum */
    CHECK(counted >= least && counted <= most);

    pthread_barrier_wait(&looked);
    for (long i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
    }
    return 0;
}
