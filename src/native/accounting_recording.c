/* Recording each hold and wait: the ledger writes them into a ring while somebody records. The caller has
 * the GIL. */
#include "native/accounting_state.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <stdlib.h>
#include <string.h>

#include "native/accounting_threads.h"

/* Where the ledger writes its events while somebody records them; it rests while nobody does. Guarded
 * by the GIL. */
static struct {
    struct event_ring ring;
    size_t users;
} recording;

static void write_events_to(struct event_ring *ring) {
    lock_ledger();
    ledger.events = ring;
    unlock_ledger();
}

static int make_ring_ready(size_t capacity) {
    if (recording.ring.capacity == capacity) {
        event_ring_resume(&recording.ring);
        return 0;
    }
    event_ring_free(&recording.ring);
    return event_ring_init(&recording.ring, capacity);
}

int accounting_start_recording(size_t capacity) {
    if (recording.users == 0) {
        if (make_ring_ready(capacity) < 0) {
            return -1;
        }
        write_events_to(&recording.ring);
    }
    recording.users++;
    return 0;
}

void accounting_stop_recording(void) {
    if (--recording.users == 0) {
        write_events_to(NULL);
        event_ring_rest(&recording.ring);
    }
}

uint64_t accounting_next_event(void) { return recording.ring.written; }

/* The ring is at rest while the caller has the GIL. Other threads may be born meanwhile, and ask. */
int accounting_record(uint64_t first, uint64_t now, struct accounting_record *record) {
    const struct event_ring *ring = &recording.ring;
    size_t count = event_ring_count(ring, first);
    lock_ledger();
    size_t room = ledger.live;
    unlock_ledger();
    *record = (struct accounting_record){
        .events = malloc((count + room + 1) * sizeof *record->events),
        .threads = malloc((room + 1) * sizeof *record->threads),
        .dropped = ring->written - first - count,
    };
    if (record->events == NULL || record->threads == NULL) {
        accounting_free_record(record);
        return -1;
    }
    event_ring_copy(ring, first, record->events);
    lock_ledger();
    size_t unfinished = ledger_unfinished(&ledger, now, record->events + count, room);
    record->count = count + (unfinished < room ? unfinished : room);
    for (struct ledger_slot *slot = ledger.oldest; slot != NULL && record->thread_count < room;
         slot = slot->next) {
        struct accounting_thread *thread = &record->threads[record->thread_count++];
        describe(thread, slot);
        if (thread->name[0] == '\0' && ledger_has_ended(slot)) {
            memcpy(thread->name, slot->os_name, sizeof slot->os_name);
        }
    }
    unlock_ledger();
    return 0;
}

void accounting_free_record(struct accounting_record *record) {
    free(record->events);
    free(record->threads);
    *record = (struct accounting_record){.events = NULL};
}

#endif
