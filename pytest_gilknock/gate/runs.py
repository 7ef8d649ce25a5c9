"""A whole run beside the saved ones that it is compared with. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.compare import (
    RANK,
    Change,
    Incomparable,
    compare_test,
    gil_was_turned_on,
)
from pytest_gilknock.gate.expression import Gate

LEAST_WALL = 0.2
"""How long (s) a test must last for it to be known what others used, where that can be known."""

BUSY_SHARE = 0.2
"""A machine is too busy to save a run on from this share of its processor time up."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside its baseline. ``changes`` are worst first, the other lists sorted by node id."""

    before: tuple[str, ...]
    after: str
    gates: tuple[Gate, ...]
    changes: tuple[Change, ...]
    incomparable: tuple[Incomparable, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    caveats: tuple[str, ...]
    """Why its verdicts may be off: what could not be read, and in what the runs differ."""
    notes: tuple[str, ...]
    """What else is said of it."""
    gil_turned_on: tuple[str, ...] = ()
    """The tests that ran without the GIL in all saved runs, and with it now."""
    without_gil: bool = False
    """Whether the GIL was off in all tests of this run."""
    others_unknown: bool = False
    """Whether it is not known of any test what others used of the processors."""

    @property
    def failed(self) -> bool:
        """Whether a gate is breached. One on any metric forbids that the GIL is turned on, too."""
        return bool(self.breaches) or bool(self.gates and self.gil_turned_on)

    @property
    def breaches(self) -> tuple[Change, ...]:
        """What is over its gate."""
        return tuple(change for change in self.changes if change.breached)

    @property
    def inconclusive(self) -> tuple[Change, ...]:
        """What is over its gate, but not surely."""
        return tuple(change for change in self.changes if change.verdict == "inconclusive")

    @property
    def notable(self) -> tuple[Change, ...]:
        """What is worth a row."""
        return tuple(change for change in self.changes if change.verdict != "steady")


def compare_runs(
    before: BaselineRuns,
    after: Mapping[str, BaselineEntry],
    gates: Sequence[Gate],
    *,
    name: str,
    caveats: Iterable[str] = (),
    notes: Iterable[str] = (),
    attempts: int = 1,
) -> Comparison:
    """Compare every test of a run, called ``name`` where it is shown.

    ``attempts``: how often a test over its gate was run at most; the majority decided.
    """
    changes: list[Change] = []
    incomparable: list[Incomparable] = []
    for nodeid in sorted(after.keys() & before.entries.keys()):
        some, others = compare_test(
            nodeid, before.entries[nodeid], after[nodeid], gates, attempts=attempts
        )
        changes += some
        incomparable += others
    changes.sort(key=lambda change: (RANK[change.verdict], -change.severity, change.nodeid))
    return Comparison(
        before=before.names,
        after=name,
        gates=tuple(gates),
        changes=tuple(changes),
        incomparable=tuple(incomparable),
        new=tuple(sorted(after.keys() - before.entries.keys())),
        gone=tuple(sorted(before.entries.keys() - after.keys())),
        caveats=tuple(caveats),
        notes=tuple(notes),
        gil_turned_on=tuple(
            nodeid
            for nodeid in sorted(after.keys() & before.entries.keys())
            if gil_was_turned_on(before.entries[nodeid], after[nodeid])
        ),
        without_gil=are_without_gil(after.values()),
        others_unknown=_others_unknown(after.values()),
    )


def are_without_gil(entries: Iterable[BaselineEntry]) -> bool:
    """Return whether there are tests, and the GIL was off in all of them."""
    return {entry.method for entry in entries} == {"disabled"}


def _others_unknown(entries: Iterable[BaselineEntry]) -> bool:
    """Return whether the tests that are long enough to tell have nothing of what others used."""
    long = [entry for entry in entries if entry.wall >= LEAST_WALL]
    return bool(long) and all(entry.used is None for entry in long)


def share_of_others(entries: Iterable[BaselineEntry]) -> float | None:
    """Return the share of the processor time that tests were ready to use that others had; None
    where it is not known, or the tests are too short to tell.
    """
    known = [entry for entry in entries if entry.wall >= LEAST_WALL and entry.lost is not None]
    ready = sum(entry.ready for entry in known)
    return sum(entry.lost or 0.0 for entry in known) / ready if ready else None
