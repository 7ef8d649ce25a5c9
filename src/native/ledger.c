#define _POSIX_C_SOURCE 200809L
#include "native/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "native/ledger_slots.h"

static void raise_to(uint64_t *maximum, uint64_t value) {
    if (value > *maximum) {
        *maximum = value;
    }
}

/* --- events --- */

/* The window itself or, going back in time, the first one that tells threads apart. */
static struct ledger_window *by_thread_from(struct ledger_window *window) {
    while (window != NULL && !window->by_thread) {
        window = window->older;
    }
    return window;
}

static uint64_t later_of(uint64_t since, const struct ledger_window *window) {
    return window != NULL && window->opened > since ? window->opened : since;
}

/* The histogram is large and most windows see no wait, so each keeps what it was like only once a
 * wait is about to be added. Windows older than one that did so have done so, too. */
static void keep_waits_base(struct ledger *ledger) {
    for (struct ledger_window *window = ledger->newest; window != NULL && !window->saw_wait;
         window = window->older) {
        window->waits_base = ledger->waits;
        window->saw_wait = true;
    }
}

/* What is left of a wait without what was held meanwhile. */
static uint64_t hand_over_of(uint64_t waited, uint64_t held_before, uint64_t held_after) {
    return clock_elapsed(clock_elapsed(held_before, held_after), waited);
}

/* Enter the hand-over in a wait that is over; like its length, a part of it may lie in windows that
 * opened while it lasted. */
static void enter_hand_over(struct ledger *ledger, uint64_t since, uint64_t held_before,
                            uint64_t now) {
    uint64_t waited = clock_elapsed(since, now);
    uint64_t whole = hand_over_of(waited, held_before, ledger->sums.held);
    ledger->hand_over += whole;
    for (struct ledger_window *window = ledger->newest; window != NULL && window->opened > since;
         window = window->older) {
        uint64_t outside = clock_elapsed(since, window->opened);
        uint64_t before = hand_over_of(outside, held_before, window->base.held);
        uint64_t inside = clock_elapsed(before, whole);
        if (inside > waited - outside) {
            inside = waited - outside;
        }
        window->hand_over_base += whole - inside;
    }
}

/* Enter a wait that is over. A window that opened while it lasted counts the part since then. */
static void enter_wait(struct ledger *ledger, struct ledger_slot *slot, uint64_t since,
                       uint64_t held_before, uint64_t now) {
    uint64_t waited = clock_elapsed(since, now);
    enter_hand_over(ledger, since, held_before, now);
    if (slot->sums.contended == 0) {
        slot->first_since = since;
        slot->first_until = now;
    }
    ledger->sums.contended++;
    slot->sums.contended++;
    ledger->sums.wait += waited;
    slot->sums.wait += waited;
    keep_waits_base(ledger);
    histogram_add(&ledger->waits, waited);

    struct ledger_window *window = ledger->newest, *older;
    raise_to(&ledger->max_wait, clock_elapsed(later_of(since, window), now));
    for (; window != NULL && window->opened > since; window = older) {
        older = window->older;
        window->base.wait += clock_elapsed(since, window->opened);
        raise_to(&window->before, clock_elapsed(later_of(since, older), now));
    }
    window = by_thread_from(ledger->newest);
    raise_to(&slot->max_wait, clock_elapsed(later_of(since, window), now));
    for (; window != NULL && window->opened > since; window = older) {
        older = by_thread_from(window->older);
        struct ledger_entry *entry = find_entry(window, slot->serial);
        if (entry != NULL) {
            entry->base.wait += clock_elapsed(since, window->opened);
            raise_to(&entry->before, clock_elapsed(later_of(since, older), now));
        }
    }
}

/* How long the program had held the GIL at `since`, shortly ago. */
static uint64_t held_until(const struct ledger *ledger, uint64_t since) {
    const struct ledger_slot *holder = ledger->holder;
    uint64_t going_on =
        holder != NULL && !holder->internal ? clock_elapsed(ledger->held_since, since) : 0;
    return ledger->sums.held + going_on;
}

static void begin_wait(struct ledger *ledger, struct ledger_slot *slot, enum ledger_state state,
                       uint64_t since, uint64_t held_before) {
    if (slot->wait_since == 0 && !slot->internal) {
        ledger->waiting++;
    }
    slot->held_at_request = held_before;
    slot->wait_since = since;
    slot->state = state;
}

void ledger_request(struct ledger *ledger, struct ledger_slot *slot, uint64_t since, bool forced) {
    begin_wait(ledger, slot, forced ? LEDGER_FORCED : LEDGER_WAITING, since,
               forced ? slot->held_at_release : held_until(ledger, since));
    slot->turns_at_request = ledger->turns;
    slot->waits_for_internal = ledger->holder != NULL && ledger->holder->internal;
}

static const struct ledger_window *oldest_window(const struct ledger *ledger) {
    const struct ledger_window *window = ledger->newest;
    while (window != NULL && window->older != NULL) {
        window = window->older;
    }
    return window;
}

void ledger_request_unseen(struct ledger *ledger, struct ledger_slot *slot, uint64_t now) {
    const struct ledger_window *oldest = oldest_window(ledger);
    if (oldest == NULL) {
        return;
    }
    begin_wait(ledger, slot, LEDGER_WAITING, oldest->opened, oldest->base.held);
    slot->turns_at_request = 0;
    slot->waits_for_internal = false;
    slot->unseen_until = now;
}

static void write_event(struct ledger *ledger, const struct ledger_slot *slot, unsigned flags,
                        uint64_t from, uint64_t until) {
    if (ledger->events != NULL) {
        event_ring_add(ledger->events, slot->serial, flags, from, until);
    }
}

void ledger_acquire_otherwise(struct ledger *ledger, struct ledger_slot *slot, uint64_t now) {
    if (slot->state == LEDGER_NOT_REQUESTING) {
        ledger_request_unseen(ledger, slot, now);
    }
    enum ledger_state state = slot->state;
    uint64_t since = slot->wait_since, held_before = slot->held_at_request;
    uint64_t waited = since != 0 ? clock_elapsed(since, now) : 0;
    forget_request(ledger, slot);
    slot->last_wait = waited;
    ledger->holder = slot;
    ledger->held_since = now;
    if (slot->internal) {
        ledger->internal_acquisitions++;
        if (since != 0) {
            write_event(ledger, slot, EVENT_WAIT | EVENT_BY_KNOCKER, since, now);
        }
        return;
    }
    bool internal_wait = slot->waits_for_internal && slot->turns_at_request == ledger->turns;
    bool only_internal_between =
        ledger->former == slot && slot->internal_at_release != ledger->internal_acquisitions;
    ledger->turns++;
    if (state == LEDGER_FORCED && only_internal_between) {
        ledger->sums.held += waited;
        slot->sums.held += waited;
        write_event(ledger, slot, EVENT_HOLD | EVENT_LENT, since, now);
        return;
    }
    ledger->sums.acquisitions++;
    slot->sums.acquisitions++;
    if (since != 0 && !internal_wait) {
        enter_wait(ledger, slot, since, held_before, now);
        write_event(ledger, slot, EVENT_WAIT | (state == LEDGER_FORCED ? EVENT_FORCED : 0), since,
                    now);
    }
}

void ledger_abandon(struct ledger *ledger, struct ledger_slot *slot) {
    forget_request(ledger, slot);
}

/* --- windows --- */

/* The sums of one thread, or (slot NULL) of all, with the hold in progress up to now. */
static struct ledger_sums sums_at(const struct ledger *ledger, const struct ledger_slot *slot,
                                  uint64_t now) {
    struct ledger_sums sums = slot != NULL ? slot->sums : ledger->sums;
    const struct ledger_slot *holder = ledger->holder;
    if (holder != NULL && (slot == NULL || slot == holder)) {
        sums.held += clock_elapsed(ledger->held_since, now);
    }
    return sums;
}

static struct ledger_sums difference(struct ledger_sums later, const struct ledger_sums *earlier) {
    later.held = clock_elapsed(earlier->held, later.held);
    later.wait = clock_elapsed(earlier->wait, later.wait);
    later.acquisitions -= earlier->acquisitions;
    later.contended -= earlier->contended;
    return later;
}

/* The first window: nothing before it is known, except that the caller has the GIL. */
static void activate(struct ledger *ledger, struct ledger_slot *holder, uint64_t now) {
    for (struct ledger_slot *slot = ledger->oldest; slot != NULL; slot = slot->next) {
        forget_request(ledger, slot);
    }
    for (struct ledger_slot *slot = ledger->internal; slot != NULL; slot = slot->next) {
        forget_request(ledger, slot);
    }
    ledger->waiting = 0;
    ledger->lost = false;
    ledger->former = NULL;
    ledger->holder = holder;
    ledger->held_since = now;
    ledger->active = true;
}

int ledger_open(struct ledger *ledger, struct ledger_window *window, struct ledger_slot *holder,
                bool by_thread, uint64_t now) {
    memset(window, 0, offsetof(struct ledger_window, waits_base));
    if (by_thread) {
        if (ledger->by_thread == 0) {
            reclaim(ledger);
        }
        window->entries = malloc((ledger->live + 1) * sizeof *window->entries);
        if (window->entries == NULL) {
            return -1;
        }
    }
    if (!ledger->active) {
        activate(ledger, holder, now);
    }
    window->by_thread = by_thread;
    window->opened = now;
    window->base = sums_at(ledger, NULL, now);
    window->hand_over_base = ledger->hand_over;
    window->before = ledger->max_wait;
    ledger->max_wait = 0;
    if (by_thread) {
        ledger->by_thread++;
    }
    for (struct ledger_slot *slot = ledger->oldest; by_thread && slot != NULL; slot = slot->next) {
        window->entries[window->entry_count++] = (struct ledger_entry){
            .serial = slot->serial, .base = sums_at(ledger, slot, now), .before = slot->max_wait};
        slot->max_wait = 0;
    }
    window->older = ledger->newest;
    if (window->older != NULL) {
        window->older->newer = window;
    }
    ledger->newest = window;
    return 0;
}

/* The longest wait since the window opened that has ended, of one thread, or (slot NULL) of all. */
static uint64_t maximum_since(const struct ledger *ledger, const struct ledger_window *window,
                              const struct ledger_slot *slot) {
    uint64_t maximum = slot != NULL ? slot->max_wait : ledger->max_wait;
    for (const struct ledger_window *later = window->newer; later != NULL; later = later->newer) {
        const struct ledger_entry *entry = slot != NULL ? find_entry(later, slot->serial) : NULL;
        raise_to(&maximum, slot == NULL ? later->before : entry != NULL ? entry->before : 0);
    }
    return maximum;
}

/* Since when the thread waits, as far as it shows by then; 0: it does not. */
static uint64_t waits_since(const struct ledger_slot *slot, uint64_t now) {
    return slot->unseen_until < now ? slot->wait_since : 0;
}

/* The part of a wait in progress that lies in the window. */
static uint64_t pending_in(const struct ledger_window *window, const struct ledger_slot *slot,
                           uint64_t now) {
    uint64_t since = waits_since(slot, now);
    return since != 0 ? clock_elapsed(later_of(since, window), now) : 0;
}

/* The hand-over in that part. The holder has held the GIL up to now. */
static uint64_t pending_hand_over(const struct ledger *ledger, const struct ledger_window *window,
                                  const struct ledger_slot *slot, uint64_t now) {
    uint64_t held_before =
        window->opened > slot->wait_since ? window->base.held : slot->held_at_request;
    return hand_over_of(pending_in(window, slot, now), held_before,
                        sums_at(ledger, NULL, now).held);
}

/* A thread's part in a window. The entry is its own there; NULL: the thread is younger. */
static struct ledger_thread part_in(const struct ledger *ledger, const struct ledger_window *window,
                                    const struct ledger_slot *slot,
                                    const struct ledger_entry *entry, uint64_t now) {
    struct ledger_thread thread = {.native_id = slot->native_id,
                                   .max_wait = maximum_since(ledger, window, slot)};
    struct ledger_sums base = {0};
    if (entry != NULL) {
        base = entry->base;
    } else if (slot->sums.contended != 0) {
        uint64_t since = later_of(slot->first_since, window);
        base.wait = clock_elapsed(slot->first_since, since);
        raise_to(&thread.max_wait, clock_elapsed(since, slot->first_until));
    }
    uint64_t pending = pending_in(window, slot, now);
    thread.sums = difference(sums_at(ledger, slot, now), &base);
    thread.sums.wait += pending;
    raise_to(&thread.max_wait, pending);
    strcpy(thread.name,
           slot->name[0] == '\0' && ledger_has_ended(slot) ? slot->os_name : slot->name);
    return thread;
}

/* What a reading says of a wait that goes on, beside its length. */
static void add_pending(const struct ledger *ledger, const struct ledger_window *window,
                        const struct ledger_slot *slot, uint64_t now,
                        struct ledger_reading *reading) {
    uint64_t pending = pending_in(window, slot, now);
    reading->pending += pending;
    reading->hand_over += pending_hand_over(ledger, window, slot, now);
    if (pending > reading->longest_pending.waited) {
        reading->longest_pending.waited = pending;
        reading->longest_pending.since = slot->wait_since;
        reading->longest_pending.serial = slot->serial;
        reading->longest_pending.native_id = slot->native_id;
    }
}

int ledger_read(struct ledger *ledger, const struct ledger_window *window, uint64_t now,
                struct ledger_reading *reading) {
    reading->threads = NULL;
    reading->thread_count = 0;
    if (window->by_thread &&
        (reading->threads = malloc((ledger->live + 1) * sizeof *reading->threads)) == NULL) {
        return -1;
    }
    reading->wall = clock_elapsed(window->opened, now);
    reading->sums = difference(sums_at(ledger, NULL, now), &window->base);
    if (window->saw_wait) {
        reading->waits = ledger->waits;
        histogram_subtract(&reading->waits, &window->waits_base);
    }
    reading->max_wait = maximum_since(ledger, window, NULL);
    reading->hand_over = clock_elapsed(window->hand_over_base, ledger->hand_over);
    reading->omitted = window->omitted;
    reading->pending = 0;
    reading->longest_pending.waited = 0;

    size_t next = 0;
    for (const struct ledger_slot *slot = ledger->oldest; slot != NULL; slot = slot->next) {
        uint64_t pending = pending_in(window, slot, now);
        reading->sums.wait += pending;
        raise_to(&reading->max_wait, pending);
        if (pending != 0) {
            add_pending(ledger, window, slot, now, reading);
        }
        if (!window->by_thread) {
            continue;
        }
        while (next < window->entry_count && window->entries[next].serial < slot->serial) {
            next++;
        }
        bool known = next < window->entry_count && window->entries[next].serial == slot->serial;
        struct ledger_thread thread =
            part_in(ledger, window, slot, known ? &window->entries[next] : NULL, now);
        if (thread.sums.held != 0 || thread.sums.wait != 0 || thread.sums.acquisitions != 0) {
            reading->threads[reading->thread_count++] = thread;
        }
    }
    return 0;
}

size_t ledger_unfinished(const struct ledger *ledger, uint64_t now, struct event *events,
                         size_t size) {
    size_t count = 0;
    for (const struct ledger_slot *slot = ledger->oldest; slot != NULL; slot = slot->next) {
        bool holds = slot == ledger->holder;
        uint64_t since = holds ? ledger->held_since : waits_since(slot, now);
        if (since == 0 || since >= now) {
            continue;
        }
        if (count < size) {
            unsigned forced = slot->state == LEDGER_FORCED ? EVENT_FORCED : 0;
            unsigned flags = (holds ? EVENT_HOLD : EVENT_WAIT | forced) | EVENT_UNFINISHED;
            events[count] = (struct event){since, now, slot->serial << 8 | flags};
        }
        count++;
    }
    return count;
}

/* Join the stretch before the window with the one after it. */
static void join_stretches(struct ledger *ledger, struct ledger_window *window) {
    struct ledger_window *newer = window->newer;
    raise_to(newer != NULL ? &newer->before : &ledger->max_wait, window->before);
    while (newer != NULL && !newer->by_thread) {
        newer = newer->newer;
    }
    struct ledger_slot *slot = ledger->oldest;
    for (size_t i = 0; i < window->entry_count; i++) {
        const struct ledger_entry *entry = &window->entries[i];
        while (slot != NULL && slot->serial < entry->serial) {
            slot = slot->next;
        }
        struct ledger_entry *next = newer != NULL ? find_entry(newer, entry->serial) : NULL;
        if (next != NULL) {
            raise_to(&next->before, entry->before);
        } else if (slot != NULL && slot->serial == entry->serial) {
            raise_to(&slot->max_wait, entry->before);
        }
    }
}

void ledger_close(struct ledger *ledger, struct ledger_window *window) {
    join_stretches(ledger, window);
    *(window->newer ? &window->newer->older : &ledger->newest) = window->older;
    if (window->older != NULL) {
        window->older->newer = window->newer;
    }
    if (window->by_thread) {
        ledger->by_thread--;
    }
    free(window->entries);
    window->entries = NULL;
    window->entry_count = 0;
    if (ledger->newest == NULL) {
        ledger->active = false;
        ledger->holder = NULL;
    }
}

void ledger_after_fork(struct ledger *ledger, struct ledger_slot *survivor, uint64_t now) {
    if (ledger->holder != NULL) {
        ledger_release(ledger, ledger->holder, now);
    }
    list_slots_anew(ledger, survivor);
}
