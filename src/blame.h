/* Blame as Python gets it: where the GIL was held while others waited, and where they waited. */
#ifndef GILKNOCK_BLAME_H
#define GILKNOCK_BLAME_H

#include <Python.h>
#include <stdbool.h>

#include "cpython/gil.h"
#include "native/charges.h"

enum blame_method { BLAME_LOOKED, BLAME_RELEASED, BLAME_NONE };

extern const char *const blame_method_names[3];

/* Find out how the holder of the GIL can be looked at, and have it done in the windows that open from
 * here on. `accounted`: the accounting is installed; else only knocks look. Once, with the GIL held,
 * which may be let go meanwhile. Returns whether stacks can be read; sets no exception. */
bool blame_set_up(const struct gil *gil, bool accounted);

/* Whether stacks of this process are read rightly. With the GIL off that is found out here, by one thread
 * at a time, which has a thread state; otherwise it was by blame_set_up. Sets no exception; why not in
 * `reason`. */
bool blame_stacks_are_read(const char **reason);

/* How a window learns whom to blame, and why not by looks, NULL when it is. */
enum blame_method blame_method(bool exact, const char **reason);

/* Look at the holder, or no more: for who measures what looking costs, while no window is open. Returns
 * False where nobody looks anyway. */
PyObject *blame_look(PyObject *module, PyObject *on);

/* New lists of RawBlame and of RawVictim or RawHold, a new RawLongestWait, or NULL with an exception set.
 * The GIL is held, and may be let go meanwhile. */
PyObject *blame_as_list(const struct charges_rows *rows);
PyObject *blame_victims_as_list(const struct charges_rows *rows);
PyObject *blame_longest_as_tuple(const struct charges_longest *longest, bool knock,
                                 uint64_t opened);

#endif
