#include "native/random.h"

#include <stdbool.h>

#include "check.h"

static void test_numbers_lie_below_the_bound(void) {
    uint64_t state = 1;
    CHECK(random_below(&state, 0) == 0);
    for (int power = 0; power <= 40; power++) {
        uint64_t bound = UINT64_C(1) << power, highest = 0;
        for (int i = 0; i < 1000; i++) {
            uint64_t number = random_below(&state, bound);
            CHECK(number < bound);
            highest = number > highest ? number : highest;
        }
        CHECK(highest >= bound - 1 - bound / 50);
    }
}

static void test_numbers_are_spread_evenly(void) {
    enum { CELLS = 10, DRAWS = 100000 };
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint64_t state = seed;
        unsigned counts[CELLS] = {0}, after_a_low_one[CELLS] = {0}, low = 0;
        bool was_low = false;
        for (int i = 0; i < DRAWS; i++) {
            uint64_t cell = random_below(&state, CELLS);
            counts[cell]++;
            after_a_low_one[cell] += was_low;
            low += was_low;
            was_low = cell == 0;
        }
        for (int cell = 0; cell < CELLS; cell++) {
            CHECK(counts[cell] > 0.95 * DRAWS / CELLS && counts[cell] < 1.05 * DRAWS / CELLS);
            CHECK(after_a_low_one[cell] > 0.8 * low / CELLS);
            CHECK(after_a_low_one[cell] < 1.2 * low / CELLS);
        }
    }
}

/* Each who has a state of his own makes the same of the same seed. */
static void test_a_state_that_was_not_seeded_gives_numbers_too(void) {
    uint64_t state = 0, other = 0;
    CHECK(random_next(&state) != 0 && state != 0);
    CHECK(random_next(&other) == state);
    CHECK(random_next(&other) != state);
}

int main(void) {
    test_numbers_lie_below_the_bound();
    test_numbers_are_spread_evenly();
    test_a_state_that_was_not_seeded_gives_numbers_too();
    return 0;
}
