/* Random numbers, fast and without a lock: xorshift64 (Marsaglia, Journal of Statistical Software 8, 14,
 * https://doi.org/10.18637/jss.v008.i14). Who has a state brings its own seed, and the lock if others
 * have it, too. */
#ifndef GILKNOCK_RANDOM_H
#define GILKNOCK_RANDOM_H

#include <stdint.h>

/* The next number of 64 bits. A state of 0 is one that was not seeded. */
static inline uint64_t random_next(uint64_t *state) {
    uint64_t word = *state != 0 ? *state : UINT64_C(0x9E3779B97F4A7C15);
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return *state = word;
}

/* A number in [0, bound); 0 for a bound of 0. */
static inline uint64_t random_below(uint64_t *state, uint64_t bound) {
    uint64_t word = random_next(state);
    return bound != 0 ? word % bound : 0;
}

#endif
