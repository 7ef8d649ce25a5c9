/* The ring of events, on made-up events: the number of each is its beginning. */

#include "native/event_ring.h"

#include "check.h"

#define CAPACITY 7

static struct event_ring ring;

static void write_events(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = ring.written;
        event_ring_add(&ring, number * 3, EVENT_WAIT | EVENT_FORCED, number, number + 10);
    }
}

/* The copy from `first` on is the events from `oldest` on. */
static void check_copy(uint64_t first, uint64_t oldest) {
    struct event copy[CAPACITY];
    size_t count = event_ring_count(&ring, first);
    CHECK(count == ring.written - oldest);
    event_ring_copy(&ring, first, copy);
    for (size_t i = 0; i < count; i++) {
        CHECK(copy[i].from == oldest + i && copy[i].until == copy[i].from + 10);
        CHECK(copy[i].serial_and_flags >> 8 == copy[i].from * 3);
        CHECK((copy[i].serial_and_flags & 255) == (EVENT_WAIT | EVENT_FORCED));
    }
}

static void test_events_come_back_in_order_and_the_oldest_make_room(void) {
    CHECK(event_ring_init(&ring, CAPACITY) == 0);
    for (uint64_t written = 0; written < 4 * CAPACITY; written++) {
        CHECK(ring.written == written);
        uint64_t oldest = written > CAPACITY ? written - CAPACITY : 0;
        for (uint64_t first = 0; first <= written; first++) {
            check_copy(first, first > oldest ? first : oldest);
        }
        write_events(1);
    }
    event_ring_free(&ring);
}

static void test_a_reader_that_is_ahead_gets_nothing(void) {
    CHECK(event_ring_init(&ring, CAPACITY) == 0);
    write_events(3);
    CHECK(event_ring_count(&ring, 4) == 0);
    check_copy(3, 3);
    event_ring_free(&ring);
}

static void test_a_ring_that_rested_is_empty_and_fills_as_a_new_one(void) {
    CHECK(event_ring_init(&ring, CAPACITY) == 0);
    write_events(CAPACITY + 3);
    event_ring_rest(&ring);
    event_ring_resume(&ring);
    CHECK(ring.written == 0 && event_ring_count(&ring, 0) == 0);
    write_events(2);
    check_copy(0, 0);
    write_events(CAPACITY);
    check_copy(0, 2);
    event_ring_free(&ring);
}

/* Its end is neither that of a page nor that of what is had before it is used. */
static void test_a_ring_beyond_what_is_had_at_once_holds_its_last_event(void) {
    CHECK(event_ring_init(&ring, EVENT_RING_READY + 123457) == 0);
    size_t last = ring.capacity - 1;
    ring.next = last;
    event_ring_add(&ring, 1, EVENT_HOLD, 2, 3);
    CHECK(ring.events[last].until == 3 && ring.next == 0);
    event_ring_rest(&ring);
    event_ring_resume(&ring);
    event_ring_free(&ring);
}

static void test_a_ring_that_memory_cannot_hold_is_refused(void) {
    CHECK(event_ring_init(&ring, SIZE_MAX) < 0);
    CHECK(event_ring_init(&ring, SIZE_MAX / sizeof(struct event)) < 0);
    event_ring_free(&ring);
    event_ring_free(&ring);
}

int main(void) {
    test_events_come_back_in_order_and_the_oldest_make_room();
    test_a_reader_that_is_ahead_gets_nothing();
    test_a_ring_that_rested_is_empty_and_fills_as_a_new_one();
    test_a_ring_beyond_what_is_had_at_once_holds_its_last_event();
    test_a_ring_that_memory_cannot_hold_is_refused();
    return 0;
}
