#include "latency.h"

#include <math.h>

#include "native/clock.h"

PyObject *latency_as_tuple(uint64_t count, const struct histogram *histogram, uint64_t maximum) {
    if (count == 0) {
        Py_RETURN_NONE;
    }
    double quantiles[3];
    static const double shares[3] = {0.5, 0.9, 0.99};
    for (int i = 0; i < 3; i++) {
        uint64_t ticks = histogram_quantile(histogram, shares[i]);
        quantiles[i] = clock_seconds(ticks < maximum ? ticks : maximum);
    }
    return Py_BuildValue("Kdddd", (unsigned long long)count, quantiles[0], quantiles[1],
                         quantiles[2], clock_seconds(maximum));
}

PyObject *latency_octaves_as_list(uint64_t count, const struct histogram *histogram) {
    struct histogram_octave octaves[HISTOGRAM_OCTAVES];
    const uint64_t many = UINT64_C(1) << 32;
    double microsecond = 1e-6 * (double)many / clock_seconds(many);
    size_t size = count != 0 ? histogram_octaves(histogram, microsecond, octaves) : 0;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < size; i++) {
        PyObject *tuple = Py_BuildValue("dK", ldexp(1e-6, octaves[i].power),
                                        (unsigned long long)octaves[i].count);
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
    }
    return list;
}
