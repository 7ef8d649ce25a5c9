/* The accounting on platforms that have none: nothing can be installed. */
#include "native/accounting.h"

#if !(defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__)))

#include <stdio.h>

int accounting_install(const struct accounting_target *target, const void *interpreter_function,
                       char *reason, size_t reason_size) {
    (void)target, (void)interpreter_function;
    snprintf(reason, reason_size, "the accounting exists for Linux on x86-64 and aarch64 only");
    return -1;
}
void accounting_uninstall(void) {}
void accounting_stop(void) {}
bool accounting_intact(void) { return false; }
bool accounting_active(void) { return false; }
int accounting_open(struct ledger_window *window, bool by_thread, uint64_t now) {
    (void)window, (void)by_thread, (void)now;
    return -1;
}
int accounting_read(const struct ledger_window *window, uint64_t now,
                    struct ledger_reading *reading) {
    (void)window, (void)now, (void)reading;
    return -1;
}
void accounting_close(struct ledger_window *window) { (void)window; }
int accounting_start_recording(size_t capacity) { return (void)capacity, -1; }
void accounting_stop_recording(void) {}
uint64_t accounting_next_event(void) { return 0; }
int accounting_record(uint64_t first, uint64_t now, struct accounting_record *record) {
    (void)first, (void)now, (void)record;
    return -1;
}
void accounting_free_record(struct accounting_record *record) { (void)record; }
void accounting_mark_internal(void) {}
uint64_t accounting_internal_wait(void) { return 0; }
bool accounting_taken_meanwhile(void) { return false; }
int accounting_look(const struct accounting_reader *reader, bool waiters_look,
                    const void *interpreter_function, char *reason, size_t reason_size) {
    (void)reader, (void)waiters_look, (void)interpreter_function;
    snprintf(reason, reason_size, "there is no accounting on this platform");
    return -1;
}
void accounting_look_no_more(void) {}
void accounting_audit(bool on) { (void)on; }
void accounting_names(const uint64_t *serials, size_t count, char (*names)[THREAD_NAME_SIZE]) {
    (void)serials;
    for (size_t i = 0; i < count; i++) {
        names[i][0] = '\0';
    }
}
bool accounting_holder(struct accounting_thread *thread, uint64_t *since) {
    (void)thread;
    *since = 0;
    return false;
}
struct accounting_thread *accounting_nameless(size_t *count) {
    *count = 0;
    return NULL;
}
void accounting_name(const struct accounting_thread *thread, const char *name) {
    (void)thread, (void)name;
}
void accounting_introduce(const struct accounting_thread *threads, size_t count) {
    (void)threads, (void)count;
}

#endif
