#define _GNU_SOURCE
#include "native/parking_threads.h"

#ifdef ELF_SUPPORTED

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/parking_places.h"
#include "native/parking_recording.h"
#include "native/parking_sums.h"
#include "native/thread_birth.h"

/* Move what a slot has of a window to what the window has of threads without a slot. */
static void fold(struct slot *slot, int index) {
    struct window *window = &windows[index];
    struct part *part = &slot->parts[index];
    if (part->generation != window->generation || window->generation == 0) {
        return;
    }
    STORE(part->generation, 0); /* a child that is forked meanwhile does not count it twice */
    for (int i = 0; i < PARKING_KINDS; i++) {
        add_sums(&window->folded.kinds[i], &part->kinds[i]);
        note_longest(&window->folded.longest[i], &part->longest[i]);
    }
    window->folded.spins += part->spins;
    for (int i = 0; i < PARKING_TYPES && part->types[i].type != 0; i++) {
        add_sums(sums_of_type(&window->folded, part->types[i].type), &part->types[i].sums);
    }
    add_sums(&window->folded.other_types, &part->other_types);
    wipe_part(part, 0);
}

/* Whether an open window needs the slot of a thread that has ended. */
static bool is_needed(const struct slot *slot) {
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i) && windows[i].by_thread && windows[i].generation <= slot->ended_at) {
            return true;
        }
    }
    return false;
}

/* Free the slot of a thread that has ended, though windows may still show it. */
static void give_up(struct slot *slot) {
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i) && slot->parts[i].generation == windows[i].generation) {
            windows[i].omitted += windows[i].by_thread && has_waited(&slot->parts[i]);
            fold(slot, i);
        }
    }
    STORE(slot->state, SLOT_FREE);
}

static struct slot *find_slot(void) {
    for (size_t i = 0; i < PARKING_THREADS; i++) {
        struct slot *slot = &slots[i];
        if (slot->state == SLOT_ENDED && !is_needed(slot)) {
            give_up(slot);
        }
        if (slot->state == SLOT_FREE) {
            return slot;
        }
    }
    for (size_t i = 0; i < PARKING_THREADS; i++) {
        if (slots[i].state == SLOT_ENDED) {
            give_up(&slots[i]);
            return &slots[i];
        }
    }
    return NULL;
}

/* What the key has in a thread without a slot. */
static char no_slot;

static void leave_out(void) {
    lot.left_out++;
    own.left_out = true;
    STORE(lot.lost_in, lot.generation);
    pthread_setspecific(lot.key, &no_slot); /* where that fails, it counts as alive for good */
}

void waiter_ends(void *object) {
    if (object == &no_slot) {
        pthread_mutex_lock(&lot.lock);
        lot.left_out--;
        pthread_mutex_unlock(&lot.lock);
        return;
    }
    struct slot *slot = object;
    if (slot->wait.goes_on != 0) {
        drop_wait(slot);
    }
    pthread_mutex_lock(&lot.lock);
    own.slot = NULL;
    own.left_out = true;
    slot->ended_at = lot.generation;
    STORE(slot->state, SLOT_ENDED);
    for (int i = 0; i < PARKING_WINDOWS; i++) {
        if (is_open(i) && !windows[i].by_thread) {
            fold(slot, i);
        }
    }
    pthread_mutex_unlock(&lot.lock);
}

uint64_t own_native_id(void) {
    if (own.native_id == 0) {
        own.native_id = (uint64_t)syscall(SYS_gettid);
    }
    return own.native_id;
}

struct slot *enroll(void) {
    const struct birth *birth = birth_of_self();
    pthread_mutex_lock(&lot.lock);
    struct slot *slot = find_slot();
    if (slot == NULL || pthread_setspecific(lot.key, slot) != 0) {
        leave_out();
        pthread_mutex_unlock(&lot.lock);
        return NULL;
    }
    slot->ident = (uint64_t)pthread_self();
    slot->native_id = own_native_id();
    snprintf(slot->name, sizeof slot->name, "%s", birth != NULL ? birth->name : "");
    STORE(slot->wait.identity, 0);
    STORE(slot->wait.since, 0);
    STORE(slot->wait.goes_on, 0);
    STORE(slot->semaphore, 0);
    STORE(slot->state, SLOT_ALIVE);
    size_t index = (size_t)(slot - slots);
    STORE(lot.used, index + 1 > lot.used ? index + 1 : lot.used);
    own.slot = slot;
    pthread_mutex_unlock(&lot.lock);
    return slot;
}

/* The kernel may have given the number to several, one after the other. */
void parking_thread_name(uint64_t native_id, char *name, size_t size) {
    const struct slot *found = NULL;
    pthread_mutex_lock(&lot.lock);
    for (size_t i = 0; i < lot.used; i++) {
        bool fits = slots[i].native_id == native_id && slots[i].state != SLOT_FREE;
        if (fits && (found == NULL || slots[i].state == SLOT_ALIVE)) {
            found = &slots[i];
        }
    }
    snprintf(name, size, "%s", found != NULL ? found->name : "");
    pthread_mutex_unlock(&lot.lock);
}

void end_other_threads(void) {
    for (size_t i = 0; i < lot.used; i++) {
        struct slot *slot = &slots[i];
        if (slot != own.slot && slot->state == SLOT_ALIVE) {
            slot->sequence += slot->sequence & 1;
            slot->wait.goes_on = 0;
            slot->ended_at = lot.generation;
            slot->state = SLOT_ENDED;
        }
    }
    if (own.slot != NULL) {
        own.slot->native_id = own_native_id();
    }
}

#endif
