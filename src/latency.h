/* How waits are distributed by their length, as Python gets it. With a count of 0 the histogram need not be
 * set. */
#ifndef GILKNOCK_LATENCY_H
#define GILKNOCK_LATENCY_H

#include <Python.h>
#include <stdint.h>

#include "native/histogram.h"

/* (count, p50, p90, p99, max) in seconds; None for a count of 0. The buckets are coarse: no quantile is
 * more than the maximum, which is exact. */
PyObject *latency_as_tuple(uint64_t count, const struct histogram *histogram, uint64_t maximum);

/* A new list of (least seconds, count), ascending, for the waits from each power of two microseconds to
 * the next; only where there are any. */
PyObject *latency_octaves_as_list(uint64_t count, const struct histogram *histogram);

#endif
