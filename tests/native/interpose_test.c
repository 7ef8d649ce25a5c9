/* Redirects the calls of interpose_target.c. How that is built and linked decides what there is to
 * find and how its pages are protected: test_native.py goes through the ways. The argument says
 * what the pages of its slots are expected to be, "r" or "rw". */

#define _GNU_SOURCE

#include "native/interpose.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "interpose_target.h"

static int (*next_lock)(pthread_mutex_t *);
static int (*next_unlock)(pthread_mutex_t *);
static void *next_other;
static int n_locks, n_unlocks;

static int counting_lock(pthread_mutex_t *mutex) {
    n_locks++;
    return next_lock(mutex);
}

static int counting_unlock(pthread_mutex_t *mutex) {
    n_unlocks++;
    return next_unlock(mutex);
}

static int never_locks(pthread_mutex_t *mutex) {
    (void)mutex;
    return EBUSY;
}

static const struct interpose_symbol SYMBOLS[] = {
    {"pthread_mutex_lock", (void *)counting_lock, (void **)&next_lock},
    {"pthread_mutex_unlock", (void *)counting_unlock, (void **)&next_unlock},
};

static char reason[200];

static int install(struct interpose *interpose) {
    return interpose_install(interpose, (void *)target_lock, SYMBOLS, 2, reason, sizeof reason);
}

/* How many calls of the target's come by the replacements. */
static int count_calls(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    n_locks = n_unlocks = 0;
    CHECK(target_lock(&mutex) == 0);
    CHECK(pthread_mutex_trylock(&mutex) == EBUSY);
    CHECK(target_unlock(&mutex) == 0);
    CHECK(pthread_mutex_trylock(&mutex) == 0);
    CHECK(n_locks == n_unlocks);
    return n_locks;
}

/* The page protection that the kernel has for an address. */
static int protection_now(const void *address) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4200];
    int protection = -1;
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        char flags[5];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, flags) == 3 &&
            (unsigned long)address >= start && (unsigned long)address < end) {
            protection = (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0) |
                         (flags[2] == 'x' ? PROT_EXEC : 0);
        }
    }
    fclose(maps);
    return protection;
}

static void check_protection(const struct interpose *former, int protection) {
    for (size_t i = 0; i < former->n_slots; i++) {
        CHECK(protection_now(former->slots[i].address) == protection);
    }
}

static void check_restored(const struct interpose *former) {
    for (size_t i = 0; i < former->n_slots; i++) {
        CHECK(*former->slots[i].address == former->slots[i].original);
    }
    CHECK(count_calls() == 0);
}

/* Calls that mprotect lets pass before the one that fails; none fails when negative. */
static int mprotects_before_failure = -1;

/* Stands in for the C library's. */
int mprotect(void *address, size_t size, int protection) {
    if (mprotects_before_failure >= 0 && mprotects_before_failure-- == 0) {
        errno = EACCES;
        return -1;
    }
    return (int)syscall(SYS_mprotect, address, size, protection);
}

/* Runs first: lazy binding has not bound anything yet. */
static void test_unbound_slots_are_redirected_and_restored(int protection) {
    struct interpose interpose;
    CHECK(install(&interpose) == 0);
    struct interpose former = interpose;
    CHECK(interpose_intact(&interpose));
    CHECK(interpose.n_slots >= 2);
    check_protection(&former, protection);
    CHECK(count_calls() == 1);
    CHECK(count_calls() == 1);
    CHECK(interpose_intact(&interpose));

    interpose_undo(&interpose);
    CHECK(!interpose_intact(&interpose));
    check_protection(&former, protection);
    for (size_t i = 0; i < former.n_slots; i++) {
        CHECK(*former.slots[i].address == former.slots[i].original);
    }
    CHECK(count_calls() == 0);
}

/* Returns what was installed, for the tests that look at the slots. */
static struct interpose test_bound_slots_are_redirected_and_restored(int protection) {
    struct interpose interpose, former;
    for (int i = 0; i < 3; i++) {
        CHECK(install(&interpose) == 0);
        former = interpose;
        CHECK(count_calls() == 1);
        interpose_undo(&interpose);
        interpose_undo(&interpose);
        check_protection(&former, protection);
        check_restored(&former);
    }
    return former;
}

static void test_one_unknown_symbol_leaves_all_alone(const struct interpose *former) {
    const struct interpose_symbol symbols[] = {
        SYMBOLS[0], {"gilknock_no_such", (void *)counting_lock, &next_other}};
    struct interpose interpose;
    CHECK(interpose_install(&interpose, (void *)target_lock, symbols, 2, reason, sizeof reason) ==
          -1);
    CHECK(strcmp(reason, "gilknock_no_such: no such function is loaded") == 0);
    CHECK(interpose.n_slots == 0);
    check_restored(former);
}

static void test_a_symbol_never_called_is_refused(void) {
    const struct interpose_symbol symbol = {"pthread_barrier_wait", (void *)counting_lock,
                                            &next_other};
    struct interpose interpose;
    CHECK(interpose_install(&interpose, (void *)target_lock, &symbol, 1, reason, sizeof reason) ==
          -1);
    CHECK(strcmp(reason, "pthread_barrier_wait: the object does not call it") == 0);
}

static void test_an_address_in_no_object_is_refused(void) {
    int on_the_stack = 0;
    struct interpose interpose;
    CHECK(interpose_install(&interpose, &on_the_stack, SYMBOLS, 2, reason, sizeof reason) == -1);
    CHECK(strstr(reason, "no loaded object") != NULL);
    CHECK(!interpose_intact(&interpose));
}

static void test_a_short_reason_is_cut(void) {
    char little[8];
    struct interpose interpose;
    CHECK(interpose_install(&interpose, NULL, SYMBOLS, 2, little, sizeof little) == -1);
    CHECK(strlen(little) == sizeof little - 1);
}

static void write_slot(void **slot, void *value, int protection) {
    long page_size = sysconf(_SC_PAGESIZE);
    void *page = (void *)((unsigned long)slot & ~((unsigned long)page_size - 1));
    CHECK(mprotect(page, (size_t)page_size, PROT_READ | PROT_WRITE) == 0);
    *slot = value;
    CHECK(mprotect(page, (size_t)page_size, protection) == 0);
}

static void test_a_slot_redirected_by_another_tool_is_left_to_it(int protection) {
    struct interpose interpose;
    CHECK(install(&interpose) == 0);
    struct interpose former = interpose;
    write_slot(former.slots[0].address, (void *)never_locks, protection);
    CHECK(!interpose_intact(&interpose));
    interpose_undo(&interpose);
    CHECK(*former.slots[0].address == (void *)never_locks);
    for (size_t i = 1; i < former.n_slots; i++) {
        CHECK(*former.slots[i].address == former.slots[i].original);
    }
    write_slot(former.slots[0].address, former.slots[0].original, protection);
    CHECK(count_calls() == 0);
}

#ifdef TARGET_IS_SHARED
static int (*real_lock)(pthread_mutex_t *);
static int n_others;

/* Another tool's replacement. */
static int others_lock(pthread_mutex_t *mutex) {
    n_others++;
    return real_lock(mutex);
}

static bool leads_to_lock(const struct interpose_slot *slot) {
    return slot->replacement == (void *)counting_lock;
}

/* Has another tool redirect up to `most` of the slots for pthread_mutex_lock; returns how many. */
static int redirect_elsewhere(const struct interpose *former, int most, int protection) {
    int n_redirected = 0;
    *(void **)&real_lock = interpose_real("pthread_mutex_lock");
    for (size_t i = 0; i < former->n_slots; i++) {
        if (leads_to_lock(&former->slots[i]) && n_redirected++ < most) {
            write_slot(former->slots[i].address, (void *)others_lock, protection);
        }
    }
    return n_redirected;
}

static void restore_slots(const struct interpose *former, int protection) {
    for (size_t i = 0; i < former->n_slots; i++) {
        write_slot(former->slots[i].address, former->slots[i].original, protection);
    }
}

static void test_calls_are_passed_on_to_another_tool_that_had_them(const struct interpose *former,
                                                                   int protection) {
    struct interpose interpose;
    redirect_elsewhere(former, INTERPOSE_SLOTS, protection);
    CHECK(install(&interpose) == 0);
    CHECK(next_lock == others_lock);
    n_others = 0;
    CHECK(count_calls() == 1);
    CHECK(n_others == 1);
    interpose_undo(&interpose);
    for (size_t i = 0; i < former->n_slots; i++) {
        CHECK(!leads_to_lock(&former->slots[i]) ||
              *former->slots[i].address == (void *)others_lock);
    }
    CHECK(count_calls() == 0);
    CHECK(n_others == 2);
    restore_slots(former, protection);
    CHECK(install(&interpose) == 0);
    CHECK(next_lock == real_lock);
    interpose_undo(&interpose);
}

static void test_calls_that_lead_to_several_functions_are_left_alone(const struct interpose *former,
                                                                     int protection) {
    struct interpose interpose;
    if (redirect_elsewhere(former, 1, protection) > 1) {
        CHECK(install(&interpose) == -1);
        CHECK(strstr(reason, "another tool has redirected some") != NULL);
    }
    restore_slots(former, protection);
    for (size_t i = 0; i < former->n_slots; i++) {
        if (leads_to_lock(&former->slots[i])) {
            write_slot(former->slots[i].address, (void *)counting_lock, protection);
        }
    }
    CHECK(install(&interpose) == -1);
    CHECK(strstr(reason, "redirected already") != NULL);
    restore_slots(former, protection);
    check_restored(former);
}
#endif

static void test_a_failure_midway_restores_everything(const struct interpose *former,
                                                      int protection) {
    struct interpose interpose;
    int n_failures = 0;
    for (;;) {
        mprotects_before_failure = n_failures;
        int result = install(&interpose);
        mprotects_before_failure = -1;
        if (result == 0) {
            break;
        }
        n_failures++;
        CHECK(strstr(reason, strerror(EACCES)) != NULL);
        CHECK(!interpose_intact(&interpose));
        check_protection(former, protection);
        check_restored(former);
    }
    CHECK((size_t)n_failures == former->n_slots * (protection & PROT_WRITE ? 1 : 2));
    interpose_undo(&interpose);
}

#ifdef TARGET_IS_SHARED
static void test_a_variable_is_redirected_only_while_it_holds_the_function(void) {
    const struct interpose_symbol symbol = {"pthread_mutex_trylock", (void *)never_locks,
                                            &next_other};
    struct interpose interpose;
    CHECK(interpose_install(&interpose, (void *)target_lock, &symbol, 1, reason, sizeof reason) ==
          0);
    CHECK(target_variable() == never_locks);
    interpose_undo(&interpose);
    CHECK((void *)target_variable() == interpose_real("pthread_mutex_trylock"));

    /* Whether it succeeds is up to the linker, which may have added a slot for calls. */
    target_set_variable(counting_lock);
    interpose_install(&interpose, (void *)target_lock, &symbol, 1, reason, sizeof reason);
    CHECK(target_variable() == counting_lock);
    interpose_undo(&interpose);
    CHECK(target_variable() == counting_lock);
}
#endif

int main(int argc, char **argv) {
    CHECK(argc == 2);
    int protection = strcmp(argv[1], "r") == 0 ? PROT_READ : PROT_READ | PROT_WRITE;
    CHECK(interpose_real("gilknock_no_such") == NULL);

    test_unbound_slots_are_redirected_and_restored(protection);
    struct interpose former = test_bound_slots_are_redirected_and_restored(protection);
    test_one_unknown_symbol_leaves_all_alone(&former);
    test_a_symbol_never_called_is_refused();
    test_an_address_in_no_object_is_refused();
    test_a_short_reason_is_cut();
    test_a_slot_redirected_by_another_tool_is_left_to_it(protection);
    test_a_failure_midway_restores_everything(&former, protection);
#ifdef TARGET_IS_SHARED
    test_calls_are_passed_on_to_another_tool_that_had_them(&former, protection);
    test_calls_that_lead_to_several_functions_are_left_alone(&former, protection);
    test_a_variable_is_redirected_only_while_it_holds_the_function();
#endif
    return 0;
}
