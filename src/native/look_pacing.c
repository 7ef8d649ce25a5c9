#define _POSIX_C_SOURCE 200809L
#include "native/look_pacing.h"

#include <stdbool.h>

#include "native/random.h"

/* Of how many waits one is chosen whose beginning is to be looked at. */
static uint32_t one_beginning_in(const struct look_pacing *pacing, uint64_t mean) {
    uint64_t blind = LOOK_BLIND_NS * pacing->ticks_per_ms / 1000000;
    uint64_t usual = pacing->usual_wait < mean ? pacing->usual_wait : mean;
    return usual > blind ? (uint32_t)(usual / blind) : 1;
}

struct look_choice look_pacing_choose(struct look_pacing *pacing, uint64_t mean, uint64_t now) {
    uint64_t passed = now > pacing->begun ? now - pacing->begun : 0;
    uint64_t stretch = mean > pacing->ticks_per_ms ? mean : pacing->ticks_per_ms;
    if (passed >= stretch) {
        pacing->before = passed < 2 * stretch ? pacing->asked : 0;
        pacing->asked = 0;
        pacing->begun = now;
    }
    pacing->asked++;
    uint32_t k = pacing->asked > pacing->before ? pacing->asked : pacing->before;
    uint64_t drawn = k == 1 ? 0 : random_below(&pacing->random, k);
    uint32_t one_in = one_beginning_in(pacing, mean);
    bool begins = drawn == 0 && (one_in == 1 || random_below(&pacing->random, one_in) == 0);
    return (struct look_choice){.beginning = begins ? k * one_in : 0,
                                .rest = drawn == (k == 1 ? 0 : 1) ? k : 0};
}

/* By parts of itself, as it may be anything. */
void look_pacing_wait_note(struct look_pacing *pacing, uint64_t waited) {
    uint64_t usual = pacing->usual_wait, step = usual / 16 + 1;
    pacing->usual_wait = usual == 0 ? waited : waited > usual ? usual + step : usual - step;
}

uint64_t look_pacing_below(struct look_pacing *pacing, uint64_t bound) {
    return random_below(&pacing->random, bound);
}

/* -ln(u) for u in (0, 1], without the library of mathematics: u = m x 2^-e with m in [1, 2), and
 * ln(m) by its series in (m - 1) / (m + 1). */
static double minus_log(uint64_t word) {
    int zeros = __builtin_clzll(word | 1);
    double m = (double)(word << zeros | 1) / 9223372036854775808.0;
    double z = (m - 1.0) / (m + 1.0), square = z * z, term = z, sum = 0.0;
    for (int i = 1; i < 18; i += 2) {
        sum += term / i;
        term *= square;
    }
    return (zeros + 1) * 0.69314718055994531 - 2.0 * sum;
}

uint64_t look_pacing_draw(struct look_pacing *pacing, uint64_t mean) {
    return (uint64_t)(minus_log(random_next(&pacing->random)) * (double)mean);
}

#define BACKLOG 64 /* looks of a series that are not drawn one by one */

static void draw_next(struct look_pacing *pacing, struct look_series *series,
                      struct look_rate rate) {
    series->due += look_pacing_draw(pacing, rate.mean);
    series->stands_for = rate.mean * rate.weight;
}

struct look_series look_series_from(struct look_pacing *pacing, uint64_t from,
                                    struct look_rate rate) {
    struct look_series series = {.due = from};
    draw_next(pacing, &series, rate);
    return series;
}

uint64_t look_series_take(struct look_pacing *pacing, struct look_series *series, uint64_t until,
                          struct look_rate rate) {
    uint64_t taken = 0;
    while (series->due <= until) {
        taken += series->stands_for;
        if (until - series->due > BACKLOG * rate.mean) {
            taken += (until - series->due) * rate.weight;
            series->due = until;
        }
        draw_next(pacing, series, rate);
    }
    return taken;
}

/* What is below as often as above does not move. */
void look_lateness_note(const struct look_pacing *pacing, struct look_lateness *lateness,
                        uint64_t late) {
    uint64_t step = LOOK_LATE_STEP_NS * pacing->ticks_per_ms / 1000000;
    uint64_t most = LOOK_LATEST_NS * pacing->ticks_per_ms / 1000000;
    if (late > lateness->ticks) {
        lateness->ticks += lateness->ticks < most ? step : 0;
    } else {
        lateness->ticks -= lateness->ticks > step ? step : 0;
    }
}

static uint64_t between(uint64_t least, uint64_t value, uint64_t most) {
    return value < least ? least : value > most ? most : value;
}

/* By parts of itself, as it may be anything. */
void look_cost_note(const struct look_pacing *pacing, struct look_cost *cost, uint64_t took) {
    uint64_t step = cost->ticks / 16, per_ms = pacing->ticks_per_ms;
    cost->ticks = between(LOOK_COST_LEAST_NS * per_ms / 1000000,
                          took > cost->ticks ? cost->ticks + step : cost->ticks - step,
                          LOOK_COST_MOST_NS * per_ms / 1000000);
}

uint64_t look_pacing_mean_ns(uint64_t looks, uint64_t cost) {
    uint64_t last = LOOK_SHARE * cost;
    last = last > LOOK_LAST_MEAN_NS ? last : LOOK_LAST_MEAN_NS;
    uint64_t spent = looks < last / (cost + 1) ? looks * cost : last;
    return between(LOOK_FIRST_MEAN_NS, 4 * spent, last);
}
