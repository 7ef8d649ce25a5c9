#include "blame.h"

#include <stdlib.h>
#include <string.h>

#include "cpython/frame.h"
#include "cpython/thread_names.h"
#include "native/clock.h"

int blame_line(PyCodeObject *code, int offset) {
    int line = PyCode_Addr2Line(code, offset);
    return line > 0 ? line : code->co_firstlineno;
}

bool blame_find(struct blamed_frame *frame, const PyThreadState *wanted) {
    memset(frame, 0, sizeof *frame);
    PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    while (state != NULL && state != wanted) {
        state = PyThreadState_Next(state);
    }
    struct code_position position;
    if (state == NULL || !frame_find(state, &position)) {
        return false;
    }
    frame->code = (PyCodeObject *)Py_NewRef((PyObject *)position.code);
    frame->line = blame_line(position.code, position.offset);
#if PY_VERSION_HEX >= 0x030B0000
    frame->native_id = state->native_thread_id;
#endif
    names_find(state->thread_id, frame->thread, sizeof frame->thread);
    return true;
}

/* References to code that nobody else knows any more, guarded by the GIL. To drop the last one runs
 * the callbacks of its weak references, which may do anything, let the GIL go among it. The knocker
 * and whoever walks the windows leave that to a thread of the program. */
static struct {
    PyCodeObject **codes; /* owned, and what is in it */
    size_t count, room;
    bool asked; /* the main thread is going to drop them */
} dead;

#define MOST_DEAD 1024 /* from there on no more references are taken, until these are dropped */

bool blame_may_take(void) { return dead.count < MOST_DEAD; }

void blame_drop_dead(void) {
    dead.asked = false;
    while (dead.count != 0) {
        Py_DECREF(dead.codes[--dead.count]);
    }
}

static int drop_dead_in_main_thread(void *unused) {
    (void)unused;
    blame_drop_dead();
    return 0;
}

/* Without memory the reference is kept for ever. */
static void keep_dead(PyCodeObject *code) {
    if (dead.count == dead.room) {
        size_t room = dead.room != 0 ? 2 * dead.room : 64;
        PyCodeObject **codes = realloc(dead.codes, room * sizeof *codes);
        if (codes == NULL) {
            return;
        }
        dead.codes = codes;
        dead.room = room;
    }
    dead.codes[dead.count++] = code;
    if (!dead.asked) {
        dead.asked = Py_AddPendingCall(drop_dead_in_main_thread, NULL) == 0;
    }
}

void blame_release(struct blamed_frame *frame) {
    PyCodeObject *code = frame->code;
    frame->code = NULL;
    if (code != NULL && Py_REFCNT(code) > 1) {
        Py_DECREF(code);
    } else if (code != NULL) {
        keep_dead(code);
    }
}

static struct blame_item *find_item(struct blame *blame, const struct blamed_frame *frame) {
    for (size_t i = 0; i < blame->count; i++) {
        const struct blamed_frame *known = &blame->items[i].frame;
        if (known->code == frame->code && known->line == frame->line &&
            known->native_id == frame->native_id) {
            return &blame->items[i];
        }
    }
    return NULL;
}

static struct blame_item *least_item(struct blame *blame) {
    struct blame_item *least = &blame->items[0];
    for (size_t i = 1; i < blame->count; i++) {
        if (blame->items[i].waited < least->waited) {
            least = &blame->items[i];
        }
    }
    return least;
}

void blame_enter(struct blame *blame, const struct blamed_frame *frame, uint64_t waited,
                 uint64_t knock) {
    if (blame->items == NULL &&
        (blame->items = malloc(BLAME_ITEMS * sizeof *blame->items)) == NULL) {
        return;
    }
    struct blame_item *item = find_item(blame, frame);
    if (item == NULL) {
        if (blame->count < BLAME_ITEMS) {
            item = &blame->items[blame->count++];
        } else {
            item = least_item(blame);
            blame->omitted++;
            blame->omitted_waited += item->waited;
            blame_release(&item->frame);
        }
        *item = (struct blame_item){.frame = *frame};
        Py_XINCREF(frame->code);
    }
    item->waited += waited;
    item->knocks += item->latest_knock != knock;
    item->latest_knock = knock;
}

void blame_copy(struct blame *copy, const struct blame *blame) {
    *copy = *blame;
    copy->items = NULL;
    copy->count = 0;
    if (blame->count == 0 || (copy->items = malloc(blame->count * sizeof *copy->items)) == NULL) {
        return;
    }
    memcpy(copy->items, blame->items, blame->count * sizeof *copy->items);
    copy->count = blame->count;
    for (size_t i = 0; i < copy->count; i++) {
        Py_XINCREF(copy->items[i].frame.code);
    }
}

static int by_waited(const void *left, const void *right) {
    const struct blame_item *const *a = left, *const *b = right;
    return ((*a)->waited < (*b)->waited) - ((*a)->waited > (*b)->waited);
}

/* A new tuple for one item, or NULL with an exception set. */
static PyObject *item_as_tuple(const struct blame_item *item) {
    const struct blamed_frame *frame = &item->frame;
    PyObject *file = NULL, *function = NULL, *tuple = NULL;
    PyObject *thread = names_as_object(frame->thread);
    if (frame->code != NULL) {
        file = Py_NewRef(frame->code->co_filename);
#if PY_VERSION_HEX >= 0x030B0000
        function = PyObject_GetAttrString((PyObject *)frame->code, "co_qualname");
#else
        function = PyObject_GetAttrString((PyObject *)frame->code, "co_name");
#endif
    } else {
        file = PyUnicode_FromString("");
        function = PyUnicode_FromString("");
    }
    if (file != NULL && function != NULL && thread != NULL) {
        PyObject *stack = frame->code == NULL
                              ? PyTuple_New(0)
                              : Py_BuildValue("((OiOO))", file, frame->line, function, Py_None);
        tuple = Py_BuildValue("NKOdKdK", stack, (unsigned long long)frame->native_id, thread, 0.0,
                              0ULL, clock_seconds(item->waited), (unsigned long long)item->knocks);
    }
    Py_XDECREF(file);
    Py_XDECREF(function);
    Py_XDECREF(thread);
    return tuple;
}

PyObject *blame_as_list(const struct blame *blame) {
    const struct blame_item *sorted[BLAME_ITEMS];
    for (size_t i = 0; i < blame->count; i++) {
        sorted[i] = &blame->items[i];
    }
    qsort(sorted, blame->count, sizeof *sorted, by_waited);
    PyObject *list = PyList_New(0); /* as in threads_list */
    for (size_t i = 0; list != NULL && i < blame->count; i++) {
        PyObject *tuple = item_as_tuple(sorted[i]);
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
    }
    return list;
}

void blame_clear(struct blame *blame) {
    for (size_t i = 0; i < blame->count; i++) {
        blame_release(&blame->items[i].frame);
    }
    free(blame->items);
    *blame = (struct blame){.items = NULL};
}
