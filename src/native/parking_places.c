#include "native/parking_places.h"

#ifdef ELF_SUPPORTED

#include <string.h>

#include "native/clock.h"
#include "native/look_pacing.h"
#include "native/parking_threads.h"
#include "native/random.h"

#define PARKED_PLACES 1024 /* a power of two */

/* Whose semaphore it is: its address and, in the lowest 16 bits, the number of the slot + 1. Atomic. */
static uint64_t parked[PARKED_PLACES];

/* --- who waits --- */

/* Where a semaphore stands in the table. */
static uint64_t *parked_place(uint64_t semaphore) {
    return &parked[(semaphore * UINT64_C(0x9E3779B97F4A7C15)) >> 54 & (PARKED_PLACES - 1)];
}

static uint64_t parked_value(const struct slot *slot, uint64_t semaphore) {
    return semaphore << 16 | (uint64_t)(slot - slots + 1);
}

void show_parked(struct slot *slot, uint64_t semaphore) {
    STORE(slot->release.has_drawn, 0);
    STORE(slot->semaphore, semaphore);
    __atomic_store_n(parked_place(semaphore), parked_value(slot, semaphore), __ATOMIC_RELEASE);
}

void hide_parked(struct slot *slot) {
    uint64_t expected = parked_value(slot, slot->semaphore);
    __atomic_compare_exchange_n(parked_place(slot->semaphore), &expected, 0, false,
                                __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    STORE(slot->semaphore, 0);
}

struct slot *waiter_of(uint64_t semaphore) {
    uint64_t value = __atomic_load_n(parked_place(semaphore), __ATOMIC_ACQUIRE);
    return value != 0 && value >> 16 == semaphore ? &slots[(value & 0xFFFF) - 1] : NULL;
}

void forget_parked(void) { memset(parked, 0, sizeof parked); }

/* --- which waits are charged --- */

/* Whether to do what has a chance of `part` / `whole`. */
static bool happens_by_chance(uint64_t part, uint64_t whole) {
    if (own.random == 0) {
        own.random = (clock_ticks() ^ (uintptr_t)&own) | 1;
    }
    return random_below(&own.random, whole) < part;
}

/* Draw by a length whether a wait is charged, and how much of those that are not it stands for. As many
 * threads wait, as much waiting falls into the same time: the mean grows with their number, so that a
 * lock that all of them want changes hands as quickly as it does without looks. */
static bool draw(uint64_t length, uint64_t *stands_for) {
    uint64_t waiting = __atomic_load_n(&lot.waiting, __ATOMIC_RELAXED);
    double mean_ns = (double)look_pacing_mean_ns(LOAD(lot.looks), LOOK_COST_NS) *
                     (double)(waiting + (waiting == 0));
    uint64_t mean = (uint64_t)(mean_ns * lot.ticks_per_ns);
    *stands_for = clock_elapsed(length, mean);
    return length >= mean || happens_by_chance(length, mean);
}

/* --- looks --- */

/* Where the calling thread stands. */
static uint32_t look(void) {
    parking_place_reader read = LOAD(lot.look);
    if (read == NULL || own.looks) {
        return PARKING_NO_PLACE;
    }
    own.looks = true;
    uint32_t place = read();
    own.looks = false;
    __atomic_fetch_add(&lot.looks, 1, __ATOMIC_RELAXED);
    return place;
}

/* The calling thread is about to end a wait. It draws by the length of the whole attempt: that may be long
 * though the sleep is short, if a signal interrupted it just now. Those that it has stopped all wait for the
 * same line: it looks once for all that were stopped by then. */
void let_go(struct slot *slot) {
    uint64_t now = clock_ticks(), since = LOAD(slot->wait.since), stands_for;
    uint64_t length = clock_elapsed(LOAD(slot->wait.began), now);
    bool is_charged = draw(length, &stands_for);
    if (is_charged) {
        bool stopped = LOAD(slot->wait.kind) == PARKING_STOP_THE_WORLD;
        if (!stopped || own.looked_at <= since) {
            own.place = look();
            own.looked_at = stopped ? now : 0;
        }
        if (own.slot == NULL && !own.left_out) {
            enroll(); /* for its name */
        }
        STORE(slot->release.place, (uint64_t)own.place);
        STORE(slot->release.native_id, own_native_id());
    }
    STORE(slot->release.length, length);
    STORE(slot->release.stands_for, stands_for);
    STORE(slot->release.is_charged, is_charged);
    STORE(slot->release.has_drawn, 1);
}

struct drawn drawn_of(struct slot *slot, uint64_t now) {
    struct drawn drawn = {.place = PARKING_NO_PLACE, .let_go_at = PARKING_NO_PLACE};
    if (LOAD(lot.look) == NULL) {
        return drawn;
    }
    if (slot->semaphore != 0 && LOAD(slot->release.has_drawn) != 0) {
        drawn.is_charged = LOAD(slot->release.is_charged) != 0;
        if (drawn.is_charged) {
            drawn.stands_for = LOAD(slot->release.stands_for);
            drawn.length = LOAD(slot->release.length);
            drawn.let_go_at = LOAD(slot->release.place);
            drawn.let_go_by = LOAD(slot->release.native_id);
        }
    } else {
        drawn.length = clock_elapsed(slot->wait.since, now);
        drawn.is_charged = draw(drawn.length, &drawn.stands_for);
    }
    if (drawn.is_charged) {
        drawn.place = look();
    }
    return drawn;
}

/* Ticks. Sums of many of these stay below 2^64. */
#define STANDS_FOR_MOST (UINT64_C(1) << 48)

/* What so much waiting stands for. It may be longer than what was drawn by: its chance was that of the
 * shorter one, so that it stands for more. */
static uint64_t in_proportion(const struct drawn *drawn, uint64_t waited) {
    if (drawn->length == 0) {
        return 0;
    }
    double all = (double)drawn->stands_for * ((double)waited / (double)drawn->length);
    return all < (double)STANDS_FOR_MOST ? (uint64_t)all : STANDS_FOR_MOST;
}

/* A thread that lets go is blamed for the sleeps before, too, that a signal or a timeout ended. */
void charge_wait(int window, const struct slot *slot, struct part *part, const struct drawn *drawn,
                 const struct share *share, int error) {
    uint64_t let_go = (share->is_new ? 0 : part->not_let_go) + share->waited;
    bool is_counted = !share->is_new && part->is_charged != 0;
    bool is_charged = drawn->is_charged && share->waited != 0;
    STORE(part->not_let_go, error != 0 ? let_go : 0);
    STORE(part->is_charged, is_counted || is_charged);
    if (!is_charged) {
        return;
    }
    struct lock_charge row = {
        .place = (uint32_t)drawn->place,
        .kind = (uint8_t)slot->wait.kind,
        .role = LOCK_WAITED,
        .native_id = slot->native_id,
        .waited = share->waited,
        .stands_for = in_proportion(drawn, share->waited),
        .longest = share->before + share->waited,
        .waits = !is_counted,
    };
    lock_charges_add(window, part->generation, &row);
    if (drawn->let_go_by != 0) {
        row.place = (uint32_t)drawn->let_go_at;
        row.role = LOCK_LET_GO;
        row.waits = 1;
        row.native_id = drawn->let_go_by;
        row.waited = row.longest = let_go;
        row.stands_for = in_proportion(drawn, let_go);
        lock_charges_add(window, part->generation, &row);
    }
}

void parking_look(parking_place_reader read) { STORE(lot.look, read); }

#endif
