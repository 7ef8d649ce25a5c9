"""How true are the figures?

Question: by how much do our ``contention`` and ``wait``, and what the peers call GIL use,
differ from what happened?

Method: every load runs in a process of its own, with one instrument at a time, in rounds that
take the instruments in turn (A B C D, A B C D). Each window is compared with the truth of that
very window. The tables show medians over the rounds; ``error`` is the largest of ours in any
round. Outside profilers watch for one second each; windows too short for that, or for
gilknocker's stop, are not put to them.

Truth: the load's own stamps of CLOCK_MONOTONIC around each taking and releasing of the GIL
(``loads/``), the coordinator's own included. ``+-`` is all the time for which the stamps leave
open who had the GIL: the cost of the calls, and each hand-over, from the last stamp of the
thread that lets go to the first of the one that takes. The GIL is free for most of that, until
the other thread has been woken, and the truth counts it so; but no stamp can prove it. Stamps
are taken within the hold, so a reading somewhat above the truth of a load with many hand-overs
is no error of the reading; one below it would be.

Run: ``python benchmarks/accuracy.py``. gilknocker, py-spy and the profiler of CPython 3.15 take
part where they are installed. ``--hogs N`` has N processes compute beside the loads.

Expect: ``exact`` within some thousandths of the truth, or within its ``+-``, on an idle machine;
``sampled`` within some tenths. 1 is the exit code when a load could not be measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import harness
import instruments
from harness import Table, figure, span

if TYPE_CHECKING:
    from loads.truth import HoldRelease, Truth

OUTSIDE_SECONDS = 1.4
"""How long a load runs for an outside profiler: its second, and its start."""
SHORT = 0.1
"""Windows shorter than this are measured more often and put to our instruments only."""
REPEAT_SHORT = 7
LIMIT = 120.0
"""Seconds for all rounds of one load."""


@dataclass(frozen=True)
class Case:
    """A load, a window and a switch interval; ``hold`` is 0 for threads of Python."""

    threads: int
    hold: float = 0.0
    free: float = 0.0
    sleeps: bool = False
    random: bool = False
    window: float = 0.5
    switch: float = 0.005

    @property
    def name(self) -> str:
        """What the load does, as a row's head."""
        if not self.hold:
            text = "Python loop" if self.threads == 1 else "Python threads"
        elif self.hold >= self.window:
            text = f"one C call of {span(self.hold)}"
        else:
            does = "sleep" if self.sleeps else "spin"
            text = f"hold {span(self.hold)}, {does} {span(self.free)}"
        if self.random:
            text += ", random"
        if self.threads > 1:
            text += f", {self.threads} threads"
        if self.switch != 0.005:
            text += f", switch {span(self.switch)}"
        if self.window < SHORT:
            text += f", window {span(self.window)}"
        return text

    @property
    def load(self) -> HoldRelease:
        """The load in C; only for a case that has one."""
        from loads.truth import HoldRelease

        return HoldRelease(self.threads, self.hold, self.free, self.sleeps, self.random)


US, MS = 1e-6, 1e-3
CASES = [
    Case(1, 1 * MS, 1 * MS),
    Case(1, 50 * US, 50 * US),
    Case(1, 0.1 * MS, 0.9 * MS),
    Case(1, 1 * MS, 1 * MS, sleeps=True),
    Case(1, 20 * MS, 20 * MS),
    Case(1),
    Case(2),
    Case(1, 600 * MS, 1 * MS),
    Case(1, 10 * US, 10 * US),
    Case(1, 10 * US, 100 * US, sleeps=True, random=True),
    Case(1, 100 * MS, 100 * MS, window=1.0),
    Case(1, 1 * MS, 3 * MS, random=True),
    Case(2, 1 * MS, 1 * MS),
    Case(2, 20 * MS, 20 * MS),
    Case(2, 100 * US, 100 * US, switch=10 * US),
    Case(4, 1 * MS, 10 * MS, sleeps=True, random=True, switch=1 * US),
    Case(4, 1 * MS, 1 * MS, sleeps=True, switch=100 * MS),
    Case(8, 10 * US, 1 * MS, sleeps=True, random=True),
    Case(64, 100 * US, 10 * MS, sleeps=True, random=True),
    Case(64, 1 * MS, 1 * MS),
    Case(4),
    Case(2, switch=1 * US),
    Case(2, switch=100 * MS),
    Case(1, 0.1 * MS, 0.1 * MS, window=2 * MS),
    Case(2, 0.1 * MS, 0.3 * MS, sleeps=True, window=2 * MS),
    Case(1, window=2 * MS),
    Case(1, 1 * MS, 1 * MS, window=20 * MS),
    Case(2, window=20 * MS),
]
QUICK = [CASES[0], CASES[1], CASES[3], CASES[6], CASES[13], CASES[23]]


@dataclass(frozen=True)
class Sample:
    """One window: what the load knows and what the instrument says; times in seconds."""

    truth: float
    slack: float
    wait: float
    wait_slack: float
    wall: float
    seen: float | None
    seen_wait: float | None
    wall_in_bounds: bool

    @property
    def error(self) -> float | None:
        """What the instrument said, less the truth."""
        return None if self.seen is None else self.seen - self.truth

    @property
    def wait_error(self) -> float | None:
        """The instrument's wait, less the truth, for each second of the window."""
        return None if self.seen_wait is None else (self.seen_wait - self.wait) / self.wall


def measure(case: Case, instrument: instruments.Instrument) -> Sample:
    """Run the load of ``case`` once, in this process, with ``instrument`` watching."""
    from loads.truth import run_native, run_python

    probe = instrument.make()
    duration = OUTSIDE_SECONDS if instrument.outside else case.window
    said: Any
    truth: Truth
    sys.setswitchinterval(case.switch)
    if case.hold:
        said, truth = run_native(case.load, duration, probe.begin, probe.end)
    else:
        said, truth = run_python(case.threads, duration, probe.begin, probe.end)
    seen = probe.read(said)
    return Sample(
        truth=truth.contention(seen.wall),
        slack=truth.contention_slack,
        wait=truth.wait,
        wait_slack=truth.wait_slack,
        wall=truth.wall,
        seen=seen.contention,
        seen_wait=seen.wait,
        wall_in_bounds=seen.wall is None or truth.wall <= seen.wall <= truth.wall_most,
    )


def work(case: Case, names: list[str], rounds: int) -> None:
    """The child's part: all rounds of one load."""
    used = [instruments.by_name(name) for name in names]
    if case.window < SHORT:
        used = [one for one in used if one in (instruments.EXACT, instruments.SAMPLED)]
        rounds *= REPEAT_SHORT
    for one in used:
        if not one.outside:
            measure(Case(1, 0.1 * MS, 0.1 * MS, window=10 * MS), one)  # first use sets things up
    samples: dict[str, list[dict[str, Any]]] = {one.name: [] for one in used}
    for _ in range(rounds):
        for one in used:
            samples[one.name].append(asdict(measure(case, one)))
    harness.reply(samples)


@dataclass(frozen=True)
class Outcome:
    """All rounds of one load, by instrument."""

    case: Case
    samples: dict[str, list[Sample]]

    def row(self, names: list[str]) -> list[str]:
        """The load's row in the first table."""
        exact = self.samples["exact"]
        cells = [
            self.case.name,
            figure(median(sample.truth for sample in exact), 4),
            figure(median(sample.slack for sample in exact), 4),
        ]
        for name in names:
            seen = [s.seen for s in self.samples.get(name, []) if s.seen is not None]
            cells.append(figure(median(seen) if seen else None, 4 if name == "exact" else 3))
            if name == "exact":
                cells.append(figure(self.worst, 4))
        return cells

    def wait_row(self) -> list[str]:
        """The load's row in the second table."""
        exact = self.samples["exact"]
        return [
            self.case.name,
            figure(median(sample.wait / sample.wall for sample in exact), 4),
            figure(median(sample.wait_slack / sample.wall for sample in exact), 4),
            figure(median((sample.seen_wait or 0.0) / sample.wall for sample in exact), 4),
            figure(self.worst_wait, 4),
        ]

    @property
    def worst(self) -> float:
        """The largest error of ours, with its sign."""
        errors = [s.error for s in self.samples["exact"] if s.error is not None]
        return max(errors, key=abs)

    @property
    def beyond_slack(self) -> float:
        """By how much ours is outside what the stamps allow, at worst."""
        exact = self.samples["exact"]
        return max(0.0, *(abs(s.error) - s.slack for s in exact if s.error is not None))

    @property
    def worst_wait(self) -> float:
        """The largest error of our wait, with its sign."""
        errors = [s.wait_error for s in self.samples["exact"] if s.wait_error is not None]
        return max(errors, key=abs)

    @property
    def wait_beyond_slack(self) -> float:
        """By how much our wait is outside what the stamps allow, at worst."""
        errors = ((s.wait_error, s.wait_slack / s.wall) for s in self.samples["exact"])
        return max(0.0, *(abs(error) - slack for error, slack in errors if error is not None))


def collect(case: Case, arguments: list[str]) -> Outcome:
    """Run the child for one load; raises :class:`RuntimeError` when that fails."""
    command = [sys.executable, __file__, "--case", str(CASES.index(case)), *arguments]
    answer: dict[str, list[dict[str, Any]]] = harness.ask(command, LIMIT)
    return Outcome(case, {name: [Sample(**sample) for sample in of] for name, of in answer.items()})


def verdicts(outcomes: list[Outcome]) -> list[str]:
    """The closing lines: where ours is furthest from the truth."""
    lines = []
    for what, some in (
        ("windows of 0.5 s and more", [o for o in outcomes if o.case.window >= SHORT]),
        ("shorter windows", [o for o in outcomes if o.case.window < SHORT]),
    ):
        if some:
            worst = max(some, key=lambda outcome: abs(outcome.worst))
            beyond = max(some, key=lambda outcome: outcome.beyond_slack)
            wait = max(some, key=lambda outcome: outcome.wait_beyond_slack)
            lines += [
                f"\n{what}:",
                f"  max error of exact: {worst.worst:+.4f} ({worst.case.name})",
                f"  beyond the truth's +-: {beyond.beyond_slack:.4f} ({beyond.case.name})",
                f"  wait beyond its +-: {wait.wait_beyond_slack:.4f} ({wait.case.name})",
            ]
    windows = [sample for o in outcomes for of in o.samples.values() for sample in of]
    outside = sum(not sample.wall_in_bounds for sample in windows)
    lines.append(f"windows longer or shorter than begin and end allow: {outside} of {len(windows)}")
    return lines


def main() -> int:
    """Run the program; 1 when a load could not be measured."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--hogs", type=int, default=0, metavar="N", help="CPU hogs beside the loads"
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="loads whose name matches")
    parser.add_argument("--without", default="", metavar="A,B", help="instruments to leave out")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    options = harness.start(parser)
    rounds = options.rounds or (1 if options.quick else 3)
    used = [one for one in instruments.here() if one.name not in options.without.split(",")]
    names = [one.name for one in used if not (options.quick and one.outside)]
    if options.case is not None:
        work(CASES[options.case], names, rounds)
        return 0

    line = harness.machine_line()
    outcomes, failures = [], []
    gone = ",".join({"gilknocker", "py-spy", "profiler", "sampled"} - set(names))
    arguments = ["--rounds", str(rounds), "--without", gone]
    cases = [c for c in (QUICK if options.quick else CASES) if re.search(options.only, c.name)]
    with harness.hogs(options.hogs):
        for case in cases:
            harness.progress(case.name)
            try:
                outcomes.append(collect(case, arguments))
            except RuntimeError as failure:
                failures.append(f"FAILED {case.name}: {failure}")

    heads = [head for name in names for head in ([name, "error"] if name == "exact" else [name])]
    harness.show(
        line + (f"; CPU hogs: {options.hogs}" if options.hogs else ""),
        Table(
            "Contention (share of the window that the GIL was held)",
            ["load", "truth", "+-", *heads],
            [outcome.row(names) for outcome in outcomes],
        ),
        Table(
            "Wait (thread-seconds for each second of the window)",
            ["load", "truth", "+-", "exact", "error"],
            [outcome.wait_row() for outcome in outcomes],
        ),
        *verdicts(outcomes),
        *failures,
    )
    harness.write_json(
        options.json,
        [
            {
                "load": o.case.name,
                **asdict(o.case),
                "samples": {
                    name: [asdict(sample) for sample in of] for name, of in o.samples.items()
                },
            }
            for o in outcomes
        ],
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
