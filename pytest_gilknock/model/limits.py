"""Limits on a reading, and whether a reading keeps them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.model import units
from pytest_gilknock.model.statistics import wilson_interval

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.wire import Kind

NO_KNOCK = "was not measured: no knock fell into the window"


class Limit(NamedTuple):
    """A bound on contention or max wait. A reading equal to the bound keeps it.

    ``bound`` is a share (contention) or seconds (max_wait); ``source`` names where the user wrote
    it.
    """

    kind: Kind
    bound: float
    source: str

    @property
    def bound_text(self) -> str:
        """The bound as the user may have written it: ``0.3``, ``20 ms``."""
        return f"{self.bound:g}" if self.kind == "contention" else units.exact_seconds(self.bound)


class LimitVerdict(NamedTuple):
    """What became of a limit that a reading does not surely keep.

    ``breached`` is ``False`` where the reading is inconclusive; ``fact`` says what was measured,
    and why that is or is not enough.
    """

    limit: Limit
    breached: bool
    fact: str


def judge(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    """Return ``None`` if ``reading`` surely keeps ``limit``, else a verdict with its reason."""
    if reading.method == "disabled":
        return LimitVerdict(limit, False, "the GIL is disabled: there is nothing to judge")
    if limit.kind == "max_wait":
        return _judge_max_wait(reading, limit)
    if reading.held is not None:
        return _judge_contention(reading, limit)
    return _judge_sampled_contention(reading, limit)


def _judge_max_wait(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    if reading.max_wait is None:
        return LimitVerdict(
            limit, False, "max wait was not measured: no knock fell into the window"
        )
    if reading.max_wait <= limit.bound:
        return None
    return LimitVerdict(
        limit, True, f"max wait {units.seconds(reading.max_wait)}, limit {limit.bound_text}"
    )


def _judge_contention(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    contention = reading.contention
    if contention is None or contention <= limit.bound:
        return None
    return LimitVerdict(limit, True, f"contention {contention:.3f}, limit {limit.bound_text}")


def _judge_sampled_contention(reading: GilReading, limit: Limit) -> LimitVerdict | None:
    if reading.knocks == 0:
        return LimitVerdict(
            limit, False, "contention was not measured: no knock fell into the window"
        )
    low, high = wilson_interval(reading.knocks_waited, reading.knocks)
    if high <= limit.bound or limit.bound == 1.0:
        return None
    breached = low > limit.bound
    enough = "" if breached else ", not enough to judge"
    return LimitVerdict(
        limit,
        breached,
        f"contention {reading.knocks_waited / reading.knocks:.3f}, limit {limit.bound_text}"
        f" ({reading.knocks_waited} of {units.count(reading.knocks, 'knock')} waited:"
        f" {low:.3f} to {high:.3f} with 95 % confidence{enough})",
    )
