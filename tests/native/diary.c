#define _GNU_SOURCE

#include "diary.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "native/clock.h"

/* A thread that used no more of the processor between dropping the GIL as asked and asking for it
 * back, and did not sleep, wants it straight back (accounting.c). */
#define IDLE_NS 30000

static bool is_idle(struct toy_usage from, struct toy_usage to) {
    return to.nanoseconds - from.nanoseconds < IDLE_NS && to.sleeps == from.sleeps;
}

/* --- writing --- */

void diary_begin(struct diary *diary, struct toy_gil *gil) {
    diary->gil = gil;
    diary->native_id = (uint64_t)syscall(SYS_gettid);
    diary->count = 0;
    diary->last_drop.as_asked = false;
}

void diary_begin_with_gil(struct diary *diary, struct toy_gil *gil) {
    diary_begin(diary, gil);
    diary->turns[diary->count++] = (struct turn){.asked = {0, 0}};
}

void diary_take(struct diary *diary) {
    CHECK(diary->count < TURNS);
    struct turn turn = {.left = {0, 0}};
    struct toy_usage usage = toy_usage_now();
    turn.asked.least = clock_system_ns();
    struct toy_take take = toy_gil_take(diary->gil, diary);
    turn.got = (struct range){take.got, clock_system_ns()};
    turn.asked.most = take.asked;
    turn.had_to_wait = take.had_to_wait;
    turn.waits_since = turn.asked;
    if (diary->last_drop.as_asked && is_idle(diary->usage, usage)) {
        turn.back = is_idle(diary->last_drop.usage, take.usage) ? STRAIGHT : UNCLEAR;
        struct range left = diary->turns[diary->count - 1].left;
        turn.waits_since.least = left.least;
        turn.waits_since.most = turn.back == STRAIGHT ? left.most : turn.asked.most;
    }
    diary->turns[diary->count++] = turn;
}

void diary_drop(struct diary *diary) {
    struct range *left = &diary->turns[diary->count - 1].left;
    left->least = clock_system_ns();
    diary->last_drop = toy_gil_drop(diary->gil, diary);
    left->most = diary->last_drop.left;
    diary->usage = toy_usage_now();
}

/* --- reading --- */

static uint64_t larger(uint64_t one, uint64_t other) { return one > other ? one : other; }

static uint64_t smaller(uint64_t one, uint64_t other) { return one < other ? one : other; }

static bool waits(const struct turn *turn) { return turn->had_to_wait || turn->back == STRAIGHT; }

struct range diary_wait(const struct turn *turn) {
    return (struct range){
        waits(turn) ? clock_elapsed(turn->waits_since.most, turn->got.least) : 0,
        clock_elapsed(turn->waits_since.least, turn->got.most),
    };
}

/* What a reading must be. */
struct truth {
    struct range held, wait, max_wait, contended;
    uint64_t acquisitions;
};

/* Add the part of a turn that lies between the window's opening and now. */
static void add_turn(struct truth *truth, struct turn turn, uint64_t opened, uint64_t now,
                     uint64_t watched_since) {
    /* Who asked before the accounting watched is seen when it gets the GIL, and has then waited
     * since the first window opened. */
    bool unseen = turn.waits_since.least < watched_since;
    if (unseen) {
        turn.waits_since = (struct range){0, turn.asked.most};
        turn.back = UNCLEAR;
    }
    bool gets_it = turn.got.least > opened && turn.got.least < now;
    truth->acquisitions += gets_it;
    truth->contended.least += gets_it && waits(&turn);
    truth->contended.most += gets_it;

    /* Who asks while the reading is made may be told or not. */
    bool told = turn.asked.most <= now && !(unseen && turn.got.most > now);
    turn.waits_since.least = larger(turn.waits_since.least, opened);
    turn.waits_since.most = larger(turn.waits_since.most, opened);
    turn.got.least = smaller(turn.got.least, now);
    turn.got.most = smaller(turn.got.most, now);
    struct range wait = diary_wait(&turn);
    wait.least = told ? wait.least : 0;
    truth->wait.least += wait.least;
    truth->wait.most += wait.most;
    truth->max_wait.least = larger(truth->max_wait.least, wait.least);
    truth->max_wait.most = larger(truth->max_wait.most, wait.most);

    bool lasts = turn.left.most == 0;
    uint64_t least = lasts ? now : smaller(turn.left.least, now);
    uint64_t most = lasts ? now : smaller(turn.left.most, now);
    truth->held.least += clock_elapsed(larger(turn.got.most, opened), least);
    truth->held.most += clock_elapsed(larger(turn.got.least, opened), most);
}

void check_within(int line, const char *what, uint64_t is, struct range range) {
    if (is < range.least || is > range.most) {
        fprintf(stderr, "line %d: %s is %llu, not within %llu and %llu\n", line, what,
                (unsigned long long)is, (unsigned long long)range.least,
                (unsigned long long)range.most);
        exit(1);
    }
}

static void check_sums(int line, const struct ledger_sums *sums, uint64_t max_wait,
                       const struct truth *truth) {
    check_within(line, "held", sums->held, truth->held);
    check_within(line, "wait", sums->wait, truth->wait);
    check_within(line, "max_wait", max_wait, truth->max_wait);
    check_within(line, "contended", sums->contended, truth->contended);
    check_within(line, "acquisitions", sums->acquisitions,
                 (struct range){truth->acquisitions, truth->acquisitions});
}

const struct ledger_thread *part_of(const struct ledger_reading *reading,
                                    const struct diary *diary) {
    for (size_t i = 0; i < reading->thread_count; i++) {
        if (reading->threads[i].native_id == diary->native_id) {
            return &reading->threads[i];
        }
    }
    return NULL;
}

void diary_check(int line, const struct ledger_reading *reading, const struct ledger_window *window,
                 uint64_t watched_since, const struct diary *const *diaries, size_t count) {
    uint64_t now = window->opened + reading->wall;
    struct truth whole = {.acquisitions = 0};
    struct ledger_sums parts = {.held = 0};
    for (size_t i = 0; i < count; i++) {
        struct truth own = {.acquisitions = 0};
        for (size_t j = 0; j < diaries[i]->count; j++) {
            add_turn(&own, diaries[i]->turns[j], window->opened, now, watched_since);
            add_turn(&whole, diaries[i]->turns[j], window->opened, now, watched_since);
        }
        if (window->by_thread) {
            static const struct ledger_thread none;
            const struct ledger_thread *part = part_of(reading, diaries[i]);
            part = part != NULL ? part : &none;
            check_sums(line, &part->sums, part->max_wait, &own);
            parts.held += part->sums.held;
            parts.wait += part->sums.wait;
        }
    }
    check_sums(line, &reading->sums, reading->max_wait, &whole);
    CHECK(!window->by_thread || parts.held == reading->sums.held);
    CHECK(!window->by_thread || parts.wait == reading->sums.wait);
    CHECK(reading->sums.contended == 0 ||
          histogram_count(&reading->waits) == reading->sums.contended);
}
