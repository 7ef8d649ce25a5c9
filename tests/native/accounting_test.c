/* The accounting on a toy GIL. Every thread keeps a diary, and every reading must agree with all of
 * them. So no time that the machine takes away makes a test fail.
 *
 * Without clock_init a tick is a nanosecond, and the threads' clocks agree. */

#define _GNU_SOURCE

#include "native/accounting.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "diary.h"
#include "native/accounting_looks.h"
#include "native/charges.h"
#include "native/clock.h"
#include "toy_gil.h"

#define WORKERS 4
#define MICROSECOND 1000u
#define MILLISECOND 1000000u

static struct toy_gil gil;
static uint64_t watched_since; /* the first of the open windows was there */

static void sleep_for(uint64_t nanoseconds) {
    nanosleep(&(struct timespec){0, (long)nanoseconds}, NULL);
}

static void compute_for(uint64_t nanoseconds) {
    for (uint64_t start = toy_usage_now().nanoseconds;
         toy_usage_now().nanoseconds - start < nanoseconds;) {
    }
}

/* --- threads at work --- */

enum style {
    BLOCKING,   /* has the GIL for a while, then sleeps without it */
    COMPUTING,  /* has it until asked to drop it, and wants it straight back */
    GOING_AWAY, /* has it until asked to drop it, then computes without it */
    RESTING,    /* has it until asked to drop it, then sleeps without it */
    KEEPING,    /* has it for KEPT, whatever it is asked, then sleeps without it */
};

struct worker {
    struct diary diary;
    pthread_t thread;
    enum style style;
};

static struct worker workers[WORKERS];
static struct diary main_diary; /* of the thread that has the GIL between two tests */
static const struct diary *const diaries[] = {&main_diary, &workers[0].diary, &workers[1].diary,
                                              &workers[2].diary, &workers[3].diary};
static int stopping; /* atomic */

static bool is_stopping(void) { return __atomic_load_n(&stopping, __ATOMIC_RELAXED) != 0; }

static void compute_until_wanted(void) {
    while (!toy_gil_is_wanted(&gil) && !is_stopping()) {
    }
}

#define KEPT (20 * MILLISECOND)

static void *work(void *argument) {
    struct worker *worker = argument;
    diary_begin(&worker->diary, &gil);
    while (!is_stopping() && worker->diary.count < TURNS) {
        diary_take(&worker->diary);
        if (worker->style == BLOCKING) {
            compute_for(200 * MICROSECOND);
        } else if (worker->style == KEEPING) {
            sleep_for(KEPT);
        } else {
            compute_until_wanted();
        }
        diary_drop(&worker->diary);
        if (worker->style == GOING_AWAY) {
            compute_for(300 * MICROSECOND);
        } else if (worker->style != COMPUTING) {
            sleep_for(300 * MICROSECOND);
        }
    }
    return NULL;
}

static void start(size_t count, const enum style *styles) {
    stopping = 0;
    for (size_t i = 0; i < count; i++) {
        workers[i].style = styles[i];
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
}

static void stop(size_t count) {
    diary_drop(&main_diary);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < count; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
    }
    diary_take(&main_diary);
}

static void let_others_work(uint64_t nanoseconds) {
    diary_drop(&main_diary);
    sleep_for(nanoseconds);
    diary_take(&main_diary);
}

/* --- windows --- */

static void open_window(struct ledger_window *window, bool by_thread) {
    bool first = !accounting_active();
    CHECK(accounting_open(window, by_thread, clock_ticks()) == 0);
    watched_since = first ? clock_ticks() : watched_since;
}

static struct ledger_reading read_window(const struct ledger_window *window) {
    struct ledger_reading reading;
    CHECK(accounting_read(window, clock_ticks(), &reading) == 0);
    return reading;
}

static struct ledger_reading read_and_close(struct ledger_window *window) {
    struct ledger_reading reading = read_window(window);
    accounting_close(window);
    return reading;
}

static struct ledger_sums sums_so_far(const struct ledger_window *window) {
    struct ledger_reading reading = read_window(window);
    free(reading.threads);
    return reading.sums;
}

/* The diaries are the main thread's and those of the first workers. */
#define CHECK_AND_FREE(reading, window, worker_count)                                              \
    do {                                                                                           \
        check_reading(&(reading), &(window), watched_since, diaries, (worker_count) + 1);          \
        free((reading).threads);                                                                   \
    } while (0)

/* --- the tests --- */

static void test_one_thread_alone_never_waits(void) {
    struct ledger_window window;
    diary_begin_with_gil(&main_diary, &gil);
    open_window(&window, true);
    for (int i = 0; i < 1000; i++) {
        diary_drop(&main_diary);
        diary_take(&main_diary);
    }
    struct ledger_reading reading = read_and_close(&window);
    CHECK(!accounting_active());
    CHECK(reading.sums.acquisitions == 1000);
    CHECK(reading.sums.contended == 0 && reading.sums.wait == 0 && reading.max_wait == 0);
    CHECK(reading.thread_count == 1);
    CHECK_AND_FREE(reading, window, 0);
}

static void *only_look(void *unused) {
    toy_gil_only_look(&gil);
    return unused;
}

static void test_a_look_is_neither_a_take_nor_a_wait(void) {
    struct ledger_window window;
    pthread_t onlooker;
    diary_begin_with_gil(&main_diary, &gil);
    open_window(&window, true);
    toy_gil_only_look(&gil);
    CHECK(pthread_create(&onlooker, NULL, only_look, NULL) == 0);
    CHECK(pthread_join(onlooker, NULL) == 0);
    diary_drop(&main_diary);
    toy_gil_only_look(&gil);
    diary_take(&main_diary);
    struct ledger_reading reading = read_and_close(&window);
    CHECK(reading.sums.acquisitions == 1 && reading.sums.wait == 0);
    CHECK_AND_FREE(reading, window, 0);
}

static uint64_t native_id_in(const struct accounting_record *record, uint64_t serial) {
    for (size_t i = 0; i < record->thread_count; i++) {
        if (record->threads[i].serial == serial) {
            return record->threads[i].native_id;
        }
    }
    return 0;
}

/* The events of a window, cut off where it opened, are its sums, thread by thread. A thread may have
 * asked after the reading. */
static void check_record(uint64_t first, const struct ledger_window *window,
                         const struct ledger_reading *reading) {
    struct accounting_record record;
    uint64_t now = window->opened + reading->wall;
    CHECK(accounting_record(first, now, &record) == 0);
    CHECK(record.dropped == 0);
    for (size_t i = 0; i < reading->thread_count; i++) {
        const struct ledger_thread *thread = &reading->threads[i];
        struct ledger_sums sums = {.held = 0};
        uint64_t unfinished_wait = 0;
        for (size_t j = 0; j < record.count; j++) {
            const struct event *event = &record.events[j];
            unsigned flags = event->serial_and_flags & 255;
            CHECK((flags & EVENT_BY_KNOCKER) == 0 && event->until <= now);
            CHECK(j == 0 || event->until >= event[-1].until || (flags & EVENT_WAIT) != 0);
            if (native_id_in(&record, event->serial_and_flags >> 8) == thread->native_id) {
                uint64_t from = event->from > window->opened ? event->from : window->opened;
                *(flags & EVENT_WAIT ? &sums.wait : &sums.held) +=
                    clock_elapsed(from, event->until);
                sums.contended += (flags & (EVENT_WAIT | EVENT_UNFINISHED)) == EVENT_WAIT;
                if (flags & EVENT_UNFINISHED && flags & EVENT_WAIT) {
                    unfinished_wait = clock_elapsed(from, event->until);
                }
            }
        }
        CHECK(sums.held == thread->sums.held);
        CHECK(sums.wait == thread->sums.wait || sums.wait - unfinished_wait == thread->sums.wait);
        CHECK(sums.contended == thread->sums.contended);
    }
    accounting_free_record(&record);
}

static void check_at_work(size_t count, const enum style *styles) {
    struct ledger_window window, bare;
    CHECK(accounting_start_recording(100000) == 0);
    diary_begin_with_gil(&main_diary, &gil);
    open_window(&bare, false);
    open_window(&window, true);
    uint64_t first = accounting_next_event();
    start(count, styles);
    let_others_work(30 * MILLISECOND);
    struct ledger_reading so_far = read_window(&window);
    check_record(first, &window, &so_far);
    free(so_far.threads);
    stop(count);
    struct ledger_reading reading = read_window(&window), bare_reading = read_and_close(&bare);
    check_record(first, &window, &reading);
    accounting_close(&window);
    accounting_stop_recording();
    CHECK(accounting_intact());
    CHECK(bare_reading.thread_count == 0);
    CHECK_AND_FREE(reading, window, count);
    CHECK_AND_FREE(bare_reading, bare, count);
}

static void test_threads_at_work_are_told_as_their_diaries_say(void) {
    static const enum style mixtures[][WORKERS] = {
        {BLOCKING, BLOCKING, BLOCKING, BLOCKING},
        {COMPUTING, BLOCKING, BLOCKING, BLOCKING},
        {COMPUTING, COMPUTING, GOING_AWAY, RESTING},
        {GOING_AWAY, GOING_AWAY, RESTING, RESTING},
    };
    for (size_t i = 0; i < sizeof mixtures / sizeof mixtures[0]; i++) {
        check_at_work(WORKERS, mixtures[i]);
        check_at_work(1, mixtures[i]);
    }
}

static void test_a_small_ring_keeps_the_latest_events(void) {
    struct ledger_window window;
    struct accounting_record record;
    CHECK(accounting_start_recording(10) == 0);
    CHECK(accounting_start_recording(20) == 0); /* there is one already */
    open_window(&window, true);
    uint64_t first = accounting_next_event();
    diary_begin_with_gil(&main_diary, &gil);
    for (int i = 0; i < 100; i++) {
        diary_drop(&main_diary);
        diary_take(&main_diary);
    }
    uint64_t now = clock_ticks();
    CHECK(accounting_record(first, now, &record) == 0);
    CHECK(record.count == 11 && record.dropped == 90);
    CHECK(record.events[10].serial_and_flags % 256 == (EVENT_HOLD | EVENT_UNFINISHED));
    CHECK(record.events[10].until == now);
    accounting_free_record(&record);
    accounting_stop_recording();
    CHECK(accounting_record(first, now, &record) == 0);
    CHECK(record.count == 11);
    accounting_free_record(&record);
    accounting_stop_recording();
    accounting_close(&window);
    CHECK(accounting_start_recording(SIZE_MAX) < 0);
}

/* The diaries know most times who came straight back: then they are strict about it. */
static void test_who_is_forced_out_waits_since_it_dropped_the_gil(void) {
    size_t certain = 0;
    for (int tries = 0; tries < 500 && certain < 20; tries++) {
        check_at_work(2, (const enum style[]){COMPUTING, COMPUTING});
        for (size_t i = 0; i < 2; i++) {
            for (size_t j = 0; j < workers[i].diary.count; j++) {
                certain += workers[i].diary.turns[j].back == STRAIGHT;
            }
        }
    }
    CHECK(certain >= 20);
}

static void test_windows_open_and_close_while_others_hold_and_wait(void) {
    enum { WINDOWS = 12 };
    static struct ledger_window windows[WINDOWS], outer;
    static struct ledger_reading readings[WINDOWS];
    diary_begin_with_gil(&main_diary, &gil);
    start(WORKERS, (const enum style[]){COMPUTING, COMPUTING, BLOCKING, GOING_AWAY});
    let_others_work(5 * MILLISECOND);
    open_window(&outer, true);
    for (size_t i = 0; i < WINDOWS; i++) {
        open_window(&windows[i], i % 3 != 0);
        let_others_work(3 * MILLISECOND);
        if (i % 2 == 1) {
            readings[i] = read_window(&windows[i]);
            readings[i - 1] = read_and_close(&windows[i - 1]);
            accounting_close(&windows[i]);
        }
    }
    struct ledger_reading whole = read_and_close(&outer);
    stop(WORKERS);
    CHECK_AND_FREE(whole, outer, WORKERS);
    for (size_t i = 0; i < WINDOWS; i++) {
        CHECK_AND_FREE(readings[i], windows[i], WORKERS);
    }
    CHECK(accounting_intact());
}

/* --- the knocker --- */

enum { KNOCKS = 50 };

/* Guarded by the GIL. */
static bool is_answered; /* every knock */

static void *knock(void *unused) {
    static struct diary knocks;
    diary_begin(&knocks, &gil);
    accounting_mark_internal();
    while (knocks.count < KNOCKS) {
        sleep_for(300 * MICROSECOND);
        diary_take(&knocks);
        CHECK_WITHIN(accounting_internal_wait(), diary_wait(&knocks.turns[knocks.count - 1]));
        is_answered = knocks.count == KNOCKS;
        diary_drop(&knocks);
    }
    return unused;
}

/* Knock at a thread that computes. Who comes straight back after a knock has held the GIL all the
 * time. Returns how often that is certain. */
static size_t knock_at_a_computing_thread(void) {
    struct ledger_window window;
    pthread_t knocker;
    size_t certain = 0;
    struct range acquisitions = {0, 0}, wait = {0, 0}, away = {0, 0};
    stopping = 0;
    is_answered = false;
    diary_begin_with_gil(&main_diary, &gil);
    open_window(&window, true);
    CHECK(pthread_create(&knocker, NULL, knock, NULL) == 0);
    while (!is_answered) {
        compute_until_wanted();
        diary_drop(&main_diary);
        diary_take(&main_diary);
        const struct turn *turn = &main_diary.turns[main_diary.count - 1];
        if (turn->back == STRAIGHT) {
            certain++;
            continue;
        }
        acquisitions.most++;
        wait.most += diary_wait(turn).most;
        away.most += clock_elapsed(turn[-1].left.least, turn->got.most);
        if (turn->back == NOT_STRAIGHT) {
            acquisitions.least++;
            away.least += clock_elapsed(turn[-1].left.most, turn->got.least);
        }
    }
    struct ledger_reading reading = read_and_close(&window);
    diary_drop(&main_diary);
    CHECK(pthread_join(knocker, NULL) == 0);
    diary_take(&main_diary);
    CHECK_WITHIN(reading.sums.acquisitions, acquisitions);
    CHECK_WITHIN(reading.sums.wait, wait);
    CHECK_WITHIN(reading.wall - reading.sums.held, away);
    CHECK(reading.thread_count == 1 && part_of(&reading, &main_diary) != NULL);
    free(reading.threads);
    return certain;
}

static void test_knocks_leave_no_trace(void) {
    size_t certain = 0;
    for (int tries = 0; tries < 50 && certain < KNOCKS; tries++) {
        certain += knock_at_a_computing_thread();
    }
    CHECK(certain >= KNOCKS);
}

/* --- who is looked at --- */

enum { PLACE_IN_HOLD = 7, PLACE_IN_WAIT, PLACE_IN_COLLECTION };

static const int collecting;

/* The toy's holder is told by what it took the GIL with: its diary. */
static void aim(struct stack_aim *at) {
    *at = (struct stack_aim){.state = gil.last_holder, .is_frame_known = true};
}

static int looks_made; /* atomic */
static _Thread_local bool knocks;
static int looks_of_knock; /* atomic */

/* As the system call does that reads memory which is gone, a look sets errno. */
static uint32_t look_at(const struct stack_aim *at, bool collects) {
    CHECK(at->state != NULL);
    __atomic_add_fetch(&looks_made, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&looks_of_knock, knocks, __ATOMIC_RELAXED);
    errno = EFAULT;
    return collects ? PLACE_IN_COLLECTION : PLACE_IN_HOLD;
}

static int own_stacks_read; /* atomic; by threads that wait */

static struct own_stack look_at_self_waiting(void) {
    __atomic_add_fetch(&own_stacks_read, 1, __ATOMIC_RELAXED);
    return (struct own_stack){&own_stacks_read, PLACE_IN_WAIT};
}

static bool waited_with(const void *state) {
    CHECK(state == &own_stacks_read && gil.locked == 1);
    return true;
}

static int read_with_gil; /* by workers; guarded by the toy */

static uint32_t look_at_self(void) {
    read_with_gil += gil.last_holder != &main_diary;
    CHECK(gil.last_holder != NULL && gil.locked == 1);
    return PLACE_IN_WAIT;
}

static bool is_a_worker(uint64_t native_id) {
    for (size_t i = 0; i < sizeof diaries / sizeof *diaries; i++) {
        if (diaries[i]->native_id == native_id) {
            return true;
        }
    }
    return false;
}

static struct charges_reading charges_of(const struct charges_window *window,
                                         const struct ledger_reading *reading,
                                         uint64_t knock_wait) {
    const struct charges_known known = {reading->sums.wait, reading->hand_over, reading->pending,
                                        knock_wait};
    struct charges_reading charges;
    CHECK(charges_read(window, &known, &charges) == 0);
    uint64_t sum = charges.unlooked + reading->hand_over, victims = 0;
    for (size_t i = 0; i < charges.blame.count; i++) {
        const struct charges_row *row = &charges.blame.rows[i];
        CHECK(is_a_worker(row->thread.native_id));
        CHECK(row->thread.place == PLACE_IN_HOLD);
        CHECK(row->looks != 0 || row->knock_looks != 0);
        sum += row->waited;
    }
    CHECK(sum == reading->sums.wait);
    for (size_t i = 0; i < charges.victims.count; i++) {
        const struct charges_row *row = &charges.victims.rows[i];
        CHECK(is_a_worker(row->thread.native_id));
        CHECK(row->thread.place == PLACE_IN_WAIT);
        victims += row->waited;
    }
    CHECK(window->victims.waited <= reading->sums.wait - reading->pending);
    CHECK(victims <= reading->sums.wait - reading->pending);
    return charges;
}

static const struct accounting_reader reader = {.aim = aim,
                                                .look = look_at,
                                                .while_waiting = look_at_self_waiting,
                                                .waited_with = waited_with,
                                                .here = look_at_self,
                                                .collecting = &collecting};

static void have_waiters_look(void) {
    char reason[100];
    CHECK(accounting_look(&reader, true, (const void *)toy_gil_take, reason, sizeof reason) == 0);
}

static void open_and_look(struct ledger_window *window, struct charges_window *charged) {
    have_waiters_look();
    diary_begin_with_gil(&main_diary, &gil);
    open_window(window, true);
    charges_open(charged, clock_ticks());
}

static void close_and_look_no_more(struct ledger_window *window, struct charges_window *charged) {
    charges_close(charged);
    struct ledger_reading reading = read_and_close(window);
    free(reading.threads);
    accounting_look_no_more();
    CHECK(accounting_intact());
}

/* Where the machine is busy, two of the workers may have the GIL to themselves for long. */
static bool tells_of_three(const struct charges_reading *charges) {
    return charges->blame.count >= 3 && charges->victims.count >= 3;
}

static void test_the_wait_is_charged_to_who_has_the_gil(bool waiters_look) {
    struct ledger_window window;
    struct charges_window charged;
    char reason[100];
    CHECK(accounting_look(&reader, waiters_look, (const void *)toy_gil_take, reason,
                          sizeof reason) == 0);
    diary_begin_with_gil(&main_diary, &gil);
    open_window(&window, true);
    charges_open(&charged, clock_ticks());
    start(WORKERS, (const enum style[]){COMPUTING, BLOCKING, RESTING, COMPUTING});
    struct ledger_reading reading = {.threads = NULL};
    struct charges_reading charges = {.blame = {.rows = NULL}};
    for (int tries = 0; tries < 50 && !tells_of_three(&charges); tries++) {
        charges_free(&charges);
        free(reading.threads);
        let_others_work(100 * MILLISECOND);
        reading = read_window(&window);
        charges = charges_of(&charged, &reading, 0);
    }
    CHECK(tells_of_three(&charges));
    CHECK(charges.unlooked == 0);
    CHECK(charges.longest.waited + reading.pending >= reading.max_wait);
    CHECK(charges.longest.waited <= reading.max_wait);
    CHECK(is_a_worker(charges.longest.waiter.native_id));
    charges_free(&charges);
    free(reading.threads);
    stop(WORKERS);
    close_and_look_no_more(&window, &charged);
}

/* Each of the two waits long enough to have been drawn, whatever is drawn. */
static void test_a_long_wait_is_read_before_it_ends(void) {
    struct ledger_window window;
    struct charges_window charged;
    struct charges_reading charges;
    open_and_look(&window, &charged);
    int read_before = __atomic_load_n(&own_stacks_read, __ATOMIC_RELAXED);
    read_with_gil = 0;
    start(2, (const enum style[]){GOING_AWAY, GOING_AWAY});
    while (__atomic_load_n(&own_stacks_read, __ATOMIC_RELAXED) != read_before + 2) {
        sleep_for(MILLISECOND);
    }
    sleep_for(20 * MILLISECOND);
    CHECK(__atomic_load_n(&own_stacks_read, __ATOMIC_RELAXED) == read_before + 2);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED); /* each takes the GIL once */
    stop(2);
    CHECK(read_with_gil == 0);
    struct ledger_reading reading = read_window(&window);
    charges = charges_of(&charged, &reading, 0);
    size_t workers_told = 0;
    for (size_t i = 0; i < charges.victims.count; i++) {
        const struct charges_row *row = &charges.victims.rows[i];
        bool by_main = row->thread.native_id == main_diary.native_id;
        CHECK(by_main || row->longest >= 20 * MILLISECOND);
        workers_told += !by_main;
    }
    CHECK(workers_told == 2);
    charges_free(&charges);
    free(reading.threads);
    close_and_look_no_more(&window, &charged);
}

static void *take_once(void *is_knock) {
    static struct diary diary;
    diary_begin(&diary, &gil);
    if (is_knock != NULL) {
        knocks = true;
        accounting_mark_internal();
    }
    diary_take(&diary);
    diary_drop(&diary);
    return NULL;
}

/* How often a knock looks that waits for 200 ms, beside so many threads that wait. */
static int looks_of_a_knock_beside(size_t waiting) {
    struct ledger_window window;
    struct charges_window charged;
    pthread_t knocker;
    open_and_look(&window, &charged);
    start(waiting, (const enum style[WORKERS]){GOING_AWAY, GOING_AWAY, GOING_AWAY, GOING_AWAY});
    sleep_for(20 * MILLISECOND);
    __atomic_store_n(&looks_of_knock, 0, __ATOMIC_RELAXED);
    CHECK(pthread_create(&knocker, NULL, take_once, &knocks) == 0);
    sleep_for(200 * MILLISECOND);
    int looked = __atomic_load_n(&looks_of_knock, __ATOMIC_RELAXED);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    stop(waiting);
    diary_drop(&main_diary);
    CHECK(pthread_join(knocker, NULL) == 0);
    diary_take(&main_diary);
    close_and_look_no_more(&window, &charged);
    return looked;
}

/* Looks at random moments scatter, and on a busy machine timers are late, so that a look stands for many. */
static void test_a_knock_shares_the_looks_with_threads_that_wait(void) {
    bool shared = false;
    for (int tries = 0; tries < 5 && !shared; tries++) {
        int alone = looks_of_a_knock_beside(0), beside = looks_of_a_knock_beside(WORKERS);
        shared = 3 * alone > 4 * beside;
    }
    CHECK(shared);
}

static uint64_t stood_for(const struct charges_window *charged) {
    return charged->threads.charged + charged->threads.unseen;
}

/* Have the next wait be the one of so many whose rest is looked at. */
static void choose_next_wait(uint32_t one_of) {
    pthread_mutex_lock(&gil.mutex);
    looks.pacing.begun = clock_ticks() + ticks_of(1000 * MILLISECOND);
    looks.pacing.before = looks.pacing.usual_wait = 0;
    for (struct look_choice choice = {0, 0}; choice.rest != one_of; looks.pacing.random++) {
        struct look_pacing pacing = looks.pacing;
        pacing.asked = looks.pacing.asked = one_of - 1;
        choice = look_pacing_choose(&pacing, MILLISECOND, 0);
    }
    looks.pacing.random--;
    pthread_mutex_unlock(&gil.mutex);
}

/* Where the interpreter waits for long until it asks the holder to let go, the waits that were not chosen are
 * looked at long before: those that were stand for them until then only. */
static void test_chosen_waits_stand_for_others_no_longer_than_they_do(void) {
    enum { ONE_OF = 16 };
    struct ledger_window window;
    struct charges_window charged;
    gil.patience = 900 * MILLISECOND;
    open_and_look(&window, &charged);
    choose_next_wait(ONE_OF);
    int read_before = __atomic_load_n(&own_stacks_read, __ATOMIC_RELAXED);
    start(1, (const enum style[]){GOING_AWAY});
    while (__atomic_load_n(&own_stacks_read, __ATOMIC_RELAXED) == read_before) {
        sleep_for(MILLISECOND); /* it does not wait yet */
    }
    sleep_for(100 * MILLISECOND);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    stop(1);
    gil.patience = TOY_GIL_PATIENCE;
    struct ledger_reading reading = read_window(&window);
    CHECK(stood_for(&charged) > reading.sums.wait / 2);
    CHECK(stood_for(&charged) < reading.sums.wait * ONE_OF / 3);
    free(reading.threads);
    close_and_look_no_more(&window, &charged);
}

/* Have a thread wait until it has looked. Returns how long it waited, and for how long its looks stand. */
static uint64_t wait_for_one_look(const struct ledger_window *window,
                                  const struct charges_window *charged, uint64_t *looked) {
    pthread_t waiter;
    uint64_t waited_before = sums_so_far(window).wait;
    int looks_before = __atomic_load_n(&looks_made, __ATOMIC_RELAXED);
    *looked = stood_for(charged);
    choose_next_wait(1);
    CHECK(pthread_create(&waiter, NULL, take_once, NULL) == 0);
    while (__atomic_load_n(&looks_made, __ATOMIC_RELAXED) == looks_before) {
    }
    diary_drop(&main_diary);
    CHECK(pthread_join(waiter, NULL) == 0);
    diary_take(&main_diary);
    *looked = stood_for(charged) - *looked;
    return sums_so_far(window).wait - waited_before;
}

/* Looks are close at first: one at the beginning of each wait makes them far apart. */
__attribute__((unused)) static void test_the_beginning_of_a_wait_ends_with_it(void) {
    struct ledger_window window;
    struct charges_window charged;
    enum { FIRST = 200, SHORT_ONES = 200, TRIES = 1500 };
    open_and_look(&window, &charged);
    int short_ones = 0;
    for (int tries = 0; tries < TRIES && short_ones < SHORT_ONES; tries++) {
        uint64_t looked, waited = wait_for_one_look(&window, &charged, &looked);
        if (tries >= FIRST && waited < ticks_of(LOOK_BLIND_NS) / 2) {
            short_ones++;
            CHECK(looked <= waited);
        }
    }
    CHECK(short_ones > 0);
    close_and_look_no_more(&window, &charged);
}

/* Have a thread wait for so long before the window opens, and after. */
static void wait_across_the_opening(struct ledger_window *window, struct charges_window *charged,
                                    uint64_t nanoseconds) {
    diary_begin_with_gil(&main_diary, &gil);
    start(1, (const enum style[]){GOING_AWAY});
    sleep_for(nanoseconds);
    open_window(window, true);
    charges_open(charged, window->opened);
    sleep_for(nanoseconds);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    stop(1);
}

static void test_a_wait_that_began_unseen_is_looked_at_as_soon_as_it_shows(void) {
    struct ledger_window window;
    struct charges_window charged;
    have_waiters_look();
    wait_across_the_opening(&window, &charged, 50 * MILLISECOND);
    struct ledger_reading reading = read_window(&window);
    struct charges_reading charges = charges_of(&charged, &reading, 0);
    CHECK(reading.sums.wait >= 50 * MILLISECOND);
    CHECK(charges.blame.count == 1 && charges.victims.count != 0);
    CHECK(charges.unlooked < reading.sums.wait / 2);
    charges_free(&charges);
    free(reading.threads);
    close_and_look_no_more(&window, &charged);
}

/* The thread that waits looks on from one window, which was the only one, to the next. */
static void test_a_wait_from_one_first_window_to_the_next_is_not_charged_twice(void) {
    struct ledger_window window;
    struct charges_window charged;
    gil.patience = 900 * MILLISECOND;
    open_and_look(&window, &charged);
    start(1, (const enum style[]){GOING_AWAY});
    sleep_for(50 * MILLISECOND);
    charges_close(&charged);
    accounting_close(&window);
    open_window(&window, true);
    charges_open(&charged, window.opened);
    sleep_for(50 * MILLISECOND);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    stop(1);
    gil.patience = TOY_GIL_PATIENCE;
    CHECK(charged.threads.charged != 0);
    CHECK(charged.threads.unseen < sums_so_far(&window).wait / 2);
    close_and_look_no_more(&window, &charged);
}

/* The interpreter shows nothing of it before it ends. */
static void test_a_wait_that_shows_as_it_ends_is_charged_to_nobody(void) {
    struct ledger_window window;
    struct charges_window charged;
    gil.patience = 900 * MILLISECOND;
    have_waiters_look();
    wait_across_the_opening(&window, &charged, 50 * MILLISECOND);
    gil.patience = TOY_GIL_PATIENCE;
    CHECK(charged.threads.charged == 0);
    CHECK(charged.threads.unseen > sums_so_far(&window).wait / 2);
    close_and_look_no_more(&window, &charged);
}

static void test_long_times_are_converted_to_ticks_and_back(void) {
    const uint64_t ticks_per_ms[] = {25000, 1000000, 3000000}, before = looks.pacing.ticks_per_ms;
    const uint64_t day = 86400 * UINT64_C(1000) * MILLISECOND;
    for (size_t i = 0; i < sizeof ticks_per_ms / sizeof *ticks_per_ms; i++) {
        looks.pacing.ticks_per_ms = ticks_per_ms[i];
        CHECK(ticks_of(day) == day / MILLISECOND * ticks_per_ms[i]);
        CHECK(ns_of(ticks_of(day)) == day && ns_of(ticks_per_ms[i] / 4) == MILLISECOND / 4);
    }
    looks.pacing.ticks_per_ms = before;
}

static void *take_and_drop(void *unused) {
    static char taker;
    toy_gil_take(&gil, &taker);
    toy_gil_drop(&gil, &taker);
    return unused;
}

/* The holder looks at itself as it lets the GIL go for which another has waited. */
static void test_a_release_leaves_errno_alone(void) {
    struct ledger_window window;
    char reason[100];
    pthread_t waiter;
    CHECK(accounting_look(&reader, false, (const void *)toy_gil_take, reason, sizeof reason) == 0);
    open_window(&window, true);
    CHECK(pthread_create(&waiter, NULL, take_and_drop, NULL) == 0);
    while (!toy_gil_is_wanted(&gil)) {
    }
    int before = __atomic_load_n(&looks_made, __ATOMIC_RELAXED);
    errno = 0;
    toy_gil_drop(&gil, &main_diary);
    int error = errno;
    CHECK(__atomic_load_n(&looks_made, __ATOMIC_RELAXED) > before);
    CHECK(error == 0);
    CHECK(pthread_join(waiter, NULL) == 0);
    toy_gil_take(&gil, &main_diary);
    accounting_close(&window);
    accounting_look_no_more();
    CHECK(accounting_intact());
}

static void *knock_twice(void *unused) {
    static char knocker;
    accounting_mark_internal();
    toy_gil_take(&gil, &knocker);
    toy_gil_drop(&gil, &knocker);
    while (!is_stopping()) {
        sleep_for(100 * MICROSECOND);
    }
    toy_gil_take(&gil, &knocker);
    toy_gil_drop(&gil, &knocker);
    return unused;
}

static void compute_until_knocked(void) {
    while (!toy_gil_is_wanted(&gil)) {
    }
}

static void let_the_waiting_knock_in(void) {
    compute_until_knocked();
    toy_gil_drop(&gil, &main_diary);
    toy_gil_take(&gil, &main_diary);
}

/* The second knock asks while no window is open, and so looks at nobody. */
static void test_a_knock_that_asked_unwatched_shows_nothing_of_the_one_before(void) {
    struct ledger_window window;
    struct charges_window charged;
    struct ledger_reading reading;
    struct charges_reading charges;
    pthread_t knocker;
    have_waiters_look();
    diary_begin_with_gil(&main_diary, &gil);
    stopping = 0;
    for (size_t seen = 2; seen-- > 0;) {
        if (seen != 0) {
            open_window(&window, true);
            CHECK(pthread_create(&knocker, NULL, knock_twice, NULL) == 0);
        } else {
            __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
            compute_until_knocked();
            open_window(&window, true);
        }
        charges_open(&charged, window.opened);
        let_the_waiting_knock_in();
        reading = read_window(&window);
        charges = charges_of(&charged, &reading, MILLISECOND);
        CHECK(charges.blame.count == seen);
        charges_free(&charges);
        free(reading.threads);
        charges_close(&charged);
        accounting_close(&window);
    }
    toy_gil_drop(&gil, &main_diary);
    CHECK(pthread_join(knocker, NULL) == 0);
    toy_gil_take(&gil, &main_diary);
    accounting_look_no_more();
    CHECK(accounting_intact());
}

/* How many holds of the worker that keeps the GIL were found out; where the machine is busy, nobody may
 * ask in time. */
static uint64_t audited_holds_of_keeper(const struct charges_reading *charges) {
    uint64_t holds = 0;
    for (size_t i = 0; i < charges->held.count; i++) {
        const struct charges_row *row = &charges->held.rows[i];
        holds += row->thread.native_id == workers[0].diary.native_id ? row->looks : 0;
    }
    return holds;
}

static void test_holds_are_told_of_that_go_on_after_their_thread_was_asked(void) {
    struct ledger_window window;
    struct charges_window charged;
    have_waiters_look();
    open_window(&window, true);
    charges_open(&charged, clock_ticks());
    accounting_audit(true);
    diary_begin_with_gil(&main_diary, &gil);
    start(3, (const enum style[]){KEEPING, COMPUTING, BLOCKING});
    struct ledger_reading reading;
    struct charges_reading charges;
    uint64_t kept = 0, others = 0;
    for (int tries = 0; tries < 20 && kept < 3; tries++) {
        let_others_work(300 * MILLISECOND);
        reading = read_window(&window);
        charges = charges_of(&charged, &reading, 0);
        kept = audited_holds_of_keeper(&charges);
        charges_free(&charges);
        free(reading.threads);
    }
    stop(3);
    reading = read_window(&window);
    charges = charges_of(&charged, &reading, 0);
    kept = audited_holds_of_keeper(&charges);
    for (size_t i = 0; i < charges.held.count; i++) {
        const struct charges_row *row = &charges.held.rows[i];
        bool keeping = row->thread.native_id == workers[0].diary.native_id;
        CHECK(row->thread.place == PLACE_IN_HOLD);
        CHECK(row->knock_waited <= row->waited && row->waited >= row->looks * ACCOUNTING_GRACE_NS);
        CHECK(!keeping || row->waited >= row->looks * KEPT);
        others += keeping ? 0 : row->looks;
    }
    CHECK(kept >= 3 && kept <= (uint64_t)workers[0].diary.count);
    CHECK(others < kept); /* of a thread that was stopped meanwhile */
    CHECK(charges.holds.count == kept + others + charges.holds.unseen);
    CHECK(charges.holds.longest >= KEPT && charges.holds.unseen <= 1);
    CHECK(charges.held.rows[0].knock_waited == charges.holds.longest || charges.holds.unseen != 0);
    charges_free(&charges);
    free(reading.threads);

    accounting_audit(false);
    uint64_t before = charged.holds.count;
    start(2, (const enum style[]){KEEPING, COMPUTING});
    let_others_work(60 * MILLISECOND);
    stop(2);
    CHECK(charged.holds.count == before);
    close_and_look_no_more(&window, &charged);
}

/* --- threads that end --- */

static void *live_shortly(void *argument) {
    struct diary *diary = argument;
    prctl(PR_SET_NAME, "short-lived");
    diary_begin(diary, &gil);
    diary_take(diary);
    diary_drop(diary);
    return NULL;
}

static void test_threads_that_ended_are_told_of_by_their_last_name(void) {
    enum { THREADS = 300 };
    static struct diary diary;
    struct ledger_window window;
    open_window(&window, true);
    toy_gil_drop(&gil, &main_diary);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, live_shortly, &diary) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    toy_gil_take(&gil, &main_diary);

    struct ledger_reading reading = read_window(&window);
    size_t short_lived = 0;
    for (size_t i = 0; i < reading.thread_count; i++) {
        short_lived += strcmp(reading.threads[i].name, "short-lived") == 0;
    }
    CHECK(short_lived == THREADS);
    CHECK(reading.thread_count == THREADS + 1);
    free(reading.threads);

    size_t count;
    struct accounting_thread *nameless = accounting_nameless(&count);
    CHECK(count == THREADS + 1);
    CHECK(nameless[0].native_id == diary.native_id);
    struct accounting_thread nobody = nameless[0];
    nobody.serial++;
    accounting_name(&nameless[0], "the last one");
    accounting_name(&nobody, "nobody");
    free(nameless);
    CHECK(accounting_nameless(&count) == NULL && count == 0);
    reading = read_and_close(&window);
    CHECK(strcmp(part_of(&reading, &diary)->name, "the last one") == 0);
    free(reading.threads);
}

static pthread_barrier_t begun;

static void *live_on(void *argument) {
    struct diary *diary = argument;
    diary_begin(diary, &gil);
    pthread_barrier_wait(&begun);

    while (!is_stopping()) {
        sleep_for(100 * MICROSECOND);
    }
    diary_take(diary);
    diary_drop(diary);
    return NULL;
}

static void test_threads_that_are_there_already_are_introduced(void) {
    static struct diary diary;
    struct ledger_window window;
    pthread_t thread;
    stopping = 0;
    CHECK(pthread_barrier_init(&begun, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, live_on, &diary) == 0);
    pthread_barrier_wait(&begun);
    const struct accounting_thread others[] = {
        {.native_id = diary.native_id, .ident = (uint64_t)thread, .name = "introduced"},
        {.native_id = 1, .ident = 1, .name = "somebody else"},
    };
    accounting_introduce(others, 2);
    open_window(&window, true);
    toy_gil_drop(&gil, &main_diary);
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(thread, NULL) == 0);
    toy_gil_take(&gil, &main_diary);
    struct ledger_reading reading = read_and_close(&window);
    CHECK(strcmp(part_of(&reading, &diary)->name, "introduced") == 0);
    free(reading.threads);
    accounting_introduce(NULL, 0);
}

enum { COMEBACKS = 3 };

static pthread_key_t late_key; /* made after the accounting's, so its destructor runs later */

static void come_back(void *argument) {
    struct diary *diary = argument;
    diary_take(diary);
    diary_drop(diary);
    if (diary->count <= COMEBACKS - 1) {
        pthread_setspecific(late_key, diary);
    }
}

static void *live_on_in_destructors(void *argument) {
    struct diary *diary = argument;
    diary_begin(diary, &gil);
    diary_take(diary);
    diary_drop(diary);
    CHECK(pthread_setspecific(late_key, diary) == 0);
    return NULL;
}

static void test_a_thread_that_comes_back_from_its_destructors_stands_there_once(void) {
    static struct diary diary;
    struct ledger_window window;
    pthread_t thread;
    static bool has_key;
    CHECK(has_key || pthread_key_create(&late_key, come_back) == 0);
    has_key = true;
    open_window(&window, true);
    toy_gil_drop(&gil, &main_diary);
    CHECK(pthread_create(&thread, NULL, live_on_in_destructors, &diary) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    toy_gil_take(&gil, &main_diary);
    struct ledger_reading reading = read_and_close(&window);
    CHECK(reading.thread_count == 2);
    CHECK(part_of(&reading, &diary)->sums.acquisitions == COMEBACKS);
    free(reading.threads);
}

/* --- fork --- */

/* What the interpreter does first in a child: make the GIL anew, and take it. */
static void go_on_in_the_child(struct ledger_window *window, const struct ledger_sums *before) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    toy_gil_init(&gil);
    toy_gil_take(&gil, &main_diary);
    diary_begin_with_gil(&main_diary, &gil);
    struct ledger_reading reading = read_and_close(window);
    CHECK(reading.sums.acquisitions == before->acquisitions + 1);
    CHECK(reading.sums.held >= before->held && reading.sums.held <= reading.wall);
    CHECK(part_of(&reading, &main_diary) != NULL);
    free(reading.threads);

    open_window(window, true);
    diary_drop(&main_diary);
    diary_take(&main_diary);
    reading = read_and_close(window);
    CHECK(accounting_intact());
    CHECK(reading.thread_count == 1);
    CHECK_AND_FREE(reading, *window, 0);
    _exit(0);
}

static void test_a_forked_child_goes_on_with_its_own_gil(void) {
    struct ledger_window window;
    diary_begin_with_gil(&main_diary, &gil);
    open_window(&window, true);
    start(WORKERS, (const enum style[]){COMPUTING, BLOCKING, GOING_AWAY, RESTING});
    for (int i = 0; i < 10; i++) {
        let_others_work(2 * MILLISECOND);
        struct ledger_reading before = read_window(&window);
        free(before.threads);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            go_on_in_the_child(&window, &before.sums);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    struct ledger_reading reading = read_and_close(&window);
    stop(WORKERS);
    CHECK_AND_FREE(reading, window, WORKERS);
}

/* --- doubt, and the end --- */

static void *read_without_the_gil(void *window) {
    read_window(window);
    return NULL;
}

static void test_a_record_that_is_wrong_is_noticed(void) {
    struct ledger_window window;
    pthread_t stranger;
    open_window(&window, false);
    CHECK(accounting_intact());
    CHECK(pthread_create(&stranger, NULL, read_without_the_gil, &window) == 0);
    CHECK(pthread_join(stranger, NULL) == 0);
    CHECK(!accounting_intact());
    struct accounting_thread thread;
    uint64_t since = 1;
    CHECK(!accounting_holder(&thread, &since) && since == 0);
    accounting_close(&window);
    open_window(&window, false);
    CHECK(accounting_intact());
    CHECK(accounting_holder(&thread, &since) && since != 0);
    accounting_close(&window);
}

/* Stand in for the C library's. */
static enum { AS_IT_IS, DENIED, ALWAYS_ZERO, CPU_TIME_IN_STEPS } usage_told;

#ifdef __GLIBC__
typedef __rusage_who_t usage_of;
#else
typedef int usage_of;
#endif

int getrusage(usage_of who, struct rusage *usage) {
    if (usage_told == DENIED) {
        errno = EPERM;
        return -1;
    }
    int result = (int)syscall(SYS_getrusage, who, usage);
    if (usage_told == ALWAYS_ZERO) {
        memset(usage, 0, sizeof *usage);
    }
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (usage_told == CPU_TIME_IN_STEPS && clock == CLOCK_THREAD_CPUTIME_ID) {
        now->tv_nsec -= now->tv_nsec % (10 * MILLISECOND);
    }
    return result;
}

static void test_nothing_is_installed_where_the_system_tells_no_usage(void) {
    const struct accounting_target target = {&gil.mutex, &gil.switch_mutex, &gil.locked, NULL};
    static const char *const reasons[] = {
        [DENIED] = "voluntary context switches",
        [ALWAYS_ZERO] = "voluntary context switches",
        [CPU_TIME_IN_STEPS] = "processor time",
    };
    for (usage_told = DENIED; usage_told <= CPU_TIME_IN_STEPS; usage_told++) {
        char reason[200] = "";
        CHECK(accounting_install(&target, (const void *)toy_gil_take, reason, sizeof reason) == -1);
        CHECK(strstr(reason, reasons[usage_told]) != NULL);
        CHECK(!accounting_intact());
    }
    usage_told = AS_IT_IS;
}

/* From 3.13 on, there is no flag to look at. */
static void install(bool with_flag) {
    char reason[200];
    const struct accounting_target target = {
        .mutex = &gil.mutex,
        .switch_mutex = &gil.switch_mutex,
        .locked = &gil.locked,
        .drop_request = with_flag ? &gil.drop_request : NULL,
    };
    gil.holder_is_asked = !with_flag;
    if (accounting_install(&target, (const void *)toy_gil_take, reason, sizeof reason) != 0) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
    CHECK(accounting_intact());
}

static uint64_t takes_seen(const struct ledger_window *window) {
    toy_gil_drop(&gil, &main_diary);
    toy_gil_take(&gil, &main_diary);
    struct ledger_reading reading = read_window(window);
    free(reading.threads);
    return reading.sums.acquisitions;
}

static void test_nothing_is_seen_once_it_is_undone_or_stopped(void) {
    struct ledger_window window, inner;
    accounting_uninstall();
    CHECK(!accounting_intact());
    open_window(&window, true);
    CHECK(takes_seen(&window) == 0);
    accounting_close(&window);

    install(true);
    open_window(&window, true);
    open_window(&inner, false);
    CHECK(takes_seen(&window) == 1);
    accounting_stop();
    CHECK(takes_seen(&window) == 1);
    accounting_close(&inner);
    CHECK(takes_seen(&window) == 1);
    accounting_close(&window);
}

int main(void) {
    toy_gil_init(&gil);
    toy_gil_take(&gil, &main_diary);
    CHECK(!accounting_intact());
    test_nothing_is_installed_where_the_system_tells_no_usage();
    for (int with_flag = 0; with_flag <= 1; with_flag++) {
        install(with_flag);
        test_one_thread_alone_never_waits();
        test_a_look_is_neither_a_take_nor_a_wait();
        test_threads_at_work_are_told_as_their_diaries_say();
        test_a_small_ring_keeps_the_latest_events();
        test_who_is_forced_out_waits_since_it_dropped_the_gil();
        test_windows_open_and_close_while_others_hold_and_wait();
        test_knocks_leave_no_trace();
        test_the_wait_is_charged_to_who_has_the_gil(true);
        test_the_wait_is_charged_to_who_has_the_gil(false);
        test_a_long_wait_is_read_before_it_ends();
        test_a_knock_shares_the_looks_with_threads_that_wait();
        test_chosen_waits_stand_for_others_no_longer_than_they_do();
#if !defined(__SANITIZE_THREAD__) /* no wait is short there */
        test_the_beginning_of_a_wait_ends_with_it();
#endif
        test_a_wait_that_began_unseen_is_looked_at_as_soon_as_it_shows();
        test_a_wait_from_one_first_window_to_the_next_is_not_charged_twice();
        test_a_wait_that_shows_as_it_ends_is_charged_to_nobody();
        test_long_times_are_converted_to_ticks_and_back();
        test_a_release_leaves_errno_alone();
        test_a_knock_that_asked_unwatched_shows_nothing_of_the_one_before();
        test_holds_are_told_of_that_go_on_after_their_thread_was_asked();
        test_threads_that_ended_are_told_of_by_their_last_name();
        test_threads_that_are_there_already_are_introduced();
        test_a_thread_that_comes_back_from_its_destructors_stands_there_once();
        test_a_forked_child_goes_on_with_its_own_gil();
    }
    test_a_record_that_is_wrong_is_noticed();
    test_nothing_is_seen_once_it_is_undone_or_stopped();
    return 0;
}
