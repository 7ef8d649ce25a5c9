"""How does it grow?

Question: what do more threads in a window, and more tests in a run, cost, and do the sums stay
true?

Method: (1) 1 to 1,000 threads that hold the GIL briefly and sleep, all in one window; what
opening and closing it takes. (2) 1 to 100,000 tests put into what the plugin keeps of a run,
each with a reading of a real window of its own, in a process for each size: the memory they
keep, and the time that the report takes. Three kinds: tests that stay below what is worth a
row; tests that are all worth one; and ``--gil-json``, which keeps every reading. (3) Whole
pytest runs of trivial tests, wall and peak memory beside the same run without the plugin.

"growth" is how the cost of one thread or test changed from the row before: 1.0 is linear.

Truth: (1) each thread's own stamps, compared with what the reading says of this very thread;
(2) tracemalloc, in a run that is not timed; (3) ``wait4``.

Run: ``python benchmarks/scale.py``.

Expect: a growth of 1.0 or less in the rows of many threads and tests, and threads that are all
seen, with errors of microseconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import harness
import per_test
from harness import Table, figure, span

THREADS = [1, 10, 100, 1_000]
TESTS = [1, 10, 100, 1_000, 10_000, 100_000]
RUNS = [1, 100, 1_000, 5_000]
QUICK_MOST = 10
BELOW, ROWS, JSON = KINDS = ["below a row", "worth a row", "all in JSON"]
LIMIT = 120.0
"""Seconds for one size."""


@dataclass(frozen=True)
class Crowd:
    """Many threads in one window: seconds, and errors against the threads' own stamps."""

    threads: int
    told_apart: int
    begin: float
    end: float
    held_error: float
    wait_error: float
    takes_error: int
    sum_error: float


def measure_crowd(count: int) -> Crowd:
    """Put ``count`` threads into one window, in this process."""
    from loads.truth import HoldRelease, run_native

    from pytest_gilknock._core import Window
    from pytest_gilknock.model.reading import GilReading

    first = Window()
    run_native(HoldRelease(1, 1e-4, 1e-4), 0.01, first.begin, first.end)  # sets things up
    window = Window(method="exact")
    free = max(5e-3, count * 100e-6)
    load = HoldRelease(count, hold=20e-6, free=free, sleeps=True, random=True)
    raw, truth = run_native(load, 0.5, window.begin, window.end)
    reading = GilReading.from_raw(raw)
    told = {part.native_id: part for part in reading.threads}
    pairs = [
        (told[part.native_id], part)
        for part in truth.threads
        if part.native_id in told and part.native_id != threading.get_native_id()
    ]
    return Crowd(
        threads=count,
        told_apart=len(pairs),
        begin=truth.begin,
        end=truth.end,
        held_error=max(abs(ours.held - part.held) for ours, part in pairs),
        wait_error=max(abs(ours.wait - part.wait) for ours, part in pairs),
        takes_error=max(abs(ours.acquisitions - part.takes) for ours, part in pairs),
        sum_error=abs(sum(part.held for part in reading.threads) - (reading.held or 0.0)),
    )


@dataclass(frozen=True)
class Keeping:
    """What a number of recorded tests costs: bytes (and at most so many more), seconds."""

    kind: str
    tests: int
    kept: int
    reporting: int
    adding: float
    report: float


def fill(kind: str, count: int) -> Callable[[], object]:
    """Record ``count`` tests as the plugin does; returns what makes the report of them."""
    from pytest_gilknock._core import Window
    from pytest_gilknock.reporting import terminal as table
    from pytest_gilknock.reporting.file_reports.json import JsonReport
    from pytest_gilknock.reporting.results import Results

    results = Results(
        top=10, sort="wait", threshold=0.0 if kind == ROWS else 1e-3, keep_all=kind == JSON
    )
    whole = Window(threads=False)
    whole.begin()
    for number in range(count):
        window = Window()
        window.begin()
        raw = window.end()
        results.add(
            f"tests/test_module_{number // 100}.py::test_number[{number}]",
            "passed",
            {"phase": "call", "raw": raw},
        )
    results.add_process(
        {
            "raw": whole.end(),
            "windows_cost": 0.0,
            "knocks_held": 0.0,
            "gil_turned_on": False,
            "short": 0,
        }
    )

    def report() -> object:
        lines = table.section(results, width=100, verbosity=0)
        return lines, sum(map(len, JsonReport().write(results))) if kind == JSON else None

    return report


def measure_keeping(kind: str, count: int) -> Keeping:
    """Measure one size twice in this process: by the clock, then by the bytes."""
    fill(kind, 1)()  # sets things up
    start = time.perf_counter()
    report = fill(kind, count)
    filled = time.perf_counter()
    report()
    reported = time.perf_counter()
    del report
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = fill(kind, count)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    kept()
    reporting = tracemalloc.get_traced_memory()[1] - after
    return Keeping(kind, count, after - before, reporting, filled - start, reported - filled)


@dataclass(frozen=True)
class Run:
    """A whole pytest run beside one without the plugin; medians, seconds and bytes."""

    tests: int
    wall: float
    plain_wall: float
    peak: int
    plain_peak: int


def measure_runs(count: int, rounds: int) -> Run:
    """Run ``count`` trivial tests without and with ``--gil-report``."""
    plain, report = per_test.BARE, per_test.REPORTED
    with tempfile.TemporaryDirectory(prefix="gilknock-scale-") as folder:
        root = Path(folder)
        per_test.write_suite(root / "suite", count)
        costs = per_test.collect([plain, report], rounds, root)
    bare, ours = costs[plain.name], costs[report.name]
    return Run(
        tests=count,
        wall=median(cost.wall for cost in ours),
        plain_wall=median(cost.wall for cost in bare),
        peak=round(median(cost.peak for cost in ours)),
        plain_peak=round(median(cost.peak for cost in bare)),
    )


def growth(costs: Sequence[float], counts: Sequence[int]) -> list[str]:
    """How the cost of one changed from row to row."""
    each = [cost / count for cost, count in zip(costs, counts, strict=True)]
    return ["-", *(figure(b / a, 2) if a > 0 else "-" for a, b in pairwise(each))]


def crowd_table(crowds: Sequence[Crowd]) -> Table:
    """The first table."""
    counts = [crowd.threads for crowd in crowds]
    return Table(
        "Threads in one window of 0.5 s (largest error of any thread's sums)",
        ["threads", "seen", "begin", "end", "growth", "held", "wait", "takes", "sum of held"],
        [
            [
                f"{crowd.threads:,}",
                f"{crowd.told_apart:,}",
                span(crowd.begin),
                span(crowd.end),
                grown,
                span(crowd.held_error),
                span(crowd.wait_error),
                str(crowd.takes_error),
                span(crowd.sum_error),
            ]
            for crowd, grown in zip(
                crowds, growth([c.begin + c.end for c in crowds], counts), strict=True
            )
        ],
    )


def keeping_table(keepings: Sequence[Keeping]) -> Table:
    """The second table."""
    rows = []
    for kind in KINDS:
        mine = [keeping for keeping in keepings if keeping.kind == kind]
        grown = growth([one.report for one in mine], [one.tests for one in mine])
        for one, grew in zip(mine, grown, strict=True):
            each = f"{one.kept / one.tests:,.0f}"
            more = f"{one.reporting / one.tests:,.0f}"
            adding = span(one.adding / one.tests)
            rows.append([kind, f"{one.tests:,}", each, more, adding, span(one.report), grew])
    head = [
        "kind",
        "tests",
        "bytes/test",
        "more in report",
        "window and record",
        "report",
        "growth",
    ]
    return Table("Recorded tests", head, rows)


def runs_table(runs: Sequence[Run]) -> Table:
    """The third table."""
    return Table(
        "Whole runs with --gil-report",
        ["tests", "wall s", "plain s", "added/test", "peak MB", "plain MB", "bytes/test"],
        [
            [
                f"{run.tests:,}",
                figure(run.wall),
                figure(run.plain_wall),
                span((run.wall - run.plain_wall) / run.tests),
                figure(run.peak / 1e6, 1),
                figure(run.plain_peak / 1e6, 1),
                f"{(run.peak - run.plain_peak) / run.tests:,.0f}",
            ]
            for run in runs
        ],
    )


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tests", nargs=2, help=argparse.SUPPRESS)
    options = harness.start(parser)
    if options.threads:
        harness.reply(asdict(measure_crowd(options.threads)))
        return 0
    if options.tests:
        kind, count = options.tests
        harness.reply(asdict(measure_keeping(kind, int(count))))
        return 0

    line = harness.machine_line()
    most = QUICK_MOST if options.quick else TESTS[-1]
    itself = [sys.executable, __file__]
    crowds, keepings = [], []
    for count in (count for count in THREADS if count <= most):
        harness.progress(f"{count} threads")
        crowds.append(Crowd(**harness.ask([*itself, "--threads", str(count)], LIMIT)))
    for kind in KINDS:
        for count in (count for count in TESTS if count <= most):
            harness.progress(f"{count} tests, {kind}")
            answer = harness.ask([*itself, "--tests", kind, str(count)], LIMIT)
            keepings.append(Keeping(**answer))
    rounds = options.rounds or (1 if options.quick else 5)
    runs = [measure_runs(count, rounds) for count in RUNS if count <= most]
    harness.show(line, crowd_table(crowds), keeping_table(keepings), runs_table(runs))
    harness.write_json(
        options.json,
        {
            "threads": [asdict(crowd) for crowd in crowds],
            "recorded": [asdict(keeping) for keeping in keepings],
            "runs": [asdict(run) for run in runs],
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
