#include "native/lock_charges.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "native/clock.h"

static struct charged_window {
    uint64_t generation;
    struct lock_charge rows[LOCK_CHARGES_ROWS]; /* a hash table; sleeps == 0: free */
    size_t count;                               /* of rows, one of which may not be filled yet */
    uint64_t waited[LOCK_ROLES][LOCK_CHARGES_KINDS], stands_for[LOCK_ROLES][LOCK_CHARGES_KINDS];
    uint64_t omitted[LOCK_ROLES];
} windows[LOCK_CHARGES_WINDOWS];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void lock_charges_open(int window, uint64_t generation) {
    pthread_mutex_lock(&mutex);
    struct charged_window *place = &windows[window];
    if (place->count != 0) {
        memset(place->rows, 0, sizeof place->rows);
    }
    place->count = 0;
    memset(place->waited, 0, sizeof place->waited);
    memset(place->stands_for, 0, sizeof place->stands_for);
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
        if (row->sleeps == 0 || is_same(row, charge)) {
            return row;
        }
    }
    return NULL;
}

/* A row is not there before it is whole: another thread may fork at any point. */
static void fill(struct lock_charge *row, const struct lock_charge *charge) {
    struct lock_charge free_row = *charge;
    free_row.sleeps = 0;
    *row = free_row;
    __atomic_store_n(&row->sleeps, charge->sleeps, __ATOMIC_RELEASE);
}

void lock_charges_add(int window, uint64_t generation, const struct lock_charge *charge) {
    struct charged_window *place = &windows[window];
    pthread_mutex_lock(&mutex);
    if (place->generation == generation) {
        struct lock_charge *row = row_of(place, charge);
        place->waited[charge->role][charge->kind] += charge->waited;
        place->stands_for[charge->role][charge->kind] += charge->stands_for;
        if (row == NULL) {
            place->omitted[charge->role] += charge->waited + charge->stands_for;
        } else if (row->sleeps == 0) {
            place->count++;
            fill(row, charge);
        } else {
            row->waited += charge->waited;
            row->stands_for += charge->stands_for;
            row->waits += charge->waits;
            row->sleeps += charge->sleeps;
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
            if (place->rows[i].sleeps != 0) {
                reading->rows[reading->count++] = place->rows[i];
            }
        }
        memcpy(reading->waited, place->waited, sizeof reading->waited);
        memcpy(reading->stands_for, place->stands_for, sizeof reading->stands_for);
        memcpy(reading->omitted, place->omitted, sizeof reading->omitted);
    }
    pthread_mutex_unlock(&mutex);
}

static int by_waited(const void *left, const void *right) {
    const struct lock_charge *a = left, *b = right;
    return (a->waited < b->waited) - (a->waited > b->waited);
}

static uint64_t more(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Who let go may have ended more sleeps than were drawn of those that waited: then these are known, and what
 * stands for the others is less. More than the whole was drawn only if a wait has ended since that was
 * read. */
void lock_charges_share_out(struct lock_charges_reading *reading,
                            const uint64_t whole[LOCK_CHARGES_KINDS]) {
    for (size_t i = 0; i < reading->count; i++) {
        struct lock_charge *row = &reading->rows[i];
        uint64_t all = whole[row->kind], waited = reading->waited[LOCK_WAITED][row->kind];
        uint64_t expected = waited + reading->stands_for[LOCK_WAITED][row->kind];
        uint64_t drawn = more(waited, reading->waited[row->role][row->kind]);
        uint64_t stands_for =
            more(clock_elapsed(drawn, expected), reading->stands_for[row->role][row->kind]);
        if (drawn > all) {
            row->waited = (uint64_t)((double)row->waited * (double)all / (double)drawn);
        } else if (stands_for != 0) {
            double share = (double)row->stands_for / (double)stands_for;
            row->waited += (uint64_t)((double)(all - drawn) * share);
        }
    }
    qsort(reading->rows, reading->count, sizeof *reading->rows, by_waited);
}

void lock_charges_after_fork(void) { pthread_mutex_init(&mutex, NULL); }
