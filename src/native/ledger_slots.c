#define _POSIX_C_SOURCE 200809L
#include "native/ledger_slots.h"

#include <stdlib.h>
#include <string.h>

int ledger_init(struct ledger *ledger) {
    memset(ledger, 0, sizeof *ledger);
    ledger->slots = calloc(LEDGER_SLOTS, sizeof *ledger->slots);
    return ledger->slots == NULL ? -1 : 0;
}

static void list_as_nameless(struct ledger *ledger, struct ledger_slot *slot) {
    slot->nameless = true;
    slot->nameless_previous = NULL;
    slot->nameless_next = ledger->nameless;
    if (slot->nameless_next != NULL) {
        slot->nameless_next->nameless_previous = slot;
    }
    ledger->nameless = slot;
    ledger->nameless_count++;
}

static void strike_from_nameless(struct ledger *ledger, struct ledger_slot *slot) {
    if (slot->nameless) {
        *(slot->nameless_previous ? &slot->nameless_previous->nameless_next : &ledger->nameless) =
            slot->nameless_next;
        if (slot->nameless_next != NULL) {
            slot->nameless_next->nameless_previous = slot->nameless_previous;
        }
        slot->nameless = false;
        ledger->nameless_count--;
    }
}

static void unlink_slot(struct ledger *ledger, struct ledger_slot *slot) {
    strike_from_nameless(ledger, slot);
    *(slot->previous ? &slot->previous->next : &ledger->oldest) = slot->next;
    *(slot->next ? &slot->next->previous : &ledger->latest) = slot->previous;
    slot->next = slot->previous = NULL;
    ledger->live--;
}

static void give_back(struct ledger *ledger, struct ledger_slot *slot) {
    if (ledger->former == slot) {
        ledger->former = NULL;
    }
    slot->serial = 0;
    slot->next = ledger->free;
    ledger->free = slot;
}

void reclaim(struct ledger *ledger) {
    for (struct ledger_slot *slot = ledger->oldest, *next; slot != NULL; slot = next) {
        next = slot->next;
        if (ledger_has_ended(slot) && slot != ledger->holder) {
            unlink_slot(ledger, slot);
            give_back(ledger, slot);
        }
    }
}

/* Put the slots of ended knockers back, which no window shows. */
static void reclaim_internal(struct ledger *ledger) {
    for (struct ledger_slot **link = &ledger->internal; *link != NULL;) {
        struct ledger_slot *slot = *link;
        if (ledger_has_ended(slot) && slot != ledger->holder) {
            *link = slot->next;
            give_back(ledger, slot);
        } else {
            link = &slot->next;
        }
    }
}

struct ledger_entry *find_entry(const struct ledger_window *window, uint64_t serial) {
    size_t low = 0, high = window->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (window->entries[middle].serial < serial) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < window->entry_count && window->entries[low].serial == serial
               ? &window->entries[low]
               : NULL;
}

/* The thread of the slot, which has ended, is about to lose it: windows in which it took the GIL can no
 * longer tell of it. */
static void count_as_omitted(struct ledger *ledger, const struct ledger_slot *slot) {
    for (struct ledger_window *window = ledger->newest; window != NULL; window = window->older) {
        if (window->by_thread) {
            const struct ledger_entry *entry = find_entry(window, slot->serial);
            const struct ledger_sums *base =
                entry != NULL ? &entry->base : &(struct ledger_sums){0};
            window->omitted +=
                slot->sums.acquisitions != base->acquisitions || slot->sums.held != base->held;
        }
    }
}

/* With every slot used and none free, an ended thread's is taken, though an open window then no
 * longer tells of it by name; its part stays in the sums. Goes on from where it left off, so that
 * many short threads stay cheap. */
static struct ledger_slot *evict(struct ledger *ledger) {
    for (size_t step = 0; step < LEDGER_SLOTS; step++) {
        struct ledger_slot *slot = &ledger->slots[ledger->hand];
        ledger->hand = (ledger->hand + 1) % LEDGER_SLOTS;
        if (ledger_has_ended(slot) && !slot->internal && slot != ledger->holder) {
            count_as_omitted(ledger, slot);
            unlink_slot(ledger, slot);
            if (ledger->former == slot) {
                ledger->former = NULL;
            }
            return slot;
        }
    }
    return NULL;
}

static struct ledger_slot *find_slot(struct ledger *ledger) {
    if (ledger->free == NULL) {
        reclaim_internal(ledger);
    }
    struct ledger_slot *slot = ledger->free;
    if (slot != NULL) {
        ledger->free = slot->next;
        return slot;
    }
    return ledger->used < LEDGER_SLOTS ? &ledger->slots[ledger->used++] : evict(ledger);
}

struct ledger_slot *ledger_enroll(struct ledger *ledger, uint64_t ident, uint64_t native_id) {
    struct ledger_slot *slot = find_slot(ledger);
    if (slot == NULL) {
        ledger->lost = true;
        return NULL;
    }
    memset(slot, 0, sizeof *slot);
    slot->ident = ident;
    slot->native_id = native_id;
    slot->serial = ++ledger->serial;
    slot->previous = ledger->latest;
    *(ledger->latest ? &ledger->latest->next : &ledger->oldest) = slot;
    ledger->latest = slot;
    ledger->live++;
    list_as_nameless(ledger, slot);
    return slot;
}

void ledger_name(struct ledger *ledger, struct ledger_slot *slot, const char *name) {
    size_t size = strnlen(name, sizeof slot->name - 1);
    memcpy(slot->name, name, size);
    slot->name[size] = '\0';
    strike_from_nameless(ledger, slot);
}

size_t ledger_take_nameless(struct ledger *ledger, struct ledger_slot **slots, size_t size) {
    size_t count = 0;
    for (struct ledger_slot *slot = ledger->nameless, *next; slot != NULL && count < size;
         slot = next) {
        next = slot->nameless_next;
        uint64_t turns = slot->sums.acquisitions + 1;
        bool ended = ledger_has_ended(slot);
        if (ended) {
            strike_from_nameless(ledger, slot);
        }
        if (ended || slot->told_nameless != turns) {
            slot->told_nameless = turns;
            slots[count++] = slot;
        }
    }
    return count;
}

bool ledger_has_thread_called(const struct ledger *ledger, const char *os_name) {
    for (const struct ledger_slot *slot = ledger->latest; slot != NULL; slot = slot->previous) {
        if (slot->name[0] != '\0' && strncmp(slot->name, os_name, LEDGER_OS_NAME_SIZE - 1) == 0) {
            return true;
        }
    }
    return false;
}

void ledger_mark_internal(struct ledger *ledger, struct ledger_slot *slot) {
    if (!slot->internal) {
        unlink_slot(ledger, slot);
        if (slot->wait_since != 0) {
            ledger->waiting--;
        }
        slot->internal = true;
        slot->next = ledger->internal;
        ledger->internal = slot;
    }
}

void ledger_ended(struct ledger_slot *slot, const char *os_name) {
    strncpy(slot->os_name, os_name, sizeof slot->os_name - 1);
    __atomic_store_n(&slot->ended, 1, __ATOMIC_RELEASE);
}

bool ledger_resume(struct ledger *ledger, struct ledger_slot *slot, uint64_t serial) {
    if (slot->serial != serial) {
        return false;
    }
    __atomic_store_n(&slot->ended, 0, __ATOMIC_RELEASE);
    if (slot->name[0] == '\0' && !slot->nameless && !slot->internal) {
        list_as_nameless(ledger, slot);
    }
    return true;
}

/* Put a slot into the live list at its place, most often the last. */
static void link_by_serial(struct ledger *ledger, struct ledger_slot *slot) {
    struct ledger_slot *before = ledger->latest;
    while (before != NULL && before->serial > slot->serial) {
        before = before->previous;
    }
    slot->previous = before;
    slot->next = before != NULL ? before->next : ledger->oldest;
    *(slot->previous ? &slot->previous->next : &ledger->oldest) = slot;
    *(slot->next ? &slot->next->previous : &ledger->latest) = slot;
    ledger->live++;
}

void list_slots_anew(struct ledger *ledger, const struct ledger_slot *survivor) {
    ledger->free = ledger->internal = ledger->oldest = ledger->latest = ledger->nameless = NULL;
    ledger->live = ledger->nameless_count = 0;
    ledger->waiting = 0;
    for (size_t i = 0; i < ledger->used; i++) {
        struct ledger_slot *slot = &ledger->slots[i];
        slot->nameless = false;
        if (slot->serial == 0 || slot->internal) {
            give_back(ledger, slot);
            continue;
        }
        forget_request(ledger, slot);
        slot->ended = slot != survivor;
        link_by_serial(ledger, slot);
        if (slot->name[0] == '\0') {
            list_as_nameless(ledger, slot);
        }
    }
}
