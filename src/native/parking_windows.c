#define _GNU_SOURCE
#include "native/parking_state.h"

#ifdef ELF_SUPPORTED

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "native/clock.h"
#include "native/lock_charges.h"
#include "native/parking_sums.h"

#define READ_TRIES 200

static void wipe_lengths(struct window *window) {
    if (__atomic_exchange_n(&window->has_lengths, 0, __ATOMIC_ACQ_REL) != 0) {
        for (int kind = 0; kind < PARKING_KINDS; kind++) {
            for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                __atomic_store_n(&window->lengths[kind].counts[i], 0, __ATOMIC_RELAXED);
            }
        }
    }
}

int parking_open(struct parking_window *window, bool by_thread, uint64_t now) {
    pthread_mutex_lock(&lot.lock);
    int index = 0;
    while (index < PARKING_WINDOWS && is_open(index)) {
        index++;
    }
    if (index == PARKING_WINDOWS) {
        pthread_mutex_unlock(&lot.lock);
        return -1;
    }
    struct window *place = &windows[index];
    STORE(place->generation, 0);
    wipe_lengths(place);
    lock_charges_open(index, lot.generation + 1);
    STORE(lot.looks, 0);
    STORE(place->opened, now);
    STORE(place->generation, ++lot.generation);
    if (lot.left_out != 0) {
        STORE(lot.lost_in, lot.generation);
    }
    place->by_thread = by_thread;
    place->omitted = 0;
    memset(&place->folded, 0, sizeof place->folded);
    *window = (struct parking_window){index, lot.generation, now};
    __atomic_fetch_or(&lot.open, UINT32_C(1) << index, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lot.lock);
    return 0;
}

bool parking_is_whole(const struct parking_window *window) {
    return LOAD(lot.lost_in) < window->generation;
}

/* Whether the window is open still, and not another one in its place. The lock is held. */
static bool is_there(const struct parking_window *window) {
    return window->index >= 0 && is_open(window->index) &&
           windows[window->index].generation == window->generation;
}

void parking_close(struct parking_window *window) {
    pthread_mutex_lock(&lot.lock);
    if (is_there(window)) {
        __atomic_fetch_and(&lot.open, ~(UINT32_C(1) << window->index), __ATOMIC_RELEASE);
        STORE(windows[window->index].generation, 0);
    }
    window->index = -1;
    pthread_mutex_unlock(&lot.lock);
}

/* Count a wait that goes on by its length so far, in place of what its earlier sleeps came to. */
static void add_length(struct histogram *lengths, const struct share *share) {
    if (!share->is_new) {
        histogram_take(lengths, share->before);
    }
    histogram_add(lengths, share->before + share->waited);
}

static void keep_below(uint64_t *longest, uint64_t total) {
    *longest = *longest < total ? *longest : total;
}

/* A copy may have the longest wait of a thread that is writing, and its sums without that. */
static void mend_copy(struct part *copy) {
    for (int i = 0; i < PARKING_KINDS; i++) {
        keep_below(&copy->kinds[i].longest, copy->kinds[i].total);
        keep_below(&copy->longest[i].waited, copy->kinds[i].total);
    }
    for (int i = 0; i < PARKING_TYPES; i++) {
        keep_below(&copy->types[i].sums.longest, copy->types[i].sums.total);
    }
    keep_below(&copy->other_types.longest, copy->other_types.total);
}

/* Copy what a slot has of a window, with the wait that goes on. A thread that is taken off the processor
 * while it writes may keep this waiting for a moment: then what it had written so far is taken. */
static void copy_part(const struct slot *slot, const struct parking_window *window, uint64_t now,
                      struct part *copy, struct parking_reading *reading) {
    const struct drawn nothing = {.place = PARKING_NO_PLACE, .let_go_at = PARKING_NO_PLACE};
    struct wait wait;
    bool whole = false;
    for (int i = 0; i < READ_TRIES && !whole; i++) {
        uint32_t before = LOAD(slot->sequence);
        if ((before & 1) != 0) {
            sched_yield();
            continue;
        }
        copy_words(copy, &slot->parts[window->index], sizeof *copy);
        copy_words(&wait, &slot->wait, sizeof wait);
        whole = LOAD(slot->sequence) == before;
    }
    if (!whole) {
        copy_words(copy, &slot->parts[window->index], sizeof *copy);
        mend_copy(copy);
        wait.goes_on = 0;
    }
    if (copy->generation != window->generation) {
        *copy = (struct part){.generation = window->generation};
    }
    if (wait.goes_on != 0 && now > window->opened) {
        const struct share share = share_of(copy, &wait, window->opened, now);
        reading->pending[wait.kind] += share.waited;
        add_length(&reading->details->lengths[wait.kind], &share);
        enter_wait(copy, &wait, &share, slot->native_id, &nothing);
    }
}

/* A thread that was late at closing may have taken out of this window what it had put into the one that
 * was open in its place before: that bucket is below zero. */
static void copy_counts(struct histogram *to, const struct histogram *from) {
    for (int kind = 0; kind < PARKING_KINDS; kind++) {
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            uint32_t count = __atomic_load_n(&from[kind].counts[i], __ATOMIC_RELAXED);
            to[kind].counts[i] = count <= INT32_MAX ? count : 0;
        }
    }
}

static void add_types(struct parking_reading *reading, const struct part *part) {
    for (int i = 0; i < PARKING_TYPES && part->types[i].type != 0; i++) {
        add_sums(&reading->types[part->types[i].type], &part->types[i].sums);
    }
    add_sums(&reading->types[0], &part->other_types);
}

static void add_thread(struct parking_reading *reading, const struct slot *slot,
                       const struct part *part) {
    struct parking_thread *thread = &reading->threads[reading->thread_count];
    *thread = (struct parking_thread){
        .ident = slot->ident, .native_id = slot->native_id, .ended = slot->state == SLOT_ENDED};
    memcpy(thread->name, slot->name, sizeof thread->name);
    memcpy(thread->kinds, part->kinds, sizeof thread->kinds);
    reading->thread_count += has_waited(part);
}

/* Make charges come to the waits that are over. */
static void share_out(struct parking_reading *reading) {
    uint64_t whole[LOCK_CHARGES_KINDS] = {0};
    for (int i = 0; i < PARKING_KINDS; i++) {
        whole[i] = clock_elapsed(reading->pending[i], reading->kinds[i].total);
    }
    lock_charges_share_out(&reading->details->charges, whole);
}

void parking_free(struct parking_reading *reading) {
    free(reading->threads);
    free(reading->details);
    reading->threads = NULL;
    reading->details = NULL;
}

/* Begin with what the window has of threads without a slot. */
static void add_folded(const struct window *place, struct parking_reading *reading) {
    for (int i = 0; i < PARKING_KINDS; i++) {
        add_sums(&reading->kinds[i], &place->folded.kinds[i]);
        note_longest(&reading->longest[i], &place->folded.longest[i]);
    }
    add_types(reading, &place->folded);
    reading->spins = place->folded.spins;
    reading->omitted = place->omitted;
}

/* Add what a slot has of the window. */
static void add_slot(const struct slot *slot, const struct parking_window *window, uint64_t now,
                     struct parking_reading *reading) {
    struct part part;
    copy_part(slot, window, now, &part, reading);
    for (int i = 0; i < PARKING_KINDS; i++) {
        add_sums(&reading->kinds[i], &part.kinds[i]);
        note_longest(&reading->longest[i], &part.longest[i]);
    }
    add_types(reading, &part);
    reading->spins += part.spins;
    if (windows[window->index].by_thread) {
        add_thread(reading, slot, &part);
    }
}

int parking_read(const struct parking_window *window, uint64_t now,
                 struct parking_reading *reading) {
    memset(reading, 0, sizeof *reading);
    size_t used = LOAD(lot.used);
    reading->threads = malloc((used + 1) * sizeof *reading->threads);
    reading->details = calloc(1, sizeof *reading->details);
    if (reading->threads == NULL || reading->details == NULL) {
        parking_free(reading);
        return -1;
    }
    pthread_mutex_lock(&lot.lock);
    if (is_there(window)) { /* else another thread has closed it */
        const struct window *place = &windows[window->index];
        reading->spins_are_seen = lot.spins_are_seen && interpose_intact(&lot.yields);
        copy_counts(reading->details->lengths, place->lengths);
        add_folded(place, reading);
        for (size_t i = 0; i < used; i++) {
            if (slots[i].state != SLOT_FREE) {
                add_slot(&slots[i], window, now, reading);
            }
        }
        lock_charges_read(window->index, window->generation, &reading->details->charges);
        share_out(reading);
    }
    pthread_mutex_unlock(&lot.lock);
    return 0;
}

#endif
