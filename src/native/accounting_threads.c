/* The threads that the accounting knows: each has a slot of the ledger from the first time that it asks
 * for the GIL until it ends, and a name, which is known from its birth, was given by
 * accounting_introduce, or is asked for later. */
#define _GNU_SOURCE
#include "native/accounting_threads.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "native/clock.h"
#include "native/run_delay.h"
#include "native/thread_birth.h"

void describe(struct accounting_thread *thread, struct ledger_slot *slot) {
    thread->slot = slot;
    thread->serial = slot->serial;
    thread->ident = slot->ident;
    thread->native_id = slot->native_id;
    memcpy(thread->name, slot->name, sizeof thread->name);
}

/* Those of accounting_introduce, by native id. Guarded by the GIL's mutex. */
static struct {
    struct accounting_thread *threads; /* owned */
    size_t count;
} introduced;

static int compare_native_ids(const void *left, const void *right) {
    uint64_t a = ((const struct accounting_thread *)left)->native_id;
    uint64_t b = ((const struct accounting_thread *)right)->native_id;
    return (a > b) - (a < b);
}

/* What accounting_introduce said of the thread of a slot; NULL: nothing. */
static const struct accounting_thread *find_introduced(const struct ledger_slot *slot) {
    const struct accounting_thread key = {.native_id = slot->native_id};
    const struct accounting_thread *found =
        introduced.count != 0
            ? bsearch(&key, introduced.threads, introduced.count, sizeof key, compare_native_ids)
            : NULL;
    return found != NULL && found->ident == slot->ident ? found : NULL;
}

/* Read what the system calls the main thread. */
static void read_main_name(char name[LEDGER_OS_NAME_SIZE]) {
    int file = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    ssize_t size = file >= 0 ? read(file, name, LEDGER_OS_NAME_SIZE - 1) : 0;
    if (file >= 0) {
        close(file);
    }
    name[size > 0 ? size : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
}

/* Find what the system calls this thread, if that is a name of its own: threads have that of their
 * creator unless they are given another. */
static void find_given_name(char name[LEDGER_OS_NAME_SIZE]) {
    char inherited[LEDGER_OS_NAME_SIZE];
    prctl(PR_GET_NAME, name);
    if (self.os_name_at_birth[0] == '\0') {
        read_main_name(inherited);
    } else {
        memcpy(inherited, self.os_name_at_birth, sizeof inherited);
    }
    if (strcmp(name, inherited) == 0 || strcmp(name, hooks.process_name) == 0) {
        name[0] = '\0';
    }
}

/* Whether the calling thread, which ends, was off the processor for so long that it is worth asking
 * for how much of that it was ready to run. Asking is dear: the file in /proc is made for it, and
 * has to go before the thread can. A thread that runs a short function lives for less. */
static bool may_have_been_delayed(void) {
    const uint64_t worth_asking = 1000000; /* ns */
    const struct birth *birth = birth_of_self();
    if (birth == NULL) {
        return true;
    }
    double lived = clock_seconds(clock_elapsed(birth->born, clock_ticks())) * 1e9;
    return lived > worth_asking && lived - (double)usage_now().nanoseconds > worth_asking;
}

/* Destructor of the key: the thread of this slot ends. It may still come back for the GIL from the
 * destructor of another key. From 3.14 on, Python gives its name to the system's thread as well. */
void thread_ends(void *slot) {
    char name[LEDGER_OS_NAME_SIZE] = "";
    self.slot = NULL;
    self.ended = slot;
    self.ended_serial = self.ended->serial;
    if (may_have_been_delayed()) {
        run_delay_count_self();
    }
    if (!self.is_named) {
        find_given_name(name);
    }
    ledger_ended(slot, name);
}

/* Something else than the interpreter started the calling thread: it may have the name that the system has
 * for a Thread of Python's, which started it. */
static void note_inherited_name(void) {
    char name[LEDGER_OS_NAME_SIZE];
    prctl(PR_GET_NAME, name);
    if (strcmp(name, hooks.process_name) != 0 && ledger_has_thread_called(&ledger, name)) {
        memcpy(self.os_name_at_birth, name, sizeof name);
    }
}

/* Give the calling thread's new slot the name that is known of it. */
static void name_new_slot(struct ledger_slot *slot) {
    const struct birth *birth = birth_of_self();
    const struct accounting_thread *known = birth == NULL ? find_introduced(slot) : NULL;
    const char *name = birth != NULL ? birth->name : known != NULL ? known->name : "";
    self.is_named = name[0] != '\0';
    if (self.is_named) {
        ledger_name(&ledger, slot, name);
    } else if (birth != NULL) {
        memcpy(self.os_name_at_birth, birth->os_name, sizeof self.os_name_at_birth);
    } else {
        note_inherited_name();
    }
}

struct ledger_slot *own_slot(void) {
    if (self.slot == NULL) {
        if (self.ended != NULL && ledger_resume(&ledger, self.ended, self.ended_serial)) {
            self.slot = self.ended;
        } else {
            self.slot =
                ledger_enroll(&ledger, (uint64_t)pthread_self(), (uint64_t)syscall(SYS_gettid));
            if (self.slot != NULL) {
                name_new_slot(self.slot);
            }
        }
        if (self.slot != NULL) {
            pthread_setspecific(hooks.key, self.slot);
        }
        if (self.slot != NULL && self.internal) {
            ledger_mark_internal(&ledger, self.slot);
        }
    }
    return self.slot;
}

void forget_introduced(void) { introduced.count = 0; }

/* --- for the knocker and the names --- */

void accounting_names(const uint64_t *serials, size_t count, char (*names)[THREAD_NAME_SIZE]) {
    if (hooks.lock == NULL) { /* never installed: no thread has a serial */
        memset(names, 0, count * sizeof *names);
        return;
    }
    lock_ledger();
    const struct ledger_slot *slot = ledger.oldest;
    for (size_t i = 0; i < count; i++) {
        while (slot != NULL && slot->serial < serials[i]) {
            slot = slot->next;
        }
        bool found = slot != NULL && slot->serial == serials[i];
        snprintf(names[i], THREAD_NAME_SIZE, "%s",
                 !found                                            ? ""
                 : slot->name[0] == '\0' && ledger_has_ended(slot) ? slot->os_name
                                                                   : slot->name);
    }
    unlock_ledger();
}

void accounting_mark_internal(void) {
    self.internal = true;
    if (!hooks.installed) {
        return; /* where it is enrolled, it will be as a knocker */
    }
    lock_ledger();
    struct ledger_slot *slot = own_slot();
    if (slot != NULL) {
        ledger_mark_internal(&ledger, slot);
    }
    unlock_ledger();
}

uint64_t accounting_internal_wait(void) { return self.slot != NULL ? self.slot->last_wait : 0; }

bool accounting_taken_meanwhile(void) {
    return self.slot != NULL && self.slot->turns_at_request != ledger.turns;
}

bool accounting_holder(struct accounting_thread *thread, uint64_t *since) {
    const struct timespec moment = {0, 100000};
    bool locked = false, found = false;
    for (int i = 0; i < 100 && hooks.installed && !locked; i++) {
        locked = pthread_mutex_trylock(hooks.target.mutex) == 0;
        if (!locked) {
            nanosleep(&moment, NULL); /* who has it may have been taken off its processor */
        }
    }
    *since = 0;
    if (locked) {
        bool is_known = ledger.active && accounting_intact();
        found = is_known && ledger.holder != NULL;
        if (found) {
            describe(thread, ledger.holder);
        }
        if (is_known) {
            *since = found && !ledger.holder->internal ? ledger.held_since : clock_ticks();
        }
        unlock_ledger();
    }
    return found;
}

struct accounting_thread *accounting_nameless(size_t *count) {
    *count = 0;
    lock_ledger();
    size_t room = ledger.nameless_count;
    unlock_ledger();
    struct accounting_thread *threads = room != 0 ? malloc(room * sizeof *threads) : NULL;
    struct ledger_slot **slots = room != 0 ? malloc(room * sizeof *slots) : NULL;
    if (threads != NULL && slots != NULL) {
        lock_ledger();
        *count = ledger_take_nameless(&ledger, slots, room);
        for (size_t i = 0; i < *count; i++) {
            describe(&threads[i], slots[i]);
        }
        unlock_ledger();
    }
    free(slots);
    if (*count == 0) {
        free(threads);
        threads = NULL;
    }
    return threads;
}

void accounting_name(const struct accounting_thread *thread, const char *name) {
    lock_ledger();
    if (thread->slot->serial == thread->serial) {
        ledger_name(&ledger, thread->slot, name);
    }
    unlock_ledger();
}

void accounting_introduce(const struct accounting_thread *threads, size_t count) {
    struct accounting_thread *copy = count != 0 ? malloc(count * sizeof *copy) : NULL;
    if (copy != NULL) {
        memcpy(copy, threads, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, compare_native_ids);
    }
    lock_ledger();
    struct accounting_thread *former = introduced.threads;
    introduced.threads = copy;
    introduced.count = copy != NULL ? count : 0;
    unlock_ledger();
    free(former);
}

#endif
