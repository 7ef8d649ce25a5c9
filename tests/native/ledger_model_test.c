/* The ledger against a model that cannot be wrong: a list of all holds and all waits, from which each
 * window counts what lies in it. Threads come and go, take the GIL, wait for it, are forced to drop
 * it, give up, fork; knockers come in between; windows open and close in any order. */

#include "native/ledger.h"

#include <string.h>

#include "check.h"

#define ROUNDS 200000
#define ACTORS 8
#define KNOCKERS 2 /* the first of them */
#define WINDOWS 6
#define EVENTS 2000           /* in one go, from a first opening to a last closing */
#define PEOPLE 2000           /* native ids in one go */
#define RECORDED (3 * EVENTS) /* of the ledger's own events, the knockers' included */

enum doing { AWAY, DROPPED, WAITING };

struct actor {
    size_t id;
    struct ledger_slot *slot; /* NULL until the ledger gets to know it */
    enum doing doing;
    bool seen;              /* asking */
    bool forced;            /* asks for what it was told to drop */
    uint64_t since;         /* waiting, or away */
    uint64_t asked_round;   /* when a seen one asked */
    uint64_t dropped_round; /* when a forced one dropped it */
    bool asked_behind_own;
};

struct hold {
    size_t id;
    uint64_t from, to;
};

struct wait {
    size_t id;
    uint64_t since, until, round;
};

struct take {
    size_t id;
    uint64_t round;
};

struct open {
    struct ledger_window window;
    bool is_open;
    uint64_t opened, round;
    uint64_t first_event;
};

struct part {
    struct ledger_sums sums;
    uint64_t max_wait;
    bool told;
};

static struct ledger book;
static struct event_ring ring;
static uint64_t now = 1000, round_number, random_state = 88172645463325252;

static struct actor actors[ACTORS];
static size_t newest_id;
static struct actor *holder; /* of the GIL, watched or not */
static uint64_t held_since;
static uint64_t program_took, own_took; /* the round of the latest take */

/* What happened since the first of the open windows opened. */
static size_t first_id;
static struct hold holds[EVENTS];
static struct wait waits[EVENTS];
static struct take takes[EVENTS];
static size_t hold_count, wait_count, take_count;
static uint64_t lent;          /* of the holds: a knocker had the GIL */
static uint64_t watched_since; /* a round */

static struct open windows[WINDOWS];

/* The native id of each thread in one go, by its serial since then. */
static uint64_t first_serial;
static size_t ids[RECORDED];

static uint64_t pick(uint64_t bound) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * UINT64_C(2685821657736338717) >> 11) % bound;
}

static bool is_own(const struct actor *actor) { return actor < actors + KNOCKERS; }

static bool program_holds(void) { return holder != NULL && !is_own(holder); }

static size_t open_count(void) {
    size_t count = 0;
    for (size_t i = 0; i < WINDOWS; i++) {
        count += windows[i].is_open;
    }
    return count;
}

static bool watched(void) { return open_count() > 0; }

static uint64_t oldest_opening(void) {
    const struct open *oldest = NULL;
    for (size_t i = 0; i < WINDOWS; i++) {
        if (windows[i].is_open && (oldest == NULL || windows[i].round < oldest->round)) {
            oldest = &windows[i];
        }
    }
    return oldest->opened;
}

/* --- threads --- */

static void note_serial(const struct actor *actor) {
    if (actor->slot != NULL && actor->slot->serial >= first_serial) {
        CHECK(actor->slot->serial - first_serial < RECORDED);
        ids[actor->slot->serial - first_serial] = actor->id;
    }
}

static struct ledger_slot *slot_of(struct actor *actor) {
    if (actor->slot == NULL) {
        actor->slot = ledger_enroll(&book, 0, actor->id);
        CHECK(actor->slot != NULL);
        note_serial(actor);
    }
    return actor->slot;
}

static void be_born(struct actor *actor) {
    *actor = (struct actor){.id = ++newest_id, .since = now};
    if (is_own(actor)) {
        ledger_mark_internal(&book, slot_of(actor));
    }
}

static void die(struct actor *actor) {
    if (actor->slot != NULL) {
        ledger_ended(actor->slot, "");
    }
    be_born(actor);
}

/* --- the GIL --- */

static void ask(struct actor *actor) {
    bool forced = actor->doing == DROPPED;
    if (!forced) {
        uint64_t away = now - actor->since;
        actor->since = now - (pick(4) == 0 ? pick(away < 20 ? away + 1 : 20) : 0);
    }
    actor->doing = WAITING;
    actor->forced = forced;
    actor->seen = watched();
    actor->asked_round = round_number;
    actor->asked_behind_own = holder != NULL && is_own(holder);
    if (actor->seen || pick(10) == 0) {
        ledger_request(&book, slot_of(actor), actor->since, forced);
    }
}

/* Asks and finds the GIL free: no wait. */
static void ask_for_free(struct actor *actor) {
    actor->doing = WAITING;
    actor->forced = false;
    actor->seen = watched();
    actor->since = 0;
    if (actor->seen) {
        ledger_ask(slot_of(actor));
    }
}

static void enter_hold(size_t id, uint64_t from, uint64_t to) {
    holds[hold_count++] = (struct hold){id, from, to};
}

static void take(struct actor *actor) {
    bool has_waited = !actor->seen || actor->since != 0;
    bool came_back = actor->forced && actor->seen && actor->dropped_round >= watched_since &&
                     program_took < actor->dropped_round && own_took > actor->dropped_round;
    bool behind_own =
        actor->seen && actor->asked_behind_own && program_took < actor->asked_round && has_waited;
    uint64_t since = actor->since;
    holder = actor;
    held_since = now;
    actor->doing = AWAY;
    *(is_own(actor) ? &own_took : &program_took) = round_number;
    if (!watched()) {
        return;
    }
    if (!actor->seen) {
        since = oldest_opening();
    }
    ledger_acquire(&book, slot_of(actor), now);
    if (is_own(actor)) {
        CHECK(actor->slot->last_wait == (has_waited ? now - since : 0));
    } else if (came_back) {
        enter_hold(actor->id, since, now);
        lent += now - since;
    } else {
        takes[take_count++] = (struct take){actor->id, round_number};
        if (has_waited && !behind_own) {
            waits[wait_count++] = (struct wait){actor->id, since, now, round_number};
        }
    }
}

static void release(bool forced) {
    struct actor *actor = holder;
    if (watched()) {
        ledger_release(&book, slot_of(actor), now);
        if (!is_own(actor)) {
            enter_hold(actor->id, held_since, now);
        }
    }
    actor->since = now;
    actor->doing = AWAY;
    if (forced && watched()) {
        actor->doing = DROPPED;
        actor->dropped_round = round_number;
    }
    holder = NULL;
}

static void give_up(struct actor *actor) {
    actor->doing = AWAY;
    actor->since = now;
    if (watched()) {
        ledger_abandon(&book, slot_of(actor));
    }
}

/* The script goes on in the child. */
static void fork_and_go_on(void) {
    struct actor *survivor = holder;
    ledger_after_fork(&book, survivor->slot, now);
    if (watched()) {
        enter_hold(survivor->id, held_since, now);
    }
    survivor->since = now;
    holder = NULL;
    for (size_t i = 0; i < ACTORS; i++) {
        if (&actors[i] != survivor) {
            be_born(&actors[i]);
        }
    }
}

/* --- windows --- */

static void open_window(struct open *open) {
    if (!watched()) {
        hold_count = wait_count = take_count = lent = 0;
        first_id = actors[0].id;
        for (size_t i = 0; i < ACTORS; i++) {
            actors[i].seen = false;
            first_id = actors[i].id < first_id ? actors[i].id : first_id;
        }
        held_since = now;
        watched_since = round_number;
        first_serial = UINT64_MAX;
        for (size_t i = 0; i < ACTORS; i++) {
            const struct ledger_slot *slot = actors[i].slot;
            first_serial =
                slot != NULL && slot->serial < first_serial ? slot->serial : first_serial;
        }
        first_serial = first_serial == UINT64_MAX ? book.serial + 1 : first_serial;
        for (size_t i = 0; i < ACTORS; i++) {
            note_serial(&actors[i]);
        }
    }
    open->first_event = ring.written;
    CHECK(ledger_open(&book, &open->window, slot_of(holder), pick(3) != 0, now) == 0);
    open->is_open = true;
    open->opened = now;
    open->round = round_number;
}

static void close_window(struct open *open) {
    ledger_close(&book, &open->window);
    open->is_open = false;
}

static uint64_t inside(const struct open *open, uint64_t from, uint64_t to) {
    from = from > open->opened ? from : open->opened;
    return to > from ? to - from : 0;
}

static void count_wait(const struct open *open, struct part *part, uint64_t since, uint64_t until) {
    uint64_t length = inside(open, since, until);
    part->sums.wait += length;
    part->max_wait = length > part->max_wait ? length : part->max_wait;
}

/* What the window should tell: parts[id - first_id], and all of them together. */
static struct part count_parts(const struct open *open, struct part *parts,
                               struct histogram *histogram) {
    struct part all = {.max_wait = 0};
    memset(parts, 0, (newest_id - first_id + 1) * sizeof *parts);
    memset(histogram, 0, sizeof *histogram);
    for (size_t i = 0; i < hold_count; i++) {
        parts[holds[i].id - first_id].sums.held += inside(open, holds[i].from, holds[i].to);
    }
    parts[holder->id - first_id].sums.held += inside(open, held_since, now);
    for (size_t i = 0; i < take_count; i++) {
        parts[takes[i].id - first_id].sums.acquisitions += takes[i].round > open->round;
    }
    for (size_t i = 0; i < wait_count; i++) {
        const struct wait *wait = &waits[i];
        if (wait->round > open->round) {
            struct part *part = &parts[wait->id - first_id];
            part->sums.contended++;
            count_wait(open, part, wait->since, wait->until);
            histogram_add(histogram, wait->until - wait->since);
        }
    }
    for (size_t i = KNOCKERS; i < ACTORS; i++) {
        if (actors[i].doing == WAITING && actors[i].seen) {
            count_wait(open, &parts[actors[i].id - first_id], actors[i].since, now);
        }
    }
    for (size_t i = 0; i <= newest_id - first_id; i++) {
        all.sums.held += parts[i].sums.held;
        all.sums.wait += parts[i].sums.wait;
        all.sums.acquisitions += parts[i].sums.acquisitions;
        all.sums.contended += parts[i].sums.contended;
        all.max_wait = parts[i].max_wait > all.max_wait ? parts[i].max_wait : all.max_wait;
    }
    return all;
}

static void show(const char *whose, struct ledger_sums is, uint64_t is_max,
                 const struct part *part) {
    fprintf(stderr,
            "round %llu, %s: held %llu/%llu wait %llu/%llu acquisitions %llu/%llu "
            "contended %llu/%llu max %llu/%llu (is/should be)\n",
            (unsigned long long)round_number, whose, (unsigned long long)is.held,
            (unsigned long long)part->sums.held, (unsigned long long)is.wait,
            (unsigned long long)part->sums.wait, (unsigned long long)is.acquisitions,
            (unsigned long long)part->sums.acquisitions, (unsigned long long)is.contended,
            (unsigned long long)part->sums.contended, (unsigned long long)is_max,
            (unsigned long long)part->max_wait);
}

static void check_part(const char *whose, struct ledger_sums is, uint64_t is_max,
                       const struct part *part) {
    if (memcmp(&is, &part->sums, sizeof is) != 0 || is_max != part->max_wait) {
        show(whose, is, is_max, part);
        exit(1);
    }
}

/* The events since the window opened, cut off where it did, are its sums. */
static void check_events(const struct open *open, const struct part *parts) {
    static struct event events[RECORDED + ACTORS];
    static struct ledger_sums sums[PEOPLE];
    memset(sums, 0, sizeof sums);
    size_t count = event_ring_count(&ring, open->first_event);
    CHECK(count == ring.written - open->first_event);
    event_ring_copy(&ring, open->first_event, events);
    count += ledger_unfinished(&book, now, events + count, ACTORS);
    for (size_t i = 0; i < count; i++) {
        unsigned flags = events[i].serial_and_flags & 255;
        if ((flags & EVENT_BY_KNOCKER) == 0) {
            struct ledger_sums *of =
                &sums[ids[(events[i].serial_and_flags >> 8) - first_serial] - first_id];
            uint64_t length = inside(open, events[i].from, events[i].until);
            *(flags & EVENT_WAIT ? &of->wait : &of->held) += length;
            of->contended += (flags & (EVENT_WAIT | EVENT_UNFINISHED)) == EVENT_WAIT;
        }
    }
    for (size_t i = 0; i <= newest_id - first_id; i++) {
        CHECK(sums[i].held == parts[i].sums.held);
        CHECK(sums[i].wait == parts[i].sums.wait);
        CHECK(sums[i].contended == parts[i].sums.contended);
    }
}

/* How long no thread of the program held the GIL in a wait's part that lies in the window. */
static uint64_t hand_over_in(const struct open *open, uint64_t since, uint64_t until) {
    uint64_t left = inside(open, since, until);
    for (size_t i = 0; i < hold_count; i++) {
        uint64_t from = holds[i].from > since ? holds[i].from : since;
        uint64_t to = holds[i].to < until ? holds[i].to : until;
        left -= inside(open, from, to);
    }
    return left -
           (program_holds() ? inside(open, held_since > since ? held_since : since, until) : 0);
}

/* To what is not known exactly: where a wait began before it was seen, and what a hold that a knocker
 * interrupts had come to. */
static void check_hand_over(const struct open *open, const struct ledger_reading *reading) {
    uint64_t should = 0, slack = 0;
    for (size_t i = 0; i < wait_count; i++) {
        should +=
            waits[i].round > open->round ? hand_over_in(open, waits[i].since, waits[i].until) : 0;
        slack += 20;
    }
    for (size_t i = KNOCKERS; i < ACTORS; i++) {
        if (actors[i].doing == WAITING && actors[i].seen && actors[i].since != 0) {
            should += hand_over_in(open, actors[i].since, now);
            slack += 20;
        }
    }
    slack += lent * ACTORS;
    CHECK(reading->hand_over <= reading->sums.wait);
    CHECK(reading->hand_over <= should + slack);
    CHECK(should <= reading->hand_over + slack);
}

static void check_window(const struct open *open) {
    static struct part parts[PEOPLE];
    struct histogram histogram;
    struct ledger_reading reading;
    struct part all = count_parts(open, parts, &histogram);
    CHECK(ledger_read(&book, &open->window, now, &reading) == 0);
    CHECK(reading.wall == now - open->opened);
    check_hand_over(open, &reading);
    check_part("all", reading.sums, reading.max_wait, &all);
    CHECK(reading.sums.contended == 0 || memcmp(&histogram, &reading.waits, sizeof histogram) == 0);
    for (size_t i = 0; i < reading.thread_count; i++) {
        struct part *part = &parts[reading.threads[i].native_id - first_id];
        CHECK(!part->told);
        part->told = true;
        check_part("a thread", reading.threads[i].sums, reading.threads[i].max_wait, part);
    }
    for (size_t i = 0; open->window.by_thread && i <= newest_id - first_id; i++) {
        const struct ledger_sums *sums = &parts[i].sums;
        bool has_part = sums->held != 0 || sums->wait != 0 || sums->acquisitions != 0;
        CHECK(parts[i].told == has_part);
    }
    check_events(open, parts);
    free(reading.threads);
}

/* --- chance --- */

static void move_a_window(void) {
    struct open *open = &windows[pick(1 + round_number / 1000 % WINDOWS)];
    if (!open->is_open) {
        open_window(open);
        return;
    }
    check_window(open);
    if (pick(3) == 0) {
        close_window(open);
    }
}

static void move_a_thread(void) {
    struct actor *actor = &actors[pick(ACTORS)];
    if (actor == holder) {
        release(!is_own(actor) && pick(2) == 0);
        if (actor->doing == DROPPED && pick(2) == 0) {
            ask(actor);
        }
    } else if (actor->doing == WAITING) {
        if (pick(50) == 0) {
            give_up(actor);
        } else if (holder == NULL) {
            take(actor);
        }
    } else if (actor->doing == AWAY && pick(20) == 0) {
        die(actor);
    } else if (actor->doing == AWAY && holder == NULL && pick(2) == 0) {
        ask_for_free(actor);
        take(actor);
    } else {
        ask(actor);
        if (pick(20) == 0) {
            give_up(actor);
        }
    }
}

static bool is_full(void) {
    return hold_count + 2 > EVENTS || wait_count + 2 > EVENTS || take_count + 2 > EVENTS ||
           newest_id - first_id + 2 * ACTORS > PEOPLE;
}

static void close_all(void) {
    for (size_t i = 0; i < WINDOWS; i++) {
        if (windows[i].is_open) {
            close_window(&windows[i]);
        }
    }
}

int main(void) {
    CHECK(ledger_init(&book) == 0);
    CHECK(event_ring_init(&ring, RECORDED) == 0);
    book.events = &ring;
    for (size_t i = 0; i < ACTORS; i++) {
        be_born(&actors[i]);
    }
    size_t quiet = 0, busy = 0;
    for (round_number = 1; round_number <= ROUNDS; round_number++) {
        now += pick(8) == 0 ? pick(1000) : pick(4);
        if (program_holds() && watched() && (is_full() || pick(200) == 0)) {
            close_all();
        } else if (program_holds() && pick(5) == 0) {
            move_a_window();
        } else if (program_holds() && pick(500) == 0) {
            fork_and_go_on();
        } else {
            move_a_thread();
        }
        CHECK(book.active == watched());
        CHECK(!book.lost);
        quiet += !watched();
        busy += open_count() > 2;
    }
    CHECK(quiet > ROUNDS / 100);
    CHECK(busy > ROUNDS / 4);
    event_ring_free(&ring);
    free(book.slots);
    return 0;
}
