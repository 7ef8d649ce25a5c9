/* Where a thread keeps its frames, noted for a look at them. */
#ifndef GILKNOCK_STACK_AIM_H
#define GILKNOCK_STACK_AIM_H

struct stack_aim {
    const void *state; /* the thread's state; it may be gone when the look is made */
    const void *frame; /* the innermost frame; likewise */
    int is_frame_known;
};

#endif
