"""What few trials say: of a share, and of where the next value may lie. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median

_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of a set of waits, from a log-linear histogram: each is within 4 % of the truth."""

    count: int
    """How many waits there were, 1 or more."""

    p50: float
    """Median (s): half of the waits were no longer."""

    p90: float
    """90 % quantile (s)."""

    p99: float
    """99 % quantile (s)."""

    max: float
    """The longest wait (s)."""


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, for ``hits`` of ``trials`` > 0.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22 (1927): true to its confidence for few trials and for
    shares near 0 and 1, where the textbook interval is not.
    """
    share = hits / trials
    z2 = _Z95 * _Z95 / trials
    middle = (share + z2 / 2) / (1 + z2)
    spread = _Z95 / (1 + z2) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    # The bounds of none and of all are 0 and 1, which rounding would miss by a hair.
    return middle - spread if hits else 0.0, middle + spread if hits < trials else 1.0


NOISE_RUNS = 3
"""From so many values on their spread is known at all."""

OUTLIER_SCORE = 3.5
_MAD_OF_SIGMA = 1.4826
_MAD_CORRECTIONS = {3: 1.495, 4: 1.363, 5: 1.206, 6: 1.2, 7: 1.14, 8: 1.129, 9: 1.107}


def sigma(values: Sequence[float]) -> float:
    """Return the standard deviation of three values or more, by their median absolute deviation.

    That one is not moved by a single wild value. The factors that keep it from being too small for
    few values are those of C. Croux and P. J. Rousseeuw, "Time-efficient algorithms for two highly
    robust estimators of scale", Computational Statistics 1 (1992), as R's ``robustbase`` has them.
    """
    middle = median(values)
    deviation = median(abs(value - middle) for value in values)
    number = len(values)
    return _MAD_OF_SIGMA * _MAD_CORRECTIONS.get(number, number / (number - 0.8)) * deviation


def outlier_distance(values: Sequence[float], attempts: int = 1) -> float:
    """Return how far from the median of three values or more an outlier begins.

    A value is one if its modified z-score is above 3.5: B. Iglewicz and D. C. Hoaglin, "How to
    detect and handle outliers" (1993); NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17.
    Where most of several attempts decide, the score is that which most of them exceed by chance as
    seldom as one exceeds 3.5.
    """
    return _score(attempts) * sigma(values)


def majority(attempts: int) -> int:
    """Return how many are most of so many attempts."""
    return attempts // 2 + 1


@lru_cache
def _score(attempts: int) -> float:
    normal = NormalDist()
    chance = 1.0 - normal.cdf(OUTLIER_SCORE)
    low, high = 0.0, OUTLIER_SCORE
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _most_exceed(1.0 - normal.cdf(middle), attempts) > chance:
            low = middle
        else:
            high = middle
    return high


def _most_exceed(share: float, attempts: int) -> float:
    """Return how likely it is that most of the attempts do what each does with this chance."""
    return sum(
        math.comb(attempts, number) * share**number * (1.0 - share) ** (attempts - number)
        for number in range(majority(attempts), attempts + 1)
    )
