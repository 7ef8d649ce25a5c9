#include "native/shares.h"

uint64_t shares_next(struct shares *shares, uint64_t part) {
    if (shares->total == 0) {
        return 0;
    }
    shares->parts += part;
    uint64_t until = (uint64_t)((unsigned __int128)shares->whole * shares->parts / shares->total);
    uint64_t share = until - shares->given;
    shares->given = until;
    return share;
}

void drawn_waits_add(struct drawn_waits *sum, const struct drawn_waits *more) {
    sum->waited += more->waited;
    sum->stands_for += more->stands_for;
}

struct drawn_shares drawn_shares_of(uint64_t whole, const struct drawn_waits *total) {
    uint64_t drawn = whole < total->waited ? whole : total->waited;
    return (struct drawn_shares){
        .drawn = {.whole = drawn, .total = total->waited},
        .others = {.whole = whole - drawn, .total = total->stands_for},
    };
}

uint64_t drawn_shares_next(struct drawn_shares *shares, const struct drawn_waits *part) {
    return shares_next(&shares->drawn, part->waited) +
           shares_next(&shares->others, part->stands_for);
}
