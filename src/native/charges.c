#define _POSIX_C_SOURCE 200809L
#include "native/charges.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "native/clock.h"
#include "native/places.h"

#define FIRST_ROWS 1024u

enum kind { HOLDER, VICTIM, HELD };

/* Rows are linked by their number + 1; 0 ends a list. */
struct row {
    const struct charges_window *window; /* NULL: free */
    uint32_t next, next_in_bucket;
    enum kind kind;
    struct charges_row sums;
};

static struct {
    pthread_mutex_t guard;
    struct charges_window *newest;
    struct row *rows;  /* owned */
    uint32_t *buckets; /* owned; as many as rows */
    uint32_t room, used, free;
    uint64_t looks[2], longest; /* atomic; of the newest window */
} pool = {.guard = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { pthread_mutex_lock(&pool.guard); }
static void unlock(void) { pthread_mutex_unlock(&pool.guard); }

/* Bring the words up to date that are read without the lock. */
static void publish(void) {
    const struct charges_window *newest = pool.newest;
    __atomic_store_n(&pool.looks[false], newest != NULL ? newest->threads.looks : 0,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&pool.looks[true], newest != NULL ? newest->knocks.looks : 0,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&pool.longest, newest != NULL ? newest->longest.waited : UINT64_MAX,
                     __ATOMIC_RELAXED);
}

uint64_t charges_looks(bool knock) { return __atomic_load_n(&pool.looks[knock], __ATOMIC_RELAXED); }

uint64_t charges_longest_known(void) { return __atomic_load_n(&pool.longest, __ATOMIC_RELAXED); }

/* --- rows --- */

static uint32_t *bucket_of(const struct charges_window *window, enum kind kind,
                           const struct charges_thread *thread) {
    uint64_t hash = (uintptr_t)window ^ ((uint64_t)thread->place << 20) ^ thread->serial;
    hash = (hash + kind) * 0x9E3779B97F4A7C15u;
    return &pool.buckets[(hash >> 32) & (pool.room - 1)];
}

static struct row *row_at(uint32_t link) { return link != 0 ? &pool.rows[link - 1] : NULL; }

static bool grow(void) {
    if (pool.room == CHARGES_ROWS) {
        return false;
    }
    uint32_t room = pool.room != 0 ? 2 * pool.room : FIRST_ROWS;
    struct row *rows = malloc(room * sizeof *rows), *old_rows = pool.rows;
    uint32_t *buckets = calloc(room, sizeof *buckets), *old_buckets = pool.buckets;
    if (rows == NULL || buckets == NULL) {
        free(rows);
        free(buckets);
        return false;
    }
    if (pool.used != 0) {
        memcpy(rows, old_rows, pool.used * sizeof *rows);
    }
    pool.rows = rows;
    pool.buckets = buckets;
    pool.room = room;
    free(old_rows);
    free(old_buckets);
    for (uint32_t i = 0; i < pool.used; i++) {
        struct row *row = &pool.rows[i];
        if (row->window != NULL) {
            uint32_t *bucket = bucket_of(row->window, row->kind, &row->sums.thread);
            row->next_in_bucket = *bucket;
            *bucket = i + 1;
        }
    }
    return true;
}

/* The link of a row that is in no list, or 0. */
static uint32_t take_row(void) {
    uint32_t link = pool.free;
    if (link != 0) {
        pool.free = row_at(link)->next;
    } else if (pool.used < pool.room || grow()) {
        link = ++pool.used;
    }
    return link;
}

/* The window's row for somebody at a place, made if need be; NULL where there is no room. */
static struct charges_row *row_of(struct charges_window *window, enum kind kind,
                                  const struct charges_thread *thread) {
    for (uint32_t link = pool.room != 0 ? *bucket_of(window, kind, thread) : 0; link != 0;
         link = row_at(link)->next_in_bucket) {
        struct row *row = row_at(link);
        if (row->window == window && row->kind == kind && row->sums.thread.place == thread->place &&
            row->sums.thread.serial == thread->serial &&
            row->sums.thread.native_id == thread->native_id) {
            return &row->sums;
        }
    }
    uint32_t link = window->row_count < CHARGES_WINDOW_ROWS ? take_row() : 0;
    if (link == 0) {
        return NULL;
    }
    struct row *row = row_at(link);
    uint32_t *bucket = bucket_of(window, kind, thread);
    *row = (struct row){.window = window,
                        .next = window->rows,
                        .next_in_bucket = *bucket,
                        .kind = kind,
                        .sums = {.thread = *thread}};
    *bucket = window->rows = link;
    window->row_count++;
    return &row->sums;
}

static void give_back_rows(struct charges_window *window) {
    for (uint32_t link = window->rows, next; link != 0; link = next) {
        struct row *row = row_at(link);
        uint32_t *bucket = bucket_of(window, row->kind, &row->sums.thread);
        while (*bucket != link) {
            bucket = &row_at(*bucket)->next_in_bucket;
        }
        *bucket = row->next_in_bucket;
        next = row->next;
        row->window = NULL;
        row->next = pool.free;
        pool.free = link;
    }
    window->rows = 0;
    window->row_count = 0;
}

/* --- windows --- */

void charges_open(struct charges_window *window, uint64_t now) {
    memset(window, 0, sizeof *window);
    window->opened = now;
    window->longest.holder.place = window->longest.waiter.place = PLACE_UNKNOWN;
    window->longest_knock = window->longest;
    lock();
    window->older = pool.newest;
    if (window->older != NULL) {
        window->older->newer = window;
    }
    pool.newest = window;
    publish();
    unlock();
}

void charges_close(struct charges_window *window) {
    lock();
    give_back_rows(window);
    *(window->newer ? &window->newer->older : &pool.newest) = window->older;
    if (window->older != NULL) {
        window->older->newer = window->newer;
    }
    publish();
    unlock();
}

void charges_after_fork(void) {
    pthread_mutex_init(&pool.guard, NULL);
    pool.used = pool.free = 0;
    if (pool.buckets != NULL) {
        memset(pool.buckets, 0, pool.room * sizeof *pool.buckets);
    }
    for (struct charges_window *window = pool.newest; window != NULL; window = window->older) {
        window->rows = window->row_count = 0;
        window->threads.unseen += window->threads.charged;
        window->knocks.unseen += window->knocks.charged;
        window->threads.charged = window->knocks.charged = 0;
        window->holds = (struct charges_holds){0};
    }
    publish();
}

/* --- events --- */

const struct charges_thread charges_nobody = {.place = PLACE_UNKNOWN};

static void charge(struct charges_window *window, const struct charges_thread *holder,
                   uint64_t ticks, bool knock) {
    struct charges_sums *sums = knock ? &window->knocks : &window->threads;
    struct charges_row *row =
        holder->place != PLACE_UNKNOWN ? row_of(window, HOLDER, holder) : NULL;
    sums->looks++;
    if (row == NULL) {
        sums->unseen += ticks;
        return;
    }
    sums->charged += ticks;
    *(knock ? &row->knock_waited : &row->waited) += ticks;
    *(knock ? &row->knock_looks : &row->looks) += 1;
}

void charges_look(const struct charges_thread *holder, uint64_t ticks, bool knock, uint64_t now) {
    lock();
    for (struct charges_window *window = pool.newest; window != NULL; window = window->older) {
        if (window->opened <= now) {
            charge(window, holder, ticks, knock);
        }
    }
    publish();
    unlock();
}

/* The part of an interval that lies in the window. */
static uint64_t inside(const struct charges_window *window, uint64_t from, uint64_t until) {
    return clock_elapsed(from > window->opened ? from : window->opened, until);
}

/* Whoever held for most of a wait may have done so before the window opened. */
static void note_longest(struct charges_window *window, const struct charges_wait *wait,
                         uint64_t waited) {
    struct charges_longest *longest = wait->knock ? &window->longest_knock : &window->longest;
    if (waited > longest->waited) {
        *longest =
            (struct charges_longest){waited, wait->since, wait->waiter,
                                     window->opened <= wait->since ? wait->holder : charges_nobody};
    }
}

static void enter_victim(struct charges_window *window, const struct charges_wait *wait,
                         uint64_t waited) {
    if (waited == 0 || !wait->is_waiter_told) {
        return;
    }
    double part = (double)waited / (double)(wait->now - wait->since);
    const struct drawn_waits told = {waited, (uint64_t)((double)wait->waiter_stands_for * part)};
    drawn_waits_add(&window->victims, &told);
    struct charges_row *row =
        wait->waiter.place != PLACE_UNKNOWN ? row_of(window, VICTIM, &wait->waiter) : NULL;
    if (row != NULL) {
        row->waited += told.waited;
        row->stands_for += told.stands_for;
        row->looks++;
        if (waited > row->longest) {
            row->longest = waited;
        }
    }
}

/* Windows opened later were not there as the first look was made: where the holder stood then is none of
 * what they measure. */
void charges_waited(const struct charges_wait *wait) {
    lock();
    for (struct charges_window *window = pool.newest; window != NULL; window = window->older) {
        uint64_t waited = inside(window, wait->since, wait->now);
        uint64_t at_first = inside(window, wait->since, wait->first_until) * wait->weight;
        if (at_first != 0 && window->opened <= wait->since) {
            at_first += wait->first_stands_for;
        }
        if (at_first != 0) {
            charge(window, window->opened <= wait->since ? &wait->first_holder : &charges_nobody,
                   at_first, wait->knock);
        }
        if (!wait->knock) {
            enter_victim(window, wait, waited);
        }
        note_longest(window, wait, waited);
    }
    publish();
    unlock();
}

void charges_held(const struct charges_hold *hold) {
    lock();
    for (struct charges_window *window = pool.newest; window != NULL; window = window->older) {
        if (window->opened > hold->asked) {
            continue;
        }
        uint64_t ticks = inside(window, hold->since, hold->now);
        struct charges_row *row =
            hold->holder.place != PLACE_UNKNOWN ? row_of(window, HELD, &hold->holder) : NULL;
        window->holds.count++;
        if (ticks > window->holds.longest) {
            window->holds.longest = ticks;
        }
        if (row == NULL) {
            window->holds.unseen++;
            continue;
        }
        row->waited += ticks;
        row->looks++;
        if (ticks > row->longest) {
            row->longest = ticks;
        }
    }
    unlock();
}

/* --- reading --- */

static int most_waited_first(const void *left, const void *right) {
    const struct charges_row *a = left, *b = right;
    uint64_t first = a->waited + a->knock_waited, second = b->waited + b->knock_waited;
    return (first < second) - (first > second);
}

static int longest_first(const void *left, const void *right) {
    const struct charges_row *a = left, *b = right;
    return (a->longest < b->longest) - (a->longest > b->longest);
}

static int victims_first(const void *left, const void *right) {
    const struct charges_row *a = left, *b = right;
    return (a->waited < b->waited) - (a->waited > b->waited);
}

/* Copy the window's rows of a kind. Returns 0, or -1 without memory. The lock is held. */
static int copy_rows(const struct charges_window *window, enum kind kind,
                     struct charges_rows *rows) {
    *rows = (struct charges_rows){.rows = NULL};
    if (window->row_count == 0) {
        return 0;
    }
    rows->rows = malloc(window->row_count * sizeof *rows->rows);
    if (rows->rows == NULL) {
        return -1;
    }
    for (uint32_t link = window->rows; link != 0; link = row_at(link)->next) {
        if (row_at(link)->kind == kind) {
            rows->rows[rows->count++] = row_at(link)->sums;
        }
    }
    return 0;
}

static int by_place(const void *left, const void *right) {
    uint32_t a = ((const struct charges_row *)left)->thread.place;
    uint32_t b = ((const struct charges_row *)right)->thread.place;
    return (a > b) - (a < b);
}

/* Make one of those rows from `first` on that are at one place. `knocks`: they are of holders. */
static void add_up_by_place(struct charges_rows *rows, size_t first, bool knocks) {
    qsort(rows->rows + first, rows->count - first, sizeof *rows->rows, by_place);
    size_t kept = first;
    for (size_t i = first; i < rows->count; i++) {
        const struct charges_row row = rows->rows[i];
        struct charges_row *sum = kept > first ? &rows->rows[kept - 1] : NULL;
        if (sum == NULL || sum->thread.place != row.thread.place) {
            rows->rows[kept++] = row;
            continue;
        }
        sum->thread = (struct charges_thread){CHARGES_SEVERAL, 0, row.thread.place};
        sum->waited += row.waited;
        sum->looks += row.looks;
        if (knocks) {
            sum->knock_looks += row.knock_looks;
            sum->knock_waited += row.knock_waited;
        } else if (row.longest > sum->longest) {
            sum->longest = row.longest;
        }
    }
    rows->count = kept;
}

/* Put rows in order, and keep as many as a reading lists. Threads that come and go are many where places
 * are few: so those behind the first half are added up by place before any is left out. Returns how many
 * looks are left out. */
static uint64_t keep_most(struct charges_rows *rows, bool knocks,
                          int (*order)(const void *, const void *)) {
    uint64_t looks = 0;
    if (rows->count != 0) {
        qsort(rows->rows, rows->count, sizeof *rows->rows, order);
    }
    if (rows->count > CHARGES_LISTED) {
        add_up_by_place(rows, CHARGES_LISTED / 2, knocks);
        qsort(rows->rows, rows->count, sizeof *rows->rows, order);
    }
    for (; rows->count > CHARGES_LISTED; rows->count--) {
        const struct charges_row *row = &rows->rows[rows->count - 1];
        rows->omitted++;
        rows->omitted_waited += row->waited;
        rows->omitted_knock_waited += knocks ? row->knock_waited : 0;
        looks += row->looks;
    }
    return looks;
}

/* Scale the charges to what is to be explained; return what they leave of the wait. Rows that explain
 * nothing are left out: those of waits that this window leaves out. */
static uint64_t scale_blame(struct charges_rows *rows, struct shares threads,
                            struct shares knocks) {
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        struct charges_row row = rows->rows[i];
        row.waited = shares_next(&threads, row.waited);
        row.knock_waited = shares_next(&knocks, row.knock_waited);
        if (row.waited != 0 || row.knock_waited != 0) {
            rows->rows[kept++] = row;
        }
    }
    rows->count = kept;
    keep_most(rows, true, most_waited_first);
    return threads.whole - threads.given;
}

/* More than the whole was told only where the accounting met what cannot be. */
static void scale_victims(struct charges_rows *rows, const struct drawn_waits *victims,
                          uint64_t whole) {
    struct drawn_shares shares = drawn_shares_of(whole, victims);
    for (size_t i = 0; i < rows->count; i++) {
        struct charges_row *row = &rows->rows[i];
        const struct drawn_waits told = {row->waited, row->stands_for};
        row->waited = drawn_shares_next(&shares, &told);
    }
    keep_most(rows, false, victims_first);
}

int charges_read(const struct charges_window *window, const struct charges_known *known,
                 struct charges_reading *reading) {
    *reading = (struct charges_reading){.blame.rows = NULL};
    lock();
    const struct charges_sums threads = window->threads, knocks = window->knocks;
    const struct drawn_waits victims = window->victims;
    reading->longest = window->longest;
    reading->longest_knock = window->longest_knock;
    reading->holds = window->holds;
    int error = copy_rows(window, HOLDER, &reading->blame);
    if (error == 0) {
        error = copy_rows(window, VICTIM, &reading->victims);
    }
    if (error == 0) {
        error = copy_rows(window, HELD, &reading->held);
    }
    unlock();
    if (error < 0) {
        charges_free(reading);
        return -1;
    }
    reading->unlooked = scale_blame(
        &reading->blame,
        (struct shares){.whole = known->wait - known->hand_over,
                        .total = threads.charged + threads.unseen},
        (struct shares){.whole = known->knock_wait, .total = knocks.charged + knocks.unseen});
    scale_victims(&reading->victims, &victims, known->wait - known->pending);
    reading->holds.unseen += keep_most(&reading->held, false, longest_first);
    return 0;
}

void charges_free(struct charges_reading *reading) {
    free(reading->blame.rows);
    free(reading->victims.rows);
    free(reading->held.rows);
    reading->blame.rows = reading->victims.rows = reading->held.rows = NULL;
}
