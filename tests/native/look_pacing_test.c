/* Looks at random moments, against what they are to stand for. */
#include "native/look_pacing.h"

#include "check.h"

#define MILLISECOND 1000000u

static struct look_pacing fresh(void) {
    return (struct look_pacing){.ticks_per_ms = MILLISECOND, .random = 88172645463325252u};
}

static void test_the_first_waits_are_all_chosen(void) {
    struct look_pacing pacing = fresh();
    for (uint64_t i = 1; i <= 100; i++) {
        CHECK(look_pacing_choose(&pacing, MILLISECOND, i * 2 * MILLISECOND) == 1);
    }
}

/* However many waits there are: what the chosen ones stand for is how many there are, and some one or
 * two in a millisecond are chosen. */
static void test_the_chosen_ones_stand_for_all(void) {
    for (uint64_t gap = 200000; gap >= 2000; gap /= 10) {
        struct look_pacing pacing = fresh();
        uint64_t stands_for = 0, chosen = 0, count = 4000 * MILLISECOND / gap;
        for (uint64_t i = 1; i <= count; i++) {
            uint32_t k = look_pacing_choose(&pacing, MILLISECOND, i * gap);
            stands_for += k;
            chosen += k != 0;
        }
        CHECK(stands_for > count * 9 / 10 && stands_for < count * 11 / 10);
        CHECK(chosen > 3000 && chosen < 12000);
    }
}

/* As they go on by turns, the short and the long ones are chosen alike. */
static void test_no_pattern_is_preferred(void) {
    struct look_pacing pacing = fresh();
    uint64_t now = 0, stands_for[2] = {0, 0};
    for (uint64_t i = 0; i < 400000; i++) {
        now += i % 2 == 0 ? 5000 : 15000;
        stands_for[i % 2] += look_pacing_choose(&pacing, MILLISECOND, now);
    }
    double share = (double)stands_for[0] / (double)(stands_for[0] + stands_for[1]);
    CHECK(share > 0.45 && share < 0.55);
}

/* The mean, and how many are longer than it: 1/e. */
static void test_times_are_exponentially_distributed(void) {
    struct look_pacing pacing = fresh();
    double sum = 0.0, longer = 0.0, thrice = 0.0, count = 1000000.0;
    for (int i = 0; i < 1000000; i++) {
        uint64_t drawn = look_pacing_draw(&pacing, MILLISECOND);
        sum += (double)drawn;
        longer += drawn > MILLISECOND;
        thrice += drawn > 3 * MILLISECOND;
    }
    CHECK(sum / count > 0.99 * MILLISECOND && sum / count < 1.01 * MILLISECOND);
    CHECK(longer / count > 0.365 && longer / count < 0.371);
    CHECK(thrice / count > 0.048 && thrice / count < 0.052);
    CHECK(look_pacing_draw(&pacing, 0) == 0);
}

static void test_the_mean_doubles_up_to_a_bound(void) {
    CHECK(look_pacing_mean_ns(0) == LOOK_FIRST_MEAN_NS);
    CHECK(look_pacing_mean_ns(LOOK_DOUBLING - 1) == LOOK_FIRST_MEAN_NS);
    CHECK(look_pacing_mean_ns(LOOK_DOUBLING) == 2 * LOOK_FIRST_MEAN_NS);
    CHECK(look_pacing_mean_ns(1000) == LOOK_LAST_MEAN_NS);
    CHECK(look_pacing_mean_ns(UINT64_MAX) == LOOK_LAST_MEAN_NS);
}

int main(void) {
    test_the_first_waits_are_all_chosen();
    test_the_chosen_ones_stand_for_all();
    test_no_pattern_is_preferred();
    test_times_are_exponentially_distributed();
    test_the_mean_doubles_up_to_a_bound();
    return 0;
}
