#include "native/knock_pacing.h"

#include "native/random.h"

uint64_t knock_pacing_next(struct knock_pacing *pacing, uint64_t now, struct knock_gaps gaps,
                           enum knock_pace pace) {
    if (pace != KNOCKS_GO_ON || pacing->gap == 0) {
        pacing->gap = gaps.first;
    }
    if (pacing->gap > gaps.mean) {
        pacing->gap = gaps.mean;
    }
    uint64_t start = pacing->stratum_end;
    bool is_far = start > now + pacing->gap; /* as the gap was longer then */
    if (pace == KNOCKS_FROM_NOW || start < now || is_far) {
        start = now;
    }
    pacing->stratum_end = start + pacing->gap;
    uint64_t moment = start + random_below(&pacing->random, pacing->gap);
    pacing->gap *= 2;
    return moment - now;
}

uint64_t knock_pacing_next_of_audit(struct knock_pacing *pacing, bool had_to_wait) {
    uint64_t mean = had_to_wait ? AUDIT_AFTER_WAIT_NS : AUDIT_AFTER_NONE_NS;
    return mean / 2 + random_below(&pacing->random, mean + mean / 2);
}
