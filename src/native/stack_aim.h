/* Where a thread keeps its frames, noted for a look at them, and what a look at the own ones has found. */
#ifndef GILKNOCK_STACK_AIM_H
#define GILKNOCK_STACK_AIM_H

#include <stdint.h>

struct stack_aim {
    const void *state; /* the thread's state; it may be gone when the look is made */
    const void *frame; /* the innermost frame; likewise */
    int is_frame_known;
};

/* The place of a thread that waits. */
struct own_stack {
    const void *state; /* whose frames were read; NULL: none */
    uint32_t place;
};

#endif
