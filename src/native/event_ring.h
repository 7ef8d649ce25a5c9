/* A bounded record of what happened to the GIL: each hold and each wait, as it ended.
 *
 * The ledger writes to it as threads take and release the GIL, so whoever has the GIL is its only
 * writer, and a reader who has the GIL finds it at rest. Writing allocates nothing and takes no
 * lock. When the ring is full, the oldest events make room.
 */
#ifndef GILKNOCK_EVENT_RING_H
#define GILKNOCK_EVENT_RING_H

#include <stddef.h>
#include <stdint.h>

/* What an event is about: a hold, or a wait and more about it. */
enum event_kind {
    EVENT_HOLD = 0,
    EVENT_WAIT = 1,
    EVENT_FORCED = 2,     /* a wait that began with a release on request */
    EVENT_BY_KNOCKER = 4, /* a hold or wait of the knocker, which counts nowhere */
    EVENT_LENT = 8,       /* a knocker had the GIL; counts as held by the thread that let it in */
    EVENT_UNFINISHED = 16 /* goes on */
};

/* An interval of one thread. Threads have the serial of their ledger slot. */
struct event {
    uint64_t from, until;      /* ticks */
    uint64_t serial_and_flags; /* flags of event_kind in the lowest byte */
};

struct event_ring {
    struct event *events; /* owned */
    size_t capacity;
    size_t next;
    uint64_t written; /* events so far, those that made room included */
};

/* A page of memory that the system has yet to provide takes microseconds, which whoever writes the
 * event pays. So that of the first so many events is had before; behind them, as it is used. */
#define EVENT_RING_READY 1000000u

/* Make an empty ring of `capacity` > 0 events. Takes milliseconds for a large one. Returns 0, or -1
 * when memory cannot be had. */
int event_ring_init(struct event_ring *ring, size_t capacity);

/* Nobody needs the events any more: the system may have the memory until the ring is resumed. */
void event_ring_rest(struct event_ring *ring);

/* Empty a ring that rests, and write to it again. */
void event_ring_resume(struct event_ring *ring);

/* Free what event_ring_init allocated. */
void event_ring_free(struct event_ring *ring);

/* Write an event. */
static inline void event_ring_add(struct event_ring *ring, uint64_t serial, unsigned flags,
                                  uint64_t from, uint64_t until) {
    ring->events[ring->next] = (struct event){from, until, serial << 8 | flags};
    ring->next = ring->next + 1 == ring->capacity ? 0 : ring->next + 1;
    ring->written++;
}

/* How many of the events from number `first` on have not made room. */
size_t event_ring_count(const struct event_ring *ring, uint64_t first);

/* Copy those events, oldest first, to `copy`, which has room for them. */
void event_ring_copy(const struct event_ring *ring, uint64_t first, struct event *copy);

#endif
