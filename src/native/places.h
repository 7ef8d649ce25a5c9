/* Places: the stacks of frames at which threads were seen, with copies of the names in them.
 *
 * A place is a number. It stands for a frame and the place from which that frame was called, down to
 * PLACE_ROOT: so stacks share what they have in common, and a deep one costs 16 bytes a frame. No
 * place is forgotten, and no number is given twice; there are bounds, and behind them places are
 * PLACE_UNKNOWN.
 *
 * Nothing of the interpreter's is kept. A code is its names, its first line and its table of lines,
 * all of them copied; it is the same one when the program makes another code object of the same text.
 * What a code object's header looked like is remembered for the latest ones, which saves copying. Lock
 * and unlock around the calls; names and tables, once there, stay as they are. */
#ifndef GILKNOCK_PLACES_H
#define GILKNOCK_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACE_ROOT 0u
#define PLACE_UNKNOWN UINT32_MAX
#define PLACES_CODE_UNKNOWN UINT32_MAX

/* Codes that are always there, with a name and without a file. */
enum { PLACES_CODE_GC, PLACES_CODE_MORE, PLACES_FIRST_CODE };

/* What tells one code object from another at the same address. */
struct places_code_key {
    uint64_t at;
    uint64_t filename, name, table; /* addresses */
    uint64_t version;               /* unique for each code object, or a hash of its text */
    uint32_t first_line;
};

bool places_keys_equal(const struct places_code_key *a, const struct places_code_key *b);

struct places_text {
    const char *bytes; /* UTF-8, a lone surrogate in three bytes; not terminated */
    size_t size;
};

struct places_code {
    uint32_t first_line;
    struct places_text file, name;
    const unsigned char *table; /* as the interpreter has it */
    size_t table_size;
    int last_offset, last_line; /* of table, looked up last */
};

struct places_frame {
    uint32_t code;
    uint32_t line;
    uint32_t callee; /* from places_add_callee; 0: none */
};

void places_lock(void);
void places_unlock(void);

/* The code of the code object with that key; PLACES_CODE_UNKNOWN if that is not remembered. */
uint32_t places_find_code(const struct places_code_key *key);

/* The code of these texts and this table, copied if it is new; remembers the key. PLACES_CODE_UNKNOWN
 * without memory or room. */
uint32_t places_add_code(const struct places_code_key *key, struct places_text file,
                         struct places_text name, const unsigned char *table, size_t table_size);

/* A code, until the next one is added. */
struct places_code *places_code(uint32_t code);

/* The number of the name of something called, added if it is new; 0 without memory. */
uint32_t places_add_callee(struct places_text name);
struct places_text places_callee(uint32_t callee);

/* The place of a stack, innermost frame first, added if it is new. Where there is no room for all of
 * it, its innermost frame under `<more>`; PLACE_UNKNOWN where there is not even room for that. */
uint32_t places_enter(const struct places_frame *frames, size_t count);

/* The frame of a place other than PLACE_ROOT, and the place it was called from. */
struct places_frame places_frame(uint32_t place, uint32_t *caller);

/* How often there was no room. Any thread; takes no lock. */
uint64_t places_refused(void);

/* In a forked child, which has one thread: whoever had the lock is not there. */
void places_after_fork(void);

#endif
