/* A look at the stack of a thread that runs on.
 *
 * The frames are a chain that changes under the reader's hands: a frame is gone and its memory used
 * again, a code object is deleted, a pointer is new and what it points to is not yet. Nothing is
 * locked against that. Instead every piece is copied by own_memory.h, for which a page that is gone is
 * an answer, and taken for what it should be only if
 *   - a code object, its names and its table have the types of such, and references to them
 *     (object_copy.h);
 *   - the instruction that the frame runs lies within the code that the same frame names, which
 *     catches a frame that was copied half before and half after a change;
 *   - as the names of a code object are copied, its header is the same before and after that, its
 *     version included (from 3.11 on each code object has its own): so it was there meanwhile, and its
 *     names with it.
 * If any of that fails the look is made again, with the frame that is innermost then. A thread that
 * moves too fast for TRIES looks stays unknown. So does one at a code for which the places have no
 * room: another look would find it somewhere else.
 *
 * The frames of most calls lie in one piece of memory, so one copy gets many of them. Those of
 * generators, and where C code called Python, lie elsewhere and are copied one by one.
 */
#define Py_BUILD_CORE 1
#include "cpython/stack_reader.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/pycore_interp.h"

#include "cpython/callee.h"
#include "cpython/frame_layout.h"
#include "cpython/line_table.h"
#include "cpython/object_copy.h"
#include "cpython/text_reader.h"
#include "native/own_memory.h"
#include "native/places.h"

#define TRIES 4
#define BLOCK 4096 /* bytes of frames that are copied at once */
#define CODES_AT_ONCE 8
#define CODE_SIZE_MOST 320 /* no less than any version's header of a code object */
#define FRAME_SIZE_MOST 160
#define TABLE_MOST (1u << 20) /* bytes of a table of lines: a look goes through it */

static struct {
    PyThreadState *const *last_holder;
    const int *collecting;
    bool names_callees;
} reader;

/* The memory that was copied last. */
struct block {
    uint64_t from, end;
    uint64_t low; /* the address of bytes[0] */
    char bytes[BLOCK];
};

/* What a look has found so far. */
struct look {
    bool collecting;
    struct block block;
    size_t count;
    bool cut;     /* there are more frames than room */
    bool no_room; /* the places have none for a code of theirs */
    struct frame_view views[STACK_READER_FRAMES];
    struct places_frame frames[STACK_READER_FRAMES + 2];
};

/* --- the chain of frames --- */

static bool holds_frame(const struct block *block, uint64_t at) {
    return at >= block->from && at < block->end && block->end - at >= frame_layout_size;
}

/* Copy memory that ends with a frame: as much as the block takes, as it holds the frame's callers most
 * often, or what of it lies in the page where the frame begins, as the page before that may not be
 * there. */
static bool fill_block(struct block *block, uint64_t at) {
    uint64_t end = at + frame_layout_size, page = at & ~(uint64_t)(BLOCK - 1), low = end - BLOCK;
    uint64_t first = page > low ? page : low;
    const struct own_memory_piece pieces[] = {
        {block->bytes + (first - low), (const void *)(uintptr_t)first, (size_t)(end - first)},
        {block->bytes, (const void *)(uintptr_t)low, (size_t)(first - low)},
    };
    size_t got = own_memory_read_pieces(pieces, 2, NULL, 0);
    block->low = low;
    block->from = got == 2 ? low : first;
    block->end = got != 0 ? end : block->from;
    return got != 0;
}

static bool copy_frame(struct look *look, uint64_t at, void *copy) {
    struct block *block = &look->block;
    if (!holds_frame(block, at) && !fill_block(block, at)) {
        return false;
    }
    memcpy(copy, block->bytes + (at - block->low), frame_layout_size);
    return true;
}

/* Find the frames from the innermost on. */
static bool walk(struct look *look, uint64_t frame) {
    look->count = 0;
    look->cut = false;
    look->block.from = look->block.end = 0;
    for (size_t steps = 0; frame != 0; steps++) {
        union {
            char bytes[FRAME_SIZE_MOST];
            void *aligned;
        } copy;
        struct frame_view view;
        if (look->count == STACK_READER_FRAMES || steps == (size_t)2 * STACK_READER_FRAMES) {
            look->cut = true;
            return true;
        }
        if (frame % sizeof(void *) != 0 || !copy_frame(look, frame, &copy) ||
            !frame_layout_view(frame, &copy, &view)) {
            return false;
        }
        if (!view.is_shim) {
            look->views[look->count++] = view;
        }
        frame = view.caller;
    }
    return true;
}

/* --- their code --- */

/* A code that is being identified. */
struct candidate {
    struct code_view code;
    bool has_version; /* of its own; else code.key.version is made up */
    union {
        char bytes[CODE_SIZE_MOST];
        void *aligned;
    } header;
    /* These are read where it has none. */
    struct text_beginning file, name;
    union {
        PyBytesObject head;
        char bytes[offsetof(PyBytesObject, ob_sval) + 40];
    } table;
    size_t table_size; /* of what of it was copied */
};

#define PIECES_OF_CODE 3
_Static_assert(PIECES_OF_CODE *CODES_AT_ONCE <= OWN_MEMORY_PIECES, "all are read in one call");

/* The block has no frames of use any more. A thread's stack may be 32 KiB: there is no room for another one. */
static bool read_pieces(struct block *block, const struct own_memory_piece *pieces, size_t count) {
    return own_memory_read_pieces(pieces, count, block->bytes, BLOCK) == count;
}

static struct own_memory_piece table_beginning(struct candidate *candidate) {
    struct own_memory_piece piece =
        own_memory_beginning(&candidate->table, (const void *)(uintptr_t)candidate->code.key.table,
                             offsetof(PyBytesObject, ob_sval), sizeof candidate->table.bytes);
    candidate->table_size = piece.size;
    return piece;
}

/* Up to 3.11 nothing in a code object tells it from one that was made later in its place, of texts that
 * were made later in their places. There the texts stand in for a version. */
static bool make_up_version(struct candidate *candidate) {
    struct places_code_key *key = &candidate->code.key;
    const PyObject *table = (const PyObject *)&candidate->table;
    uint64_t file, name, size = (uint64_t)Py_SIZE(table), lines = size;
    if (!object_copy_is(table, &PyBytes_Type) ||
        !text_reader_sign((const void *)(uintptr_t)key->filename, &candidate->file, &file) ||
        !text_reader_sign((const void *)(uintptr_t)key->name, &candidate->name, &name)) {
        return false;
    }
    size += offsetof(PyBytesObject, ob_sval);
    size = size < sizeof candidate->table.bytes ? size : sizeof candidate->table.bytes;
    /* The beginning of a table near the end of its page may be all header. */
    if (size > candidate->table_size &&
        !own_memory_read(&candidate->table, (const void *)(uintptr_t)key->table, size)) {
        return false;
    }
    for (size_t i = offsetof(PyBytesObject, ob_sval); i < size; i++) {
        lines = text_reader_mix(lines, (unsigned char)candidate->table.bytes[i]);
    }
    key->version = text_reader_mix(text_reader_mix(file, name), lines);
    return true;
}

/* Read the headers of some frames' codes, and whatever else identifies them. */
static bool read_codes(struct block *block, const struct frame_view *views,
                       struct candidate *candidates, size_t count) {
    struct own_memory_piece pieces[PIECES_OF_CODE * CODES_AT_ONCE];
    size_t piece_count = 0;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (struct own_memory_piece){
            &candidates[i].header, (const void *)(uintptr_t)views[i].code, frame_layout_code_size};
    }
    if (!read_pieces(block, pieces, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        if (!frame_layout_code(&views[i], &candidate->header, own_memory_read, &candidate->code)) {
            return false;
        }
        const struct places_code_key *key = &candidate->code.key;
        candidate->has_version = key->version != 0;
        if (!candidate->has_version) {
            const void *file = (const void *)(uintptr_t)key->filename;
            const void *name = (const void *)(uintptr_t)key->name;
            pieces[piece_count++] = text_reader_beginning(file, &candidate->file);
            pieces[piece_count++] = text_reader_beginning(name, &candidate->name);
            pieces[piece_count++] = table_beginning(candidate);
        }
    }
    if (piece_count != 0 && !read_pieces(block, pieces, piece_count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!candidates[i].has_version && !make_up_version(&candidates[i])) {
            return false;
        }
    }
    return true;
}

/* Copy the names of a code that is not known yet, and add it. The places are not locked. */
static uint32_t learn_code(struct look *look, const struct frame_view *view,
                           const struct places_code_key *key) {
    struct text_copy file = {NULL, 0}, name = {NULL, 0}, table = {NULL, 0};
    struct candidate again;
    uint32_t code = PLACES_CODE_UNKNOWN;
    if (text_reader_copy((const void *)(uintptr_t)key->filename, &file) &&
        text_reader_copy((const void *)(uintptr_t)key->name, &name) &&
        text_reader_copy_bytes((const void *)(uintptr_t)key->table, TABLE_MOST, &table) &&
        read_codes(&look->block, view, &again, 1) && places_keys_equal(key, &again.code.key)) {
        places_lock();
        code = places_add_code(key, (struct places_text){file.bytes, file.size},
                               (struct places_text){name.bytes, name.size},
                               (const unsigned char *)table.bytes, table.size);
        places_unlock();
        look->no_room = code == PLACES_CODE_UNKNOWN;
    }
    free(file.bytes);
    free(name.bytes);
    free(table.bytes);
    return code;
}

/* The line of an instruction; the first one of its code where the table has none, as the compiler
 * added it or the program made a table of its own. The places are locked. */
static uint32_t line_at(struct places_code *code, int offset) {
    if (code->last_offset != offset) {
        int line = line_table_find(code->table, code->table_size, (int)code->first_line, offset);
        code->last_line = line > 0 ? line : (int)code->first_line;
        code->last_offset = offset;
    }
    return (uint32_t)code->last_line;
}

/* Name a frame's code and line. */
static bool identify(struct look *look, const struct frame_view *view,
                     const struct code_view *found, struct places_frame *frame) {
    places_lock();
    frame->code = places_find_code(&found->key);
    if (frame->code == PLACES_CODE_UNKNOWN) {
        places_unlock();
        frame->code = learn_code(look, view, &found->key);
        if (frame->code == PLACES_CODE_UNKNOWN) {
            return false;
        }
        places_lock();
    }
    frame->line = line_at(places_code(frame->code), found->offset);
    places_unlock();
    frame->callee = 0;
    return true;
}

/* Name all frames but those of the interpreter's own. */
static bool identify_all(struct look *look) {
    struct candidate candidates[CODES_AT_ONCE];
    size_t named = 0;
    for (size_t done = 0; done < look->count;) {
        size_t count = look->count - done < CODES_AT_ONCE ? look->count - done : CODES_AT_ONCE;
        if (!read_codes(&look->block, &look->views[done], candidates, count)) {
            return false;
        }
        for (size_t i = 0; i < count; i++, done++) {
            const struct code_view *code = &candidates[i].code;
            if (!code->is_shim &&
                !identify(look, &look->views[done], code, &look->frames[named++])) {
                return false;
            }
        }
    }
    look->count = named;
    return true;
}

/* --- the place --- */

static uint32_t enter(struct look *look) {
    const struct places_frame gc = {.code = PLACES_CODE_GC}, more = {.code = PLACES_CODE_MORE};
    if (look->cut) {
        look->frames[look->count++] = more;
    }
    if (look->collecting) {
        memmove(look->frames + 1, look->frames, look->count * sizeof *look->frames);
        look->frames[0] = gc;
        look->count++;
    }
    places_lock();
    uint32_t place = places_enter(look->frames, look->count);
    places_unlock();
    return place;
}

static void name_callee(struct look *look) {
    char name[CALLEE_NAME_SIZE];
    size_t size = look->collecting || look->count == 0 || !reader.names_callees
                      ? 0
                      : callee_find(&look->views[0], own_memory_read, name);
    if (size != 0) {
        places_lock();
        look->frames[0].callee = places_add_callee((struct places_text){name, size});
        places_unlock();
    }
}

/* The innermost frame of a thread that runs on. */
static bool find_innermost(const void *state, uint64_t *frame) {
    union {
        PyThreadState state;
        void *aligned;
    } copy;
    return own_memory_read(&copy, state, offsetof(PyThreadState, exc_info)) &&
           frame_layout_innermost(&copy.state, own_memory_read, frame);
}

/* One try. */
static bool look_from(struct look *look, uint64_t frame) {
    look->no_room = false;
    if (!walk(look, frame) || !identify_all(look)) {
        return false;
    }
    name_callee(look);
    return true;
}

uint32_t stack_reader_look(const struct stack_aim *aim, bool collecting) {
    struct look look;
    look.collecting = collecting;
    uint64_t frame = (uintptr_t)aim->frame;
    for (int i = 0; i < TRIES; i++) {
        if ((i > 0 || !aim->is_frame_known) && !find_innermost(aim->state, &frame)) {
            break;
        }
        if (look_from(&look, frame)) {
            return enter(&look);
        }
        if (look.no_room) {
            break;
        }
    }
    return PLACE_UNKNOWN;
}

/* The own frames do not change meanwhile, but what they were called from may lie nowhere: where
 * another tool switches stacks of C, for one. So they are read like another's. */
static uint32_t read_own(const PyThreadState *state) {
    struct look look;
    uint64_t frame;
    look.collecting = false;
    return find_innermost(state, &frame) && look_from(&look, frame) ? enter(&look) : PLACE_UNKNOWN;
}

struct own_stack stack_reader_while_waiting(void) {
    const PyThreadState *state = PyGILState_GetThisThreadState();
    return (struct own_stack){state, state != NULL ? read_own(state) : PLACE_UNKNOWN};
}

static const PyThreadState *last_holder(void) {
    return *(PyThreadState *const volatile *)reader.last_holder;
}

bool stack_reader_waited_with(const void *state) { return state == last_holder(); }

uint32_t stack_reader_here(void) { return read_own(last_holder()); }

uint32_t stack_reader_own(void) {
    struct own_stack own = stack_reader_while_waiting();
    return own.state != NULL ? own.place : PLACE_ROOT;
}

/* Nothing is read directly: a thread that goes from one interpreter to another keeps the GIL, and may
 * have deleted the state with which it took it. */
void stack_reader_aim(struct stack_aim *aim) {
    const PyThreadState *state = last_holder();
    uint64_t frame = 0;
    bool known = find_innermost(state, &frame);
    *aim = (struct stack_aim){state, (const void *)(uintptr_t)frame, known};
}

uint32_t stack_reader_look_from_afar(uint64_t *ident) {
    const PyThreadState *state = last_holder();
    unsigned long thread_id;
    if (!own_memory_read(&thread_id, &state->thread_id, sizeof thread_id)) {
        *ident = 0;
        return PLACE_UNKNOWN;
    }
    *ident = thread_id;
    return stack_reader_look(&(struct stack_aim){.state = state}, false);
}

/* --- getting ready --- */

const int *stack_reader_collecting(void) { return reader.collecting; }

void stack_reader_name_callees(bool on) { reader.names_callees = on; }

int stack_reader_set_up(const struct gil *gil, char *reason, size_t reason_size) {
    reader.last_holder = gil != NULL ? gil->last_holder : reader.last_holder;
    reader.collecting = &PyInterpreterState_Main()->gc.collecting;
    if (!frame_layout_is_known() || frame_layout_size > FRAME_SIZE_MOST ||
        frame_layout_code_size > CODE_SIZE_MOST) {
        snprintf(reason, reason_size,
                 "this interpreter's frames do not lie where Python %s keeps "
                 "them",
                 PY_VERSION);
        return -1;
    }
    if (own_memory_init() == OWN_MEMORY_CLOSED) {
        snprintf(reason, reason_size, "the system denies every way to read the own memory safely");
        return -1;
    }
    return 0;
}
