/* A knocker must find the GIL as it is at a random moment, and then wait for it as any thread
 * would. On Linux both need care. A thread that wakes on a timer is not let in before the running
 * one has used up its slice, unless its own slice is the shorter one (from 6.12 on): without that,
 * it gets to look mostly when the holder of the GIL has gone to sleep, and finds the GIL free (0.27
 * in place of 0.48 for "hold 1 ms, sleep 1 ms"). But a thread that is woken sooner than the
 * others is also the first to time out and to queue up anew for the GIL, behind them: with a short
 * slice (or a small timer slack) it waits several times as long as they do. So the slice is short
 * for the look only.
 */
#define _GNU_SOURCE
#include "native/knocker.h"

#include <stdlib.h>

#include "native/clock.h"
#include "native/sync.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

struct knocker {
    struct sync_event event;
    struct knocker_work work;
    bool stopping;
    bool woken;
    long thread_id;       /* the system's, where it has one */
    int owners;           /* the starter and the thread; guarded by the registry's event */
    struct knocker *next; /* in the registry, while the thread runs */
};

/* The threads under way. */
static struct {
    struct sync_event event;
    struct knocker *running;
} registry;

static unsigned generation;

unsigned knocker_generation(void) { return generation; }

/* No knocker is there any more. What the parent's owned is left alone. */
static void after_fork_in_child(void) {
    generation++;
    registry.running = NULL;
    sync_init(&registry.event);
}

void knocker_init(void) {
    static bool initialized;
    if (!initialized) {
        initialized = true;
        sync_init(&registry.event);
        pthread_atfork(NULL, NULL, after_fork_in_child);
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
#define SHORT_SLICE_NS 100000

/* Ask the scheduler for a slice of that length, 0 for the usual one; no matter if it does not know
 * how. */
static void ask_for_slice(uint64_t nanoseconds) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0 &&
        attributes.policy == 0) {
        attributes.runtime = nanoseconds;
        syscall(SYS_sched_setattr, 0, &attributes, 0);
    }
}
#else
#define SHORT_SLICE_NS 0
static void ask_for_slice(uint64_t nanoseconds) { (void)nanoseconds; }
#endif

static void *run(void *argument) {
    struct knocker *knocker = argument;
    const struct knocker_work *work = &knocker->work;
#ifdef __linux__
    prctl(PR_SET_NAME, "gilknock");
    knocker->thread_id = syscall(SYS_gettid);
#endif
    work->begin(work->context);
    for (;;) {
        uint64_t pause = work->pace(work->context);
        if (pause == KNOCKER_ANEW) {
            if (sync_detached_thread(run, knocker) == 0) {
                return NULL;
            }
            continue;
        }
        ask_for_slice(SHORT_SLICE_NS);
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
        bool due = !woken && pause != KNOCKER_ASLEEP;
        if (due) {
            work->sample(work->context);
        }
        ask_for_slice(0);
        if (due) {
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

static bool is_running(const struct knocker *knocker) {
    const struct knocker *running = registry.running;
    while (running != NULL && running != knocker) {
        running = running->next;
    }
    return running != NULL;
}

/* Wait for a thread that has left the registry: a few instructions later it is gone, unless a
 * debugger keeps it. */
static void await_exit(long thread_id) {
#ifdef __linux__
    const struct timespec moment = {0, 20000};
    for (int i = 0; i < 1000 && syscall(SYS_tgkill, getpid(), thread_id, 0) == 0; i++) {
        nanosleep(&moment, NULL);
    }
#else
    (void)thread_id;
#endif
}

void knocker_stop_and_wait(struct knocker *knocker) {
    notify(knocker, &knocker->stopping);
    sync_lock(&registry.event);
    while (is_running(knocker)) {
        sync_wait(&registry.event);
    }
    long thread_id = knocker->thread_id;
    give_up(knocker);
    sync_unlock(&registry.event);
    await_exit(thread_id);
}

bool knocker_stop_all(uint64_t nanoseconds) {
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

/* The folder of a process' threads has a link for each of them, beside the usual two
 * (proc_task_getattr in fs/proc/base.c of Linux). */
unsigned long knocker_threads_of_process(void) {
#ifdef __linux__
    struct stat threads;
    if (stat("/proc/self/task", &threads) == 0 && threads.st_nlink > 2) {
        return (unsigned long)threads.st_nlink - 2;
    }
#endif
    return 0;
}
