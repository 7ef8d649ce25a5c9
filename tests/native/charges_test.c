/* Charges against a model: a list of all looks and waits, from which each window counts what is its
 * own. Windows open and close in any order; every reading adds up to the tick. */
#include "native/charges.h"

#include <string.h>

#include "check.h"
#include "native/places.h"

#define ROUNDS 30000
#define WINDOWS 6
#define THREADS 5
#define PLACES 40

struct look {
    struct charges_thread holder;
    uint64_t ticks, now, round;
    bool knock;
};

struct open {
    struct charges_window window;
    bool is_open;
    uint64_t opened, round;
};

static uint64_t now = 1000, round_number, random_state = 88172645463325252;
static struct open windows[WINDOWS];
static struct look *looks;
static struct charges_wait *waits;
static uint64_t *wait_rounds;
static size_t look_count, wait_count;

static uint64_t pick(uint64_t bound) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * UINT64_C(2685821657736338717) >> 11) % bound;
}

static struct charges_thread somebody(void) {
    uint64_t thread = 1 + pick(THREADS);
    uint32_t place = (uint32_t)pick(PLACES);
    return (struct charges_thread){thread, 100 + thread, place == 0 ? PLACE_UNKNOWN : place};
}

static void look(void) {
    struct look *one = &looks[look_count++];
    *one = (struct look){somebody(), 1 + pick(1000), now - pick(30), round_number, pick(4) == 0};
    charges_look(&one->holder, one->ticks, one->knock, one->now);
}

static void wait(void) {
    struct charges_wait *one = &waits[wait_count];
    wait_rounds[wait_count++] = round_number;
    uint64_t length = 1 + pick(200);
    *one = (struct charges_wait){
        .since = now - length,
        .now = now,
        .knock = pick(4) == 0,
        .first_holder = somebody(),
        .first_until = now - length + pick(length + 1),
        .first_stands_for = pick(2) * pick(300),
        .weight = (uint32_t)pick(4),
        .waiter = somebody(),
        .is_waiter_told = pick(3) != 0,
        .waiter_stands_for = pick(2) * pick(300),
        .holder = somebody(),
    };
    charges_waited(one);
}

static uint64_t inside(const struct open *open, uint64_t from, uint64_t to) {
    from = from > open->opened ? from : open->opened;
    return to > from ? to - from : 0;
}

/* `a` may be several threads at one place. */
static bool is_same(const struct charges_thread *a, const struct charges_thread *b) {
    return (a->serial == b->serial || a->serial == CHARGES_SEVERAL) && a->place == b->place;
}

/* What the window should have been charged against somebody at a place (NULL: at all), by looks. */
static uint64_t charged(const struct open *open, const struct charges_thread *holder, bool knock,
                        uint64_t *count) {
    uint64_t sum = 0;
    *count = 0;
    for (size_t i = 0; i < look_count; i++) {
        const struct look *one = &looks[i];
        if (one->round > open->round && one->now >= open->opened && one->knock == knock &&
            (holder == NULL || is_same(holder, &one->holder))) {
            sum += one->ticks;
            ++*count;
        }
    }
    for (size_t i = 0; i < wait_count; i++) {
        const struct charges_wait *one = &waits[i];
        uint64_t part = inside(open, one->since, one->first_until) * one->weight;
        bool seen = open->opened <= one->since;
        part += seen && part != 0 ? one->first_stands_for : 0;
        if (wait_rounds[i] > open->round && part != 0 && one->knock == knock &&
            (holder == NULL || (seen && is_same(holder, &one->first_holder)))) {
            sum += part;
            ++*count;
        }
    }
    return sum;
}

/* The same for a row of a reading: one of several threads is without those that have rows of their own. */
static uint64_t charged_row(const struct open *open, const struct charges_rows *rows, size_t at,
                            bool knock, uint64_t *count) {
    const struct charges_thread *thread = &rows->rows[at].thread;
    uint64_t sum = charged(open, thread, knock, count);
    for (size_t i = 0; i < rows->count && thread->serial == CHARGES_SEVERAL; i++) {
        uint64_t own_count;
        if (i != at && rows->rows[i].thread.place == thread->place) {
            sum -= charged(open, &rows->rows[i].thread, knock, &own_count);
            *count -= own_count;
        }
    }
    return sum;
}

static void check_shares(const struct open *open, const struct charges_reading *reading,
                         uint64_t to_explain, uint64_t knock_wait) {
    uint64_t count, all = charged(open, NULL, false, &count), sum = reading->unlooked;
    uint64_t all_knocks = charged(open, NULL, true, &count), knock_sum = 0;
    uint64_t before = UINT64_MAX;
    for (size_t i = 0; i < reading->blame.count; i++) {
        const struct charges_row *row = &reading->blame.rows[i];
        bool several = row->thread.serial == CHARGES_SEVERAL; /* without those of no share at all */
        double near = several ? 2.0 * THREADS : 2.0;
        double share =
            (double)charged_row(open, &reading->blame, i, false, &count) / (double)(all ? all : 1);
        CHECK(row->looks == count || (several && row->looks < count));
        double off = (double)row->waited - share * (double)to_explain;
        CHECK(off > -near && off < near);
        share = (double)charged_row(open, &reading->blame, i, true, &count) /
                (double)(all_knocks ? all_knocks : 1);
        CHECK(row->knock_looks == count || (several && row->knock_looks < count));
        off = (double)row->knock_waited - share * (double)knock_wait;
        CHECK(off > -near && off < near);
        CHECK(row->waited + row->knock_waited <= before);
        before = row->waited + row->knock_waited;
        sum += row->waited;
        knock_sum += row->knock_waited;
    }
    CHECK(sum + reading->blame.omitted_waited == to_explain);
    CHECK(knock_sum + reading->blame.omitted_knock_waited <= knock_wait);
    CHECK((reading->blame.omitted != 0) <= (reading->blame.count == CHARGES_LISTED));
}

static void check_longest(const struct open *open, const struct charges_longest *longest,
                          bool knock) {
    uint64_t most = 0;
    for (size_t i = 0; i < wait_count; i++) {
        if (wait_rounds[i] > open->round && waits[i].knock == knock) {
            uint64_t waited = inside(open, waits[i].since, waits[i].now);
            most = waited > most ? waited : most;
        }
    }
    CHECK(longest->waited == most);
    for (size_t i = 0; i < wait_count && most != 0; i++) {
        if (wait_rounds[i] > open->round && waits[i].knock == knock &&
            inside(open, waits[i].since, waits[i].now) == most) {
            CHECK(longest->since == waits[i].since);
            CHECK(is_same(&longest->waiter, &waits[i].waiter));
            if (waits[i].since >= open->opened) {
                CHECK(is_same(&longest->holder, &waits[i].holder));
            } else {
                CHECK(longest->holder.place == PLACE_UNKNOWN);
            }
            break;
        }
    }
}

/* What was told of a window's waits: of those of somebody (NULL: all). */
struct told {
    uint64_t waited, stands_for, longest;
};

static struct told told_of(const struct open *open, const struct charges_thread *waiter) {
    struct told told = {.waited = 0};
    for (size_t i = 0; i < wait_count; i++) {
        const struct charges_wait *one = &waits[i];
        uint64_t part = inside(open, one->since, one->now), length = one->now - one->since;
        if (wait_rounds[i] <= open->round || one->knock || part == 0 || !one->is_waiter_told ||
            (waiter != NULL && !is_same(waiter, &one->waiter))) {
            continue;
        }
        double others = (double)one->waiter_stands_for;
        told.waited += part;
        told.stands_for += (uint64_t)(others * ((double)part / (double)length));
        told.longest = part > told.longest ? part : told.longest;
    }
    return told;
}

static bool is_near(uint64_t value, double expected) {
    double off = (double)value - expected;
    return off > -2.0 && off < 2.0;
}

/* A row is what was told there, and of what is left of the whole its share. */
static void check_victims(const struct open *open, const struct charges_rows *victims,
                          uint64_t whole) {
    const struct told all = told_of(open, NULL);
    bool all_told = whole >= all.waited;
    uint64_t sum = victims->omitted_waited;
    for (size_t i = 0; i < victims->count; i++) {
        const struct charges_row *row = &victims->rows[i];
        CHECK(row->thread.place != PLACE_UNKNOWN);
        sum += row->waited;
        if (row->thread.serial == CHARGES_SEVERAL) {
            continue;
        }
        struct told told = told_of(open, &row->thread);
        double share = all.stands_for ? (double)told.stands_for / (double)all.stands_for : 0.0;
        CHECK(row->longest == told.longest);
        CHECK(!all_told || row->waited >= told.waited);
        CHECK(!all_told ||
              is_near(row->waited, (double)told.waited + share * (double)(whole - all.waited)));
    }
    CHECK(sum <= whole);
}

static void check_window(const struct open *open) {
    uint64_t wait = pick(2) == 0 ? pick(100000) : pick(UINT64_C(1) << 50);
    uint64_t hand_over = pick(wait + 1), knock_wait = pick(100000);
    const struct charges_known known = {wait, hand_over, pick(wait + 1), knock_wait};
    struct charges_reading reading;
    CHECK(charges_read(&open->window, &known, &reading) == 0);
    check_shares(open, &reading, wait - hand_over, knock_wait);
    check_longest(open, &reading.longest, false);
    check_longest(open, &reading.longest_knock, true);
    check_victims(open, &reading.victims, wait - known.pending);
    charges_free(&reading);
}

static void move_a_window(void) {
    struct open *open = &windows[pick(WINDOWS)];
    if (!open->is_open) {
        charges_open(&open->window, now);
        *open = (struct open){open->window, true, now, round_number};
        /* Copied in place: it stays where it is linked. */
        return;
    }
    check_window(open);
    if (pick(3) == 0) {
        charges_close(&open->window);
        open->is_open = false;
    }
}

static bool none_is_open(void) {
    for (size_t i = 0; i < WINDOWS; i++) {
        if (windows[i].is_open) {
            return false;
        }
    }
    return true;
}

static void test_every_reading_adds_up(void) {
    looks = malloc(ROUNDS * sizeof *looks);
    waits = malloc(ROUNDS * sizeof *waits);
    wait_rounds = malloc(ROUNDS * sizeof *wait_rounds);
    for (round_number = 1; round_number < ROUNDS; round_number++) {
        now += pick(40);
        uint64_t what = pick(100);
        if (what < 60) {
            look();
        } else if (what < 95) {
            wait();
        } else {
            move_a_window();
        }
        if (none_is_open() || look_count + wait_count > 3000) {
            for (size_t i = 0; i < WINDOWS; i++) {
                if (windows[i].is_open) {
                    check_window(&windows[i]);
                    charges_close(&windows[i].window);
                    windows[i].is_open = false;
                }
            }
            look_count = wait_count = 0;
        }
    }
    for (size_t i = 0; i < WINDOWS; i++) {
        if (windows[i].is_open) {
            charges_close(&windows[i].window);
        }
    }
    free(looks);
    free(waits);
    free(wait_rounds);
}

static void test_rows_without_room_count_as_not_seen(void) {
    struct charges_window window;
    struct charges_reading reading;
    const uint64_t count = CHARGES_WINDOW_ROWS + 1000;
    charges_open(&window, 1);
    for (uint64_t i = 1; i <= count; i++) {
        const struct charges_thread holder = {i, i, (uint32_t)i};
        charges_look(&holder, 10, false, 2);
    }
    const struct charges_known known = {.wait = count * 100};
    CHECK(charges_read(&window, &known, &reading) == 0);
    CHECK(reading.unlooked == 1000 * 100);
    CHECK(reading.blame.count + reading.blame.omitted == CHARGES_WINDOW_ROWS);
    charges_free(&reading);
    charges_close(&window);
}

/* Of which every third one holds at a place of its own, the least of them for most of the time. */
static void test_many_threads_at_one_place_are_added_up(void) {
    struct charges_window window;
    struct charges_reading reading;
    const uint64_t count = 3 * CHARGES_LISTED;
    uint64_t at_one_place = 0, all = 0, looks_there = 0;
    charges_open(&window, 1);
    for (uint64_t i = 1; i <= count; i++) {
        bool apart = i % 3 == 0;
        const struct charges_thread holder = {i, i, apart ? (uint32_t)i : 1};
        charges_look(&holder, 1000 + i, false, 2);
        all += 1000 + i;
        at_one_place += apart ? 0 : 1000 + i;
    }
    const struct charges_known known = {.wait = all};
    CHECK(charges_read(&window, &known, &reading) == 0);
    CHECK(reading.unlooked == 0 && reading.blame.count == CHARGES_LISTED);
    CHECK(reading.blame.rows[0].thread.serial == CHARGES_SEVERAL);
    CHECK(reading.blame.rows[0].thread.place == 1);
    for (size_t i = 0; i < reading.blame.count; i++) {
        bool there = reading.blame.rows[i].thread.place == 1;
        at_one_place -= there ? reading.blame.rows[i].waited : 0;
        looks_there += there ? reading.blame.rows[i].looks : 0;
    }
    CHECK(at_one_place == 0 && looks_there == count - count / 3);
    charges_free(&reading);
    charges_close(&window);
}

static void test_a_window_without_a_look_says_so(void) {
    struct charges_window window;
    struct charges_reading reading;
    charges_open(&window, 1);
    const struct charges_known known = {.wait = 100, .hand_over = 30, .knock_wait = 5};
    CHECK(charges_read(&window, &known, &reading) == 0);
    CHECK(reading.unlooked == 70 && reading.blame.count == 0 && reading.victims.count == 0);
    CHECK(charges_looks(false) == 0 && charges_longest_known() == 0);
    charges_free(&reading);
    charges_close(&window);
    CHECK(charges_longest_known() == UINT64_MAX);
}

/* Waits of that length, at the place whose number is the thread's. */
static void waits_of(uint64_t serial, uint64_t count, uint64_t length, uint64_t stands_for) {
    const struct charges_thread waiter = {serial, serial, (uint32_t)serial};
    for (uint64_t i = 0; i < count; i++) {
        charges_waited(&(struct charges_wait){.since = 1000,
                                              .now = 1000 + length,
                                              .waiter = waiter,
                                              .is_waiter_told = true,
                                              .waiter_stands_for = stands_for,
                                              .first_holder = charges_nobody,
                                              .holder = charges_nobody});
    }
}

/* How long a reading says that a thread waited. */
static uint64_t waited_by(const struct charges_window *window, const struct charges_known *known,
                          uint64_t serial) {
    struct charges_reading reading;
    uint64_t waited = 0;
    CHECK(charges_read(window, known, &reading) == 0);
    for (size_t i = 0; i < reading.victims.count; i++) {
        const struct charges_row *row = &reading.victims.rows[i];
        waited += row->thread.serial == serial ? row->waited : 0;
    }
    charges_free(&reading);
    return waited;
}

static void test_a_wait_told_for_certain_counts_as_it_was(void) {
    struct charges_window window;
    charges_open(&window, 1);
    waits_of(1, 1, 5000, 0);
    CHECK(waited_by(&window, &(struct charges_known){.wait = 5600}, 1) == 5000);
    waits_of(2, 2, 100, 300);
    for (uint64_t short_waits = 200; short_waits < 4000; short_waits += 100) {
        const struct charges_known known = {.wait = 5000 + short_waits};
        CHECK(waited_by(&window, &known, 1) == 5000);
        CHECK(waited_by(&window, &known, 2) == short_waits);
    }
    charges_close(&window);
}

/* Many have waited, and of two a wait was drawn. */
static void test_what_is_left_is_shared_out_by_what_was_drawn(void) {
    struct charges_window window;
    charges_open(&window, 1);
    waits_of(3, 1, 100, 400);
    waits_of(7, 1, 100, 200);
    const struct charges_known known = {.wait = 3300, .pending = 100};
    CHECK(waited_by(&window, &known, 3) == 100 + 3000 / 3 * 2);
    CHECK(waited_by(&window, &known, 7) == 100 + 3000 / 3);
    charges_close(&window);
}

static void test_what_was_waited_at_no_known_place_is_of_no_other(void) {
    struct charges_window window;
    charges_open(&window, 1);
    waits_of(1, 3, 100, 300);
    charges_waited(&(struct charges_wait){.since = 1000,
                                          .now = 1100,
                                          .waiter = {1, 1, PLACE_UNKNOWN},
                                          .is_waiter_told = true,
                                          .waiter_stands_for = 300,
                                          .first_holder = charges_nobody,
                                          .holder = charges_nobody});
    CHECK(waited_by(&window, &(struct charges_known){.wait = 2000}, 1) == 1500);
    charges_close(&window);
}

static void test_a_hold_counts_in_the_windows_that_were_open_as_its_thread_was_asked(void) {
    struct charges_window outer, inner;
    struct charges_reading reading;
    const struct charges_known known = {.wait = 0};
    charges_open(&outer, 100);
    charges_open(&inner, 200);
    for (uint64_t i = 0; i < 3; i++) {
        charges_held(&(struct charges_hold){150, 190, 260 + i, {1, 1, 5}});
    }
    charges_held(&(struct charges_hold){150, 210, 500, {1, 1, 6}});
    charges_held(&(struct charges_hold){220, 230, 900, {2, 2, PLACE_UNKNOWN}});
    CHECK(charges_read(&outer, &known, &reading) == 0);
    CHECK(reading.blame.count == 0 && reading.victims.count == 0 && reading.held.count == 2);
    CHECK(reading.holds.count == 5 && reading.holds.unseen == 1 && reading.holds.longest == 680);
    const struct charges_row *rows = reading.held.rows;
    CHECK(rows[0].thread.place == 6 && rows[0].looks == 1 && rows[0].longest == 350);
    CHECK(rows[1].thread.place == 5 && rows[1].looks == 3 && rows[1].longest == 112);
    CHECK(rows[1].waited == 110 + 111 + 112);
    charges_free(&reading);
    CHECK(charges_read(&inner, &known, &reading) == 0);
    CHECK(reading.held.count == 1 && reading.held.rows[0].waited == 300);
    CHECK(reading.holds.count == 2 && reading.holds.unseen == 1);
    charges_free(&reading);
    charges_close(&inner);
    const uint64_t places = CHARGES_LISTED + 10;
    for (uint32_t i = 0; i < places; i++) {
        charges_held(&(struct charges_hold){1000, 1001, 2000 + i, {1, 1, 100 + i}});
    }
    CHECK(charges_read(&outer, &known, &reading) == 0);
    CHECK(reading.held.count == CHARGES_LISTED && reading.holds.unseen == 1 + 10 + 3 + 1);
    charges_free(&reading);
    charges_close(&outer);
}

static void test_a_child_begins_anew(void) {
    struct charges_window window;
    struct charges_reading reading;
    const struct charges_thread holder = {1, 1, 1};
    charges_open(&window, 1);
    charges_look(&holder, 10, false, 2);
    charges_after_fork();
    const struct charges_known known = {.wait = 100};
    CHECK(charges_read(&window, &known, &reading) == 0);
    CHECK(reading.unlooked == 100);
    charges_free(&reading);
    charges_look(&holder, 10, false, 2);
    CHECK(charges_read(&window, &known, &reading) == 0);
    CHECK(reading.unlooked == 50 && reading.blame.count == 1 && reading.blame.rows[0].waited == 50);
    charges_free(&reading);
    charges_close(&window);
}

/* Of thread 1, 5000 ticks were told, of which only so many are in its row. */
static void check_who_shares_what_is_left(const struct charges_window *window, uint64_t in_row) {
    waits_of(1, 2, 100, 300);
    waits_of(2, 30, 100, 300);
    const struct charges_known known = {.wait = 17800};
    const uint64_t left = 17800 - 5000 - 32 * 100;
    CHECK(waited_by(window, &known, 1) == in_row + 200 + 2 * left / 32);
}

static void test_what_a_thread_waited_before_a_fork_is_of_no_place_after_it(void) {
    struct charges_window window;
    charges_open(&window, 1);
    waits_of(1, 1, 5000, 0);
    charges_after_fork();
    check_who_shares_what_is_left(&window, 0);
    charges_close(&window);
}

static void test_what_a_thread_waited_at_places_without_room_is_of_no_other_place(void) {
    struct charges_window window;
    charges_open(&window, 1);
    waits_of(1, 1, 10, 0);
    waits_of(2, 1, 10, 0);
    for (uint32_t i = 3; i <= CHARGES_WINDOW_ROWS; i++) {
        charges_look(&(struct charges_thread){i, i, i}, 10, false, 2);
    }
    charges_waited(&(struct charges_wait){.since = 1000,
                                          .now = 1000 + 4980,
                                          .waiter = {1, 1, 99},
                                          .is_waiter_told = true,
                                          .first_holder = charges_nobody,
                                          .holder = charges_nobody});
    check_who_shares_what_is_left(&window, 10);
    charges_close(&window);
}

int main(void) {
    test_every_reading_adds_up();
    test_rows_without_room_count_as_not_seen();
    test_many_threads_at_one_place_are_added_up();
    test_a_window_without_a_look_says_so();
    test_a_wait_told_for_certain_counts_as_it_was();
    test_what_is_left_is_shared_out_by_what_was_drawn();
    test_what_was_waited_at_no_known_place_is_of_no_other();
    test_a_hold_counts_in_the_windows_that_were_open_as_its_thread_was_asked();
    test_a_child_begins_anew();
    test_what_a_thread_waited_before_a_fork_is_of_no_place_after_it();
    test_what_a_thread_waited_at_places_without_room_is_of_no_other_place();
    return 0;
}
