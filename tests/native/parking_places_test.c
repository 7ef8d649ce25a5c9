/* What is charged for short waits, of which few are drawn, comes to what was waited: to the places of those
 * that waited, and to the places of those that woke them. */
#define _GNU_SOURCE
#include "native/parking_places.h"

#include "check.h"
#include "native/clock.h"
#include "native/look_pacing.h"

#define WAITS 100000
#define WINDOW 3

static uint32_t stands_here(void) { return 1; }

static struct parking_purpose sleeps_only(const struct parking_call *call) {
    (void)call;
    return (struct parking_purpose){.kind = PARKING_SLEEP};
}

/* How a wait goes, in ticks. */
struct course {
    uint64_t before;   /* of sleeps that signals ended */
    uint64_t let_go;   /* from the beginning of the last sleep on, until it is let go */
    uint64_t until_up; /* and until it is up */
};

/* Have waits of one course be charged to an empty window, and read that; what its last sleeps come to. */
static uint64_t wait_again_and_again(const struct course *course,
                                     struct lock_charges_reading *reading) {
    static uint64_t generation;
    struct slot *slot = &slots[0];
    uint64_t waited = 0;
    lock_charges_open(WINDOW, ++generation);
    for (int i = 0; i < WAITS; i++) {
        struct part part = {.generation = generation, .not_let_go = course->before};
        uint64_t since = clock_ticks() - course->let_go;
        slot->wait = (struct wait){.began = since - course->before, .since = since};
        lot.looks = 0; /* the mean stays as it is */
        show_parked(slot, 0x1000);
        let_go(slot);
        uint64_t until_up = since + course->until_up, now = clock_ticks();
        uint64_t end = now > until_up ? now : until_up; /* on a busy machine it may be late */
        const struct drawn drawn = drawn_of(slot, end);
        const struct share share = {end - since, course->before, false};
        charge_wait(WINDOW, slot, &part, &drawn, &share, 0);
        waited += share.waited;
    }
    lock_charges_read(WINDOW, generation, reading);
    return waited;
}

static void check_near(const struct drawn_waits *drawn, uint64_t waited) {
    double ratio = (double)(drawn->waited + drawn->stands_for) / (double)waited;
    CHECK(ratio > 0.9 && ratio < 1.1);
}

static void test_charges_come_to_what_was_waited(double before, double let_go, double until_up) {
    static struct lock_charges_reading reading;
    double mean = LOOK_FIRST_MEAN_NS * lot.ticks_per_ns;
    const struct course course = {(uint64_t)(before * mean), (uint64_t)(let_go * mean),
                                  (uint64_t)(until_up * mean)};
    uint64_t waited = wait_again_and_again(&course, &reading);
    CHECK(reading.count == 2);
    check_near(&reading.drawn[LOCK_WAITED][0], waited);
    check_near(&reading.drawn[LOCK_LET_GO][0], waited + WAITS * course.before);
}

int main(void) {
    clock_init();
    parking_start(sleeps_only);
    parking_look(stands_here);
    own.left_out = true;
    own.random = 88172645463325252;
    slots[0].native_id = 77;
    test_charges_come_to_what_was_waited(0, 0.5, 0.5);
    test_charges_come_to_what_was_waited(0, 0.05, 0.5);
    test_charges_come_to_what_was_waited(0, 0.05, 2);
    test_charges_come_to_what_was_waited(0.2, 0.05, 0.5);
    test_charges_come_to_what_was_waited(0.2, 2, 3);
    return 0;
}
