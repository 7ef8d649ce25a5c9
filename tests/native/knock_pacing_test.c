/* Random moments of knocks, and how far they are apart. */
#include "native/knock_pacing.h"

#include "check.h"

#define MILLISECOND UINT64_C(1000000)
#define SECOND (1000 * MILLISECOND)

static const struct knock_gaps every_50 = {50 * MILLISECOND, 4 * MILLISECOND};
static const struct knock_gaps every_5 = {5 * MILLISECOND, 4 * MILLISECOND};

static struct knock_pacing fresh(uint64_t seed) {
    return (struct knock_pacing){.random = 88172645463325252u + seed};
}

/* Returns the moment of the next knock. */
static uint64_t next(struct knock_pacing *pacing, uint64_t now, struct knock_gaps gaps,
                     enum knock_pace pace) {
    uint64_t pause = knock_pacing_next(pacing, now, gaps, pace);
    CHECK(pause < 2 * gaps.mean);
    return now + pause;
}

static uint64_t count_until(struct knock_pacing *pacing, uint64_t *now, uint64_t end,
                            struct knock_gaps gaps) {
    uint64_t count = 0;
    for (*now = next(pacing, *now, gaps, KNOCKS_GO_ON); *now < end; count++) {
        *now = next(pacing, *now, gaps, KNOCKS_GO_ON);
    }
    return count;
}

/* One in each stratum, however long the knocks themselves take. */
static void test_they_are_as_far_apart_as_asked(void) {
    struct knock_pacing pacing = fresh(0);
    uint64_t now = next(&pacing, SECOND, every_50, KNOCKS_FROM_NOW);
    uint64_t count = count_until(&pacing, &now, 1001 * SECOND, every_50);
    CHECK(count >= 20000 && count <= 20010);
}

/* They are at no fixed distance from each other: what happens every 50 ms is met at each of its moments. */
static void test_each_moment_is_as_likely(void) {
    struct knock_pacing pacing = fresh(0);
    uint64_t now = next(&pacing, 0, every_50, KNOCKS_FROM_NOW), met[5] = {0};
    for (int i = 0; i < 50000; i++) {
        now = next(&pacing, now, every_50, KNOCKS_GO_ON);
        met[now % every_50.mean / (10 * MILLISECOND)]++;
    }
    for (int i = 0; i < 5; i++) {
        CHECK(met[i] > 9500 && met[i] < 10500);
    }
}

/* Of 100 ms it has some six or seven: one in the first 4 ms, in 8, 16, 32 and so on. */
static void test_a_young_window_has_knocks_soon(void) {
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct knock_pacing pacing = fresh(seed);
        uint64_t now = next(&pacing, SECOND, every_50, KNOCKS_FROM_NOW);
        CHECK(now < SECOND + 4 * MILLISECOND);
        uint64_t count = 1 + count_until(&pacing, &now, SECOND + 100 * MILLISECOND, every_50);
        CHECK(count >= 4 && count <= 6);
    }
}

/* The first ones of a process may have been of an audit. */
static void test_knocks_that_go_on_from_none_have_pauses(void) {
    struct knock_pacing pacing = fresh(0);
    uint64_t now = SECOND;
    CHECK(count_until(&pacing, &now, 2 * SECOND, every_50) < 30);
}

/* Be it just before a knock of those that are far apart, where nobody is woken for it. */
static void test_a_window_that_needs_more_has_them_whenever_it_opens(void) {
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct knock_pacing pacing = fresh(seed);
        uint64_t now = next(&pacing, SECOND, every_50, KNOCKS_FROM_NOW);
        count_until(&pacing, &now, 2 * SECOND, every_50);
        uint64_t before = now;
        now = next(&pacing, now, every_5, KNOCKS_OF_YOUNG_WINDOW);
        CHECK(now - before < 9 * MILLISECOND);
        uint64_t count = 1 + count_until(&pacing, &now, before + 100 * MILLISECOND, every_5);
        CHECK(count >= 19 && count <= 22);
    }
}

/* A knock that outlasts its stratum is followed by one at a random moment after it. */
static void test_a_long_knock_is_followed_by_one_from_then_on(void) {
    struct knock_pacing pacing = fresh(0);
    uint64_t now = next(&pacing, SECOND, every_5, KNOCKS_FROM_NOW), sum = 0;
    for (int i = 0; i < 10000; i++) {
        now += SECOND;
        uint64_t after = next(&pacing, now, every_5, KNOCKS_GO_ON);
        sum += after - now;
        now = after;
    }
    CHECK(sum / 10000 > 2400000 && sum / 10000 < 2600000);
}

static void test_audits_wait_for_a_holder_that_has_to_wake_up(void) {
    struct knock_pacing pacing = fresh(0);
    for (int had_to_wait = 0; had_to_wait < 2; had_to_wait++) {
        uint64_t mean = had_to_wait ? AUDIT_AFTER_WAIT_NS : AUDIT_AFTER_NONE_NS, sum = 0;
        for (int i = 0; i < 10000; i++) {
            uint64_t pause = knock_pacing_next_of_audit(&pacing, had_to_wait);
            CHECK(pause >= mean / 2 && pause < 2 * mean);
            sum += pause;
        }
        CHECK(sum / 10000 > mean * 12 / 10 && sum / 10000 < mean * 13 / 10);
    }
}

int main(void) {
    test_they_are_as_far_apart_as_asked();
    test_each_moment_is_as_likely();
    test_a_young_window_has_knocks_soon();
    test_knocks_that_go_on_from_none_have_pauses();
    test_a_window_that_needs_more_has_them_whenever_it_opens();
    test_a_long_knock_is_followed_by_one_from_then_on();
    test_audits_wait_for_a_holder_that_has_to_wake_up();
    return 0;
}
