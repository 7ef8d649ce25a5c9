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
        struct look_choice chosen = look_pacing_choose(&pacing, MILLISECOND, i * 2 * MILLISECOND);
        CHECK(chosen.beginning == 1 && chosen.rest == 1);
    }
}

/* However many waits there are: what the chosen ones stand for is how many there are, and some one or
 * two in a millisecond are chosen. */
static void test_the_chosen_ones_stand_for_all(void) {
    for (uint64_t gap = 200000; gap >= 2000; gap /= 10) {
        struct look_pacing pacing = fresh();
        uint64_t beginnings = 0, rests = 0, chosen = 0, count = 4000 * MILLISECOND / gap;
        for (uint64_t i = 1; i <= count; i++) {
            struct look_choice choice = look_pacing_choose(&pacing, MILLISECOND, i * gap);
            beginnings += choice.beginning;
            rests += choice.rest;
            chosen += choice.beginning != 0;
            CHECK(choice.beginning <= 1 || choice.rest == 0); /* one look is not in another's way */
        }
        CHECK(beginnings > count * 9 / 10 && beginnings < count * 11 / 10);
        CHECK(rests > count * 9 / 10 && rests < count * 11 / 10);
        CHECK(chosen > 3000 && chosen < 12000);
    }
}

/* Where waits are long, a beginning that is looked at stands for as much of waiting as other looks do: for a
 * whole wait, or for the mean between looks. */
static void test_beginnings_of_long_waits_are_chosen_seldom(void) {
    const uint64_t lengths[] = {20000, 1 * MILLISECOND, 5 * MILLISECOND}, counts[] = {1, 10, 20};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct look_pacing pacing = fresh();
        uint64_t stands_for = 0, most = 0, rests = 0;
        for (uint64_t now = 0; now < UINT64_C(40000) * 7 * MILLISECOND; now += 7 * MILLISECOND) {
            look_pacing_wait_note(&pacing, lengths[i]);
            struct look_choice choice = look_pacing_choose(&pacing, 2 * MILLISECOND, now);
            stands_for += choice.beginning;
            most = choice.beginning > most ? choice.beginning : most;
            rests += choice.rest;
        }
        CHECK(rests == 40000);
        CHECK(stands_for > 38000 && stands_for < 42000);
        CHECK(most >= counts[i] && most <= counts[i] + 1);
    }
}

/* As they go on by turns, the short and the long ones are chosen alike. */
static void test_no_pattern_is_preferred(void) {
    struct look_pacing pacing = fresh();
    uint64_t now = 0, stands_for[2] = {0, 0};
    for (uint64_t i = 0; i < 400000; i++) {
        now += i % 2 == 0 ? 5000 : 15000;
        stands_for[i % 2] += look_pacing_choose(&pacing, MILLISECOND, now).beginning;
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

/* However dear a look is: after a time of T looks have taken no more than the square root of half of T
 * times a look, or their share of T. */
static void test_looks_are_made_as_far_apart_as_they_cost(void) {
    const uint64_t costs[] = {5000, 40000, 300000};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        CHECK(look_pacing_mean_ns(0, costs[i]) == LOOK_FIRST_MEAN_NS);
        uint64_t now = 0, looks = 0, before = 0;
        for (; now < (uint64_t)10000 * MILLISECOND; looks++) {
            uint64_t mean = look_pacing_mean_ns(looks, costs[i]);
            uint64_t spent = looks > 0 ? (looks - 1) * costs[i] : 0;
            CHECK(mean >= before && mean >= LOOK_FIRST_MEAN_NS);
            CHECK((double)spent * (double)spent <= 0.55 * (double)now * (double)costs[i] ||
                  (double)spent <= 1.1 * (double)now * 2.0 / LOOK_SHARE);
            before = mean;
            now += mean;
        }
        CHECK(before == (LOOK_SHARE * costs[i] > LOOK_LAST_MEAN_NS ? LOOK_SHARE * costs[i]
                                                                   : LOOK_LAST_MEAN_NS));
    }
    CHECK(look_pacing_mean_ns(UINT64_MAX, 0) == LOOK_LAST_MEAN_NS);
    CHECK(look_pacing_mean_ns(UINT64_MAX, 1000) == LOOK_LAST_MEAN_NS);
    CHECK(look_pacing_mean_ns(UINT64_MAX, 100000) == 100000 * LOOK_SHARE);
}

/* A few that were interrupted for long do not count. */
static void test_the_cost_is_the_median(void) {
    struct look_pacing pacing = fresh();
    struct look_cost cost = {LOOK_COST_NS};
    for (unsigned i = 0; i < 1000; i++) {
        look_cost_note(&pacing, &cost, i % 5 == 0 ? 9 * MILLISECOND : 20000 + i % 7);
    }
    CHECK(cost.ticks > 18000 && cost.ticks < 24000);
    for (unsigned i = 0; i < 1000; i++) {
        look_cost_note(&pacing, &cost, 0);
    }
    CHECK(cost.ticks == LOOK_COST_LEAST_NS);
    for (unsigned i = 0; i < 1000; i++) {
        look_cost_note(&pacing, &cost, UINT64_MAX);
    }
    CHECK(cost.ticks == LOOK_COST_MOST_NS);
}

/* However long it takes until a look is made: those due by then stand for the time that has passed. */
static void test_a_look_stands_for_all_that_are_due(void) {
    struct look_pacing pacing = fresh();
    struct look_rate rate = {.mean = MILLISECOND, .weight = 3};
    const uint64_t pauses[] = {MILLISECOND / 10, 10 * MILLISECOND, 1000u * MILLISECOND};
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        struct look_series series = look_series_from(&pacing, 0, rate);
        uint64_t now = 0, taken = 0, looks = 0;
        while (now < (uint64_t)20000 * MILLISECOND) {
            now += pauses[i];
            uint64_t stands_for = look_series_take(&pacing, &series, now, rate);
            CHECK(series.due > now && series.stands_for == 3 * MILLISECOND);
            taken += stands_for;
            looks += stands_for != 0;
        }
        double share = (double)taken / (3.0 * (double)now);
        CHECK(share > 0.96 && share < 1.04);
        CHECK(looks > 15 && looks < 23000);
    }
}

/* Waits of 1 ms, 190 us of which are one place's: whatever a timer's lateness and a look's time. */
static void test_the_moments_after_a_look_are_seen_like_others(void) {
    struct look_pacing pacing = fresh();
    struct look_rate rate = {.mean = MILLISECOND / 4, .weight = 1};
    struct look_lateness lateness = {0};
    uint64_t first = 0, all = 0;
    for (int wait = 0; wait < 20000; wait++) {
        struct look_series series = look_series_from(&pacing, 0, rate);
        uint64_t now = 0;
        for (;;) {
            uint64_t sleep = series.due > now + lateness.ticks ? series.due - now - lateness.ticks
                                                               : MILLISECOND / 100;
            uint64_t late = 70000 + look_pacing_below(&pacing, 30000);
            look_lateness_note(&pacing, &lateness, late);
            now += sleep + late;
            if (now >= MILLISECOND) {
                break;
            }
            uint64_t seen_at = now;
            now += 30000;
            uint64_t ticks = look_series_take(&pacing, &series, now + lateness.ticks / 2, rate);
            all += ticks;
            first += seen_at < 190000 ? ticks : 0;
        }
    }
    double share = (double)first / (double)all;
    CHECK(share > 0.16 && share < 0.22);
}

static void test_lateness_is_the_median(void) {
    struct look_pacing pacing = fresh();
    struct look_lateness lateness = {0};
    for (int i = 0; i < 10000; i++) {
        look_lateness_note(&pacing, &lateness,
                           i % 5 == 0 ? 100 * MILLISECOND : 50000u + (unsigned)i % 7);
    }
    CHECK(lateness.ticks > 40000 && lateness.ticks < 65000);
    for (int i = 0; i < 10000; i++) {
        look_lateness_note(&pacing, &lateness, 100 * MILLISECOND);
    }
    CHECK(lateness.ticks >= LOOK_LATEST_NS && lateness.ticks <= LOOK_LATEST_NS + 2000);
    for (int i = 0; i < 10000; i++) {
        look_lateness_note(&pacing, &lateness, 0);
    }
    CHECK(lateness.ticks <= 2000);
}

int main(void) {
    test_a_look_stands_for_all_that_are_due();
    test_the_moments_after_a_look_are_seen_like_others();
    test_lateness_is_the_median();
    test_the_first_waits_are_all_chosen();
    test_the_chosen_ones_stand_for_all();
    test_beginnings_of_long_waits_are_chosen_seldom();
    test_no_pattern_is_preferred();
    test_times_are_exponentially_distributed();
    test_looks_are_made_as_far_apart_as_they_cost();
    test_the_cost_is_the_median();
    return 0;
}
