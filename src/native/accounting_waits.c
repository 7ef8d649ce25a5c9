/* What the windows hear of a thread's wait as it is over: its length, who had the GIL for most of it, and
 * where it was waited.
 *
 * The stack of a thread stays as it is from when it asks for the GIL until it has it, so it can be read
 * at any moment between. Once the thread has the GIL, others wait until the reading is done; while it
 * waits, another thread is at work. So it reads its stack while it waits if it has waited for some ms,
 * is awake for a look or is about to be for the interpreter's own deadline, and the windows are going
 * to hear of that: when it has waited for longer than was drawn; or when few others wait, and still for
 * the first hold, as it waits behind long holds then as a rule. Others read it with the GIL. The state
 * that is read early is the one that the interpreter knows the thread by: a thread with several may
 * turn out to have waited with another one, and is read again.
 */
#define _POSIX_C_SOURCE 200809L
#include "native/accounting_waits.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include "native/accounting_looks.h"
#include "native/clock.h"
#include "native/places.h"

#define FEW_THREADS 4

/* Whether no more threads wait than may read their stacks for nothing. */
static bool few_wait(void) { return ledger.waiting <= FEW_THREADS; }

/* Draw for the calling thread's wait whether the windows are to hear where it was waited: with a chance by
 * its length, which shows later. */
static void draw_by_length(uint64_t mean) {
    self.lookout.told_mean = mean_for_each(mean);
    self.lookout.told_beyond = look_pacing_below(&looks.pacing, self.lookout.told_mean);
}

void wait_begins(uint64_t mean, uint64_t since) {
    draw_by_length(mean);
    uint64_t after = ticks_of(LOOK_LONG_HOLD_NS), beyond = self.lookout.told_beyond + 1;
    self.lookout.own_stack_due = since + (few_wait() || beyond < after ? after : beyond);
}

void wait_began_unseen(uint64_t now) {
    self.lookout = (struct lookout){.stage = LOOKOUT_LATER,
                                    .chosen = {.beginning = 1, .rest = 1},
                                    .beginning_until = now,
                                    .chosen_until = now,
                                    .first_holder = charges_nobody,
                                    .own_stack_due = OWN_STACK_NEVER};
}

/* Whether the windows are to hear where the calling thread waited for so long, and how many ticks that stands
 * for of waits of which they do not. They hear it of all waits behind holds that are long in the mean, as
 * there are few of these. */
static bool is_told(const struct ledger_slot *slot, uint64_t waited, uint64_t *stands_for) {
    if (self.lookout.told_mean == 0) {
        draw_by_length(mean_between_looks(false));
    }
    uint64_t mean = self.lookout.told_mean, holds = ledger.turns - slot->turns_at_request;
    bool is_certain = waited >= mean || waited >= holds * ticks_of(LOOK_LONG_HOLD_NS);
    *stands_for = is_certain ? 0 : mean - waited;
    return is_certain || waited > self.lookout.told_beyond;
}

bool own_stack_is_due(uint64_t now) { return now >= self.lookout.own_stack_due; }

void consider_own_stack(pthread_mutex_t *mutex, uint64_t now) {
    struct lookout *lookout = &self.lookout;
    uint64_t drawn = self.slot->wait_since + lookout->told_beyond + 1;
    bool is_first_hold = ledger.turns == self.slot->turns_at_request;
    if (now < drawn && !(is_first_hold && few_wait())) {
        lookout->own_stack_due = drawn;
        return;
    }
    lookout->own_stack_due = OWN_STACK_NEVER;
    hooks.unlock(mutex);
    uint64_t begun = clock_ticks();
    lookout->own_stack = looks.reader.while_waiting();
    uint64_t took = clock_elapsed(begun, clock_ticks());
    hooks.lock(mutex);
    look_cost_note(&looks.pacing, &looks.telling_cost, took);
}

static bool anybody_looks(void) {
    return looks.by_waiters || (looks.at_release & AT_RELEASE_LOOK) != 0;
}

/* Who had the GIL for most of the calling thread's wait, by the looks of all if those go back to its
 * beginning. */
static struct charges_thread holder_since(uint64_t since) {
    struct look_votes of_all;
    bool all_vote = recent_looks_vote(&looks.recent, since, &of_all);
    return look_votes_majority(all_vote ? &of_all : &self.lookout.votes);
}

void end_lookout(const struct ledger_slot *slot, uint64_t now) {
    struct lookout *lookout = &self.lookout;
    uint64_t waited = slot->last_wait;
    if (!slot->internal) {
        look_pacing_wait_note(&looks.pacing, waited);
    }
    if ((looks.at_release & AT_RELEASE_LOOK) != 0 && lookout->stage == LOOKOUT_NEW) {
        lookout->chosen = look_pacing_choose(&looks.pacing, mean_between_looks(false), now);
    }
    self.wait.may_be_longest = waited > charges_longest_known();
    self.wait.holder = self.wait.may_be_longest ? holder_since(now - waited) : charges_nobody;
    self.wait.is_told =
        !slot->internal && anybody_looks() && is_told(slot, waited, &self.wait.stands_for);
    if (slot->internal || lookout->chosen.beginning != 0 || self.wait.is_told ||
        self.wait.may_be_longest) {
        self.wait.since = now - waited;
        self.wait.now = now;
        self.errands |= ERRAND_TELL_WAIT;
    }
    if (self.wait.told_in != 0) {
        look_cost_note(&looks.pacing, &looks.telling_cost, self.wait.told_in);
        self.wait.told_in = 0;
    }
}

static uint32_t place_of_waiter(void) {
    const struct own_stack *early = &self.lookout.own_stack;
    if (early->state != NULL && looks.reader.waited_with(early->state)) {
        return early->place;
    }
    uint64_t begun = clock_ticks();
    uint32_t place = looks.reader.here();
    self.wait.told_in = clock_elapsed(begun, clock_ticks());
    return place;
}

void tell_wait(void) {
    struct lookout *lookout = &self.lookout;
    const struct ledger_slot *slot = self.slot;
    struct charges_wait wait = {
        .since = self.wait.since,
        .now = self.wait.now,
        .knock = slot->internal,
        .first_holder = lookout->first_holder,
        .first_stands_for = lookout->first_stands_for,
        .weight = lookout->chosen.beginning,
        .is_waiter_told = self.wait.is_told,
        .waiter_stands_for = self.wait.stands_for,
        .waiter = somebody(slot),
        .holder = self.wait.holder,
    };
    bool looked = lookout->stage != LOOKOUT_NEW;
    wait.first_until = looked
                           ? least(wait.now, least(lookout->beginning_until, lookout->chosen_until))
                           : wait.since;
    /* The longest wait is told, too, where nobody looks and there may be no reader. */
    bool place_counts = self.wait.is_told || self.wait.may_be_longest;
    if (!slot->internal && place_counts && looks.reader.here != NULL) {
        wait.waiter.place = place_of_waiter();
    }
    charges_waited(&wait);
}

#endif
