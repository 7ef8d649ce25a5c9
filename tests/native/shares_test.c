/* Shares add up to the whole, each within a tick of its proportion. */
#include "native/shares.h"

#include <stdbool.h>

#include "check.h"
#include "native/random.h"

#define PARTS 50
#define ROUNDS 3000

static uint64_t random_state = 88172645463325252;

/* Of any magnitude up to 2^50; often 0. */
static uint64_t any(void) {
    return random_below(&random_state, 1 + (UINT64_C(1) << random_below(&random_state, 50)));
}

static bool is_near(uint64_t value, double expected) {
    double off = (double)value - expected;
    double near = 2.0 + expected * 1e-12;
    return off > -near && off < near;
}

static double in_proportion(uint64_t whole, uint64_t part, uint64_t total) {
    return total != 0 ? (double)whole * ((double)part / (double)total) : 0.0;
}

static void test_shares_add_up_to_the_whole(void) {
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t parts[PARTS], given = 0;
        struct shares shares = {.whole = any(), .total = 0};
        for (int i = 0; i < PARTS; i++) {
            parts[i] = random_below(&random_state, 3) == 0 ? 0 : any();
            shares.total += parts[i];
        }
        for (int i = 0; i < PARTS; i++) {
            uint64_t share = shares_next(&shares, parts[i]);
            CHECK(is_near(share, in_proportion(shares.whole, parts[i], shares.total)));
            given += share;
        }
        CHECK(given == (shares.total != 0 ? shares.whole : 0));
    }
}

static void test_what_was_drawn_counts_as_it_was_and_stands_for_the_rest(void) {
    for (int round = 0; round < ROUNDS; round++) {
        struct drawn_waits parts[PARTS], total = {.waited = 0};
        uint64_t whole = any(), given = 0;
        bool all_stand_for_nothing = round % 7 == 0;
        for (int i = 0; i < PARTS; i++) {
            parts[i].waited = any() / PARTS;
            parts[i].stands_for = all_stand_for_nothing ? 0 : any();
            drawn_waits_add(&total, &parts[i]);
        }
        struct drawn_shares shares = drawn_shares_of(whole, &total);
        bool all_was_drawn = total.waited >= whole;
        for (int i = 0; i < PARTS; i++) {
            uint64_t share = drawn_shares_next(&shares, &parts[i]);
            double left = all_was_drawn ? 0.0
                                        : in_proportion(whole - total.waited, parts[i].stands_for,
                                                        total.stands_for);
            CHECK(all_was_drawn || share >= parts[i].waited);
            CHECK(is_near(share, all_was_drawn ? in_proportion(whole, parts[i].waited, total.waited)
                                               : (double)parts[i].waited + left));
            given += share;
        }
        CHECK(given == (all_was_drawn || total.stands_for != 0 ? whole : total.waited));
    }
}

int main(void) {
    test_shares_add_up_to_the_whole();
    test_what_was_drawn_counts_as_it_was_and_stands_for_the_rest();
    return 0;
}
