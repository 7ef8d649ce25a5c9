#include "native/parking_recording.h"

#ifdef ELF_SUPPORTED

#include <errno.h>

#include "native/clock.h"
#include "native/parking_places.h"
#include "native/parking_sums.h"

/* Count a wait by its length in a window, in place of what its earlier sleeps came to. */
static void count_length(struct window *window, const struct wait *wait,
                         const struct share *share) {
    if (!share->is_new) {
        histogram_take_shared(&window->lengths[wait->kind], share->before);
    }
    histogram_add_shared(&window->lengths[wait->kind], share->before + share->waited);
    STORE(window->has_lengths, 1); /* last: a thread that is late at closing has its count wiped */
}

/* The part of a slot in an open window, without what it has of an older one. */
static struct part *part_of(struct slot *slot, int window, uint64_t generation) {
    if (slot->parts[window].generation != generation) {
        wipe_part(&slot->parts[window], generation);
    }
    return &slot->parts[window];
}

/* Whether the latest sleep was not the last one of its attempt, as far as its end shows: a thread that finds
 * what it wants just as its sleep times out does not sleep again, nor does one that gives up. */
static bool may_go_on(const struct wait *wait, const struct parking_purpose *purpose,
                      uint64_t now) {
    double since = (double)clock_elapsed(wait->since, now);
    unsigned end = wait->error == EINTR       ? PARKING_SIGNALLED
                   : wait->error == ETIMEDOUT ? PARKING_TIMED_OUT
                                              : 0;
    return (end & purpose->after) != 0 && since <= (double)purpose->gap_ns * lot.ticks_per_ns &&
           (wait->until == 0) == (purpose->until == 0) &&
           (wait->until == 0 || clock_system_ns() < wait->until);
}

void begin_wait(struct slot *slot, const struct parking_purpose *purpose, uint64_t now) {
    struct wait *wait = &slot->wait;
    bool again = purpose->identity != 0 && purpose->identity == wait->identity &&
                 wait->kind == purpose->kind &&
                 (purpose->after == 0 || may_go_on(wait, purpose, now));
    begin_writing(slot);
    if (!again) {
        uint64_t before = (uint64_t)((double)purpose->began_ago_ns * lot.ticks_per_ns);
        /* Another wait between two sleeps of an attempt makes two of it: what was added up stays so. */
        uint64_t began = now - before > wait->since ? now - before : wait->since;
        STORE(wait->began, began);
        STORE(wait->since, began);
        STORE(wait->kind, (uint64_t)purpose->kind);
        STORE(wait->type, (uint64_t)purpose->type);
        STORE(wait->identity, purpose->identity);
        STORE(wait->until, purpose->until);
    }
    STORE(wait->goes_on, 1);
    end_writing(slot);
    __atomic_fetch_add(&lot.waiting, 1, __ATOMIC_RELAXED);
}

/* When a window was opened, and its generation; 0 if it has been closed meanwhile, and opened anew. */
static uint64_t generation_of(int window, uint64_t *opened) {
    uint64_t generation = LOAD(windows[window].generation);
    *opened = LOAD(windows[window].opened);
    return generation == LOAD(windows[window].generation) ? generation : 0;
}

void end_wait(struct slot *slot, uint64_t now, int error) {
    const struct drawn drawn = drawn_of(slot, now);
    if (slot->semaphore != 0) {
        hide_parked(slot);
    }
    __atomic_fetch_sub(&lot.waiting, 1, __ATOMIC_RELAXED);
    begin_writing(slot);
    uint32_t open = LOAD(lot.open);
    for (int i = 0; open != 0; i++, open >>= 1) {
        uint64_t opened, generation = (open & 1) != 0 ? generation_of(i, &opened) : 0;
        if (generation != 0 && now > opened) {
            struct part *part = part_of(slot, i, generation);
            const struct share share = share_of(part, &slot->wait, opened, now);
            enter_wait(part, &slot->wait, &share, slot->native_id, &drawn);
            count_length(&windows[i], &slot->wait, &share);
            charge_wait(i, slot, part, &drawn, &share, error);
        }
    }
    STORE(slot->wait.since, now);
    STORE(slot->wait.error, (uint64_t)error);
    STORE(slot->wait.goes_on, 0);
    end_writing(slot);
}

void count_spin(struct slot *slot) {
    begin_writing(slot);
    uint32_t open = LOAD(lot.open);
    for (int i = 0; open != 0; i++, open >>= 1) {
        uint64_t opened, generation = (open & 1) != 0 ? generation_of(i, &opened) : 0;
        if (generation != 0) {
            struct part *part = part_of(slot, i, generation);
            STORE(part->spins, part->spins + 1);
        }
    }
    end_writing(slot);
}

void end_attempt(struct slot *slot) { STORE(slot->wait.identity, 0); }

void drop_wait(struct slot *slot) {
    if (slot->semaphore != 0) {
        hide_parked(slot);
    }
    __atomic_fetch_sub(&lot.waiting, 1, __ATOMIC_RELAXED);
    begin_writing(slot);
    STORE(slot->wait.goes_on, 0);
    end_writing(slot);
}

#endif
