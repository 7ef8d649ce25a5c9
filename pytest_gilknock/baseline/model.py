"""A baseline: what a run measured, kept to compare later runs with. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.statistics import wilson_interval
from pytest_gilknock.model.units import SECONDS
from pytest_gilknock.render.format import printable

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.wire import Method


class BaselineError(Exception):
    """A baseline that cannot be read, written or added to; ``str()`` names it and the reason."""


@dataclass(frozen=True, slots=True)
class BaselineEntry:
    """One test's numbers, rounded so that files differ only where the numbers do.

    ``metrics`` has the value of each metric by its name, in its unit. Of what it was measured
    under, ``knocks``, ``knocks_waited`` and ``threads`` are counts, the others seconds. ``None`` is
    what was not measured.
    """

    method: Method
    metrics: Mapping[str, float | None]
    held: float | None
    wall: float
    knocks: int
    knocks_waited: int
    threads: int
    run_delay: float | None
    used: float | None = None
    """Processor time of the process and its children."""
    others: float | None = None
    """Processor time of others, on the processors that the process may use."""
    throttled: float | None = None
    """Time for which a quota kept the process' control group from running."""
    lost: float | None = None
    """Processor time that the process lost to others, at most."""
    processors: float | None = None
    """How many processors the process could use."""
    blame: str | None = None
    """Where the GIL was held while others waited longest, ``file:line function > callee``."""

    def as_list(self) -> list[Any]:
        """Return its fields in their order, as plain data."""
        return [getattr(self, name) for name in self.__slots__]

    @property
    def ready(self) -> float:
        """Processor time (s) that the process used or lost to others; 0 where not known."""
        return (self.used or 0.0) + (self.lost or 0.0)

    @property
    def lost_share(self) -> float:
        """The share that others took of the processor time that the process was ready to use.

        0 where that is not known.
        """
        return (self.lost or 0.0) / self.ready if self.ready else 0.0

    @property
    def knock_interval(self) -> tuple[float, float]:
        """The lowest and the highest share of waiting knocks that those there were leave likely."""
        if not self.knocks:
            return 0.0, 1.0
        return wilson_interval(min(self.knocks_waited, self.knocks), self.knocks)

    @classmethod
    def from_reading(cls, reading: GilReading, blame: str | None = None) -> BaselineEntry:
        """Keep the part of a reading that a later run is compared with.

        ``blame`` is its worst place, as reports print it.
        """
        machine, wall, run_delay = reading.machine, reading.wall, reading.run_delay
        threads = reading.locks.threads if reading.method == "disabled" else reading.threads
        return cls(
            method=reading.method,
            metrics={
                metric.name: metric.unit.rounded(metric.of(reading)) for metric in METRICS.values()
            },
            held=SECONDS.rounded(reading.held),
            wall=round(reading.wall, SECONDS.digits),
            knocks=reading.knocks,
            knocks_waited=reading.knocks_waited,
            threads=len(threads),
            run_delay=SECONDS.rounded(reading.run_delay),
            used=SECONDS.rounded(machine.used(wall) if machine else None),
            others=SECONDS.rounded(machine.others if machine else None),
            throttled=SECONDS.rounded(machine.throttled if machine else None),
            lost=SECONDS.rounded(machine.lost(wall, run_delay) if machine else None),
            processors=SECONDS.rounded(machine.processors if machine else None),
            blame=blame,
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """What the numbers were measured on. ``kind`` names the folder; see :mod:`.environment`."""

    kind: str
    release: str
    arch: str
    cpus: int


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Who ran the tests. ``gil_enabled`` is false on a free-threaded build with the GIL off."""

    version: str
    gil_enabled: bool
    switch_interval: float


@dataclass(frozen=True, slots=True)
class Commit:
    """The state of the source; ``dirty`` when it had uncommitted changes, None where unknown."""

    id: str
    branch: str | None
    dirty: bool | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """All entries of a run by node id, and the conditions they were measured under.

    ``created`` is in UTC, as ``2025-01-31T12:00:00Z``.
    """

    created: str
    machine: Machine
    interpreter: Interpreter
    commit: Commit | None
    tests: Mapping[str, BaselineEntry]

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods its entries were measured by, sorted."""
        return tuple(sorted({entry.method for entry in self.tests.values()}))


def differences(before: Baseline, now: Baseline) -> list[str]:
    """Return the conditions in which two runs differ, a printable line for each.

    The machine kind names the interpreter too, up to its minor version. The methods are left out:
    they belong to the entries, and may differ from test to test.
    """
    pairs = [
        ("machine kind", before.machine.kind, now.machine.kind),
        ("architecture", before.machine.arch, now.machine.arch),
        ("CPUs", before.machine.cpus, now.machine.cpus),
        ("GIL", _on_or_off(before), _on_or_off(now)),
        (
            "switch interval",
            f"{before.interpreter.switch_interval:g} s",
            f"{now.interpreter.switch_interval:g} s",
        ),
    ]
    return [
        f"{what} was {printable(str(was))}, is {printable(str(is_now))}"
        for what, was, is_now in pairs
        if was != is_now
    ]


def _on_or_off(baseline: Baseline) -> str:
    return "on" if baseline.interpreter.gil_enabled else "off"


def merged(old: Baseline, new: Baseline) -> Baseline:
    """Return ``new`` with the entries of ``old`` for the tests it did not measure.

    Raises :class:`BaselineError` when the two were measured under conditions that do not mix: the
    kept entries would pass for what they are not.
    """
    kept = {nodeid: entry for nodeid, entry in old.tests.items() if nodeid not in new.tests}
    if not kept:
        return new
    if reasons := differences(old, new):
        raise BaselineError(
            "its entries were measured under other conditions than this run's "
            f"({'; '.join(reasons)}) and cannot stand beside them: "
            "save to another file, or delete this one to start afresh"
        )
    return replace(new, tests={**kept, **new.tests})
