#include "native/histogram.h"

#include <math.h>

/* Buckets to each power of two, and their logarithm. */
#define STEPS 16
#define STEPS_BITS 4

/* The values below 2^LOWEST_POWER share buckets as wide as the first power's own. */
#define LOWEST_POWER 6

static int power_of_two_below(uint64_t value) {
    int power = 0;
    for (int step = 32; step > 0; step /= 2) {
        if (value >> step != 0) {
            value >>= step;
            power += step;
        }
    }
    return power;
}

static size_t bucket_of(uint64_t value) {
    if (value < UINT64_C(1) << LOWEST_POWER) {
        return value >> (LOWEST_POWER - STEPS_BITS);
    }
    int power = power_of_two_below(value);
    size_t step = (value >> (power - STEPS_BITS)) & (STEPS - 1);
    size_t bucket = (size_t)(power - LOWEST_POWER + 1) * STEPS + step;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t middle_of(size_t bucket) {
    uint64_t step = bucket % STEPS;
    if (bucket < STEPS) {
        int width_bits = LOWEST_POWER - STEPS_BITS;
        return (step << width_bits) + (UINT64_C(1) << width_bits) / 2;
    }
    int width_bits = (int)(bucket / STEPS) - 1 + LOWEST_POWER - STEPS_BITS;
    return ((STEPS + step) << width_bits) + (UINT64_C(1) << width_bits) / 2;
}

void histogram_add_shared(struct histogram *histogram, uint64_t value) {
    __atomic_fetch_add(&histogram->counts[bucket_of(value)], 1, __ATOMIC_RELAXED);
}

void histogram_take_shared(struct histogram *histogram, uint64_t value) {
    __atomic_fetch_sub(&histogram->counts[bucket_of(value)], 1, __ATOMIC_RELAXED);
}

void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->counts[bucket_of(value)]++;
}

void histogram_take(struct histogram *histogram, uint64_t value) {
    uint32_t *count = &histogram->counts[bucket_of(value)];
    *count -= *count != 0;
}

void histogram_subtract(struct histogram *later, const struct histogram *earlier) {
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        later->counts[i] -= earlier->counts[i];
    }
}

uint64_t histogram_count(const struct histogram *histogram) {
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += histogram->counts[i];
    }
    return count;
}

uint64_t histogram_quantile(const struct histogram *histogram, double q) {
    uint64_t count = histogram_count(histogram), seen = 0;
    size_t last = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0) {
            continue;
        }
        seen += histogram->counts[i];
        last = i;
        if ((double)seen >= q * (double)count) {
            break;
        }
    }
    return count == 0 ? 0 : middle_of(last);
}

size_t histogram_octaves(const struct histogram *histogram, double unit,
                         struct histogram_octave *octaves) {
    size_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0) {
            continue;
        }
        int power;
        frexp((double)middle_of(i) / unit, &power); /* to a half, up to 1 */
        power--;
        if (count == 0 || octaves[count - 1].power != power) {
            octaves[count++] = (struct histogram_octave){.power = power};
        }
        octaves[count - 1].count += histogram->counts[i];
    }
    return count;
}
