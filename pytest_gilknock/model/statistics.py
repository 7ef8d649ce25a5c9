"""What few trials say of a share. Pure."""

from __future__ import annotations

import math

_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


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
