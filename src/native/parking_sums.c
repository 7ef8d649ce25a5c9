#include "native/parking_sums.h"

#ifdef ELF_SUPPORTED

#include "native/clock.h"

void add_sums(struct parking_sums *to, const struct parking_sums *from) {
    to->count += from->count;
    to->total += from->total;
    to->longest = from->longest > to->longest ? from->longest : to->longest;
}

bool has_waited(const struct part *part) {
    bool waited = false;
    for (int i = 0; i < PARKING_KINDS; i++) {
        waited |= part->kinds[i].count != 0;
    }
    return waited;
}

/* Add to sums that others may read at this moment. */
static void count_wait(struct parking_sums *sums, uint64_t count, uint64_t waited, uint64_t whole) {
    STORE(sums->count, sums->count + count);
    STORE(sums->total, sums->total + waited);
    if (whole > sums->longest) {
        STORE(sums->longest, whole);
    }
}

struct parking_sums *sums_of_type(struct part *part, uint64_t type) {
    for (int i = 0; i < PARKING_TYPES && type != 0; i++) {
        struct typed_sums *typed = &part->types[i];
        if (typed->type == type || typed->type == 0) {
            STORE(typed->type, type);
            return &typed->sums;
        }
    }
    return &part->other_types;
}

void copy_words(void *to, const void *from, size_t size) {
    uint64_t *target = to;
    const uint64_t *source = from;
    for (size_t i = 0; i < size / sizeof *target; i++) {
        target[i] = LOAD(source[i]);
    }
}

void wipe_part(struct part *part, uint64_t generation) {
    uint64_t *words = (uint64_t *)part;
    for (size_t i = 0; i < sizeof *part / sizeof *words; i++) {
        STORE(words[i], 0);
    }
    STORE(part->generation, generation);
}

/* An earlier sleep of the attempt may have ended after the moment from which the window counts, and yet
 * before the window was there for it to be entered. So what was entered is asked, not the time. */
struct share share_of(const struct part *part, const struct wait *wait, uint64_t opened,
                      uint64_t now) {
    bool is_new = part->attempt != wait->began;
    uint64_t from = is_new ? wait->began : wait->since;
    return (struct share){clock_elapsed(from > opened ? from : opened, now),
                          is_new ? 0 : part->entered, is_new};
}

void note_longest(struct parking_longest *longest, const struct parking_longest *other) {
    if (other->waited > longest->waited) {
        STORE(longest->waited, other->waited);
        STORE(longest->began, other->began);
        STORE(longest->native_id, other->native_id);
        STORE(longest->place, other->place);
        STORE(longest->let_go_by, other->let_go_by);
        STORE(longest->let_go_at, other->let_go_at);
    }
}

void enter_wait(struct part *part, const struct wait *wait, const struct share *share,
                uint64_t native_id, const struct drawn *drawn) {
    uint64_t whole = share->before + share->waited;
    STORE(part->attempt, wait->began);
    STORE(part->entered, whole);
    count_wait(&part->kinds[wait->kind], share->is_new, share->waited, whole);
    note_longest(&part->longest[wait->kind],
                 &(struct parking_longest){whole, wait->began, native_id, drawn->place,
                                           drawn->let_go_by, drawn->let_go_at});
    if (wait->kind == PARKING_OBJECT) {
        count_wait(sums_of_type(part, wait->type), share->is_new, share->waited, whole);
    }
}

#endif
