/* The ledger on scripted moments: every tick in here is made up, so every expected sum is exact. */

#include "native/ledger.h"

#include <string.h>

#include "check.h"

#define MAIN 1 /* native ids */
#define WORKER 2
#define HELPER 3
#define KNOCKER 9

static struct ledger book;
static struct ledger_window window, outer, inner, last, bare;
static struct ledger_reading reading;
static int mallocs_left;

/* The build has the ledger allocate here. */
void *scarce_malloc(size_t size);
void *scarce_malloc(size_t size) { return mallocs_left-- > 0 ? calloc(1, size) : NULL; }

/* --- the script's words --- */

static void clear(void) {
    while (book.newest != NULL) {
        ledger_close(&book, book.newest);
    }
    free(book.slots);
    free(reading.threads);
    reading.threads = NULL;
}

static void start_anew(void) {
    clear();
    CHECK(ledger_init(&book) == 0);
    mallocs_left = 1000000;
}

static struct ledger_slot *thread(uint64_t native_id) {
    struct ledger_slot *slot = ledger_enroll(&book, native_id + 1000, native_id);
    CHECK(slot != NULL);
    return slot;
}

static struct ledger_slot *knocker(void) {
    struct ledger_slot *slot = thread(KNOCKER);
    ledger_mark_internal(&book, slot);
    return slot;
}

static void open_window(struct ledger_window *new, struct ledger_slot *holder, uint64_t now) {
    CHECK(ledger_open(&book, new, holder, true, now) == 0);
}

static void open_bare_window(struct ledger_window *new, struct ledger_slot *holder, uint64_t now) {
    CHECK(ledger_open(&book, new, holder, false, now) == 0);
}

static void ask(struct ledger_slot *slot, uint64_t since) {
    ledger_request(&book, slot, since, false);
}

static void get(struct ledger_slot *slot, uint64_t now) { ledger_acquire(&book, slot, now); }

static void take(struct ledger_slot *slot, uint64_t now) {
    ledger_ask(slot);
    get(slot, now);
}

static void leave(struct ledger_slot *slot, uint64_t now) { ledger_release(&book, slot, now); }

/* The thread drops the GIL on request and asks for it back at once. */
static void yield(struct ledger_slot *slot, uint64_t now) {
    leave(slot, now);
    ledger_request(&book, slot, now, true);
}

static void look(const struct ledger_window *which, uint64_t now) {
    free(reading.threads);
    CHECK(ledger_read(&book, which, now, &reading) == 0);
}

static void look_and_close(struct ledger_window *which, uint64_t now) {
    look(which, now);
    ledger_close(&book, which);
}

static const struct ledger_thread *part_of(uint64_t native_id) {
    const struct ledger_thread *found = NULL;
    for (size_t i = 0; i < reading.thread_count; i++) {
        if (reading.threads[i].native_id == native_id) {
            CHECK(found == NULL);
            found = &reading.threads[i];
        }
    }
    return found;
}

#define CHECK_EQUAL(what, expected)                                                                \
    do {                                                                                           \
        unsigned long long is = (what), should = (expected);                                       \
        if (is != should) {                                                                        \
            fprintf(stderr, "%s:%d: %s is %llu, not %llu\n", __FILE__, __LINE__, #what, is,        \
                    should);                                                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_SUMS(sums_of, held_, wait_, acquisitions_, contended_)                               \
    do {                                                                                           \
        CHECK_EQUAL((sums_of)->sums.held, held_);                                                  \
        CHECK_EQUAL((sums_of)->sums.wait, wait_);                                                  \
        CHECK_EQUAL((sums_of)->sums.acquisitions, acquisitions_);                                  \
        CHECK_EQUAL((sums_of)->sums.contended, contended_);                                        \
    } while (0)

/* --- holds and waits --- */

static void test_who_opens_the_first_window_holds_the_gil(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    CHECK(!book.active);
    open_window(&window, main_thread, 100);
    CHECK(book.active);
    look_and_close(&window, 150);
    CHECK(!book.active);
    CHECK_SUMS(&reading, 50, 0, 0, 0);
    CHECK_EQUAL(reading.wall, 50);
    CHECK_EQUAL(reading.max_wait, 0);
    CHECK_EQUAL(reading.thread_count, 1);
    CHECK_SUMS(part_of(MAIN), 50, 0, 0, 0);
}

static void test_a_free_gil_is_taken_without_a_wait(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&window, main_thread, 100);
    leave(main_thread, 120);
    take(worker, 130);
    leave(worker, 150);
    take(main_thread, 160);
    look_and_close(&window, 200);
    CHECK_SUMS(&reading, 80, 0, 2, 0);
    CHECK_SUMS(part_of(MAIN), 60, 0, 1, 0);
    CHECK_SUMS(part_of(WORKER), 20, 0, 1, 0);
    CHECK_EQUAL(reading.max_wait, 0);
}

static void test_a_taken_gil_is_waited_for(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *helper = thread(HELPER);
    open_window(&window, main_thread, 100);
    ask(worker, 110);
    ask(helper, 115);
    leave(main_thread, 140);
    get(worker, 142);
    leave(worker, 150);
    get(helper, 151);
    look_and_close(&window, 160);
    CHECK_SUMS(&reading, 40 + 8 + 9, 32 + 36, 2, 2);
    CHECK_EQUAL(reading.max_wait, 36);
    CHECK_EQUAL(histogram_count(&reading.waits), 2);
    CHECK_SUMS(part_of(MAIN), 40, 0, 0, 0);
    CHECK_SUMS(part_of(WORKER), 8, 32, 1, 1);
    CHECK_SUMS(part_of(HELPER), 9, 36, 1, 1);
    CHECK_EQUAL(part_of(MAIN)->max_wait, 0);
    CHECK_EQUAL(part_of(WORKER)->max_wait, 32);
    CHECK_EQUAL(part_of(HELPER)->max_wait, 36);
}

static void test_only_threads_with_a_part_are_told_of(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    thread(HELPER);
    strcpy(worker->name, "worker");
    open_window(&window, main_thread, 100);
    leave(main_thread, 100);
    take(worker, 100);
    leave(worker, 100);
    take(main_thread, 150);
    look_and_close(&window, 150);
    CHECK_EQUAL(reading.thread_count, 2);
    CHECK(part_of(HELPER) == NULL);
    CHECK_SUMS(part_of(WORKER), 0, 0, 1, 0);
    CHECK(strcmp(part_of(WORKER)->name, "worker") == 0);
    CHECK(strcmp(part_of(MAIN)->name, "") == 0);
}

static void test_a_thread_told_to_let_go_waits_from_then_on(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&window, main_thread, 100);
    ask(worker, 110);
    leave(main_thread, 115);
    get(worker, 116);
    ledger_request(&book, main_thread, 115, true); /* asks later, and has waited since */
    leave(worker, 130);
    get(main_thread, 131);
    look_and_close(&window, 140);
    CHECK_SUMS(part_of(MAIN), 15 + 9, 16, 1, 1);
    CHECK_SUMS(part_of(WORKER), 14, 6, 1, 1);
}

static void test_who_gives_up_has_not_waited(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&window, main_thread, 100);
    ask(worker, 110);
    look(&window, 120);
    CHECK_SUMS(part_of(WORKER), 0, 10, 0, 0);
    ledger_abandon(&book, worker);
    look_and_close(&window, 130);
    CHECK_SUMS(&reading, 30, 0, 0, 0);
    CHECK(part_of(WORKER) == NULL);
}

static void test_giving_up_takes_nothing_from_the_waits_of_others(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *helper = thread(HELPER);
    open_window(&outer, main_thread, 100);
    ask(worker, 110);
    open_window(&inner, main_thread, 150);
    ask(helper, 155);
    ledger_abandon(&book, worker);
    leave(main_thread, 160);
    get(helper, 160);
    look(&inner, 170);
    CHECK_SUMS(&reading, 20, 5, 1, 1);
    look(&outer, 170);
    CHECK_SUMS(&reading, 70, 5, 1, 1);
}

/* --- the edges of windows --- */

static void test_a_hold_counts_from_the_opening_to_the_closing(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&outer, main_thread, 100);
    open_window(&inner, main_thread, 130);
    leave(main_thread, 140);
    take(worker, 145);
    look(&inner, 150);
    CHECK_SUMS(&reading, 15, 0, 1, 0);
    open_window(&last, worker, 160);
    look_and_close(&inner, 165);
    CHECK_SUMS(&reading, 30, 0, 1, 0);
    CHECK_SUMS(part_of(MAIN), 10, 0, 0, 0);
    CHECK_SUMS(part_of(WORKER), 20, 0, 1, 0);
    leave(worker, 170);
    take(main_thread, 190);
    look_and_close(&outer, 200);
    CHECK_SUMS(&reading, 40 + 25 + 10, 0, 2, 0);
    look_and_close(&last, 200);
    CHECK_SUMS(&reading, 10 + 10, 0, 1, 0);
    CHECK_SUMS(part_of(WORKER), 10, 0, 0, 0);
}

static void test_a_wait_counts_from_the_opening(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&outer, main_thread, 100);
    ask(worker, 110);
    open_window(&inner, main_thread, 150);
    look(&inner, 160);
    CHECK_SUMS(&reading, 10, 10, 0, 0);
    CHECK_EQUAL(reading.max_wait, 10);
    leave(main_thread, 170);
    get(worker, 171);
    look_and_close(&inner, 200);
    CHECK_SUMS(&reading, 20 + 29, 21, 1, 1);
    CHECK_EQUAL(reading.max_wait, 21);
    CHECK_SUMS(part_of(WORKER), 29, 21, 1, 1);
    CHECK_EQUAL(part_of(WORKER)->max_wait, 21);
    look_and_close(&outer, 200);
    CHECK_SUMS(&reading, 70 + 29, 61, 1, 1);
    CHECK_EQUAL(reading.max_wait, 61);
    CHECK_EQUAL(part_of(WORKER)->max_wait, 61);
}

static void test_a_wait_counts_up_to_the_closing(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&outer, main_thread, 100);
    open_window(&inner, main_thread, 105);
    ask(worker, 110);
    look_and_close(&inner, 130);
    CHECK_SUMS(&reading, 25, 20, 0, 0);
    CHECK_EQUAL(reading.max_wait, 20);
    CHECK_SUMS(part_of(WORKER), 0, 20, 0, 0);
    leave(main_thread, 140);
    get(worker, 140);
    look_and_close(&outer, 150);
    CHECK_SUMS(&reading, 50, 30, 1, 1);
    CHECK_EQUAL(reading.max_wait, 30);
}

static void test_what_begins_after_a_moment_does_not_go_on_at_it(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct event events[2];
    open_window(&window, main_thread, 100);
    ask(worker, 110);
    CHECK_EQUAL(ledger_unfinished(&book, 110, events, 2), 1);
    CHECK_EQUAL(events[0].serial_and_flags >> 8, main_thread->serial);
    CHECK_EQUAL(ledger_unfinished(&book, 111, events, 2), 2);
    CHECK_EQUAL(ledger_unfinished(&book, 100, events, 2), 0);
}

/* The interpreter's mutex kept the thread from being seen any sooner. */
static void test_a_wait_told_of_late_counts_from_the_opening(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&outer, main_thread, 100);
    open_window(&inner, main_thread, 150);
    ask(worker, 140);
    look(&inner, 160);
    CHECK_SUMS(&reading, 10, 10, 0, 0);
    leave(main_thread, 170);
    get(worker, 170);
    look(&inner, 180);
    CHECK_SUMS(&reading, 30, 20, 1, 1);
    CHECK_SUMS(part_of(WORKER), 10, 20, 1, 1);
    look(&outer, 180);
    CHECK_SUMS(part_of(WORKER), 10, 30, 1, 1);
}

static void test_a_wait_that_nobody_saw_begin_counts_from_the_first_opening(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&outer, main_thread, 100);
    look(&outer, 150);
    CHECK_SUMS(&reading, 50, 0, 0, 0);
    open_window(&inner, main_thread, 160);
    leave(main_thread, 170);
    get(worker, 171);
    look(&inner, 180);
    CHECK_SUMS(&reading, 10 + 9, 11, 1, 1);
    CHECK_SUMS(part_of(WORKER), 9, 11, 1, 1);
    CHECK_EQUAL(reading.max_wait, 11);
    CHECK_EQUAL(part_of(WORKER)->max_wait, 11);
    look(&outer, 180);
    CHECK_SUMS(&reading, 70 + 9, 71, 1, 1);
    CHECK_SUMS(part_of(WORKER), 9, 71, 1, 1);
    CHECK_EQUAL(reading.max_wait, 71);
    CHECK_EQUAL(part_of(WORKER)->max_wait, 71);
}

static void test_a_wait_that_shows_late_counts_from_the_first_opening_once_it_shows(void) {
    struct event events[2];
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&window, main_thread, 100);
    ledger_request_unseen(&book, worker, 110);
    for (uint64_t now = 110; now <= 111; now++) {
        look(&window, now);
        CHECK_EQUAL(reading.sums.wait, now == 110 ? 0 : 11);
        CHECK_EQUAL(ledger_unfinished(&book, now, events, 2), now == 110 ? 1 : 2);
    }
    CHECK(events[1].from == 100 && events[1].until == 111);
    leave(main_thread, 115);
    get(worker, 116);
    look_and_close(&window, 120);
    CHECK_SUMS(part_of(WORKER), 4, 16, 1, 1);
}

static void test_a_wait_that_shows_while_a_knocker_has_the_gil_began_before(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER), *knock = knocker();
    open_window(&window, main_thread, 100);
    ask(knock, 101);
    leave(main_thread, 110);
    get(knock, 111);
    ledger_request_unseen(&book, worker, 112);
    leave(knock, 113);
    get(worker, 114);
    look_and_close(&window, 120);
    CHECK_SUMS(part_of(WORKER), 6, 14, 1, 1);
}

/* A thread whose slot is younger than a window has no entry there. */
static void test_a_thread_first_seen_after_an_opening_waits_in_the_window_at_most(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    open_window(&outer, main_thread, 100);
    open_window(&inner, main_thread, 160);
    leave(main_thread, 170);
    struct ledger_slot *worker = thread(WORKER);
    get(worker, 171);
    look(&inner, 180);
    CHECK_SUMS(&reading, 19, 11, 1, 1);
    CHECK_SUMS(part_of(WORKER), 9, 11, 1, 1);
    CHECK_EQUAL(part_of(WORKER)->max_wait, 11);
    look(&outer, 180);
    CHECK_SUMS(&reading, 79, 71, 1, 1);
    CHECK_EQUAL(reading.max_wait, 71);
}

static void test_a_new_first_window_knows_nothing_of_former_ones(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *helper = thread(HELPER);
    open_window(&window, main_thread, 100);
    ask(worker, 110);
    leave(main_thread, 180);
    get(worker, 180);
    ask(main_thread, 185);
    look_and_close(&window, 190);
    CHECK_EQUAL(reading.max_wait, 70);
    CHECK(book.holder == NULL);
    ask(helper, 195); /* a late event in a ledger at rest */
    open_window(&window, main_thread, 1000);
    CHECK(book.former == NULL);
    look(&window, 1010);
    CHECK_SUMS(&reading, 10, 0, 0, 0);
    CHECK_EQUAL(reading.max_wait, 0);
    CHECK_EQUAL(reading.thread_count, 1);
    leave(main_thread, 1020);
    take(worker, 1030);
    look_and_close(&window, 1040);
    CHECK_SUMS(&reading, 20 + 10, 0, 1, 0);
    CHECK_EQUAL(reading.max_wait, 0);
}

static void test_a_window_without_threads_has_the_same_sums(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_bare_window(&bare, main_thread, 100);
    open_window(&window, main_thread, 100);
    ask(worker, 110);
    leave(main_thread, 130);
    get(worker, 132);
    look(&window, 150);
    struct ledger_reading told = reading;
    reading.threads = NULL;
    look(&bare, 150);
    CHECK_SUMS(&told, reading.sums.held, reading.sums.wait, 1, 1);
    CHECK_EQUAL(reading.max_wait, 22);
    CHECK_EQUAL(told.max_wait, 22);
    CHECK_EQUAL(reading.thread_count, 0);
    CHECK(reading.threads == NULL);
    free(told.threads);
}

/* --- the longest wait --- */

/* The worker waits for `length` ticks from `since` on. */
static void make_wait(struct ledger_slot *main_thread, struct ledger_slot *worker, uint64_t since,
                      uint64_t length) {
    ask(worker, since);
    leave(main_thread, since + length);
    get(worker, since + length);
    leave(worker, since + length);
    take(main_thread, since + length);
}

/* Three windows open one after the other with a wait after each opening; they close in each
 * possible order. */
static void check_longest_waits(const int order[3], const bool by_thread[3],
                                const uint64_t waits[3]) {
    start_anew();
    static struct ledger_window windows[3];
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK(ledger_open(&book, &windows[i], main_thread, by_thread[i], 1000 * (i + 1)) == 0);
        make_wait(main_thread, worker, 1000 * (i + 1) + 100, waits[i]);
    }
    for (int closed = 0; closed < 3; closed++) {
        for (int i = closed; i < 3; i++) {
            int which = order[i];
            uint64_t longest = 0;
            for (int j = which; j < 3; j++) {
                longest = waits[j] > longest ? waits[j] : longest;
            }
            look(&windows[which], 5000);
            CHECK_EQUAL(reading.max_wait, longest);
            if (by_thread[which]) {
                CHECK_EQUAL(part_of(WORKER)->max_wait, longest);
                CHECK_EQUAL(part_of(MAIN)->max_wait, 0);
            }
        }
        ledger_close(&book, &windows[order[closed]]);
    }
}

static void test_each_window_has_the_longest_wait_since_it_opened(void) {
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const uint64_t waits[6][3] = {{10, 20, 30}, {30, 20, 10}, {20, 30, 10},
                                         {20, 10, 30}, {30, 10, 20}, {10, 30, 20}};
    for (int order = 0; order < 6; order++) {
        for (int which = 0; which < 6; which++) {
            for (int kinds = 0; kinds < 8; kinds++) {
                bool by_thread[3] = {kinds & 1, kinds & 2, kinds & 4};
                check_longest_waits(orders[order], by_thread, waits[which]);
            }
        }
    }
}

static void test_one_wait_through_three_openings_counts_in_each_for_its_part(void) {
    for (int kinds = 0; kinds < 8; kinds++) {
        start_anew();
        static struct ledger_window windows[3];
        struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
        for (int i = 0; i < 3; i++) {
            CHECK(ledger_open(&book, &windows[i], main_thread, (kinds >> i) & 1,
                              1000 + 100 * (uint64_t)i) == 0);
            if (i == 0) {
                ask(worker, 1050);
            }
        }
        leave(main_thread, 1250);
        get(worker, 1250);
        static const uint64_t longest[3] = {200, 150, 50};
        for (int i = 0; i < 3; i++) {
            look(&windows[i], 1300);
            CHECK_EQUAL(reading.max_wait, longest[i]);
            CHECK_EQUAL(reading.sums.wait, longest[i]);
            CHECK_EQUAL(reading.sums.contended, 1);
            if ((kinds >> i) & 1) {
                CHECK_EQUAL(part_of(WORKER)->max_wait, longest[i]);
                CHECK_EQUAL(part_of(WORKER)->sums.wait, longest[i]);
            }
        }
    }
}

/* --- the knocker's threads --- */

static void test_a_knocker_never_counts(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *own = knocker();
    ledger_mark_internal(&book, own);
    open_window(&window, main_thread, 100);
    ask(own, 110);
    look(&window, 115);
    CHECK_SUMS(&reading, 15, 0, 0, 0);
    CHECK_EQUAL(reading.max_wait, 0);
    leave(main_thread, 120);
    get(own, 125);
    CHECK_EQUAL(own->last_wait, 15);
    leave(own, 130);
    take(main_thread, 140);
    look_and_close(&window, 150);
    CHECK_SUMS(&reading, 20 + 10, 0, 1, 0);
    CHECK_EQUAL(reading.max_wait, 0);
    CHECK(part_of(KNOCKER) == NULL);
}

static void test_a_knock_at_a_free_gil_has_not_waited(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *own = knocker();
    open_window(&window, main_thread, 100);
    ask(own, 110);
    leave(main_thread, 120);
    get(own, 125);
    leave(own, 126);
    take(own, 130);
    CHECK_EQUAL(own->last_wait, 0);
}

/* It asks while one window is open and is answered while none is. */
static void test_an_unseen_answer_leaves_no_trace_in_the_next_knock(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *own = knocker();
    open_window(&window, main_thread, 100);
    ask(own, 110);
    look_and_close(&window, 120);
    open_window(&window, main_thread, 500);
    leave(main_thread, 510);
    take(own, 520);
    CHECK_EQUAL(own->last_wait, 0);
}

static void test_who_waits_for_a_knocker_alone_does_not_wait(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER), *own = knocker();
    struct ledger_slot *another = knocker();
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(own, 120);
    ask(worker, 125);
    leave(own, 130);
    take(another, 131);
    leave(another, 132);
    get(worker, 133);
    look_and_close(&window, 140);
    CHECK_SUMS(&reading, 10 + 7, 0, 1, 0);
    CHECK_EQUAL(reading.max_wait, 0);
    CHECK_SUMS(part_of(WORKER), 7, 0, 1, 0);
}

static void test_who_waits_for_the_program_as_well_waits(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER), *own = knocker();
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(own, 120);
    ask(worker, 125);
    leave(own, 130);
    take(main_thread, 131);
    leave(main_thread, 150);
    get(worker, 151);
    look_and_close(&window, 160);
    CHECK_SUMS(part_of(WORKER), 9, 26, 1, 1);
    CHECK_EQUAL(reading.max_wait, 26);
}

static void test_the_gap_that_a_knocker_forces_is_held(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *own = knocker();
    open_window(&window, main_thread, 100);
    ask(own, 105);
    yield(main_thread, 110);
    get(own, 111);
    leave(own, 112);
    get(main_thread, 115);
    look_and_close(&window, 120);
    CHECK_SUMS(&reading, 20, 0, 0, 0);
    CHECK_SUMS(part_of(MAIN), 20, 0, 0, 0);
    CHECK_EQUAL(reading.max_wait, 0);
}

static void test_a_gap_of_the_threads_own_choice_is_free(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *own = knocker();
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(own, 111);
    leave(own, 112);
    take(main_thread, 115);
    look_and_close(&window, 120);
    CHECK_SUMS(&reading, 15, 0, 1, 0);
}

static void test_a_gap_that_another_thread_used_is_a_wait(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER), *own = knocker();
    open_window(&window, main_thread, 100);
    ask(own, 105);
    yield(main_thread, 110);
    get(own, 111);
    leave(own, 112);
    take(worker, 113);
    leave(worker, 118);
    get(main_thread, 120);
    look_and_close(&window, 130);
    CHECK_SUMS(part_of(MAIN), 20, 10, 1, 1);
    CHECK_SUMS(part_of(WORKER), 5, 0, 1, 0);
}

/* After a forced gap the program has the GIL as before: it makes others wait. */
static void test_who_asks_in_a_forced_gap_waits_for_the_thread_that_comes_back(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER), *own = knocker();
    open_window(&window, main_thread, 100);
    ask(own, 105);
    yield(main_thread, 110);
    get(own, 111);
    ask(worker, 112);
    leave(own, 113);
    get(main_thread, 115);
    leave(main_thread, 190);
    get(worker, 192);
    look_and_close(&window, 200);
    CHECK_SUMS(part_of(WORKER), 8, 80, 1, 1);
    CHECK_SUMS(part_of(MAIN), 90, 0, 0, 0);
    CHECK_EQUAL(reading.max_wait, 80);
}

static void test_nobody_is_former_holder_but_the_program(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *own = knocker();
    open_window(&window, main_thread, 100);
    CHECK(book.former == NULL);
    leave(main_thread, 110);
    CHECK(book.former == main_thread);
    take(own, 120);
    leave(own, 130);
    CHECK(book.former == main_thread);
}

/* --- slots --- */

static void end(struct ledger_slot *slot) { ledger_ended(slot, ""); }

static void test_a_thread_that_ended_keeps_its_part_and_gets_its_last_name(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *helper = thread(HELPER);
    strcpy(helper->name, "named by Python");
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(worker, 110);
    leave(worker, 120);
    take(helper, 120);
    leave(helper, 125);
    take(main_thread, 125);
    CHECK(!ledger_has_ended(worker));
    ledger_ended(worker, "a name that is much too long");
    CHECK(ledger_has_ended(worker));
    ledger_ended(helper, "system's");
    struct ledger_slot *younger = thread(4);
    CHECK(younger != worker);
    CHECK(younger != helper);
    look_and_close(&window, 130);
    CHECK_SUMS(part_of(WORKER), 10, 0, 1, 0);
    CHECK(strcmp(part_of(WORKER)->name, "a name that is ") == 0);
    CHECK(strcmp(part_of(HELPER)->name, "named by Python") == 0);
}

static void test_a_thread_that_comes_back_after_its_end_has_its_slot_while_nobody_else_has(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    uint64_t serial = worker->serial;
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(worker, 110);
    leave(worker, 120);
    end(worker);
    CHECK(ledger_resume(&book, worker, serial) && !ledger_has_ended(worker));
    take(worker, 130);
    leave(worker, 140);
    ledger_ended(worker, "last");
    take(main_thread, 140);
    look_and_close(&window, 150);
    CHECK_SUMS(part_of(WORKER), 20, 0, 2, 0);
    CHECK(strcmp(part_of(WORKER)->name, "last") == 0);

    open_window(&window, main_thread, 160);
    CHECK(!ledger_resume(&book, worker, serial)); /* nobody's */
    struct ledger_slot *helper = thread(HELPER);
    CHECK(helper == worker && !ledger_resume(&book, worker, serial));
    ledger_close(&book, &window);
}

static size_t take_nameless(struct ledger_slot **slots) {
    return ledger_take_nameless(&book, slots, 4);
}

static void test_a_name_is_asked_for_again_only_after_the_thread_was_at_work(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *slots[4];
    open_window(&window, main_thread, 100);
    CHECK(book.nameless_count == 2);
    CHECK(ledger_take_nameless(&book, slots, 1) == 1 && slots[0] == worker);
    CHECK(take_nameless(slots) == 1 && slots[0] == main_thread);
    CHECK(take_nameless(slots) == 0);
    ledger_name(&book, main_thread, "MainThread");
    leave(main_thread, 110);
    take(worker, 110);
    leave(worker, 120);
    take(main_thread, 120);
    CHECK(take_nameless(slots) == 1 && slots[0] == worker);
    CHECK(take_nameless(slots) == 0);
    end(worker);
    CHECK(take_nameless(slots) == 1 && slots[0] == worker);
    CHECK(take_nameless(slots) == 0 && book.nameless_count == 0);
    CHECK(ledger_resume(&book, worker, worker->serial));
    CHECK(book.nameless_count == 1);
    ledger_after_fork(&book, main_thread, 125);
    CHECK(book.nameless_count == 1 && book.nameless == worker);
    take(main_thread, 130);
    ledger_close(&book, &window);
    open_window(&window, main_thread, 140); /* the worker's slot is nobody's any more */
    CHECK(take_nameless(slots) == 0 && book.nameless_count == 0);
    char longer[THREAD_NAME_SIZE + 10];
    snprintf(longer, sizeof longer, "%0*d", (int)sizeof longer - 1, 7);
    ledger_name(&book, main_thread, longer);
    CHECK(strlen(main_thread->name) == THREAD_NAME_SIZE - 1);
    ledger_close(&book, &window);
}

static void test_slots_are_used_again_when_no_window_tells_threads_apart(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_bare_window(&bare, main_thread, 50);
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(worker, 110);
    leave(worker, 120);
    take(main_thread, 130);
    end(worker);
    open_window(&inner, main_thread, 140);
    CHECK(thread(4) != worker);
    look(&window, 150);
    CHECK_SUMS(part_of(WORKER), 10, 0, 1, 0);
    ledger_close(&book, &window);
    ledger_close(&book, &inner);
    size_t used = book.used;
    CHECK(book.former == worker);
    open_window(&window, main_thread, 160);
    CHECK(book.former == NULL);
    struct ledger_slot *heir = thread(5);
    CHECK(heir == worker);
    CHECK_EQUAL(book.used, used);
    CHECK_EQUAL(heir->native_id, 5);
    CHECK_EQUAL(heir->ident, 1005);
    CHECK_EQUAL(heir->sums.held, 0);
    CHECK(!ledger_has_ended(heir));
    look(&window, 170);
    CHECK_EQUAL(reading.thread_count, 1);
    look(&bare, 170);
    CHECK_SUMS(&reading, 110, 0, 2, 0);
}

static void test_the_slots_of_knockers_are_used_again(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    for (size_t i = 0; i < 3 * LEDGER_SLOTS; i++) {
        struct ledger_slot *own = knocker();
        end(own);
        if (i % 100 == 0) {
            open_window(&window, main_thread, 100);
            ledger_close(&book, &window);
        }
    }
    CHECK(!book.lost);
    CHECK(book.used < 1000);
}

static void test_the_slots_of_knockers_are_used_again_inside_one_window(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    open_window(&window, main_thread, 100);
    for (size_t i = 0; i < 3 * LEDGER_SLOTS; i++) {
        end(knocker());
    }
    CHECK(!book.lost);
    look_and_close(&window, 150);
    CHECK_SUMS(part_of(MAIN), 50, 0, 0, 0);
}

static void fill_all_slots(void) {
    while (book.used < LEDGER_SLOTS) {
        thread(100 + book.used);
    }
}

static void test_with_every_slot_used_that_of_an_ended_thread_is_taken(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *helper = thread(HELPER);
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(worker, 110);
    leave(worker, 120);
    take(helper, 120);
    leave(helper, 125);
    take(main_thread, 125);
    end(worker);
    fill_all_slots();
    CHECK(thread(1000000) == worker);
    CHECK(!book.lost);
    look(&window, 130);
    CHECK_SUMS(&reading, 30, 0, 3, 0);
    CHECK(part_of(WORKER) == NULL);
    CHECK_SUMS(part_of(HELPER), 5, 0, 1, 0);
    CHECK_EQUAL(reading.thread_count, 2);
    CHECK_EQUAL(reading.omitted, 1);

    end(helper);
    end(worker);
    CHECK(book.former == helper);
    CHECK(thread(1000001) == helper);
    CHECK(book.former == NULL);
    CHECK(thread(1000002) == worker);
    CHECK_EQUAL(book.live, LEDGER_SLOTS);
    look_and_close(&window, 140);
    CHECK_SUMS(&reading, 40, 0, 3, 0);
    CHECK_EQUAL(reading.omitted, 2);
}

/* Windows that a thread took no part in do not miss it: here one that opened after its last hold. */
static void test_a_thread_that_made_room_is_missing_where_it_took_part(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(worker, 110);
    leave(worker, 120);
    take(main_thread, 120);
    struct ledger_window inner;
    open_window(&inner, main_thread, 130);
    end(worker);
    fill_all_slots();
    CHECK(thread(1000000) == worker);
    look_and_close(&inner, 140);
    CHECK_EQUAL(reading.omitted, 0);
    look_and_close(&window, 150);
    CHECK_EQUAL(reading.omitted, 1);
}

static void test_a_storm_of_threads_loses_nobody_but_the_ended(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    uint64_t now = 100;
    open_window(&window, main_thread, now);
    for (uint64_t i = 0; i < 4 * LEDGER_SLOTS; i++) {
        struct ledger_slot *worker = thread(100 + i);
        CHECK(worker != main_thread);
        leave(main_thread, now);
        take(worker, now);
        leave(worker, ++now);
        take(main_thread, now);
        end(worker);
    }
    CHECK(!book.lost);
    look_and_close(&window, now);
    CHECK_SUMS(&reading, 4 * LEDGER_SLOTS, 0, 8 * LEDGER_SLOTS, 0);
    CHECK_EQUAL(reading.thread_count, LEDGER_SLOTS);
    CHECK_EQUAL(reading.omitted, 3 * LEDGER_SLOTS + 1);
    for (size_t i = 1; i < reading.thread_count; i++) {
        CHECK_SUMS(&reading.threads[i], 1, 0, 1, 0);
    }
}

/* A record that has missed a release must not give one slot to two threads. */
static void test_who_is_on_record_as_holder_keeps_the_slot(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER), *own = knocker();
    open_bare_window(&bare, main_thread, 100);
    end(main_thread);
    open_window(&window, worker, 110);
    CHECK(thread(4) != main_thread);
    fill_all_slots();
    CHECK(ledger_enroll(&book, 1, 1) == NULL);
    leave(main_thread, 120);
    take(own, 130);
    end(own);
    CHECK(thread(5) == main_thread);
    CHECK(ledger_enroll(&book, 1, 1) == NULL);
}

static void test_too_many_threads_alive_are_too_many(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    fill_all_slots();
    open_window(&window, main_thread, 100);
    CHECK(!book.lost);
    CHECK(ledger_enroll(&book, 1, 1) == NULL);
    CHECK(book.lost);
    look_and_close(&window, 150);
    CHECK_SUMS(part_of(MAIN), 50, 0, 0, 0);
    open_window(&window, main_thread, 200);
    CHECK(!book.lost);
    ledger_close(&book, &window);
}

/* --- the rest --- */

static void test_in_a_forked_child_only_one_thread_goes_on(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    struct ledger_slot *helper = thread(HELPER), *own = knocker();
    open_window(&window, main_thread, 100);
    leave(main_thread, 110);
    take(helper, 110);
    leave(helper, 115);
    take(main_thread, 115);
    ask(worker, 120);
    ask(own, 125);
    open_window(&inner, main_thread, 130);
    ledger_after_fork(&book, main_thread, 140);
    CHECK(book.holder == NULL);
    take(main_thread, 150);
    look(&window, 160);
    CHECK_SUMS(&reading, 10 + 5 + 25 + 10, 0, 3, 0);
    CHECK_SUMS(part_of(MAIN), 10 + 25 + 10, 0, 2, 0);
    CHECK_SUMS(part_of(HELPER), 5, 0, 1, 0);
    CHECK(part_of(WORKER) == NULL);
    look(&inner, 160);
    CHECK_SUMS(&reading, 10 + 10, 0, 1, 0);
    CHECK(!ledger_has_ended(main_thread));
    CHECK(ledger_has_ended(worker));
    CHECK(ledger_has_ended(helper));
    CHECK(thread(20) == own);
    ledger_close(&book, &window);
    ledger_close(&book, &inner);

    open_window(&window, main_thread, 200);
    size_t used = book.used;
    ask(thread(21), 210);
    ask(thread(22), 210);
    CHECK_EQUAL(book.used, used);
    look_and_close(&window, 220);
    CHECK_SUMS(&reading, 20, 20, 0, 0);
}

static void test_the_fork_of_a_stranger_leaves_nobody(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN), *worker = thread(WORKER);
    open_window(&window, main_thread, 100);
    open_window(&inner, main_thread, 150);
    ask(worker, 110);
    ledger_after_fork(&book, NULL, 160);
    CHECK(book.holder == NULL);
    CHECK(ledger_has_ended(main_thread));
    struct ledger_slot *stranger = thread(7);
    take(stranger, 170);
    look(&inner, 180);
    CHECK_SUMS(&reading, 10 + 10, 0, 1, 0);
    look(&window, 180);
    CHECK_SUMS(&reading, 60 + 10, 0, 1, 0);
}

static void test_without_memory_nothing_is_opened(void) {
    start_anew();
    struct ledger_slot *main_thread = thread(MAIN);
    mallocs_left = 0;
    CHECK(ledger_open(&book, &window, main_thread, true, 100) == -1);
    CHECK(!book.active);
    CHECK(book.newest == NULL);
    CHECK_EQUAL(book.by_thread, 0);
    open_bare_window(&bare, main_thread, 110);
    look_and_close(&bare, 120);
    CHECK_SUMS(&reading, 10, 0, 0, 0);

    mallocs_left = 1;
    open_window(&window, main_thread, 200);
    free(reading.threads);
    CHECK(ledger_read(&book, &window, 210, &reading) == -1);
    CHECK(reading.threads == NULL);
    mallocs_left = 1;
    look_and_close(&window, 220);
    CHECK_SUMS(&reading, 20, 0, 0, 0);
}

int main(void) {
    test_who_opens_the_first_window_holds_the_gil();
    test_a_free_gil_is_taken_without_a_wait();
    test_a_taken_gil_is_waited_for();
    test_only_threads_with_a_part_are_told_of();
    test_a_thread_told_to_let_go_waits_from_then_on();
    test_who_gives_up_has_not_waited();
    test_giving_up_takes_nothing_from_the_waits_of_others();
    test_a_hold_counts_from_the_opening_to_the_closing();
    test_a_wait_counts_from_the_opening();
    test_a_wait_counts_up_to_the_closing();
    test_what_begins_after_a_moment_does_not_go_on_at_it();
    test_a_wait_told_of_late_counts_from_the_opening();
    test_a_wait_that_nobody_saw_begin_counts_from_the_first_opening();
    test_a_wait_that_shows_late_counts_from_the_first_opening_once_it_shows();
    test_a_wait_that_shows_while_a_knocker_has_the_gil_began_before();
    test_a_thread_first_seen_after_an_opening_waits_in_the_window_at_most();
    test_a_new_first_window_knows_nothing_of_former_ones();
    test_a_window_without_threads_has_the_same_sums();
    test_each_window_has_the_longest_wait_since_it_opened();
    test_one_wait_through_three_openings_counts_in_each_for_its_part();
    test_a_knocker_never_counts();
    test_a_knock_at_a_free_gil_has_not_waited();
    test_an_unseen_answer_leaves_no_trace_in_the_next_knock();
    test_who_waits_for_a_knocker_alone_does_not_wait();
    test_who_waits_for_the_program_as_well_waits();
    test_the_gap_that_a_knocker_forces_is_held();
    test_a_gap_of_the_threads_own_choice_is_free();
    test_a_gap_that_another_thread_used_is_a_wait();
    test_who_asks_in_a_forced_gap_waits_for_the_thread_that_comes_back();
    test_nobody_is_former_holder_but_the_program();
    test_a_thread_that_ended_keeps_its_part_and_gets_its_last_name();
    test_a_thread_that_comes_back_after_its_end_has_its_slot_while_nobody_else_has();
    test_a_name_is_asked_for_again_only_after_the_thread_was_at_work();
    test_slots_are_used_again_when_no_window_tells_threads_apart();
    test_the_slots_of_knockers_are_used_again();
    test_the_slots_of_knockers_are_used_again_inside_one_window();
    test_with_every_slot_used_that_of_an_ended_thread_is_taken();
    test_a_thread_that_made_room_is_missing_where_it_took_part();
    test_a_storm_of_threads_loses_nobody_but_the_ended();
    test_who_is_on_record_as_holder_keeps_the_slot();
    test_too_many_threads_alive_are_too_many();
    test_in_a_forked_child_only_one_thread_goes_on();
    test_the_fork_of_a_stranger_leaves_nobody();
    test_without_memory_nothing_is_opened();
    clear();
    return 0;
}
