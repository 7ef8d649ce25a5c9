/* Where a thread stands in its Python code, read by another thread while it runs on.
 *
 * Nothing is locked and no reference is taken: memory is copied, what it looks like is checked, and
 * names are copied into places.h. So none of this needs the GIL or a thread state. */
#ifndef GILKNOCK_STACK_READER_H
#define GILKNOCK_STACK_READER_H

#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpython/gil.h"
#include "native/stack_aim.h"

#define STACK_READER_FRAMES 128 /* of a deeper stack the innermost ones are read */

/* Get ready to read threads of the main interpreter, whose GIL is `gil`; NULL: only stack_reader_look, of
 * aims made by the caller, and stack_reader_own will be called. Returns 0, or -1 with a reason
 * where it cannot be done. A thread state is current. */
int stack_reader_set_up(const struct gil *gil, char *reason, size_t reason_size);

/* Note where the thread that has the GIL keeps its frames, as far as it can be had. The GIL's mutex is
 * held, and the GIL is taken. */
void stack_reader_aim(struct stack_aim *aim);

/* Read the stack that was aimed at, as it is by now. `collecting`: the thread collects garbage. Returns
 * a place; PLACE_UNKNOWN if the thread moves too fast, or there is no room. No lock is held, the GIL
 * need not be. */
uint32_t stack_reader_look(const struct stack_aim *aim, bool collecting);

/* Read the stack of the thread that had the GIL last, which may be gone, and what threading.get_ident()
 * returns there, 0 if unknown. Any thread, no lock. */
uint32_t stack_reader_look_from_afar(uint64_t *ident);

/* Read the stack of the calling thread, which waits for the GIL: of the state that PyGILState knows it by.
 * No lock is held. */
struct own_stack stack_reader_while_waiting(void);

/* Whether the calling thread, which has just got the GIL, waited for it with that state. */
bool stack_reader_waited_with(const void *state);

/* Read the stack of the calling thread, which has just got the GIL. */
uint32_t stack_reader_here(void);

/* Read the stack of the calling thread, whether it has a GIL or not; PLACE_ROOT if it runs no Python. */
uint32_t stack_reader_own(void);

/* The flag that says that some thread of the main interpreter collects garbage. */
const int *stack_reader_collecting(void);

/* Have callees named, or not: where the proof shows that they are named rightly. */
void stack_reader_name_callees(bool on);

#endif
