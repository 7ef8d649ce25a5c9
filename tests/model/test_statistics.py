import math
import random
from statistics import NormalDist, mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilknock.model.statistics import OUTLIER_SCORE, outlier_distance, sigma, wilson_interval


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_where_the_share_is_two_deviations_off(hits_of_trials):
    hits, trials = hits_of_trials
    share = hits / trials
    low, high = wilson_interval(hits, trials)
    assert 0.0 <= low <= share <= high <= 1.0
    assert (low == 0.0) == (hits == 0)
    assert (high == 1.0) == (hits == trials)
    for bound in (low, high):
        if 0.0 < bound < 1.0:
            deviations = abs(share - bound) / math.sqrt(bound * (1 - bound) / trials)
            assert deviations == pytest.approx(1.959964, abs=1e-4)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_wilson_interval(hits, trials, low, high):
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("number", [3, 4, 5, 8, 9, 12, 30])
def test_sigma_of_few_values_is_right_on_average(number):
    chance = random.Random(number)
    found = [sigma([chance.gauss(7.0, 2.0) for _ in range(number)]) for _ in range(20_000)]
    assert mean(found) == pytest.approx(2.0, rel=0.03)


def test_sigma_is_not_moved_by_a_single_wild_value():
    assert sigma([1.0, 2.0, 3.0, 4.0, 1e9]) == sigma([1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize("attempts", [1, 2, 3, 4, 5, 21])
def test_most_of_several_attempts_are_outliers_as_seldom_as_one(attempts):
    values = [1.0, 2.0, 4.0, 5.0]
    score = outlier_distance(values, attempts) / sigma(values)
    normal = NormalDist()
    one = 1.0 - normal.cdf(score)
    chance = sum(
        math.comb(attempts, over) * one**over * (1.0 - one) ** (attempts - over)
        for over in range(attempts + 1)
        if over > attempts / 2
    )
    assert chance == pytest.approx(1.0 - normal.cdf(OUTLIER_SCORE), rel=1e-6)
