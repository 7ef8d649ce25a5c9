#define _GNU_SOURCE

#include "native/interpose.h"

#include <stdio.h>

#include "native/elf_object.h"

#ifdef ELF_SUPPORTED

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whether the page of the slot has the protection now. */
static bool protect(const struct interpose_slot *slot, int protection) {
    uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t page = (uintptr_t)slot->address & ~(page_size - 1);
    return mprotect((void *)page, page_size, protection) == 0;
}

/* Replaces `from` by `to` in the slot; leaves any other value alone. False, with errno, when its
 * page cannot be made writable or not be closed again. */
static bool exchange(const struct interpose_slot *slot, void *from, void *to) {
    if (!protect(slot, slot->protection | PROT_WRITE)) {
        return false;
    }
    __atomic_compare_exchange_n(slot->address, &from, to, false, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED);
    return (slot->protection & PROT_WRITE) != 0 || protect(slot, slot->protection);
}

/* What a call through a slot with that value comes to. Before the first call it may lead to the
 * loader, by a stub of the object's own: the loader would write to the slot. */
static void *destination(const struct elf_object *object, void *value, void *real) {
    return elf_contains(object, value) ? real : value;
}

/* Finds the function that all calls through the slots of one symbol come to. Returns NULL, or why
 * there is no such function. */
static const char *find_next(const struct elf_object *object, const struct elf_slot *slots,
                             size_t n_slots, const struct interpose_symbol *symbol, void **next) {
    void *real = *symbol->next != NULL ? *symbol->next : interpose_real(symbol->name);
    if (real == NULL) {
        return "no such function is loaded";
    }
    /* An executable at a fixed address that takes a function's address lends it to all objects, and
     * it is that of a slot's stub: passing a call on to it would come back for ever. */
    if (elf_contains(object, real)) {
        return "its address lies in the object itself";
    }
    *next = NULL;
    for (size_t i = 0; i < n_slots; i++) {
        if (slots[i].is_variable) {
            continue;
        }
        void *value = __atomic_load_n(slots[i].address, __ATOMIC_RELAXED);
        void *leads_to = destination(object, value, real);
        if (leads_to == NULL || value == symbol->replacement) {
            return "the object's calls of it are redirected already, nobody knows where to";
        }
        if (*next != NULL && leads_to != *next) {
            return "another tool has redirected some of the object's calls of it";
        }
        *next = leads_to;
    }
    if (*next == NULL) {
        *next = real;
    }
    return NULL;
}

/* Adds the slots of one symbol, writing to none. Returns NULL, or why it cannot be redirected. */
static const char *plan(struct interpose *interpose, const struct elf_object *object,
                        const struct interpose_symbol *symbol) {
    struct elf_slot found[INTERPOSE_SLOTS];
    const char *reason;
    int n_found =
        elf_find_slots(object, symbol->name, found, INTERPOSE_SLOTS - interpose->n_slots, &reason);
    if (n_found < 0) {
        return reason;
    }
    void *next;
    reason = find_next(object, found, (size_t)n_found, symbol, &next);
    if (reason != NULL) {
        return reason;
    }
    size_t before = interpose->n_slots;
    for (int i = 0; i < n_found; i++) {
        void *value = __atomic_load_n(found[i].address, __ATOMIC_RELAXED);
        if (found[i].is_variable && value != next) {
            continue;
        }
        interpose->slots[interpose->n_slots++] = (struct interpose_slot){
            .address = found[i].address,
            .original = value,
            .replacement = symbol->replacement,
            .protection = elf_protection(object, found[i].address),
        };
    }
    if (interpose->n_slots == before) {
        return "the object does not call it";
    }
    *symbol->next = next;
    return NULL;
}

/* Has the object that holds a function stay loaded. One of another tool's may be taken out while
 * calls are still passed on to it; a function in no object is left to its owner. */
static void keep_loaded(const void *function) {
    Dl_info info;
    if (dladdr(function, &info) != 0 && info.dli_fname != NULL) {
        dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

/* Returns NULL, or why not all slots could be written to. */
static const char *redirect(const struct interpose *interpose) {
    for (size_t i = 0; i < interpose->n_slots; i++) {
        const struct interpose_slot *slot = &interpose->slots[i];
        if (!exchange(slot, slot->original, slot->replacement)) {
            return strerror(errno);
        }
    }
    return interpose_intact(interpose) ? NULL : "another thread is changing it";
}

int interpose_install(struct interpose *interpose, const void *address_in_object,
                      const struct interpose_symbol *symbols, size_t n_symbols, char *reason,
                      size_t reason_size) {
    struct elf_object object;
    *interpose = (struct interpose){0};
    if (!elf_find_object(address_in_object, &object)) {
        snprintf(reason, reason_size, "no loaded object holds the address %p", address_in_object);
        return -1;
    }
    for (size_t i = 0; i < n_symbols; i++) {
        const char *why = plan(interpose, &object, &symbols[i]);
        if (why != NULL) {
            snprintf(reason, reason_size, "%s: %s", symbols[i].name, why);
            interpose->n_slots = 0;
            return -1;
        }
    }
    for (size_t i = 0; i < n_symbols; i++) {
        keep_loaded(*symbols[i].next);
    }
    const char *why = redirect(interpose);
    if (why != NULL) {
        snprintf(reason, reason_size, "cannot write to the object's call table: %s", why);
        interpose_undo(interpose);
        return -1;
    }
    return 0;
}

bool interpose_intact(const struct interpose *interpose) {
    for (size_t i = 0; i < interpose->n_slots; i++) {
        const struct interpose_slot *slot = &interpose->slots[i];
        if (__atomic_load_n(slot->address, __ATOMIC_RELAXED) != slot->replacement) {
            return false;
        }
    }
    return interpose->n_slots > 0;
}

void interpose_undo(struct interpose *interpose) {
    for (size_t i = 0; i < interpose->n_slots; i++) {
        const struct interpose_slot *slot = &interpose->slots[i];
        exchange(slot, slot->replacement, slot->original);
    }
    interpose->n_slots = 0;
}

void *interpose_real(const char *name) { return dlsym(RTLD_DEFAULT, name); }

#else

int interpose_install(struct interpose *interpose, const void *address_in_object,
                      const struct interpose_symbol *symbols, size_t n_symbols, char *reason,
                      size_t reason_size) {
    (void)address_in_object;
    (void)symbols;
    (void)n_symbols;
    *interpose = (struct interpose){0};
    snprintf(reason, reason_size, "calls can be redirected on Linux on x86-64 and aarch64 only");
    return -1;
}

bool interpose_intact(const struct interpose *interpose) {
    (void)interpose;
    return false;
}

void interpose_undo(struct interpose *interpose) { (void)interpose; }

void *interpose_real(const char *name) {
    (void)name;
    return NULL;
}

#endif
