/* Where a loaded ELF object keeps the addresses of another object's functions.
 *
 * A call from one object to another goes through a slot in the caller's own memory, which the
 * loader fills in as the caller's relocation tables ask ("System V ABI", chapter 5, and the psABI
 * of the processor). These functions read the tables as the loader mapped them. Everything in them
 * is checked against the object's segments: a damaged object gives a reason, never a crash. */

#ifndef GILKNOCK_ELF_OBJECT_H
#define GILKNOCK_ELF_OBJECT_H

#if defined(__linux__) && defined(__LP64__) && (defined(__x86_64__) || defined(__aarch64__))
#define ELF_SUPPORTED 1

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An object as the loader describes it; nothing here is owned. */
struct elf_object {
    uintptr_t base; /* What the loader added to the addresses in the file. */
    const Elf64_Phdr *headers;
    size_t n_headers;
};

struct elf_slot {
    void **address;
    bool is_variable; /* The program's own data: initialized by the loader, it may have changed. */
};

/* Finds the loaded object that has `address` in one of its segments; false when none has. Takes the
 * loader's lock. */
bool elf_find_object(const void *address, struct elf_object *object);

/* Whether `address` lies in one of the object's segments. */
bool elf_contains(const struct elf_object *object, const void *address);

/* Finds the slots for the function `name`, each once and whole in a writable segment. Returns their
 * number, or -1 and a `reason` (a constant) when the tables are not to be trusted or there are more
 * than `capacity` slots. Reads only the object's readable segments. */
int elf_find_slots(const struct elf_object *object, const char *name, struct elf_slot *slots,
                   size_t capacity, const char **reason);

/* The protection (PROT_READ and so on) that the loader gave the page of `address`; 0 outside of the
 * object's segments. */
int elf_protection(const struct elf_object *object, const void *address);

#endif
#endif
