/* Where calls cannot be redirected: no waits are seen. */
#include "native/elf_object.h"
#include "native/parking.h"

#ifndef ELF_SUPPORTED

#include <stdio.h>

int parking_install(const void *interpreter_function, char *reason, size_t reason_size) {
    (void)interpreter_function;
    snprintf(reason, reason_size, "calls can be redirected on Linux on x86-64 and aarch64 only");
    return -1;
}

void parking_set_probe(struct parking_probe *probe) { (void)probe; }

void parking_start(parking_classifier classify) { (void)classify; }

void parking_count_spins(const void *interpreter_function, void (*yield)(void)) {
    (void)interpreter_function, (void)yield;
}

void parking_look(parking_place_reader read) { (void)read; }

void parking_free(struct parking_reading *reading) { (void)reading; }

void parking_stop(void) {}

bool parking_intact(void) { return false; }

int parking_open(struct parking_window *window, bool by_thread, uint64_t now) {
    (void)window, (void)by_thread, (void)now;
    return -1;
}

int parking_read(const struct parking_window *window, uint64_t now,
                 struct parking_reading *reading) {
    (void)window, (void)now, (void)reading;
    return -1;
}

bool parking_is_whole(const struct parking_window *window) {
    (void)window;
    return false;
}

void parking_close(struct parking_window *window) { (void)window; }

void parking_thread_name(uint64_t native_id, char *name, size_t size) {
    (void)native_id;
    snprintf(name, size, "%s", "");
}

uint32_t parking_type(const char *name) {
    (void)name;
    return 0;
}

const char *parking_type_name(uint32_t type) {
    (void)type;
    return "";
}

#endif
