#include "native/look_votes.h"

#include <stddef.h>

#include "native/places.h"

static void vote_for_place(struct look_votes *votes, uint32_t place) {
    if (place == PLACE_UNKNOWN) {
        return;
    }
    if (votes->place_votes == 0) {
        votes->candidate.place = place;
    }
    votes->place_votes += place == votes->candidate.place ? 1u : -1u;
}

void look_votes_add(struct look_votes *votes, const struct charges_thread *holder) {
    votes->looks++;
    if (votes->votes != 0 && holder->serial != votes->candidate.serial) {
        votes->votes--;
        return;
    }
    if (votes->votes == 0 && (votes->seen == 0 || holder->serial != votes->candidate.serial)) {
        votes->candidate = *holder;
        votes->candidate.place = PLACE_UNKNOWN;
        votes->seen = votes->place_votes = 0;
    }
    votes->votes++;
    votes->seen++;
    vote_for_place(votes, holder->place);
}

struct charges_thread look_votes_majority(const struct look_votes *votes) {
    return 2 * (uint64_t)votes->seen > votes->looks
               ? votes->candidate
               : (struct charges_thread){.place = PLACE_UNKNOWN};
}

void recent_looks_add(struct recent_looks *recent, const struct charges_thread *holder,
                      uint64_t at) {
    size_t place = recent->count++ % RECENT_LOOKS;
    recent->looks[place].at = at;
    recent->looks[place].holder = *holder;
}

/* The latest look is 1 back. */
static const struct recent_look *look_back(const struct recent_looks *recent, uint64_t back) {
    return &recent->looks[(recent->count - back) % RECENT_LOOKS];
}

bool recent_looks_vote(const struct recent_looks *recent, uint64_t since,
                       struct look_votes *votes) {
    *votes = (struct look_votes){.looks = 0};
    for (uint64_t back = 1; back <= recent->count; back++) {
        const struct recent_look *look = look_back(recent, back);
        if (look->at < since) {
            break;
        }
        if (back == RECENT_LOOKS) {
            return false;
        }
        look_votes_add(votes, &look->holder);
    }
    votes->candidate.place = PLACE_UNKNOWN;
    votes->seen = votes->place_votes = 0;
    for (uint64_t back = 1; back <= votes->looks; back++) {
        const struct charges_thread *holder = &look_back(recent, back)->holder;
        if (holder->serial == votes->candidate.serial) {
            votes->seen++;
            vote_for_place(votes, holder->place);
        }
    }
    return true;
}
