#define _GNU_SOURCE
#include "knocker.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "sync.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

struct knocker {
    struct sync_event event;
    struct knocker_work work;
    bool stopping;
    bool woken;
    int owners; /* the starter and the thread; guarded by the registry's event */
    struct knocker *next; /* in the registry, while the thread runs */
};

/* The threads under way. */
static struct {
    struct sync_event event;
    bool ready;
    struct knocker *running;
} registry;

static void registry_init(void) {
    if (!registry.ready) {
        sync_init(&registry.event);
        registry.ready = true;
    }
}

/* Give up one share of the knocker; the registry's event is locked. */
static void give_up(struct knocker *knocker) {
    if (--knocker->owners == 0) {
        sync_destroy(&knocker->event);
        free(knocker);
    }
}

static void leave_registry(struct knocker *knocker) {
    sync_lock(&registry.event);
    struct knocker **link = &registry.running;
    while (*link != knocker) {
        link = &(*link)->next;
    }
    *link = knocker->next;
    give_up(knocker);
    sync_signal(&registry.event);
    sync_unlock(&registry.event);
}

#ifdef __linux__
/* From Linux 6.12 on a thread with a short slice may take the processor from one with a longer slice as it wakes.
 * Without that a knocker often gets in only after the holder of the GIL has gone to sleep, and finds it free. */
static void ask_for_short_slice(void) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0 && attributes.policy == 0) {
        attributes.runtime = 100000;
        syscall(SYS_sched_setattr, 0, &attributes, 0);
    }
}
#endif

static void *run(void *argument) {
    struct knocker *knocker = argument;
    const struct knocker_work *work = &knocker->work;
#ifdef __linux__
    prctl(PR_SET_NAME, "gilknock");
    prctl(PR_SET_TIMERSLACK, 1000UL);
    ask_for_short_slice();
#endif
    work->begin(work->context);
    for (;;) {
        uint64_t pause = work->pace(work->context);
        sync_lock(&knocker->event);
        if (!knocker->stopping && !knocker->woken) {
            if (pause == KNOCKER_ASLEEP) {
                sync_wait(&knocker->event);
            } else if (pause != 0) {
                sync_wait_for(&knocker->event, pause);
            }
        }
        bool stopping = knocker->stopping, woken = knocker->woken;
        knocker->woken = false;
        sync_unlock(&knocker->event);
        if (stopping) {
            break;
        }
        if (!woken && pause != KNOCKER_ASLEEP) {
            work->knock(work->context);
        }
    }
    work->end(work->context);
    leave_registry(knocker);
    return NULL;
}

struct knocker *knocker_start(const struct knocker_work *work) {
    struct knocker *knocker = calloc(1, sizeof *knocker);
    if (knocker == NULL) {
        return NULL;
    }
    registry_init();
    sync_init(&knocker->event);
    knocker->work = *work;
    knocker->owners = 2;
    sync_lock(&registry.event);
    knocker->next = registry.running;
    registry.running = knocker;
    sync_unlock(&registry.event);
    if (sync_detached_thread(run, knocker) < 0) {
        leave_registry(knocker);
        knocker_stop(knocker);
        return NULL;
    }
    return knocker;
}

static void notify(struct knocker *knocker, bool *flag) {
    sync_lock(&knocker->event);
    *flag = true;
    sync_signal(&knocker->event);
    sync_unlock(&knocker->event);
}

void knocker_wake(struct knocker *knocker) { notify(knocker, &knocker->woken); }

void knocker_stop(struct knocker *knocker) {
    notify(knocker, &knocker->stopping);
    sync_lock(&registry.event);
    give_up(knocker);
    sync_unlock(&registry.event);
}

bool knocker_stop_all(uint64_t nanoseconds) {
    registry_init();
    uint64_t start = clock_system_ns(), passed = 0;
    sync_lock(&registry.event);
    for (struct knocker *knocker = registry.running; knocker != NULL; knocker = knocker->next) {
        notify(knocker, &knocker->stopping);
    }
    while (registry.running != NULL && passed < nanoseconds) {
        sync_wait_for(&registry.event, nanoseconds - passed);
        passed = clock_system_ns() - start;
    }
    bool all = registry.running == NULL;
    sync_unlock(&registry.event);
    return all;
}

void knocker_after_fork(void) {
    memset(&registry, 0, sizeof registry);
}

/* xorshift64*, https://doi.org/10.18637/jss.v014.i08 and Vigna's multiplier, https://arxiv.org/abs/1402.6246 */
uint64_t knocker_random(uint64_t *state, uint64_t bound) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return bound != 0 ? ((x * UINT64_C(2685821657736338717)) >> 11) % bound : 0;
}
