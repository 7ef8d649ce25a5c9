/* Who had the GIL for most of a wait, against counts of all that was seen. */
#include "native/look_votes.h"

#include "check.h"
#include "native/places.h"
#include "native/random.h"

#define MOST_LOOKS 60
#define THREADS 4

static uint64_t state = 88172645463325252u;

static uint64_t pick(uint64_t below) { return random_below(&state, below); }

static struct charges_thread at(uint64_t thread, uint32_t place) {
    return (struct charges_thread){.serial = thread, .native_id = 100 + thread, .place = place};
}

static bool is_nobody(const struct charges_thread *thread) {
    return thread->serial == 0 && thread->native_id == 0 && thread->place == PLACE_UNKNOWN;
}

static void test_without_a_look_there_is_nobody(void) {
    struct charges_thread none = look_votes_majority(&(struct look_votes){.looks = 0});
    CHECK(is_nobody(&none));
}

static void test_one_thread_is_named_with_its_most_frequent_place(void) {
    struct look_votes votes = {.looks = 0};
    static const uint32_t places[] = {7, 8, 8, PLACE_UNKNOWN, 8, 7, 8};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct charges_thread seen = at(1, places[i]);
        look_votes_add(&votes, &seen);
    }
    struct charges_thread most = look_votes_majority(&votes);
    CHECK(most.serial == 1 && most.native_id == 101 && most.place == 8);
}

static void test_of_four_that_take_turns_none_is_named(void) {
    struct look_votes votes = {.looks = 0};
    for (uint64_t i = 0; i < 41; i++) {
        struct charges_thread seen = at(1 + i % THREADS, 7);
        look_votes_add(&votes, &seen);
    }
    struct charges_thread most = look_votes_majority(&votes);
    CHECK(is_nobody(&most));
}

/* Whoever is named was seen in most of the looks, and at that place; who was seen in all of them is named. */
static void test_nobody_is_named_without_a_majority(void) {
    for (int round = 0; round < 20000; round++) {
        struct look_votes votes = {.looks = 0};
        uint64_t looks = 1 + pick(MOST_LOOKS), share = pick(5);
        uint64_t seen[THREADS + 1] = {0}, there[THREADS + 1][3] = {{0}};
        for (uint64_t i = 0; i < looks; i++) {
            uint64_t thread = pick(4) < share ? 1 : 1 + pick(THREADS), place = pick(3);
            struct charges_thread one = at(thread, (uint32_t)place + 5);
            seen[thread]++;
            there[thread][place]++;
            look_votes_add(&votes, &one);
        }
        struct charges_thread most = look_votes_majority(&votes);
        if (!is_nobody(&most)) {
            CHECK(2 * seen[most.serial] > looks && most.native_id == 100 + most.serial);
            CHECK(there[most.serial][most.place - 5] != 0);
        } else {
            CHECK(seen[1] < looks);
        }
    }
}

/* Whoever was seen by more than half of the looks from a moment on is named, as long as all of them are
 * there, and nobody else. */
static void test_of_the_latest_looks_of_all_a_majority_is_named(void) {
    for (int round = 0; round < 20000; round++) {
        struct recent_looks recent = {.count = 0};
        uint64_t seen[THREADS + 1] = {0}, there[THREADS + 1][3] = {{0}};
        uint64_t looks = pick(RECENT_LOOKS + RECENT_LOOKS / 4), share = pick(5), kept = 0;
        uint64_t since = 1 + pick(2) * pick(10 * RECENT_LOOKS);
        for (uint64_t i = 0; i < looks; i++) {
            uint64_t thread = pick(4) < share ? 1 : 1 + pick(THREADS), place = pick(3);
            const struct charges_thread one = at(thread, (uint32_t)place + 5);
            recent_looks_add(&recent, &one, 10 * i);
            if (10 * i >= since) {
                kept++;
                seen[thread]++;
                there[thread][place]++;
            }
        }
        struct look_votes found;
        CHECK(recent_looks_vote(&recent, since, &found) == (kept < RECENT_LOOKS));
        uint64_t majority = 0;
        for (uint64_t thread = 1; thread <= THREADS; thread++) {
            majority = 2 * seen[thread] > kept ? thread : majority;
        }
        if (kept < RECENT_LOOKS) {
            const struct charges_thread most = look_votes_majority(&found);
            CHECK(most.serial == majority);
            CHECK(majority == 0 || there[majority][most.place - 5] != 0);
            for (uint32_t place = 0; place < 3; place++) {
                bool most_there = 2 * there[majority][place] > seen[majority];
                CHECK(majority == 0 || !most_there || most.place == place + 5);
            }
        }
    }
}

int main(void) {
    test_of_the_latest_looks_of_all_a_majority_is_named();
    test_without_a_look_there_is_nobody();
    test_one_thread_is_named_with_its_most_frequent_place();
    test_of_four_that_take_turns_none_is_named();
    test_nobody_is_named_without_a_majority();
    return 0;
}
