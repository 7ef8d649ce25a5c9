"""Limits on a reading: how they are written, and whether a reading keeps them. Pure, no pytest."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.render import format as text

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.wire import Kind

SHARE_FORM = "a share from 0 to 1, such as 0.3 or '30%'"
DURATION_FORM = "a number of seconds, or a time with its unit: '300us', '20ms', '1.5s', '2min'"

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_NUMBER = r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*"
_SHARE = re.compile(rf"{_NUMBER}(%?)\s*", re.ASCII)
_DURATION = re.compile(rf"{_NUMBER}(us|ms|s|min)?\s*", re.ASCII)

_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


class Limit(NamedTuple):
    """A bound on one measure. A reading equal to the bound keeps it.

    ``bound`` is a share (contention) or seconds (max_wait); ``source`` names where the user wrote
    it.
    """

    kind: Kind
    bound: float
    source: str

    @property
    def bound_text(self) -> str:
        """The bound as the user may have written it: ``0.3``, ``20 ms``."""
        return f"{self.bound:g}" if self.kind == "contention" else text.exact_seconds(self.bound)


class Verdict(NamedTuple):
    """What became of a limit that a reading does not surely keep.

    ``breached`` is ``False`` where the reading cannot tell; ``fact`` says what was measured, and
    why that is or is not enough.
    """

    limit: Limit
    breached: bool
    fact: str


def parse_share(value: object) -> float:
    """Return a share from 0 to 1 from a number or a text such as ``"30%"``.

    Raises ValueError, with the value and the accepted form in its text.
    """
    number = _number(value)
    if number is None and isinstance(value, str) and (match := _SHARE.fullmatch(value)):
        number = float(match[1]) / (100.0 if match[2] else 1.0)
    if number is None or not 0.0 <= number <= 1.0:
        raise ValueError(f"{value!r} is not {SHARE_FORM}")
    return number


def parse_duration(value: object) -> float:
    """Return seconds from a number of seconds or a text such as ``"20ms"``.

    Raises ValueError, with the value and the accepted form in its text.
    """
    number = _number(value)
    if number is None and isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        number = float(match[1]) * _UNITS[match[2] or "s"]
    if number is None or not 0.0 <= number < math.inf:
        raise ValueError(f"{value!r} is not {DURATION_FORM}")
    return number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:  # an int beyond every float
        return math.inf


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


def judge(reading: GilReading, limit: Limit) -> Verdict | None:
    """Return ``None`` if ``reading`` surely keeps ``limit``, else a verdict with its reason."""
    if reading.method == "disabled":
        return Verdict(limit, False, "the GIL is disabled: there is nothing to judge")
    if limit.kind == "max_wait":
        return _judge_max_wait(reading, limit)
    if reading.held is not None:
        return _judge_contention(reading, limit)
    return _judge_sampled_contention(reading, limit)


def _judge_max_wait(reading: GilReading, limit: Limit) -> Verdict | None:
    if reading.max_wait is None:
        return Verdict(limit, False, "max wait was not measured: no knock fell into the window")
    if reading.max_wait <= limit.bound:
        return None
    return Verdict(
        limit, True, f"max wait {text.seconds(reading.max_wait)}, limit {limit.bound_text}"
    )


def _judge_contention(reading: GilReading, limit: Limit) -> Verdict | None:
    contention = reading.contention
    if contention is None or contention <= limit.bound:
        return None
    return Verdict(limit, True, f"contention {contention:.3f}, limit {limit.bound_text}")


def _judge_sampled_contention(reading: GilReading, limit: Limit) -> Verdict | None:
    if reading.knocks == 0:
        return Verdict(limit, False, "contention was not measured: no knock fell into the window")
    low, high = wilson_interval(reading.knocks_waited, reading.knocks)
    if high <= limit.bound or limit.bound == 1.0:
        return None
    breached = low > limit.bound
    enough = "" if breached else ", not enough to judge"
    return Verdict(
        limit,
        breached,
        f"contention {reading.knocks_waited / reading.knocks:.3f}, limit {limit.bound_text}"
        f" ({reading.knocks_waited} of {text.count(reading.knocks, 'knock')} waited:"
        f" {low:.3f} to {high:.3f} with 95 % confidence{enough})",
    )
