"""What does this version of the plugin cost a test, beside an earlier one?

Question: how much longer does a trivial test take with this version than with the one that is
installed in the environment of ``--before PYTHON``? Both need the same pytest, installed in the
same way. Without ``--before`` this version is compared with itself, which shows what the figures
are good for.

Method: a pytest process of each version runs the same trivial tests, in chunks of a few, in turn:
while one of them runs its chunk, the others stand between two tests and read from a pipe. Who
begins moves on by one each time. A chunk takes some ten milliseconds, so that what the machine does
otherwise hits the versions alike; every round starts new processes, so that where things happen to
lie averages out. ``plain`` is pytest without the plugin, from which the added time is counted.

Truth: the clock around a chunk, read in the process that runs it. A round's ratio is the median of
the ratios of its chunks. Shown are the median of the rounds, and the interval in which it lies with
95 %, whatever they are distributed like: from one of them to another, counted from either end (the
sign test). With fewer than six rounds that is from the least to the largest, and less certain.

Run: ``python benchmarks/versions.py --before OTHER/bin/python``.

Expect: an interval around 1.0 where both versions cost the same.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import DEVNULL

import harness
import per_test
from harness import Table, figure, median_within

CHUNK = 20
CHUNKS = 100
QUICK_CHUNKS = 3

# Loaded into each run of pytest: lets it run a chunk of tests for each byte that it is sent, and
# answers with the nanoseconds that it took.
IN_TURN = f"""
import os, time

go, done = int(os.environ["IN_TURN_GO"]), int(os.environ["IN_TURN_DONE"])
left, start = 0, None

def pytest_runtest_logstart():
    global left, start
    if left == 0:
        if start is not None:
            os.write(done, b"%d\\n" % (time.perf_counter_ns() - start))
        if not os.read(go, 1):
            os._exit(0)
        left, start = {CHUNK}, time.perf_counter_ns()
    left -= 1
"""

PLAIN = "plain"
BEFORE, AFTER = "before", "after"
WAYS = {"unused": per_test.UNUSED, "--gil-report": per_test.REPORT}

Round = dict[str, list[int]]
"""Nanoseconds of each chunk, by process: plain, or way and version."""


@dataclass(frozen=True)
class Process:
    """A run of pytest that waits to be sent on."""

    go: int
    done: int

    def chunk(self) -> int:
        """Have a chunk of tests run; return what it took, in ns."""
        os.write(self.go, b".")
        answer = b""
        while not answer.endswith(b"\n"):
            if not (read := os.read(self.done, 64)):
                raise RuntimeError("a run of pytest ended before its tests did")
            answer += read
        return int(answer)


@contextmanager
def waiting(python: str, options: Sequence[str], folder: Path) -> Iterator[Process]:
    """Yield a run of pytest that stands before its first test."""
    go_there, go = os.pipe()
    done, done_here = os.pipe()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "in_turn", *options]
    environment = {
        **per_test.ENVIRONMENT,
        "IN_TURN_GO": str(go_there),
        "IN_TURN_DONE": str(done_here),
    }
    try:
        with harness.child(
            command,
            cwd=folder,
            env=environment,
            stdout=DEVNULL,
            stderr=DEVNULL,
            pass_fds=(go_there, done_here),
        ):
            os.close(go_there)
            os.close(done_here)
            yield Process(go, done)
    finally:
        os.close(go)
        os.close(done)


def measure(before: str, chunks: int, folder: Path) -> Round:
    """Start a process of each kind, and have them run their chunks in turn."""
    kinds = {PLAIN: (sys.executable, per_test.PLAIN)}
    for way, options in WAYS.items():
        kinds[f"{way} {BEFORE}"] = before, options
        kinds[f"{way} {AFTER}"] = sys.executable, options
    took: Round = {name: [] for name in kinds}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(waiting(*kind, folder)) for name, kind in kinds.items()
        }
        names = list(kinds)
        for process in processes.values():
            process.chunk()  # warms up
        for at in range(chunks):
            shift = at % len(names)
            for name in names[shift:] + names[:shift]:
                took[name].append(processes[name].chunk())
    return took


def row(way: str, rounds: Sequence[Round]) -> list[str]:
    """One line of the table: what a way costs after, beside before, and both beside plain."""
    ratios, added = [], {BEFORE: [], AFTER: []}
    for took in rounds:
        pairs = zip(took[f"{way} {AFTER}"], took[f"{way} {BEFORE}"], strict=True)
        ratios.append(median(after / before for after, before in pairs))
        for version, of in added.items():
            pairs = zip(took[f"{way} {version}"], took[PLAIN], strict=True)
            of.append(median(mine - plain for mine, plain in pairs) / CHUNK * 1e-3)
    middle, low, high = median_within(ratios)
    cells = [way, figure(middle, 4), f"{low:.4f} to {high:.4f}"]
    for of in added.values():
        middle, low, high = median_within(of)
        cells += [f"{middle:.1f} us", f"{low:.1f} to {high:.1f}"]
    return cells


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--before", metavar="PYTHON", default=sys.executable, help="whose version to compare with"
    )
    options = harness.start(parser)
    count = options.rounds or (1 if options.quick else 20)
    chunks = QUICK_CHUNKS if options.quick else CHUNKS
    line = harness.machine_line()
    with tempfile.TemporaryDirectory(prefix="gilknock-versions-") as folder:
        suite = Path(folder) / "suite"
        per_test.write_suite(suite, (chunks + 2) * CHUNK)
        (suite / "in_turn.py").write_text(IN_TURN)
        rounds = []
        for at in range(count):
            harness.progress(f"round {at + 1} of {count}")
            rounds.append(measure(options.before, chunks, suite))
    title = f"One test, this version (after) beside another ({count} rounds of {chunks} chunks)"
    harness.show(
        line,
        Table(
            title,
            ["run", "after/before", "with 95 %", "before adds", "with 95 %", "after", "with 95 %"],
            [row(way, rounds) for way in WAYS],
        ),
    )
    harness.write_json(options.json, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
