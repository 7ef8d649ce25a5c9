/* The audit of holds: those that go on although a waiter has asked the holder to let the GIL go. */
#include "native/accounting_audit.h"

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <errno.h>

#include "native/accounting_looks.h"
#include "native/clock.h"
#include "native/places.h"
#include "native/run_delay.h"

#define AUDIT_FRESH_NS 100000 /* how old a look at a holder may be as it is asked to let go */
#define AUDIT_LOOK_NS 700000  /* after a holder was asked to let go: below ACCOUNTING_GRACE_NS */

struct accounting_audit audit;

/* Whether the hold `turn` goes on, of a thread of the program. The mutex is held. */
static bool goes_on(uint64_t turn) {
    return is_taken() && ledger.holder != NULL && !ledger.holder->internal && ledger.turns == turn;
}

bool audit_wants_look(void) {
    return (looks.at_release & AT_RELEASE_AUDIT) != 0 && goes_on(audit.asked.turn) &&
           audit.asked.hold.holder.place == PLACE_UNKNOWN;
}

uint64_t audit_look_in(void) {
    if (!audit_wants_look()) {
        return UINT64_MAX;
    }
    uint64_t now = clock_ticks();
    return audit.asked.look_due > now ? ns_of(audit.asked.look_due - now) : 0;
}

/* Only what a thread does after it was asked counts. */
int ask_audited_hold(pthread_mutex_t *mutex, uint64_t turn) {
    bool asked = (looks.at_release & AT_RELEASE_AUDIT) != 0 && audit.asked.turn == turn;
    if (!goes_on(turn) || asked) {
        return ETIMEDOUT;
    }
    struct audited_hold found = {
        .turn = turn, .hold = {.since = ledger.held_since, .holder = somebody(ledger.holder)}};
    struct stack_aim aim;
    bool collecting = collects(ledger.holder);
    looks.reader.aim(&aim);
    hooks.unlock(mutex);
    found.delay_known = run_delay_of(found.hold.holder.native_id, &found.delay);
    uint64_t looked = clock_ticks();
    found.place_before = looks.reader.look(&aim, collecting);
    hooks.lock(mutex);
    asked = (looks.at_release & AT_RELEASE_AUDIT) != 0 && audit.asked.turn == turn;
    if (goes_on(turn) && !asked) {
        found.hold.asked = clock_ticks();
        if (ns_of(clock_elapsed(looked, found.hold.asked)) > AUDIT_FRESH_NS) {
            found.place_before = PLACE_UNKNOWN;
        }
        found.look_due = found.hold.asked + ticks_of(AUDIT_LOOK_NS);
        audit.asked = found;
        looks.at_release |= AT_RELEASE_AUDIT;
    }
    return is_taken() ? ETIMEDOUT : 0;
}

/* See where the holder stands that does not let go. Bytecode would have by now. */
void look_at_audited_hold(pthread_mutex_t *mutex) {
    struct stack_aim aim;
    uint64_t turn = ledger.turns;
    bool collecting = collects(ledger.holder);
    audit.asked.look_due =
        clock_ticks() + ticks_of(AUDIT_LOOK_NS); /* others need not look as well */
    looks.reader.aim(&aim);
    hooks.unlock(mutex);
    uint32_t place = looks.reader.look(&aim, collecting);
    hooks.lock(mutex);
    if (audit_wants_look() && audit.asked.turn == turn) {
        audit.asked.hold.holder.place = place;
    }
}

void end_audited_hold(void) {
    struct audited_hold *asked = &audit.asked;
    asked->hold.now = self.leaving;
    looks.at_release &= ~(unsigned)AT_RELEASE_AUDIT;
    if (asked->turn == ledger.turns &&
        ns_of(clock_elapsed(asked->hold.asked, self.leaving)) > ACCOUNTING_GRACE_NS) {
        if (asked->hold.holder.place == PLACE_UNKNOWN) {
            asked->hold.holder.place = asked->place_before;
        }
        self.hold = *asked;
        self.errands |= ERRAND_TELL_HOLD;
    }
}

void tell_hold(void) {
    const struct charges_hold *hold = &self.hold.hold;
    uint64_t kept = ns_of(clock_elapsed(hold->asked, hold->now)), delay;
    if (self.hold.delay_known && run_delay_of(hold->holder.native_id, &delay)) {
        uint64_t since = delay - self.hold.delay;
        kept = since < kept ? kept - since : 0;
    }
    if (kept > ACCOUNTING_GRACE_NS) {
        charges_held(hold);
    }
}

void accounting_audit(bool on) {
    lock_ledger();
    audit.users += on ? 1 : (size_t)-1;
    unlock_ledger();
}

#endif
