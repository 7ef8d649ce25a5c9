#include "native/histogram.h"

#include <stdbool.h>
#include <string.h>

#include "check.h"

#define VALUES 5000

static const uint64_t LIMIT = UINT64_C(1) << 46;

static uint64_t state = 1;

/* xorshift64*, with the sizes spread evenly over the powers of two. */
static uint64_t random_value(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    uint64_t random = state * UINT64_C(2685821657736338717);
    return (random >> 18) >> (random % 46);
}

static bool is_close(uint64_t middle, uint64_t value) {
    uint64_t distance = middle > value ? middle - value : value - middle;
    return distance <= (value < 64 ? 2 : value / 32);
}

static uint64_t seen_as(uint64_t value) {
    struct histogram histogram = {{0}};
    histogram_add(&histogram, value);
    CHECK(histogram_count(&histogram) == 1);
    return histogram_quantile(&histogram, 0.5);
}

static void test_every_value_is_seen_near_itself(void) {
    for (uint64_t value = 0; value < 5000; value++) {
        CHECK(is_close(seen_as(value), value));
    }
    for (int power = 12; power < 46; power++) {
        uint64_t value = UINT64_C(1) << power;
        CHECK(is_close(seen_as(value - 1), value - 1));
        CHECK(is_close(seen_as(value), value));
        CHECK(seen_as(value - 1) < seen_as(value));
    }
}

static void test_huge_values_count_in_the_last_bucket(void) {
    CHECK(is_close(seen_as(LIMIT - 1), LIMIT - 1));
    CHECK(seen_as(LIMIT) == seen_as(LIMIT - 1));
    CHECK(seen_as(UINT64_MAX) == seen_as(LIMIT - 1));
}

static int compare(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_quantiles_are_those_of_the_sorted_values(void) {
    static uint64_t values[VALUES];
    struct histogram histogram = {{0}};
    for (int i = 0; i < VALUES; i++) {
        values[i] = random_value();
        histogram_add(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof values[0], compare);
    CHECK(histogram_count(&histogram) == VALUES);
    for (int percent = 1; percent <= 100; percent++) {
        uint64_t truth = values[VALUES / 100 * percent - 1];
        CHECK(is_close(histogram_quantile(&histogram, percent / 100.0), truth));
    }
    CHECK(is_close(histogram_quantile(&histogram, 0.0), values[0]));
}

static void test_quantile_of_nothing_is_zero(void) {
    struct histogram histogram = {{0}};
    CHECK(histogram_count(&histogram) == 0);
    CHECK(histogram_quantile(&histogram, 0.99) == 0);
}

static void test_difference_is_what_was_added_since(void) {
    struct histogram histogram = {{0}}, added = {{0}};
    for (int i = 0; i < VALUES; i++) {
        histogram_add(&histogram, random_value());
    }
    struct histogram earlier = histogram;
    for (int i = 0; i < VALUES; i++) {
        uint64_t value = random_value();
        histogram_add(&histogram, value);
        histogram_add(&added, value);
    }
    histogram_subtract(&histogram, &earlier);
    CHECK(memcmp(&histogram, &added, sizeof added) == 0);
}

static void test_difference_survives_a_counter_that_wraps(void) {
    struct histogram histogram = {{0}};
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram.counts[i] = UINT32_MAX;
    }
    struct histogram earlier = histogram;
    histogram_add(&histogram, 1000);
    histogram_add(&histogram, 1000);
    histogram_subtract(&histogram, &earlier);
    CHECK(histogram_count(&histogram) == 2);
    CHECK(is_close(histogram_quantile(&histogram, 1.0), 1000));
}

static void test_a_full_histogram_is_counted_in_full(void) {
    struct histogram histogram = {{0}};
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram.counts[i] = UINT32_MAX;
    }
    CHECK(histogram_count(&histogram) == (uint64_t)UINT32_MAX * HISTOGRAM_BUCKETS);
    CHECK(is_close(histogram_quantile(&histogram, 1.0), LIMIT - 1));
}

static void test_octaves_have_the_values_of_their_power(void) {
    struct histogram histogram = {{0}};
    struct histogram_octave octaves[HISTOGRAM_OCTAVES];
    CHECK(histogram_octaves(&histogram, 1000.0, octaves) == 0);
    static const uint64_t values[] = {300, 400, 1100, 1900, 9000, 15000, 1100000};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        histogram_add(&histogram, values[i]);
    }
    CHECK(histogram_octaves(&histogram, 1000.0, octaves) == 4);
    static const struct histogram_octave truth[] = {{-2, 2}, {0, 2}, {3, 2}, {10, 1}};
    for (size_t i = 0; i < 4; i++) {
        CHECK(octaves[i].power == truth[i].power && octaves[i].count == truth[i].count);
    }
}

static void test_octaves_of_a_full_histogram_fit(void) {
    struct histogram histogram;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        histogram.counts[i] = 1;
    }
    for (double unit = 0.3; unit < 5.0; unit += 0.1) {
        struct histogram_octave octaves[HISTOGRAM_OCTAVES];
        size_t size = histogram_octaves(&histogram, unit, octaves);
        CHECK(size <= HISTOGRAM_OCTAVES);
        uint64_t sum = octaves[0].count;
        for (size_t i = 1; i < size; i++) {
            CHECK(octaves[i].power > octaves[i - 1].power);
            sum += octaves[i].count;
        }
        CHECK(sum == HISTOGRAM_BUCKETS);
    }
}

int main(void) {
    test_every_value_is_seen_near_itself();
    test_huge_values_count_in_the_last_bucket();
    test_quantiles_are_those_of_the_sorted_values();
    test_quantile_of_nothing_is_zero();
    test_difference_is_what_was_added_since();
    test_difference_survives_a_counter_that_wraps();
    test_a_full_histogram_is_counted_in_full();
    test_octaves_have_the_values_of_their_power();
    test_octaves_of_a_full_histogram_fit();
    return 0;
}
