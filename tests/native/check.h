/* CHECK ends the test program when the condition does not hold, whatever NDEBUG says. */

#ifndef GILKNOCK_TESTS_CHECK_H
#define GILKNOCK_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#endif
