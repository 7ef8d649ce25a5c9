#include "native/lock_charges.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "native/clock.h"

static struct charged_window {
    uint64_t generation;
    struct lock_charge rows[LOCK_CHARGES_ROWS]; /* a hash table */
    size_t count;                               /* of rows, one of which may not be filled yet */
    struct drawn_waits drawn[LOCK_ROLES][LOCK_CHARGES_KINDS];
    struct drawn_waits omitted[LOCK_ROLES][LOCK_CHARGES_KINDS];
} windows[LOCK_CHARGES_WINDOWS];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void lock_charges_open(int window, uint64_t generation) {
    pthread_mutex_lock(&mutex);
    struct charged_window *place = &windows[window];
    if (place->count != 0) {
        memset(place->rows, 0, sizeof place->rows);
    }
    place->count = 0;
    memset(place->drawn, 0, sizeof place->drawn);
    memset(place->omitted, 0, sizeof place->omitted);
    place->generation = generation;
    pthread_mutex_unlock(&mutex);
}

static bool is_same(const struct lock_charge *a, const struct lock_charge *b) {
    return a->place == b->place && a->kind == b->kind && a->role == b->role &&
           a->native_id == b->native_id;
}

/* The row of a charge, or a free one; NULL if there is no room. */
static struct lock_charge *row_of(struct charged_window *window, const struct lock_charge *charge) {
    uint64_t hash = ((uint64_t)charge->place << 8 | (uint64_t)charge->kind << 1 | charge->role) +
                    charge->native_id * 2654435761u;
    hash *= UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < LOCK_CHARGES_ROWS; i++) {
        struct lock_charge *row = &window->rows[((hash >> 32) + i) % LOCK_CHARGES_ROWS];
        if (!row->is_used || is_same(row, charge)) {
            return row;
        }
    }
    return NULL;
}

/* Likewise; `charge` becomes one of several threads where there is no room for each. */
static struct lock_charge *row_for(struct charged_window *window, struct lock_charge *charge) {
    struct lock_charge *row = row_of(window, charge);
    if (window->count >= LOCK_CHARGES_THREAD_ROWS && (row == NULL || !row->is_used)) {
        charge->native_id = 0;
        row = row_of(window, charge);
    }
    return row;
}

/* A row is not there before it is whole: another thread may fork at any point. */
static void fill(struct lock_charge *row, const struct lock_charge *charge) {
    struct lock_charge free_row = *charge;
    free_row.is_used = false;
    *row = free_row;
    __atomic_store_n(&row->is_used, true, __ATOMIC_RELEASE);
}

void lock_charges_add(int window, uint64_t generation, const struct lock_charge *charge) {
    struct charged_window *place = &windows[window];
    pthread_mutex_lock(&mutex);
    if (place->generation == generation) {
        struct lock_charge added = *charge, *row = row_for(place, &added);
        const struct drawn_waits drawn = {charge->waited, charge->stands_for};
        drawn_waits_add(&place->drawn[charge->role][charge->kind], &drawn);
        if (row == NULL) {
            drawn_waits_add(&place->omitted[charge->role][charge->kind], &drawn);
        } else if (!row->is_used) {
            place->count++;
            fill(row, &added);
        } else {
            row->waited += charge->waited;
            row->stands_for += charge->stands_for;
            row->waits += charge->waits;
            row->longest = charge->longest > row->longest ? charge->longest : row->longest;
        }
    }
    pthread_mutex_unlock(&mutex);
}

void lock_charges_read(int window, uint64_t generation, struct lock_charges_reading *reading) {
    const struct charged_window *place = &windows[window];
    memset(reading, 0, sizeof *reading);
    pthread_mutex_lock(&mutex);
    if (place->generation == generation) {
        for (size_t i = 0; i < LOCK_CHARGES_ROWS; i++) {
            if (place->rows[i].is_used) {
                reading->rows[reading->count++] = place->rows[i];
            }
        }
        memcpy(reading->drawn, place->drawn, sizeof reading->drawn);
        memcpy(reading->omitted, place->omitted, sizeof reading->omitted);
    }
    pthread_mutex_unlock(&mutex);
}

static int by_waited(const void *left, const void *right) {
    const struct lock_charge *a = left, *b = right;
    return (a->waited < b->waited) - (a->waited > b->waited);
}

static uint64_t more(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* The shares of one role in the waits of one kind. Who let go may have ended more sleeps than were drawn of
 * those that waited: then these are known, and what stands for the others is less. More than the whole was
 * drawn only if a wait has ended since that was read. */
static struct drawn_shares shares_of(const struct lock_charges_reading *reading, int role, int kind,
                                     uint64_t whole) {
    const struct drawn_waits *waits = &reading->drawn[LOCK_WAITED][kind];
    const struct drawn_waits *own = &reading->drawn[role][kind];
    uint64_t waited = more(waits->waited, own->waited);
    uint64_t not_drawn = clock_elapsed(waited, waits->waited + waits->stands_for);
    const struct drawn_waits total = {waited, more(not_drawn, own->stands_for)};
    return drawn_shares_of(whole, &total);
}

void lock_charges_share_out(struct lock_charges_reading *reading,
                            const uint64_t whole[LOCK_CHARGES_KINDS]) {
    struct drawn_shares shares[LOCK_ROLES][LOCK_CHARGES_KINDS];
    for (int role = 0; role < LOCK_ROLES; role++) {
        for (int kind = 0; kind < LOCK_CHARGES_KINDS; kind++) {
            struct drawn_waits *omitted = &reading->omitted[role][kind];
            shares[role][kind] = shares_of(reading, role, kind, whole[kind]);
            omitted->waited = drawn_shares_next(&shares[role][kind], omitted);
        }
    }
    for (size_t i = 0; i < reading->count; i++) {
        struct lock_charge *row = &reading->rows[i];
        const struct drawn_waits drawn = {row->waited, row->stands_for};
        row->waited = drawn_shares_next(&shares[row->role][row->kind], &drawn);
    }
    qsort(reading->rows, reading->count, sizeof *reading->rows, by_waited);
}

void lock_charges_after_fork(void) { pthread_mutex_init(&mutex, NULL); }
