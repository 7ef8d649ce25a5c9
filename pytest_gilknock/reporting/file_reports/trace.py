"""The run as a timeline, for https://ui.perfetto.dev and ``chrome://tracing``. Pure.

The format is the Trace Event Format of Chrome: one JSON object, whose ``traceEvents`` are slices
(``X``), instants (``i``), the two ends of arrows (``s`` and ``f``) and metadata (``M``), with times
in microseconds. Each measuring process is a process of its own with small numbers for it and its
threads, and all have a common start. Within it a track for each thread has its holds and waits, and
two more have the tests and the knocks.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from itertools import count, starmap
from typing import TYPE_CHECKING, Any

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import Blame, worst_places
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import ThreadReading
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.model.trace import Interval, Trace, ends_forced
from pytest_gilknock.render.place_text import frame_text, place_text
from pytest_gilknock.reporting.file_report import FileReport

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import ProcessTrace, RawTrace
    from pytest_gilknock.reporting.results import PhaseResult, Results

HOLD, FORCED_OUT, LENT = "holds", "holds, forced out", f"holds, lent to {OWN_THREAD}"
WAIT, WAIT_FORCED = "waits", "waits, forced out"
KNOCK, KNOCK_WAIT = "knock", "knock waits"
MOST_BLAMED = 5
"""Places that a test's slice names."""

Blamed = dict[tuple[str, str], list[dict[str, Any]]]
"""What is known of each measured phase of a test, by (test id, phase); a rerun adds to it."""


class TraceReport(FileReport):
    """Holds, waits and their hand-overs by thread, beside the tests, in all processes."""

    format = "trace"
    needs_trace = True

    def write(self, results: Results) -> Iterator[str]:
        traces = results.traces
        start = min((_nanoseconds(trace, _opened(trace)) for trace in traces), default=0.0)
        numbers = count(1)
        processes = [_Process(trace, pid, numbers, start) for pid, trace in enumerate(traces, 1)]
        blamed = _blamed(results.everything())
        about = {
            "pytest_gilknock": version("pytest-gilknock"),
            "python": platform.python_version(),
            "dropped": sum(process.dropped for process in processes),
            "processes": [process.about() for process in processes],
        }
        yield f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(about)},\n"traceEvents": ['
        separator = "\n"
        flows = count(1)
        for process in processes:
            for line in process.lines(blamed, flows):
                yield separator + line
                separator = ",\n"
        yield "\n]}\n"

    def caveats(self, results: Results) -> Iterator[str]:
        for trace in results.traces:
            raw = trace["raw"]
            if raw is None:
                yield f"The trace of {trace['process']} has no holds and waits: {trace['reason']}"
            elif raw["dropped"]:
                dropped = units.count(raw["dropped"], "older event")
                yield (
                    f"The trace of {trace['process']} lacks {dropped}: run fewer tests, or raise"
                    " the ini key gil_trace_events"
                )


def _opened(trace: ProcessTrace) -> int:
    raw = trace["raw"]
    return (
        raw["opened"] if raw is not None else min((span[2] for span in trace["spans"]), default=0)
    )


def _nanoseconds(trace: ProcessTrace, ticks: int) -> float:
    """Return a moment of a process by the machine's monotonic clock, which all processes share."""
    at, monotonic, per_tick = trace["clock"]
    return monotonic + (ticks - at) * per_tick


def _blamed(entries: Iterable[PhaseResult]) -> Blamed:
    found: Blamed = defaultdict(list)
    for entry in entries:
        reading = entry.reading
        found[entry.nodeid, entry.record["phase"]].append(
            {
                "outcome": entry.outcome,
                "contention": reading.contention,
                "held (s)": reading.held,
                "wait (s)": METRICS["wait"].of(reading),
                "longest wait (s)": METRICS["max_wait"].of(reading),
                "blame": [
                    {
                        "place": place_text(blame.place, ""),
                        "thread": blame.thread_label,
                        "threads waited (s)": blame.waited,
                        "knocks waited (s)": (
                            blame.knock_waited if isinstance(blame, Blame) else None
                        ),
                        "stack": [frame_text(frame, "") for frame in blame.stacks[0].frames],
                    }
                    for blame in worst_places(reading)[:MOST_BLAMED]
                ],
            }
        )
    return found


class _Process:
    """One process of the file: its number, those of its threads, and its lines."""

    def __init__(self, trace: ProcessTrace, pid: int, numbers: Iterator[int], start: float) -> None:
        self._trace = trace
        self._raw: RawTrace | None = trace["raw"]
        self._pid = pid
        self._start = start
        self._tests, self._knocks, self._gap = next(numbers), next(numbers), next(numbers)
        self._recorded = Trace(self._raw) if self._raw is not None else None
        self._tids: dict[int, int] = {}
        if self._recorded is not None:
            serials = {one.serial for one in self._recorded.intervals() if not one.is_by_knocker}
            self._tids = {serial: next(numbers) for serial in sorted(serials)}

    @property
    def dropped(self) -> int:
        """How many older events made room."""
        return self._recorded.dropped if self._recorded is not None else 0

    def about(self) -> dict[str, Any]:
        """Return which process this is, and each thread's sums by the reading of the same time."""
        readings = starmap(ThreadReading, self._trace["threads"])
        sums = {reading.native_id: reading for reading in readings}
        threads = []
        for serial, tid in self._tids.items():
            assert self._recorded is not None
            thread = self._recorded.thread(serial)
            known = sums.get(thread.native_id)
            threads.append(
                {
                    "tid": tid,
                    "name": thread.label,
                    "native_id": thread.native_id,
                    "held": known.held if known else None,
                    "wait": known.wait if known else None,
                }
            )
        return {
            "pid": self._pid,
            "name": self._trace["process"],
            "process_id": self._trace["pid"],
            "dropped": self.dropped,
            "no_events_because": self._trace["reason"] if self._raw is None else None,
            "threads": threads,
        }

    def lines(self, blamed: Blamed, flows: Iterator[int]) -> Iterator[str]:
        """Yield the trace events, each as one line of JSON."""
        yield from self._names()
        yield from self._spans(blamed)
        if self._raw is not None and self._recorded is not None:
            yield from self._events(self._recorded, self._raw["opened"], flows)

    def _names(self) -> Iterator[str]:
        name = f"{self._trace['process']} ({self._trace['pid']})"
        yield self._metadata("process_name", 0, name=name)
        yield self._metadata("process_sort_index", 0, sort_index=self._pid)
        tracks = {self._tests: "tests", self._knocks: OWN_THREAD}
        if self.dropped:
            tracks[self._gap] = "not recorded"
        if self._recorded is not None:
            tracks |= {
                tid: self._recorded.thread(serial).label for serial, tid in self._tids.items()
            }
        for tid, track in tracks.items():
            yield self._metadata("thread_name", tid, name=track)
            yield self._metadata("thread_sort_index", tid, sort_index=tid)

    def _metadata(self, what: str, tid: int, **arguments: object) -> str:
        return json.dumps(
            {"ph": "M", "pid": self._pid, "tid": tid, "name": what, "args": arguments}
        )

    def _spans(self, blamed: Blamed) -> Iterator[str]:
        """Yield a slice for each test, and within it one for each phase."""
        runs: dict[tuple[str, str], int] = defaultdict(int)
        for nodeid, phase, start, end in sorted(self._trace["spans"], key=lambda span: span[2]):
            known = blamed.get((nodeid, phase), [])
            run = runs[nodeid, phase]
            runs[nodeid, phase] += 1
            arguments = known[run] if phase and run < len(known) else {}
            yield self._slice(
                self._tests, phase or nodeid, "phase" if phase else "test", start, end, arguments
            )

    def _events(self, recorded: Trace, opened: int, flows: Iterator[int]) -> Iterator[str]:
        forced_out = recorded.forced_out()
        release: tuple[int, Interval] | None = None  # the latest, and on which track
        handed: dict[int, tuple[int, Interval]] = {}  # by the track of the thread that got the GIL
        first: int | None = None
        for interval in recorded.intervals():
            interval = interval._replace(start=max(interval.start, opened))
            track = self._knocks if interval.is_by_knocker else self._tids[interval.serial]
            kind, name = _what(interval, forced=ends_forced(interval, forced_out))
            arguments = {"goes on": True} if interval.is_unfinished else {}
            yield self._slice(track, name, kind, interval.start, interval.end, arguments)
            first = interval.start if first is None else first
            if interval.is_wait:
                if release is not None and release[0] != track and not interval.is_unfinished:
                    handed[track] = release
                continue
            if track in handed:
                yield from self._arrow(next(flows), handed.pop(track), (track, interval))
            release = track, interval
        if self.dropped:
            text = units.count(self.dropped, "older event")
            yield self._slice(self._gap, f"{text} not recorded", "gap", opened, first or opened, {})

    def _arrow(
        self, flow: int, release: tuple[int, Interval], hold: tuple[int, Interval]
    ) -> Iterator[str]:
        """Yield the ends of an arrow from the end of one hold to the beginning of the next.

        Each belongs to the slice in which its moment lies.
        """
        (giver, given), (taker, taken) = release, hold
        end = max(self._moment(given.start), self._moment(given.end) - 1)
        for phase, track, moment in (
            ('"s"', giver, end),
            ('"f", "bp": "e"', taker, self._moment(taken.start)),
        ):
            yield (
                f'{{"ph": {phase}, "id": {flow}, "pid": {self._pid}, "tid": {track},'
                f' "ts": {_microseconds(moment)}, "name": "hand-over", "cat": "hand-over"}}'
            )

    def _slice(
        self, track: int, name: str, kind: str, start: int, end: int, arguments: dict[str, Any]
    ) -> str:
        begun = self._moment(start)
        lasted = max(0, self._moment(end) - begun)
        added = f', "args": {json.dumps(arguments)}' if arguments else ""
        return (
            f'{{"ph": "X", "pid": {self._pid}, "tid": {track}, "ts": {_microseconds(begun)},'
            f' "dur": {_microseconds(lasted)}, "name": {json.dumps(name)}, "cat": "{kind}"{added}}}'
        )

    def _moment(self, ticks: int) -> int:
        """Return nanoseconds since the common start."""
        return round(_nanoseconds(self._trace, ticks) - self._start)


def _what(interval: Interval, *, forced: bool) -> tuple[str, str]:
    """Return the category and the name of a slice."""
    if interval.is_by_knocker:
        return "knock", KNOCK_WAIT if interval.is_wait else KNOCK
    if interval.is_wait:
        return "wait", WAIT_FORCED if interval.is_forced else WAIT
    return "hold", LENT if interval.is_lent else FORCED_OUT if forced else HOLD


def _microseconds(nanoseconds: int) -> str:
    sign, nanoseconds = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    return f"{sign}{nanoseconds // 1000}.{nanoseconds % 1000:03d}"
