"""A baseline: what a run measured, kept to compare later runs with. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.wire import Method

SHARE_DIGITS = 4
SECONDS_DIGITS = 6


class BaselineError(Exception):
    """A baseline that cannot be read, written or added to; ``str()`` names it and the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One test's numbers, rounded so that files differ only where the numbers do.

    ``contention`` is a share, ``contended``, ``knocks``, ``knocks_waited`` and ``threads`` are
    counts, the others seconds; ``None`` is what was not measured.
    """

    method: Method
    contention: float | None
    wait: float | None
    max_wait: float | None
    contended: int | None
    held: float | None
    wall: float
    knocks: int
    knocks_waited: int
    threads: int
    run_delay: float | None

    @classmethod
    def from_reading(cls, reading: GilReading) -> Entry:
        """Keep the part of a reading that a later run is compared with."""
        return cls(
            method=reading.method,
            contention=_rounded(reading.contention, SHARE_DIGITS),
            wait=_rounded(reading.wait, SECONDS_DIGITS),
            max_wait=_rounded(reading.max_wait, SECONDS_DIGITS),
            contended=reading.contended,
            held=_rounded(reading.held, SECONDS_DIGITS),
            wall=round(reading.wall, SECONDS_DIGITS),
            knocks=reading.knocks,
            knocks_waited=reading.knocks_waited,
            threads=len(reading.threads),
            run_delay=_rounded(reading.run_delay, SECONDS_DIGITS),
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the numbers were measured on. ``kind`` names the folder; see :mod:`.origin`."""

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
    """All entries of a run by node id, with what is needed to tell like from unlike.

    ``created`` is in UTC, as ``2025-01-31T12:00:00Z``.
    """

    created: str
    machine: Machine
    interpreter: Interpreter
    commit: Commit | None
    tests: Mapping[str, Entry]

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods its entries were measured by, sorted."""
        return tuple(sorted({entry.method for entry in self.tests.values()}))


def differences(before: Baseline, now: Baseline) -> list[str]:
    """Say in what two runs differ that their numbers depend on, a line for each difference.

    The machine kind tells the interpreter too, up to its minor version. The methods are left out:
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
    return [f"{what} was {was}, is {is_now}" for what, was, is_now in pairs if was != is_now]


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
