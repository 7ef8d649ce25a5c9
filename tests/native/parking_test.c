/* Threads that wait on semaphores which a library calls, and what their waits come to. */

#define _GNU_SOURCE

#include "native/parking.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"
#include "native/clock.h"
#include "native/look_pacing.h"
#include "parking_target.h"

#define MS 1000000L
#define STORM_THREADS 8

static __thread struct parking_purpose purpose = {.kind = PARKING_SLEEP};

static struct parking_purpose classify(const struct parking_call *call) {
    CHECK(call->semaphore != 0 && call->site != 0);
    return purpose;
}

/* --- helpers --- */

struct waiter {
    pthread_t thread;
    sem_t semaphore;
    struct parking_purpose purpose;
    uint64_t native_id; /* atomic: it is about to wait */
    unsigned times;
};

static void *run_waiter(void *object) {
    struct waiter *waiter = object;
    purpose = waiter->purpose;
    __atomic_store_n(&waiter->native_id, (uint64_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    for (unsigned i = 0; i < waiter->times; i++) {
        CHECK(target_wait(&waiter->semaphore) == 0);
    }
    return NULL;
}

static void start(struct waiter *waiter, enum parking_kind kind, uint32_t type, unsigned times) {
    CHECK(sem_init(&waiter->semaphore, 0, 0) == 0);
    waiter->purpose = (struct parking_purpose){.kind = kind, .type = type, .identity = 0};
    waiter->native_id = 0;
    waiter->times = times;
    CHECK(pthread_create(&waiter->thread, NULL, run_waiter, waiter) == 0);
}

static void finish(struct waiter *waiter) {
    CHECK(sem_post(&waiter->semaphore) == 0);
    CHECK(pthread_join(waiter->thread, NULL) == 0);
    sem_destroy(&waiter->semaphore);
}

static void nap(long nanoseconds) {
    const struct timespec time = {0, nanoseconds};
    nanosleep(&time, NULL);
}

static struct parking_window open_window(bool by_thread) {
    struct parking_window window;
    CHECK(parking_open(&window, by_thread, clock_ticks()) == 0);
    return window;
}

static struct parking_reading read_window(const struct parking_window *window) {
    struct parking_reading reading;
    CHECK(parking_read(window, clock_ticks(), &reading) == 0);
    parking_free(&reading);
    return reading;
}

/* Read until so many waits of a kind are under way or over. */
static void await_count(const struct parking_window *window, enum parking_kind kind,
                        uint64_t count) {
    while (read_window(window).kinds[kind].count < count) {
        nap(MS / 10);
    }
}

static double ms(uint64_t ticks) { return clock_seconds(ticks) * 1e3; }

/* Wait on a semaphore that is posted already, or with a deadline that has passed. */
static int wait_here(struct parking_purpose what, bool posted) {
    sem_t semaphore;
    const struct timespec past = {0, 0};
    CHECK(sem_init(&semaphore, 0, posted ? 1 : 0) == 0);
    purpose = what;
    int result = posted ? target_wait(&semaphore) : target_clockwait(&semaphore, &past);
    purpose.kind = PARKING_SLEEP;
    sem_destroy(&semaphore);
    return result;
}

/* --- tests --- */

static void test_a_probe_reads_nothing_before_a_semaphore_that_is_not_on_the_stack(void) {
    sem_t *semaphore = malloc(sizeof *semaphore);
    struct parking_probe probe = {.wake = NULL, .before = {1, 2}};
    CHECK(semaphore != NULL && sem_init(semaphore, 0, 1) == 0);
    parking_set_probe(&probe);
    CHECK(target_wait(semaphore) == 0);
    parking_set_probe(NULL);
    CHECK(probe.calls == 1 && probe.before[0] == 1 && probe.before[1] == 2);
    CHECK(!parking_is_on_stack(&probe.call));
    sem_destroy(semaphore);
    free(semaphore);
}

static void test_a_probe_sees_the_words_before_the_semaphore_and_wakes(void) {
    struct target_entry entry = {.argument = 11, .address = 22};
    struct parking_probe probe = {.wake = NULL};
    CHECK(sem_init(&entry.semaphore, 0, 1) == 0);
    parking_set_probe(&probe);
    CHECK(target_wait(&entry.semaphore) == 0);
    parking_set_probe(NULL);
    CHECK(probe.calls == 1 && probe.before[0] == 11 && probe.before[1] == 22);
    CHECK(probe.call.semaphore == (uintptr_t)&entry.semaphore && !probe.call.timed);
    CHECK(probe.call.frame < (uintptr_t)&entry);
    uintptr_t site = probe.call.site;
    const struct timespec past = {0, 7};
    parking_set_probe(&probe);
    CHECK(target_clockwait(&entry.semaphore, &past) == -1 && errno == ETIMEDOUT);
    CHECK(probe.call.timed && probe.call.until == 7);
    CHECK(sem_post(&entry.semaphore) == 0 && target_wait(&entry.semaphore) == 0);
    parking_set_probe(NULL);
    CHECK(probe.calls == 3 && probe.call.site == site && !probe.call.timed);
}

static void post(struct parking_probe *probe) { CHECK(sem_post(probe->argument) == 0); }

static void test_a_probe_may_wake_the_waiter(void) {
    struct target_entry entry = {.argument = 0};
    CHECK(sem_init(&entry.semaphore, 0, 0) == 0);
    struct parking_probe probe = {.wake = post, .argument = &entry.semaphore};
    parking_set_probe(&probe);
    CHECK(target_wait(&entry.semaphore) == 0);
    parking_set_probe(NULL);
    CHECK(probe.calls == 1);
}

static void test_waits_count_by_kind_and_sleep_does_not(void) {
    struct parking_window window = open_window(true);
    for (int kind = 0; kind < PARKING_KINDS; kind++) {
        for (int i = 0; i <= kind; i++) {
            CHECK(wait_here((struct parking_purpose){.kind = kind}, true) == 0);
        }
    }
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_SLEEP}, true) == 0);
    struct parking_reading reading = read_window(&window);
    for (int kind = 0; kind < PARKING_KINDS; kind++) {
        CHECK(reading.kinds[kind].count == (uint64_t)kind + 1);
        CHECK(reading.kinds[kind].longest <= reading.kinds[kind].total);
    }
    parking_close(&window);
}

/* The semaphore is posted by the thread itself, again and again; or it is any other one. */
static void test_who_wakes_itself_has_not_waited(void) {
    struct parking_window window = open_window(true);
    sem_t semaphores[2];
    purpose = (struct parking_purpose){.kind = PARKING_OBJECT, .is_parked = true};
    for (int i = 0; i < 2; i++) {
        CHECK(sem_init(&semaphores[i], 0, 0) == 0);
    }
    for (int i = 0; i < 3; i++) {
        CHECK(target_post(&semaphores[0]) == 0 && target_wait(&semaphores[0]) == 0);
    }
    CHECK(read_window(&window).kinds[PARKING_OBJECT].count == 0);
    CHECK(sem_post(&semaphores[0]) == 0 && target_post(&semaphores[1]) == 0);
    CHECK(target_wait(&semaphores[0]) == 0);
    CHECK(read_window(&window).kinds[PARKING_OBJECT].count == 1);
    purpose.is_parked = false; /* as a lock that others may have had meanwhile */
    CHECK(target_post(&semaphores[0]) == 0 && target_wait(&semaphores[0]) == 0);
    CHECK(read_window(&window).kinds[PARKING_OBJECT].count == 2);
    purpose.kind = PARKING_SLEEP;
    parking_close(&window);
}

static void test_errno_is_that_of_the_wait(void) {
    struct parking_window window = open_window(true);
    errno = 77;
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT}, true) == 0 && errno == 77);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT}, false) == -1);
    CHECK(errno == ETIMEDOUT);
    CHECK(read_window(&window).kinds[PARKING_OBJECT].count == 2);
    parking_close(&window);
}

static void test_a_window_has_what_lies_in_it_of_a_wait_that_goes_on(void) {
    struct waiter waiter;
    struct parking_window outer = open_window(true);
    start(&waiter, PARKING_PROGRAM, 0, 1);
    await_count(&outer, PARKING_PROGRAM, 1);
    nap(30 * MS);
    uint64_t opened = clock_ticks();
    struct parking_window inner = open_window(true);
    nap(10 * MS);
    struct parking_reading half = read_window(&inner);
    CHECK(half.kinds[PARKING_PROGRAM].count == 1);
    CHECK(ms(half.kinds[PARKING_PROGRAM].total) >= 9.9);
    nap(10 * MS);
    finish(&waiter);
    uint64_t closed = clock_ticks();
    struct parking_reading whole = read_window(&outer), part = read_window(&inner);
    CHECK(whole.kinds[PARKING_PROGRAM].count == 1 && part.kinds[PARKING_PROGRAM].count == 1);
    CHECK(ms(whole.kinds[PARKING_PROGRAM].total) >= 49.9);
    CHECK(ms(part.kinds[PARKING_PROGRAM].total) >= 19.9);
    CHECK(part.kinds[PARKING_PROGRAM].total <= closed - opened);
    CHECK(part.kinds[PARKING_PROGRAM].longest == part.kinds[PARKING_PROGRAM].total);
    struct parking_window after = open_window(true);
    CHECK(read_window(&after).kinds[PARKING_PROGRAM].count == 0);
    parking_close(&after);
    parking_close(&inner);
    parking_close(&outer);
}

static void test_the_sleeps_of_one_attempt_are_one_wait(void) {
    struct parking_window window = open_window(true);
    const struct parking_purpose attempt = {.kind = PARKING_OBJECT, .identity = 4711};
    uint64_t began = clock_ticks();
    CHECK(wait_here(attempt, false) == -1);
    nap(5 * MS);
    struct parking_window later = open_window(true);
    nap(5 * MS);
    CHECK(wait_here(attempt, true) == 0);
    uint64_t ended = clock_ticks();
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT, .type = 0, .identity = 4712},
                    true) == 0);
    struct parking_sums sums = read_window(&window).kinds[PARKING_OBJECT];
    CHECK(sums.count == 2);
    CHECK(ms(sums.longest) >= 9.9 && sums.longest <= ended - began);
    struct parking_sums part = read_window(&later).kinds[PARKING_OBJECT];
    CHECK(part.count == 2 && ms(part.longest) >= 4.9 && part.longest < sums.longest);
    parking_close(&later);
    parking_close(&window);
}

/* A window counts from a moment before it is there: a sleep may end between. */
static void test_a_sleep_that_ends_as_the_window_opens_is_one_of_its_attempt(void) {
    const struct parking_purpose attempt = {.kind = PARKING_OBJECT, .identity = 4713};
    struct parking_window window;
    struct parking_reading reading;
    uint64_t opened = clock_ticks();
    CHECK(wait_here(attempt, false) == -1);
    nap(5 * MS);
    CHECK(parking_open(&window, true, opened) == 0);
    for (unsigned sleeps = 1; sleeps <= 2; sleeps++) {
        CHECK(wait_here(attempt, true) == 0);
        CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
        struct parking_sums sums = reading.kinds[PARKING_OBJECT];
        CHECK(sums.count == 1 && sums.longest == sums.total);
        CHECK(ms(sums.total) >= 4.9 && sums.total <= clock_ticks() - opened);
        CHECK(histogram_count(&reading.details->lengths[PARKING_OBJECT]) == 1);
        parking_free(&reading);
    }
    parking_close(&window);
}

static void test_types_have_their_sums(void) {
    struct parking_window window = open_window(true);
    uint32_t dict = parking_type("dict"), list = parking_type("list");
    CHECK(dict != 0 && list != 0 && dict != list && parking_type("dict") == dict);
    CHECK(strcmp(parking_type_name(dict), "dict") == 0);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT, .type = dict, .identity = 0},
                    true) == 0);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT, .type = list, .identity = 0},
                    true) == 0);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT, .type = dict, .identity = 0},
                    true) == 0);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT, .type = 0, .identity = 0},
                    true) == 0);
    struct parking_reading reading = read_window(&window);
    CHECK(reading.types[dict].count == 2 && reading.types[list].count == 1);
    CHECK(reading.types[0].count == 1 && reading.kinds[PARKING_OBJECT].count == 4);
    char name[PARKING_TYPE_SIZE + 20];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    uint32_t of_long = parking_type(name);
    CHECK(of_long != 0 && strlen(parking_type_name(of_long)) == PARKING_TYPE_SIZE - 1);
    CHECK(parking_type(name) == of_long);
    for (int i = 0; i < 2 * PARKING_TYPE_NAMES; i++) {
        snprintf(name, sizeof name, "type %d", i);
        uint32_t type = parking_type(name);
        CHECK(type == 0 || strcmp(parking_type_name(type), name) == 0);
    }
    CHECK(parking_type("one too many") == 0 && parking_type("dict") == dict);
    parking_close(&window);
}

static void *wait_for_many_types(void *types) {
    for (const uint32_t *type = types; *type != 0; type++) {
        CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT, .type = *type}, true) ==
              0);
    }
    return NULL;
}

/* In a window that adds threads up as they end, all share the places of one. */
static void test_types_that_have_no_room_are_summed_up_under_none(void) {
    enum { MANY = PARKING_TYPES + 4 };
    uint32_t types[2][MANY + 1] = {{0}};
    struct parking_window window = open_window(true), whole = open_window(false);
    for (int half = 0; half < 2; half++) {
        pthread_t thread;
        for (int i = 0; i < MANY; i++) {
            char name[PARKING_TYPE_SIZE];
            snprintf(name, sizeof name, "of half %d, number %d", half, i);
            CHECK((types[half][i] = parking_type(name)) != 0);
        }
        CHECK(pthread_create(&thread, NULL, wait_for_many_types, types[half]) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    for (int halves = 1; halves <= 2; halves++) {
        struct parking_reading reading = read_window(halves == 1 ? &whole : &window);
        struct parking_sums named = {0, 0, 0};
        for (uint32_t i = 1; i < PARKING_TYPE_NAMES; i++) {
            named.count += reading.types[i].count;
            named.total += reading.types[i].total;
        }
        const struct parking_sums *all = &reading.kinds[PARKING_OBJECT];
        CHECK(all->count == 2 * MANY && named.count == (uint64_t)halves * PARKING_TYPES);
        CHECK(reading.types[0].count == all->count - named.count);
        CHECK(reading.types[0].total == all->total - named.total);
    }
    parking_close(&whole);
    parking_close(&window);
}

static void test_threads_are_told_apart_and_outlive_their_end(void) {
    struct waiter waiters[3];
    struct parking_window window = open_window(true), whole = open_window(false);
    for (int i = 0; i < 3; i++) {
        start(&waiters[i], PARKING_INTERPRETER, 0, (unsigned)i + 1);
        for (int extra = 0; extra < i; extra++) {
            CHECK(sem_post(&waiters[i].semaphore) == 0);
        }
        finish(&waiters[i]);
    }
    struct parking_reading reading;
    CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
    CHECK(reading.kinds[PARKING_INTERPRETER].count == 6 && reading.thread_count == 3);
    for (int i = 0; i < 3; i++) {
        const struct parking_thread *thread = &reading.threads[i];
        CHECK(thread->native_id == waiters[i].native_id && thread->ended);
        CHECK(thread->kinds[PARKING_INTERPRETER].count == (uint64_t)i + 1);
    }
    parking_free(&reading);
    CHECK(parking_read(&whole, clock_ticks(), &reading) == 0);
    CHECK(reading.kinds[PARKING_INTERPRETER].count == 6 && reading.thread_count == 0);
    parking_free(&reading);
    parking_close(&window);
    parking_close(&whole);
}

static void test_many_threads_one_after_the_other_lose_no_wait(void) {
    struct parking_window whole = open_window(false), window = open_window(true);
    const unsigned many = PARKING_THREADS + 40;
    for (unsigned i = 0; i < many; i++) {
        struct waiter waiter;
        start(&waiter, PARKING_OBJECT, parking_type("set"), 1);
        finish(&waiter);
    }
    struct parking_reading of_whole = read_window(&whole), reading = read_window(&window);
    CHECK(of_whole.kinds[PARKING_OBJECT].count == many && of_whole.omitted == 0);
    CHECK(reading.kinds[PARKING_OBJECT].count == many && reading.omitted >= 40);
    CHECK(reading.types[parking_type("set")].count == many);
    CHECK(parking_intact() && parking_is_whole(&window));
    parking_close(&window);
    parking_close(&whole);
}

static void test_a_window_is_whole_if_it_meets_no_more_threads_than_there_are_slots(void) {
    static struct waiter waiters[PARKING_THREADS + 1];
    struct parking_window before = open_window(false);
    for (int i = 0; i <= PARKING_THREADS; i++) {
        CHECK(parking_is_whole(&before) || i > PARKING_THREADS / 2);
        start(&waiters[i], PARKING_OBJECT, 0, 1);
    }
    while (parking_is_whole(&before)) {
        nap(MS / 10);
    }
    struct parking_window meanwhile = open_window(false);
    CHECK(!parking_is_whole(&meanwhile));
    for (int i = 0; i <= PARKING_THREADS; i++) {
        finish(&waiters[i]);
    }
    CHECK(!parking_is_whole(&before) && !parking_is_whole(&meanwhile));
    struct parking_window after = open_window(false);
    struct waiter one;
    start(&one, PARKING_OBJECT, 0, 1);
    finish(&one);
    CHECK(parking_is_whole(&after) && read_window(&after).kinds[PARKING_OBJECT].count == 1);
    CHECK(!parking_is_whole(&before) && !parking_is_whole(&meanwhile));
    parking_close(&before);
    parking_close(&meanwhile);
    parking_close(&after);
}

static void *spin(void *unused) {
    target_spin();
    return unused;
}

static void test_threads_that_only_spin_are_not_omitted(void) {
    struct parking_window window = open_window(true);
    pthread_t thread;
    for (unsigned i = 0; i < PARKING_THREADS + 40; i++) {
        CHECK(pthread_create(&thread, NULL, spin, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
    struct parking_reading reading = read_window(&window);
    CHECK(reading.spins == PARKING_THREADS + 40 && reading.omitted == 0);
    parking_close(&window);
}

static void test_windows_are_limited(void) {
    struct parking_window windows[PARKING_WINDOWS], one_more;
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        windows[i] = open_window(true);
    }
    CHECK(parking_open(&one_more, true, clock_ticks()) == -1);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT}, true) == 0);
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        CHECK(read_window(&windows[i]).kinds[PARKING_OBJECT].count == 1);
        parking_close(&windows[i]);
    }
    one_more = open_window(true);
    CHECK(read_window(&one_more).kinds[PARKING_OBJECT].count == 0);
    parking_close(&one_more);
}

static void test_a_forked_child_drops_the_waits_of_others(void) {
    struct waiter waiter;
    struct parking_window window = open_window(true);
    start(&waiter, PARKING_OBJECT, 0, 1);
    await_count(&window, PARKING_OBJECT, 1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct parking_reading reading = read_window(&window);
        bool dropped = reading.kinds[PARKING_OBJECT].count == 0;
        wait_here((struct parking_purpose){.kind = PARKING_OBJECT}, true);
        reading = read_window(&window);
        _exit(dropped && reading.kinds[PARKING_OBJECT].count == 1 ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    finish(&waiter);
    parking_close(&window);
}

/* --- places --- */

#define PAIRS 4
#define SHORT_WAITS 120
#define CROWD 60

static __thread uint32_t stands_at = PARKING_NO_PLACE;

static uint32_t where(void) { return stands_at; }

/* Waits at place 1, again and again; `ready` says that it is about to. */
struct sleeper {
    pthread_t thread;
    struct target_entry entry;
    enum parking_kind kind;
    unsigned ready; /* atomic */
    unsigned times;
};

static void *run_sleeper(void *object) {
    struct sleeper *sleeper = object;
    stands_at = 1;
    purpose = (struct parking_purpose){.kind = sleeper->kind, .is_parked = true};
    for (unsigned i = 0; i < sleeper->times; i++) {
        __atomic_store_n(&sleeper->ready, i + 1, __ATOMIC_RELEASE);
        CHECK(target_wait(&sleeper->entry.semaphore) == 0);
    }
    return NULL;
}

static void wake_sleepers(int pairs, enum parking_kind kind, unsigned times, long nanoseconds) {
    static struct sleeper sleepers[PAIRS];
    for (int i = 0; i < pairs; i++) {
        sleepers[i] = (struct sleeper){.kind = kind, .times = times};
        CHECK(sem_init(&sleepers[i].entry.semaphore, 0, 0) == 0);
        CHECK(pthread_create(&sleepers[i].thread, NULL, run_sleeper, &sleepers[i]) == 0);
    }
    stands_at = 2;
    for (unsigned turn = 1; turn <= times; turn++) {
        for (int i = 0; i < pairs; i++) {
            while (__atomic_load_n(&sleepers[i].ready, __ATOMIC_ACQUIRE) < turn) {
                nap(MS / 100);
            }
        }
        nap(nanoseconds);
        for (int i = 0; i < pairs; i++) {
            CHECK(target_post(&sleepers[i].entry.semaphore) == 0);
        }
    }
    stands_at = PARKING_NO_PLACE;
    for (int i = 0; i < pairs; i++) {
        CHECK(pthread_join(sleepers[i].thread, NULL) == 0);
        sem_destroy(&sleepers[i].entry.semaphore);
    }
}

static void test_long_waits_are_all_charged_to_both_places(enum parking_kind kind) {
    struct parking_window window = open_window(true);
    struct parking_reading reading;
    wake_sleepers(PAIRS, kind, 2, 50 * MS); /* on a busy machine a sleeper may come to it late */
    CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
    uint64_t waited[LOCK_ROLES] = {0}, waits[LOCK_ROLES] = {0};
    for (size_t i = 0; i < reading.details->charges.count; i++) {
        const struct lock_charge *row = &reading.details->charges.rows[i];
        CHECK(row->kind == kind && row->place == (row->role == LOCK_WAITED ? 1 : 2));
        CHECK(row->longest <= reading.kinds[kind].longest);
        waited[row->role] += row->waited;
        waits[row->role] += row->waits;
    }
    for (int role = 0; role < LOCK_ROLES; role++) {
        CHECK(waits[role] == 2 * PAIRS);
        CHECK(ms(waited[role]) <= ms(reading.kinds[kind].total) + 1e-3);
        CHECK(ms(waited[role]) >= ms(reading.kinds[kind].total) - 1e-3);
    }
    const struct parking_longest *longest = &reading.longest[kind];
    CHECK(longest->waited == reading.kinds[kind].longest && longest->began >= window.opened);
    CHECK(longest->place == 1 && longest->let_go_at == 2);
    CHECK(longest->let_go_by == (uint64_t)syscall(SYS_gettid));
    CHECK(histogram_count(&reading.details->lengths[kind]) == 2 * PAIRS);
    parking_free(&reading);
    parking_close(&window);
}

#define ATTEMPTS 20

/* Attempts of 10 ms, whose last sleep somebody ends. */
static void *run_attempts(void *object) {
    struct sleeper *sleeper = object;
    const struct timespec past = {0, 0};
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        purpose = (struct parking_purpose){
            .kind = PARKING_PROGRAM, .identity = 9000 + i, .is_parked = true};
        CHECK(target_clockwait(&sleeper->entry.semaphore, &past) == -1);
        nap(10 * MS);
        CHECK(target_clockwait(&sleeper->entry.semaphore, &past) == -1);
        __atomic_store_n(&sleeper->ready, i + 1, __ATOMIC_RELEASE);
        CHECK(target_wait(&sleeper->entry.semaphore) == 0);
    }
    return NULL;
}

static void test_a_short_last_sleep_of_a_long_wait_tells_who_let_go(void) {
    struct parking_window window = open_window(true);
    struct parking_reading reading;
    struct sleeper sleeper = {.ready = 0};
    unsigned let_go = 0, waits = 0;
    CHECK(sem_init(&sleeper.entry.semaphore, 0, 0) == 0);
    CHECK(pthread_create(&sleeper.thread, NULL, run_attempts, &sleeper) == 0);
    for (unsigned turn = 1; turn <= ATTEMPTS; turn++) {
        while (__atomic_load_n(&sleeper.ready, __ATOMIC_ACQUIRE) < turn ||
               read_window(&window).pending[PARKING_PROGRAM] == 0) {
            nap(MS / 100);
        }
        nap(MS / 10);
        CHECK(target_post(&sleeper.entry.semaphore) == 0);
    }
    CHECK(pthread_join(sleeper.thread, NULL) == 0);
    sem_destroy(&sleeper.entry.semaphore);
    CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
    for (size_t i = 0; i < reading.details->charges.count; i++) {
        const struct lock_charge *row = &reading.details->charges.rows[i];
        let_go += row->role == LOCK_LET_GO ? row->waits : 0;
        waits += row->role == LOCK_WAITED ? row->waits : 0;
        /* The sleeps before are short, and seldom drawn. */
        uint64_t total = reading.kinds[PARKING_PROGRAM].total;
        CHECK(row->waited <= total && ms(row->waited) > 0.9 * ms(total));
        CHECK(row->role == LOCK_WAITED || row->waited == total);
    }
    CHECK(reading.details->charges.count == 2);
    CHECK(reading.kinds[PARKING_PROGRAM].count == ATTEMPTS);
    CHECK(let_go == ATTEMPTS && waits == ATTEMPTS);
    CHECK(reading.longest[PARKING_PROGRAM].let_go_by == (uint64_t)syscall(SYS_gettid));
    parking_free(&reading);
    parking_close(&window);
}

static void test_short_waits_are_charged_in_the_mean(void) {
    struct parking_window window = open_window(true);
    struct parking_reading reading;
    wake_sleepers(PAIRS, PARKING_OBJECT, SHORT_WAITS, MS / 2);
    CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
    double total = ms(reading.kinds[PARKING_OBJECT].total);
    const struct lock_charges_reading *charges = &reading.details->charges;
    const struct drawn_waits *drawn = &charges->drawn[LOCK_WAITED][PARKING_OBJECT];
    double charged = ms(drawn->waited + drawn->stands_for);
    CHECK(charged > 0.3 * total && charged < 3 * total);
    CHECK(reading.details->charges.count <= PAIRS + 1);
    parking_free(&reading);
    parking_close(&window);
}

/* Of five windows with eight short waits each, how many waits were drawn; and what all waited. */
static unsigned drawn_of_short_waits(double *waited_ms) {
    unsigned drawn = 0;
    for (int i = 0; i < 5; i++) {
        struct parking_window window = open_window(true);
        struct parking_reading reading;
        wake_sleepers(1, PARKING_OBJECT, 8, MS * 3 / 10);
        CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
        for (size_t row = 0; row < reading.details->charges.count; row++) {
            const struct lock_charge *charge = &reading.details->charges.rows[row];
            drawn +=
                charge->kind == PARKING_OBJECT && charge->role == LOCK_WAITED ? charge->waits : 0;
        }
        *waited_ms += ms(reading.kinds[PARKING_OBJECT].total);
        parking_free(&reading);
        parking_close(&window);
    }
    return drawn;
}

/* Alone, the first four waits of each window are longer than the mean. */
static void test_the_more_threads_wait_the_fewer_waits_are_drawn(void) {
    static struct waiter crowd[CROWD];
    const double mean_ms = LOOK_FIRST_MEAN_NS * 1e-6 * CROWD;
    double waited_ms = 0;
    CHECK(drawn_of_short_waits(&waited_ms) >= 10);
    struct parking_window window = open_window(true);
    for (int i = 0; i < CROWD; i++) {
        start(&crowd[i], PARKING_PROGRAM, 0, 1);
    }
    await_count(&window, PARKING_PROGRAM, CROWD);
    parking_close(&window);
    waited_ms = 0;
    unsigned drawn = drawn_of_short_waits(&waited_ms);
    CHECK(drawn <= 3 * waited_ms / mean_ms + 8);
    for (int i = 0; i < CROWD; i++) {
        /* A thread that is cancelled makes sanitizers report errors of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        finish(&crowd[i]);
#else
        CHECK(pthread_cancel(crowd[i].thread) == 0);
        CHECK(pthread_join(crowd[i].thread, NULL) == 0);
#endif
    }
    CHECK(drawn_of_short_waits(&waited_ms) >= 10); /* none of them is taken to wait still */
}

static void test_a_wait_begins_when_the_attempt_did(void) {
    struct parking_window window = open_window(true);
    const struct parking_purpose late = {.kind = PARKING_PROGRAM, .began_ago_ns = 3 * MS};
    nap(5 * MS);
    CHECK(wait_here(late, true) == 0);
    CHECK(ms(read_window(&window).kinds[PARKING_PROGRAM].total) >= 2.99);
    parking_close(&window);
    window = open_window(true);
    CHECK(wait_here(late, true) == 0);
    uint64_t waited = read_window(&window).kinds[PARKING_PROGRAM].total; /* it began before */
    CHECK(waited > 0 && waited <= clock_elapsed(window.opened, clock_ticks()));
    parking_close(&window);
}

/* A sleep that times out, a pause, and one that does not. */
static struct parking_sums sleep_pause_and_sleep(const struct parking_purpose *one,
                                                 uint64_t pause) {
    struct parking_window window = open_window(true);
    CHECK(wait_here(*one, false) == -1 && errno == ETIMEDOUT);
    nap(pause);
    CHECK(wait_here(*one, true) == 0);
    struct parking_sums sums = read_window(&window).kinds[PARKING_INTERPRETER];
    parking_close(&window);
    return sums;
}

static void test_a_sleep_that_timed_out_may_go_on_in_the_next_one(void) {
    const struct parking_purpose one = {.kind = PARKING_INTERPRETER,
                                        .identity = 55,
                                        .after = PARKING_TIMED_OUT,
                                        .gap_ns = PARKING_GAP_NS};
    struct parking_sums sums;
    int tries = 100; /* on a busy machine a pause may be much longer */
    do {
        sums = sleep_pause_and_sleep(&one, MS);
    } while (sums.count != 1 && --tries > 0);
    CHECK(sums.count == 1 && ms(sums.longest) >= 0.9);
    CHECK(sleep_pause_and_sleep(&one, 2 * PARKING_GAP_NS).count == 2);
    struct parking_window window = open_window(true);
    CHECK(wait_here(one, true) == 0 && wait_here(one, true) == 0);
    CHECK(read_window(&window).kinds[PARKING_INTERPRETER].count == 2);
    parking_close(&window);
}

static void interrupt(int number) { (void)number; }

static void wait_for_until_a_signal(sem_t *semaphore, struct parking_purpose what) {
    const struct itimerval timer = {{0, 5000}, {0, 5000}}, none = {{0, 0}, {0, 0}};
    const struct sigaction action = {.sa_handler = interrupt};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    purpose = what;
    CHECK(target_wait(semaphore) == -1 && errno == EINTR);
    purpose.kind = PARKING_SLEEP;
    CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

static void wait_until_a_signal(struct parking_purpose what) {
    sem_t semaphore;
    CHECK(sem_init(&semaphore, 0, 0) == 0);
    wait_for_until_a_signal(&semaphore, what);
    sem_destroy(&semaphore);
}

/* Sleeps that end by a signal, a pause, and one that does not. */
static struct parking_sums sleep_through_signals(const struct parking_purpose *first,
                                                 const struct parking_purpose *last,
                                                 uint64_t pause) {
    struct parking_window window = open_window(true);
    for (int i = 0; i < 3; i++) {
        wait_until_a_signal(*first);
    }
    nap(pause);
    CHECK(wait_here(*last, true) == 0);
    struct parking_sums sums = read_window(&window).kinds[PARKING_PROGRAM];
    parking_close(&window);
    return sums;
}

static void test_a_sleep_that_ended_by_a_signal_may_go_on_in_the_next_one(void) {
    const struct parking_purpose one = {.kind = PARKING_PROGRAM,
                                        .identity = 56,
                                        .after = PARKING_SIGNALLED,
                                        .gap_ns = PARKING_HANDLER_GAP_NS};
    struct parking_purpose other = one;
    other.identity = 57;
    struct parking_sums sums;
    int tries = 100; /* on a busy machine a pause may be much longer */
    do {
        sums = sleep_through_signals(&one, &one, MS);
    } while (sums.count != 1 && --tries > 0);
    CHECK(sums.count == 1 && sums.longest == sums.total && ms(sums.longest) >= 10);
    CHECK(sleep_through_signals(&one, &one, PARKING_HANDLER_GAP_NS * 2).count >= 2);
    CHECK(sleep_through_signals(&one, &other, 0).count >= 2);
    struct parking_window window = open_window(true);
    CHECK(wait_here(one, false) == -1 && errno == ETIMEDOUT);
    CHECK(wait_here(one, true) == 0 && wait_here(one, true) == 0);
    CHECK(read_window(&window).kinds[PARKING_PROGRAM].count == 3);
    parking_close(&window);
}

static uint64_t waits_of_the_program(const struct parking_window *window) {
    return read_window(window).kinds[PARKING_PROGRAM].count;
}

/* Returns how many waits two sleeps for a lock are: the thread lets it go, or another one, between them. */
static uint64_t sleep_let_go_and_sleep(struct parking_purpose what, bool of_that) {
    struct parking_window window = open_window(true);
    sem_t lock, other;
    CHECK(sem_init(&lock, 0, 0) == 0 && sem_init(&other, 0, 0) == 0);
    wait_for_until_a_signal(&lock, what);
    CHECK(target_post(of_that ? &lock : &other) == 0);
    purpose = what;
    CHECK(target_wait(of_that ? &lock : &other) == 0);
    purpose.kind = PARKING_SLEEP;
    sem_destroy(&lock);
    sem_destroy(&other);
    uint64_t count = waits_of_the_program(&window);
    parking_close(&window);
    return count;
}

static void test_who_let_go_of_a_lock_asks_for_it_in_another_attempt(void) {
    const struct parking_purpose one = {.kind = PARKING_PROGRAM,
                                        .identity = 58,
                                        .after = PARKING_SIGNALLED,
                                        .gap_ns = PARKING_HANDLER_GAP_NS};
    int tries = 100; /* on a busy machine a pause may be too long */
    while (sleep_let_go_and_sleep(one, false) != 1 && --tries > 0) {
    }
    CHECK(tries > 0);
    CHECK(sleep_let_go_and_sleep(one, true) == 2);
}

/* Returns how many waits two sleeps are, of attempts that give up after `patience`. */
static uint64_t sleep_for_and_sleep(uint64_t patience, uint64_t pause) {
    static uint64_t calls;
    struct parking_purpose what = {.kind = PARKING_PROGRAM,
                                   .identity = 1000 + calls++,
                                   .after = PARKING_SIGNALLED,
                                   .gap_ns = PARKING_HANDLER_GAP_NS,
                                   .until = clock_system_ns() + patience};
    struct parking_window window = open_window(true);
    wait_until_a_signal(what);
    nap((long)pause);
    what.until = clock_system_ns() + patience;
    wait_until_a_signal(what);
    uint64_t count = waits_of_the_program(&window);
    parking_close(&window);
    return count;
}

static void test_an_attempt_does_not_go_on_after_it_gave_up(void) {
    int tries = 100; /* on a busy machine a pause may be too long */
    while (sleep_for_and_sleep(900 * MS, MS) != 1 && --tries > 0) {
    }
    CHECK(tries > 0);
    CHECK(sleep_for_and_sleep(30 * MS, 40 * MS) == 2);
}

static void test_a_wait_between_the_sleeps_of_an_attempt_has_nothing_counted_twice(void) {
    struct parking_window window = open_window(true);
    struct parking_purpose attempt = {
        .kind = PARKING_OBJECT, .identity = 8888, .began_ago_ns = 5 * MS};
    nap(5 * MS);
    CHECK(wait_here(attempt, true) == 0);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_STOP_THE_WORLD}, true) == 0);
    uint64_t now = clock_ticks();
    attempt.began_ago_ns = (uint64_t)(ms(now - window.opened) * MS);
    CHECK(wait_here(attempt, true) == 0);
    uint64_t passed = clock_ticks() - window.opened;
    CHECK(read_window(&window).kinds[PARKING_OBJECT].total <= passed);
    parking_close(&window);
}

static void test_lengths_are_of_attempts(void) {
    struct parking_window window = open_window(true);
    struct parking_reading reading;
    const struct parking_purpose one = {.kind = PARKING_OBJECT, .identity = 7777};
    for (int i = 0; i < 3; i++) {
        CHECK(wait_here(one, true) == 0);
        nap(MS);
    }
    CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
    CHECK(reading.kinds[PARKING_OBJECT].count == 1);
    CHECK(histogram_count(&reading.details->lengths[PARKING_OBJECT]) == 1);
    CHECK(ms(histogram_quantile(&reading.details->lengths[PARKING_OBJECT], 0.5)) > 1.9);
    parking_free(&reading);
    parking_close(&window);
}

static void test_lengths_are_of_waits_that_go_on_too(void) {
    struct waiter waiter;
    struct parking_window window = open_window(true);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT}, true) == 0);
    start(&waiter, PARKING_OBJECT, 0, 1);
    await_count(&window, PARKING_OBJECT, 2);
    nap(5 * MS);
    for (int over = 0; over < 2; over++) {
        struct parking_reading reading;
        CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
        const struct histogram *lengths = &reading.details->lengths[PARKING_OBJECT];
        CHECK(reading.kinds[PARKING_OBJECT].count == 2 && histogram_count(lengths) == 2);
        CHECK(ms(histogram_quantile(lengths, 1.0)) > 4.5);
        parking_free(&reading);
        if (!over) {
            finish(&waiter);
        }
    }
    parking_close(&window);
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#define TRAP_FLAG 0x100

static struct parking_window stepped;
static volatile sig_atomic_t steps, step_on, wrong;
static volatile bool in_child;

/* Nightly runs fork at each instruction, others at one of so many. */
static bool is_due(int one_of) {
    static int nightly = -1;
    if (nightly < 0) {
        nightly = getenv("GILKNOCK_NIGHTLY") != NULL;
    }
    return steps++ % (nightly ? 1 : one_of) == 0;
}

/* A child goes on with a window that is closed, and another one opened in its place, at this instruction. */
static void fork_and_reopen(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    pid_t child = !in_child && is_due(4) ? fork() : -1;
    if (child == 0) {
        in_child = true;
        step_on = 0;
        parking_close(&stepped);
        stepped = open_window(true);
    } else if (child > 0) {
        int status;
        wrong += waitpid(child, &status, 0) != child || status != 0;
    }
    *flags = step_on ? *flags | TRAP_FLAG : *flags & ~TRAP_FLAG;
}

static void test_a_thread_late_at_closing_leaves_no_length(void) {
    const struct sigaction action = {.sa_sigaction = fork_and_reopen, .sa_flags = SA_SIGINFO};
    struct parking_reading reading;
    sem_t semaphore;
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0 && sem_init(&semaphore, 0, 1) == 0);
    purpose.kind = PARKING_OBJECT;
    stepped = open_window(true);
    step_on = 1;
    raise(SIGTRAP);
    CHECK(target_wait(&semaphore) == 0);
    step_on = 0;
    purpose.kind = PARKING_SLEEP;
    parking_close(&stepped);
    struct parking_window after = open_window(true);
    CHECK(parking_read(&after, clock_ticks(), &reading) == 0);
    bool empty = histogram_count(&reading.details->lengths[PARKING_OBJECT]) == 0;
    parking_free(&reading);
    parking_close(&after);
    if (in_child) {
        _exit(empty ? 0 : 1);
    }
    CHECK(empty && steps > 100 && wrong == 0);
}

/* A child opens a window at an instruction by which another thread opens one. */
static void fork_and_open(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    pid_t child = is_due(64) ? fork() : -1;
    if (child == 0) {
        struct parking_window window = open_window(true);
        struct parking_reading reading;
        CHECK(parking_read(&window, clock_ticks(), &reading) == 0);
        _exit(histogram_count(&reading.details->lengths[PARKING_OBJECT]) == 0 ? 0 : 1);
    }
    if (child > 0) {
        int status;
        wrong += waitpid(child, &status, 0) != child || status != 0;
    }
    *flags = step_on ? *flags | TRAP_FLAG : *flags & ~TRAP_FLAG;
}

static void test_a_child_forked_as_a_window_opens_has_no_length_of_the_one_before(void) {
    const struct sigaction action = {.sa_sigaction = fork_and_open, .sa_flags = SA_SIGINFO};
    struct parking_window window = open_window(true);
    sem_t semaphore;
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0 && sem_init(&semaphore, 0, 1) == 0);
    purpose.kind = PARKING_OBJECT;
    CHECK(target_wait(&semaphore) == 0);
    purpose.kind = PARKING_SLEEP;
    parking_close(&window);
    steps = wrong = 0;
    step_on = 1;
    raise(SIGTRAP);
    window = open_window(true);
    step_on = 0;
    parking_close(&window);
    CHECK(steps > 1000 && wrong == 0);
}

#else

static void test_a_thread_late_at_closing_leaves_no_length(void) {}
static void test_a_child_forked_as_a_window_opens_has_no_length_of_the_one_before(void) {}

#endif

static void test_spins_are_counted_and_other_yields_are_not(void) {
    struct parking_window window = open_window(true);
    for (int i = 0; i < 5; i++) {
        target_spin();
        target_yield();
    }
    struct parking_reading reading = read_window(&window);
    CHECK(reading.spins_are_seen && reading.spins == 5);
    parking_close(&window);
}

static bool over; /* atomic */

static void *run_storm(void *object) {
    unsigned random = (unsigned)(uintptr_t)object * 2654435761u + 1;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        random = random * 1664525u + 1013904223u;
        const struct parking_purpose what = {.kind = (random >> 8) % (PARKING_KINDS + 1),
                                             .type = random >> 30,
                                             .identity = (random >> 12) % 3,
                                             .is_parked = (random >> 14 & 1) != 0};
        wait_here(what, (random >> 16 & 1) != 0);
        if (random >> 27 == 0) {
            nap(MS / 10);
        }
    }
    return NULL;
}

static void test_reading_and_opening_in_a_storm(void) {
    pthread_t threads[STORM_THREADS];
    struct parking_window whole = open_window(false);
    for (uintptr_t i = 0; i < STORM_THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_storm, (void *)i) == 0);
    }
    uint64_t before = 0;
    for (int i = 0; i < 60; i++) {
        struct parking_window window = open_window(true);
        nap(MS / 5);
        struct parking_reading reading = read_window(&window);
        uint64_t lasted = clock_ticks() - window.opened, count = 0;
        uint64_t bound = lasted + lasted / 10 + 1000000;
        for (int kind = 0; kind < PARKING_KINDS; kind++) {
            const struct parking_sums *sums = &reading.kinds[kind];
            CHECK(sums->total <= bound * STORM_THREADS && sums->longest <= bound);
            CHECK(sums->longest <= sums->total);
        }
        parking_close(&window);
        reading = read_window(&whole);
        for (int kind = 0; kind < PARKING_KINDS; kind++) {
            count += reading.kinds[kind].count;
        }
        CHECK(count + STORM_THREADS >= before); /* a reading may miss what just ends */
        before = count;
    }
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    for (int i = 0; i < STORM_THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(before > 0 && parking_intact() && parking_is_whole(&whole));
    parking_close(&whole);
}

int main(void) {
    char reason[160];
    clock_init();
    CHECK(!parking_intact());
    CHECK(parking_install((const void *)target_wait, reason, sizeof reason) == 0);
    test_a_probe_sees_the_words_before_the_semaphore_and_wakes();
    test_a_probe_reads_nothing_before_a_semaphore_that_is_not_on_the_stack();
    test_a_probe_may_wake_the_waiter();
    parking_count_spins((const void *)target_wait, target_yield);
    parking_start(classify);
    test_waits_count_by_kind_and_sleep_does_not();
    test_who_wakes_itself_has_not_waited();
    test_errno_is_that_of_the_wait();
    test_a_window_has_what_lies_in_it_of_a_wait_that_goes_on();
    test_the_sleeps_of_one_attempt_are_one_wait();
    test_a_sleep_that_ends_as_the_window_opens_is_one_of_its_attempt();
    test_types_that_have_no_room_are_summed_up_under_none();
    test_types_have_their_sums();
    test_threads_are_told_apart_and_outlive_their_end();
    test_many_threads_one_after_the_other_lose_no_wait();
    test_threads_that_only_spin_are_not_omitted();
    test_windows_are_limited();
    test_a_forked_child_drops_the_waits_of_others();
    test_a_wait_begins_when_the_attempt_did();
    test_a_sleep_that_timed_out_may_go_on_in_the_next_one();
    test_a_sleep_that_ended_by_a_signal_may_go_on_in_the_next_one();
    test_who_let_go_of_a_lock_asks_for_it_in_another_attempt();
    test_an_attempt_does_not_go_on_after_it_gave_up();
    test_a_wait_between_the_sleeps_of_an_attempt_has_nothing_counted_twice();
    test_lengths_are_of_attempts();
    test_lengths_are_of_waits_that_go_on_too();
    test_a_thread_late_at_closing_leaves_no_length();
    test_a_child_forked_as_a_window_opens_has_no_length_of_the_one_before();
    test_spins_are_counted_and_other_yields_are_not();
    parking_look(where);
    test_long_waits_are_all_charged_to_both_places(PARKING_OBJECT);
    test_long_waits_are_all_charged_to_both_places(PARKING_STOP_THE_WORLD);
    test_a_short_last_sleep_of_a_long_wait_tells_who_let_go();
    test_short_waits_are_charged_in_the_mean();
    test_the_more_threads_wait_the_fewer_waits_are_drawn();
    test_reading_and_opening_in_a_storm();
    test_a_window_is_whole_if_it_meets_no_more_threads_than_there_are_slots();
    parking_stop();
    struct parking_window window = open_window(true);
    CHECK(wait_here((struct parking_purpose){.kind = PARKING_OBJECT}, true) == 0);
    CHECK(read_window(&window).kinds[PARKING_OBJECT].count == 0);
    parking_close(&window);
    return 0;
}
