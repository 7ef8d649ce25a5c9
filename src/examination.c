#include "examination.h"

#include <time.h>

#define MOST_MOMENTS 10000

void examination_await(bool (*another_examines)(void)) {
    const struct timespec moment = {0, 200000};
    for (int i = 0; i < MOST_MOMENTS && another_examines(); i++) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&moment, NULL);
        Py_END_ALLOW_THREADS
    }
}
