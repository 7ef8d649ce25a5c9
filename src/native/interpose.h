/* Redirects calls that one loaded object makes to functions of other objects, and undoes it.
 *
 * Only the slots through which that object calls are written to: no other object notices, and no
 * code changes. Linux on x86-64 and aarch64; elsewhere installing fails with a reason. */

#ifndef GILKNOCK_INTERPOSE_H
#define GILKNOCK_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>

#define INTERPOSE_SLOTS 16

struct interpose_symbol {
    const char *name;
    void *replacement;
    /* Where the replacement finds the function that it passes calls on to. NULL there: the one of
     * that name; another value is used instead of that one. Where another tool has redirected the
     * calls already, its function is put there. */
    void **next;
};

struct interpose_slot {
    void **address;
    void *original;
    void *replacement;
    int protection; /* Of its page, as the loader left it. */
};

/* All zero is not installed. The object must stay loaded while it is. */
struct interpose {
    size_t n_slots;
    struct interpose_slot slots[INTERPOSE_SLOTS];
};

/* Redirects all `symbols` in the object that holds `address_in_object`, and sets their `next`. From
 * here on the replacements may be called, by any thread, even after interpose_undo. Returns 0; or
 * -1 with nothing redirected, and the reason as text in `reason`. */
int interpose_install(struct interpose *interpose, const void *address_in_object,
                      const struct interpose_symbol *symbols, size_t n_symbols, char *reason,
                      size_t reason_size);

/* Whether it is installed and every slot still leads to its replacement: another tool may have
 * redirected one since. */
bool interpose_intact(const struct interpose *interpose);

/* Puts the former values back. A slot that another tool has redirected since is left to it. Calls
 * under way still return through the replacements, whose code must stay loaded. */
void interpose_undo(struct interpose *interpose);

/* The function of that name, as the loader finds it, or NULL. */
void *interpose_real(const char *name);

#endif
