/* Counts of values (times in ticks), in buckets of about 6 % of the value: 16 of equal width to
 * each power of two. Plain data: two snapshots subtract, and whoever shares one brings the lock. */

#ifndef GILKNOCK_HISTOGRAM_H
#define GILKNOCK_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* 16 buckets for the values below 2^6, then 16 for each power of two from 2^6 to 2^45. Values from
 * 2^46 on (hours) count in the last. */
#define HISTOGRAM_BUCKETS (16 + 40 * 16)

/* All zero is empty. */
struct histogram {
    uint32_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* Take a value out again, if there is one like it. */
void histogram_take(struct histogram *histogram, uint64_t value);

/* Add a value, or take one that was added out again, while others do the same. Any thread, no lock. */
void histogram_add_shared(struct histogram *histogram, uint64_t value);
void histogram_take_shared(struct histogram *histogram, uint64_t value);

/* Leaves in `later` what was added since `earlier` was copied from the same histogram. Right as
 * long as no bucket took 2^32 values in between. */
void histogram_subtract(struct histogram *later, const struct histogram *earlier);

/* How many values were added. */
uint64_t histogram_count(const struct histogram *histogram);

/* The middle of the bucket that holds the smallest value with at least the share `q` (0 to 1) of
 * all values at or below it; 0 when the histogram is empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double q);

/* The values from 2^power units to twice that. */
struct histogram_octave {
    int power;
    uint64_t count;
};

/* At most so many octaves have values. */
#define HISTOGRAM_OCTAVES 48

/* Sum the values by powers of two of a unit of `unit` (> 0): those octaves that have any, ascending,
 * into `octaves`, which has room for HISTOGRAM_OCTAVES. Returns how many there are. A value counts
 * where the middle of its bucket lies, so one within 4 % of an octave's end may count in the next. */
size_t histogram_octaves(const struct histogram *histogram, double unit,
                         struct histogram_octave *octaves);

#endif
