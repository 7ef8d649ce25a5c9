#include "native/look_votes.h"

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
