/* How each version of CPython lays out a running frame and its code: copies of them, taken apart. */
#ifndef GILKNOCK_FRAME_LAYOUT_H
#define GILKNOCK_FRAME_LAYOUT_H

#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "native/places.h"

/* A frame, as far as a look needs it. */
struct frame_view {
    uint64_t at;
    bool is_shim; /* of the interpreter's own, without Python code */
    uint64_t code;
    uint64_t instruction;   /* the address of the running one; in 3.10 its offset */
    int32_t bytecode_copy;  /* which copy of the bytecode that lies in; 0: the code's own */
    uint64_t stack_pointer; /* 0: not kept in the frame */
    uint64_t caller;
};

/* Whether frames lie as described here. The GIL is held. */
bool frame_layout_is_known(void);

/* How many bytes of a frame and of a code are copied. */
extern const size_t frame_layout_size, frame_layout_code_size;

/* The address of the innermost frame, from a thread state that can be read directly, such as a copy.
 * `follow` reads one pointer more, which 3.11 and 3.12 need; it returns false if that cannot be read. */
bool frame_layout_innermost(const PyThreadState *state,
                            bool (*follow)(void *, const void *, size_t), uint64_t *frame);

/* Take the copy of a frame apart. Returns false if it cannot be a frame. */
bool frame_layout_view(uint64_t at, const void *copy, struct frame_view *view);

/* A frame's code, as far as a look needs it. */
struct code_view {
    struct places_code_key key; /* version 0: nothing sure identifies it */
    int offset;                 /* bytes of its bytecode before the running instruction */
    bool is_shim;               /* of the interpreter's own, without a line of Python */
};

/* Take the copy of the frame's code apart; what does not lie in it is read by `read`. Returns false if
 * it is no code, or not of that instruction. */
bool frame_layout_code(const struct frame_view *view, const void *copy,
                       bool (*read)(void *, const void *, size_t), struct code_view *code);

#endif
