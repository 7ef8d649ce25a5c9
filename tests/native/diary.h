/* What threads know of their own turns with the GIL, and what a reading must be by that.
 *
 * A thread writes down the time before and after each step, so it knows for certain between which
 * two moments the step was made. Sums of these are what a reading lies between: narrow where the
 * machine is idle, wide where it is busy, and never wrong. */

#ifndef GILKNOCK_TESTS_DIARY_H
#define GILKNOCK_TESTS_DIARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "native/ledger.h"
#include "toy_gil.h"

#define TURNS 4000

/* What is known of a number. */
struct range {
    uint64_t least, most;
};

/* Whether a thread that dropped the GIL as asked has wanted it straight back. */
enum back { NOT_STRAIGHT, UNCLEAR, STRAIGHT };

/* One turn, from asking for the GIL to giving it up. */
struct turn {
    struct range asked;
    bool had_to_wait;
    enum back back;
    struct range waits_since; /* as it asked, or as it had dropped the GIL before */
    struct range got;
    struct range left; /* `most` is 0 while the turn lasts */
};

struct diary {
    struct toy_gil *gil;
    uint64_t native_id;
    size_t count; /* of turns */
    struct turn turns[TURNS];
    struct toy_drop last_drop;
    struct toy_usage usage; /* after it */
};

/* Begin a diary of the calling thread; or, for the thread that has the GIL, in the midst of a turn. */
void diary_begin(struct diary *diary, struct toy_gil *gil);
void diary_begin_with_gil(struct diary *diary, struct toy_gil *gil);

/* Take or drop the GIL. */
void diary_take(struct diary *diary);
void diary_drop(struct diary *diary);

/* For how long the thread waited in one turn. */
struct range diary_wait(const struct turn *turn);

/* End the test unless the reading of a window is what the diaries say, in all and thread by thread.
 * No others are kept, and all their turns are over but for the calling thread's last. From
 * `watched_since` on, the accounting saw everything. */
#define check_reading(...) diary_check(__LINE__, __VA_ARGS__)
void diary_check(int line, const struct ledger_reading *reading, const struct ledger_window *window,
                 uint64_t watched_since, const struct diary *const *diaries, size_t count);

/* A thread's part in a reading; NULL when it has none. */
const struct ledger_thread *part_of(const struct ledger_reading *reading,
                                    const struct diary *diary);

#define CHECK_WITHIN(value, range) check_within(__LINE__, #value, value, range)
void check_within(int line, const char *what, uint64_t is, struct range range);

#endif
