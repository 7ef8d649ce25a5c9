#define PY_SSIZE_T_CLEAN
#include "trace.h"

#include "cpython/thread_names.h"
#include "native/clock.h"

void trace_init(struct trace *trace, size_t capacity) {
    *trace = (struct trace){.capacity = capacity};
}

int trace_prepare(struct trace *trace) {
    if (trace->capacity == 0) {
        return 0;
    }
    if (accounting_start_recording(trace->capacity) < 0) {
        return -1;
    }
    trace->recording = true;
    return 0;
}

void trace_open(struct trace *trace, uint64_t opened) {
    if (trace->recording) {
        trace->first = accounting_next_event();
        trace->opened = opened;
    }
}

void trace_take(struct trace *trace, uint64_t now) {
    if (trace->recording) {
        trace->ended = now;
        trace->taken = accounting_record(trace->first, now, &trace->record) == 0;
    }
}

void trace_close(struct trace *trace) {
    if (trace->recording) {
        accounting_stop_recording();
        trace->recording = false;
    }
}

/* A new list of (serial, native id, name or None), or NULL with an exception set. */
static PyObject *threads_as_list(const struct accounting_record *record) {
    PyObject *list = PyList_New(0); /* as threads_list of raw_reading.c */
    for (size_t i = 0; list != NULL && i < record->thread_count; i++) {
        const struct accounting_thread *thread = &record->threads[i];
        PyObject *tuple =
            Py_BuildValue("KKN", (unsigned long long)thread->serial,
                          (unsigned long long)thread->native_id, names_as_object(thread->name));
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
    }
    return list;
}

PyObject *trace_hand_over(struct trace *trace) {
    if (!trace->taken) {
        Py_RETURN_NONE;
    }
    const uint64_t many = UINT64_C(1) << 40;
    struct accounting_record taken = trace->record, *record = &taken;
    trace->taken = false; /* making objects may let the GIL go, and others ask as well */
    uint64_t ticks = clock_ticks(), monotonic = clock_system_ns();
    PyObject *threads = threads_as_list(record);
    PyObject *raw = NULL;
    if (threads != NULL) {
        raw = Py_BuildValue(
            "{sy#sNsKsKsKs(KKd)}", "events", (const char *)record->events,
            (Py_ssize_t)(record->count * sizeof *record->events), "threads", threads, "dropped",
            (unsigned long long)record->dropped, "opened", (unsigned long long)trace->opened,
            "ended", (unsigned long long)trace->ended, "clock", (unsigned long long)ticks,
            (unsigned long long)monotonic, clock_seconds(many) * 1e9 / (double)many);
    }
    accounting_free_record(record);
    return raw;
}

void trace_clear(struct trace *trace) {
    if (trace->taken) {
        accounting_free_record(&trace->record);
        trace->taken = false;
    }
}

PyObject *trace_ticks(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLongLong(clock_ticks());
}
