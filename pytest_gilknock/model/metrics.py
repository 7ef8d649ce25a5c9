"""The metrics that are compared between runs. Each is one row, with all that must be known of it.

The gate's grammar, the comparison, the tables, JUnit's properties and github-action-benchmark take
a metric's name, unit and amounts from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pytest_gilknock.model.units import COUNT, SECONDS, SHARE, Unit

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.wire import Method


class Conditions(Protocol):
    """What a value was measured under."""

    @property
    def method(self) -> Method: ...
    @property
    def wall(self) -> float:
        """The window's length (s)."""

    @property
    def ready(self) -> float:
        """Processor time (s) that the process used or lost to others."""

    @property
    def threads(self) -> int:
        """How many threads took the GIL, or, where it is off, waited for what is in its place."""


class Others(NamedTuple):
    """What others had of the processor time that a process was ready to use: both 0 to 1."""

    share: float
    """The share that they had, and the process lost."""
    slowdown: float
    """By what share of its time something in the process took longer for that reason."""

    @classmethod
    def likely(cls, share: float) -> Others:
        """All that the process does takes longer by the share that it lost."""
        return cls(share, share)

    @classmethod
    def at_most(cls, share: float) -> Others:
        """The thread that holds the GIL needs a processor, and the one that waits needs the next:
        others may have held up both, one after the other.
        """
        return cls(share, 1.0 - (1.0 - share) ** 2)


Delay = Callable[[float, Conditions, Others], float]
"""How much of a value is due to others, in the metric's unit: 0 to the whole value."""


def _no_delay(value: float, conditions: Conditions, others: Others) -> float:
    return 0.0


def _delay_in_wait(value: float, conditions: Conditions, others: Others) -> float:
    """What every thread does takes longer, and so do the waits for it.

    No thread waits longer for it than the processor time that was lost, also where most of the
    window is slept through with the GIL held.
    """
    lost = conditions.ready * others.share * max(conditions.threads, 1)
    return min(value * others.slowdown, lost)


def _delay_at_once(value: float, conditions: Conditions, others: Others) -> float:
    """All that was lost may have been lost at once, by the thread that held the GIL."""
    return min(conditions.ready * others.share, value)


def _delay_in_contention(value: float, conditions: Conditions, others: Others) -> float:
    """Without the others the GIL would be held for less, and the window be shorter by as much.

    Nothing is known of a window of which others had everything.
    """
    if conditions.method == "sampled":
        return 0.0
    window = 1.0 - value * others.slowdown
    if window <= 0.0:
        return value
    return value - value * (1.0 - others.slowdown) / window


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a test that a later run may be compared with."""

    name: str
    unit: Unit
    of: Callable[[GilReading], float | None]
    """Takes the value from a reading, None where it was not measured."""
    floor: float
    """What a gate with a relative part alone allows at least.

    Without it every test with a baseline of zero would fail such a gate at its first microsecond.
    """
    noticeable: tuple[float, float]
    """A change worth a row where no gate says otherwise: absolute, and as a share of the value
    before; it must exceed both."""
    worse: Literal["higher", "lower"] = "higher"
    """The direction in which a change is for the worse."""
    shown: bool = True
    """Whether reports show it without being asked; otherwise it is compared where it is gated."""
    asked_for: str = ""
    """The option that asks for it, if it is measured only where someone does; a test's properties
    have it there."""
    without_gil: bool = False
    """Whether it is measured where the GIL is off, too: there as what threads wait for instead."""
    delay: Delay = _no_delay
    """How much of a value is due to others that used the processors."""
    slack: float = 0.0
    """Seconds of the window by which a share may differ at any value: in a short window it depends
    on how the threads happen to start."""
    most: float = math.inf
    """The highest value there is."""
    knocked: bool = False
    """Whether a sampled reading has it as a share of its knocks, with that share's uncertainty."""

    since: int = 1
    """The schema of the baselines that have it; older ones have it not measured."""

    def is_of_knocks(self, conditions: Conditions) -> bool:
        """Return whether a value is a share of knocks, with the uncertainty of their number."""
        return self.knocked and conditions.method == "sampled"

    @property
    def is_of_locks(self) -> bool:
        """Return whether it tells of other locks than the GIL."""
        return self.asked_for == "--gil-locks"

    def worse_by(self, value: float, usual: float) -> float:
        """Return by how much a value is worse than another; negative where it is better."""
        return value - usual if self.worse == "higher" else usual - value

    @property
    def title(self) -> str:
        """The name as a table prints it."""
        return self.name.replace("_", " ")

    @property
    def property_name(self) -> str:
        """The name with its unit, as JUnit's properties have it after ``gil_``."""
        return self.name + self.unit.suffix

    def signed(self, difference: float) -> str:
        """Return a difference with its sign and unit."""
        return ("-" if difference < 0 else "+") + self.unit.printed(abs(difference))


_ROWS = (
    Metric(
        name="contention",
        unit=SHARE,
        of=lambda reading: reading.contention,
        floor=0.01,
        noticeable=(0.05, 0.1),
        delay=_delay_in_contention,
        slack=5e-3,
        most=1.0,
        knocked=True,
    ),
    Metric(
        name="wait",
        unit=SECONDS,
        of=lambda reading: reading.interpreter_wait,
        floor=1e-3,
        noticeable=(5e-3, 0.25),
        without_gil=True,
        delay=_delay_in_wait,
    ),
    Metric(
        name="max_wait",
        unit=SECONDS,
        of=lambda reading: reading.longest_interpreter_wait,
        floor=1e-3,
        noticeable=(5e-3, 0.5),
        without_gil=True,
        delay=_delay_at_once,
    ),
    Metric(
        name="contended",
        unit=COUNT,
        of=lambda reading: reading.contended,
        floor=10,
        noticeable=(100, 0.5),
        shown=False,
    ),
    Metric(
        name="max_hold",
        unit=SECONDS,
        of=lambda reading: reading.max_hold,
        floor=1e-3,
        noticeable=(5e-3, 0.5),
        shown=False,
        asked_for="--gil-audit",
        delay=_delay_at_once,
        since=3,
    ),
    Metric(
        name="lock_wait",
        unit=SECONDS,
        of=lambda reading: reading.locks.lock_wait,
        floor=1e-3,
        noticeable=(5e-3, 0.25),
        shown=False,
        asked_for="--gil-locks",
        without_gil=True,
        delay=_delay_in_wait,
        since=4,
    ),
    Metric(
        name="stop_the_world",
        unit=SECONDS,
        of=lambda reading: (
            None if (waits := reading.locks.stop_the_world) is None else waits.waited
        ),
        floor=1e-3,
        noticeable=(5e-3, 0.25),
        shown=False,
        asked_for="--gil-locks",
        without_gil=True,
        delay=_delay_in_wait,
        since=4,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}
"""All metrics by name, in the order in which reports have them."""
