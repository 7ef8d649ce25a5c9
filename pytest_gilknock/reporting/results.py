"""What a run measured, in one process or many. Keeps whole readings only where they are shown."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.model.limits import Limit, LimitVerdict
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import WORTH_A_ROW, GilReading, contention_of, lazy_reading
from pytest_gilknock.model.stalls import Stall
from pytest_gilknock.reporting.compact_list import CompactList
from pytest_gilknock.reporting.top_holders import TopHolders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gilknock.model.wire import (
        PhaseRecord,
        ProcessTrace,
        RawLocks,
        RawLockWaits,
        RawReading,
        RunTotals,
        Unmeasured,
    )
    from pytest_gilknock.reporting.changes import Changes


class PhaseResult(NamedTuple):
    """One measured phase of one test."""

    nodeid: str
    outcome: str
    record: PhaseRecord

    @property
    def name(self) -> str:
        """The test's id, with the phase where it is not the call."""
        phase = self.record["phase"]
        return self.nodeid if phase == "call" else f"{self.nodeid} ({phase})"

    @property
    def reading(self) -> GilReading:
        """What was measured."""
        return GilReading.from_raw(self.record["raw"])

    @property
    def limits(self) -> list[Limit]:
        """The limits that hold for this phase of this test."""
        return [Limit(*limit) for limit in self.record.get("limits", [])]

    @property
    def verdicts(self) -> list[LimitVerdict]:
        """The limits it does not surely keep."""
        return [
            LimitVerdict(Limit(*limit), breached, fact)
            for limit, breached, fact in self.record.get("verdicts", [])
        ]

    @property
    def breached(self) -> bool:
        """Whether the test failed by one of its limits."""
        return any(breached for _, breached, _ in self.record.get("verdicts", []))

    @property
    def unjudged(self) -> list[LimitVerdict]:
        """The limits that could not be judged."""
        return [verdict for verdict in self.verdicts if not verdict.breached]


class Results:
    """Counts every test; keeps the worst ``top`` (0: all) of those worth a row, and every breach.

    ``sort`` is the measure that says who is worst, ``threshold`` (s) what it reaches in a test
    worth a row. With ``keep_all``, :meth:`everything` has every test. ``root`` is the directory
    that paths are printed relative to.
    """

    def __init__(
        self,
        *,
        top: int,
        sort: str,
        threshold: float = WORTH_A_ROW,
        keep_all: bool = False,
        locks: bool = False,
        root: str = "",
    ) -> None:
        self.root = root
        self.places = TopHolders()
        """Who held the GIL while others waited, and who waited, over all tests."""
        self.changes: Changes | None = None
        """How it compares with saved runs, where it is compared."""
        self.top = top
        self.sort = sort
        self.threshold = threshold
        self._all = CompactList() if keep_all else None
        self.locks = locks
        """Whether waits for locks are asked for in every test."""
        self.locks_of_tests = False
        """Whether waits for locks were measured in any test."""
        self.row_measure = "held" if sort == "contention" else sort
        """The measure in seconds that decides whether a test is worth a row."""
        self.by_locks = sort == "lock_wait"
        """Whether the worst are those whose threads waited longest for locks."""
        self.tests: set[str] = set()
        """The ids of those of which a phase was measured."""
        self.forked: set[str] = set()
        """The ids of those that a process forked for them alone measured."""
        self.crashed = 0
        """How many processes did not live to leave their totals."""
        self.with_row = 0
        """How many phases of tests are worth a row."""
        self.unmeasured: dict[str, Unmeasured] = {}
        """Why a phase of a test could not be measured, by its id."""
        self.unmeasured_runs: list[str] = []
        """Why processes have no totals that could have them."""
        self.errors: list[str] = []
        """What else of the plugin failed in a process, and what that means."""
        self.tests_with_row: set[str] = set()
        self.inconclusive: set[str] = set()
        """The ids of those with a limit that could not be judged, whatever became of others."""
        self.first_inconclusive: PhaseResult | None = None
        self.breaches: list[PhaseResult] = []
        self.gil_turned_on_by: list[str] = []
        self.totals: list[RunTotals] = []
        self.run_delay = 0.0
        self.thread_time = 0.0
        """Wall time (s) of all threads of the tests whose ``run_delay`` is known."""
        self._worst: list[PhaseResult] = []

    def add(self, nodeid: str, outcome: str, record: PhaseRecord) -> None:
        """Count one measured phase of a test, and keep it where it may be shown."""
        raw = record["raw"]
        self.tests.add(nodeid)
        self.places.add(nodeid, raw)
        if raw["run_delay"] is not None:
            self.run_delay += raw["run_delay"]
            self.thread_time += raw["wall"] * (len(raw["threads"]) or 1)
        self.locks_of_tests |= not isinstance(raw["locks"], str)
        if record.get("gil_turned_on"):
            self.gil_turned_on_by.append(nodeid)
        row_value = _value_of(raw, self.row_measure)
        if row_value is None:  # not exact: the longest knock is what there is
            row_value = _value_of(raw, "max_wait") or 0.0
        worth_a_row = row_value >= self.threshold
        if self._all is not None:
            self._all.append((nodeid, outcome, record))
        if worth_a_row or "verdicts" in record:
            self._keep(PhaseResult(nodeid, outcome, record), worth_a_row)

    def _keep(self, entry: PhaseResult, worth_a_row: bool) -> None:
        if worth_a_row or entry.breached:
            self.with_row += 1
            self.tests_with_row.add(entry.nodeid)
        if entry.breached:
            self.breaches.append(entry)
        elif worth_a_row:
            self._worst.append(entry)
            if self.top and len(self._worst) > 2 * self.top + 100:
                self._worst = heapq.nlargest(self.top, self._worst, key=self._badness)
        if entry.unjudged:
            self.inconclusive.add(entry.nodeid)
            self.first_inconclusive = self.first_inconclusive or entry

    def add_short(self, nodeid: str) -> None:
        """Count a test of which a measured phase was too short for a reading."""
        self.tests.add(nodeid)

    def add_process(self, totals: RunTotals) -> None:
        """Count what a process measured as a whole."""
        self.totals.append(totals)

    @property
    def traces(self) -> list[ProcessTrace]:
        """What happened to the GIL, process by process, where a report needs it."""
        return [totals["trace"] for totals in self.totals if "trace" in totals]

    @property
    def stalls(self) -> list[Stall]:
        """The times in which no thread could get the GIL, process by process."""
        return [Stall.from_raw(raw) for totals in self.totals for raw in totals.get("stalls", [])]

    @property
    def stalls_omitted(self) -> int:
        """How many more there were than are kept."""
        return sum(totals.get("stalls_omitted", 0) for totals in self.totals)

    def everything(self) -> Iterator[PhaseResult]:
        """Yield every measured phase of every test, if they were kept, sorted by id."""
        kept = self._all
        if kept is None:
            return
        places = sorted(
            (nodeid, record["phase"], place) for place, (nodeid, _, record) in enumerate(kept)
        )
        for _, _, place in places:
            yield PhaseResult(*kept[place])

    def rows(self) -> list[PhaseResult]:
        """Return the tests to show, worst first: ``top`` of them, and every breach beyond."""
        ranked = sorted(self.breaches + self._worst, key=self._badness, reverse=True)
        return [
            entry
            for rank, entry in enumerate(ranked)
            if not self.top or rank < self.top or entry.breached
        ]

    def summary(self) -> RunSummary:
        """Return the run as a whole, over all measuring processes."""
        raws = [totals["raw"] for totals in self.totals]
        return RunSummary(
            processes=len(raws),
            methods=sorted({raw["method"] for raw in raws}),
            reasons=sorted({raw["reason"] for raw in raws if raw["reason"]}),
            gil_enabled=any(raw["gil_enabled"] for raw in raws),
            wall=sum(raw["wall"] for raw in raws),
            held=_sum([raw["held"] for raw in raws]),
            wait=_sum([raw["wait"] for raw in raws]),
            knocks=sum(raw["knocks"] for raw in raws),
            knocks_waited=sum(raw["knocks_waited"] for raw in raws),
            windows_cost=sum(totals["windows_cost"] for totals in self.totals),
            knocks_held=sum(totals["knocks_held"] for totals in self.totals),
            locks=_sum_of_locks([raw["locks"] for raw in raws]),
            locks_reasons=sorted({raw["locks"] for raw in raws if isinstance(raw["locks"], str)}),
        )

    def _badness(self, entry: PhaseResult) -> tuple[float, ...]:
        raw = entry.record["raw"]
        measures = (self.sort, "wait", "max_wait", "held", "contention")
        values = (_value_of(raw, measure) for measure in measures)
        return tuple(-1.0 if value is None else value for value in values)


class RunSummary(NamedTuple):
    """Sums over the measuring processes of a run; ``None`` for what not all of them measured."""

    processes: int
    methods: list[str]
    reasons: list[str]
    gil_enabled: bool
    wall: float
    held: float | None
    wait: float | None
    knocks: int
    knocks_waited: int
    windows_cost: float
    knocks_held: float
    locks: dict[str, RawLockWaits] | None = None
    """Waits for locks by kind: how many, how long (s), the longest (s)."""
    locks_reasons: Sequence[str] = ()
    """Why locks were not measured, where they were not."""

    @property
    def disabled(self) -> bool:
        """Whether no process had a GIL to measure."""
        return self.methods == ["disabled"]

    @property
    def contention(self) -> float | None:
        """As :attr:`GilReading.contention`, of all processes together."""
        return contention_of(self.held, self.wall, self.knocks, self.knocks_waited)


def _value_of(raw: RawReading, measure: str) -> float | None:
    """Return what a reading is sorted by; None where it was not measured."""
    reading = lazy_reading(raw)
    return reading.held if measure == "held" else METRICS[measure].of(reading)


def _sum_of_locks(processes: list[RawLocks | str]) -> dict[str, RawLockWaits] | None:
    """Return the waits of all processes by kind, or ``None`` where not all measured them."""
    measured = [locks["kinds"] for locks in processes if not isinstance(locks, str)]
    if not measured or len(measured) != len(processes):
        return None
    return {
        kind: (
            sum(kinds[kind][0] for kinds in measured),
            sum(kinds[kind][1] for kinds in measured),
            max(kinds[kind][2] for kinds in measured),
        )
        for kind in measured[0]
    }


def _sum(values: list[float | None]) -> float | None:
    """Return the sum of what all processes measured, or ``None``."""
    measured = [value for value in values if value is not None]
    return sum(measured) if measured and len(measured) == len(values) else None
