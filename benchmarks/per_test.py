"""What does the plugin cost a test suite?

Question: how much longer do 5,000 trivial tests take with the plugin installed, and with
``--gil-report``?

Method: whole pytest runs in processes of their own, in turn, in an order that moves on by one
each round. No other plugin is loaded, whatever is installed: what they cost would only make our
share look smaller. ``plain`` is pytest without the plugin, ``unused`` has it loaded and no
flag; ``idle thread`` is plain with one more thread, which sleeps: from the second thread on, the C
library and the kernel guard what they need not guard before, and every tool that has a thread
costs that. ``plain -n2`` is what ``--gil-report -n2`` compares with. Two ratios to plain: of the
medians, and the median of the ratios within each round, which drifts of the machine hardly
touch. gilknocker has no plugin: a conftest.py starts and stops a ``KnockKnock`` around each of
fewer tests, compared with plain runs of the same tests.

Truth: wall clock around the run, and user + system CPU time of the process and its children
from ``wait4``.

Run: ``python benchmarks/per_test.py``; the rows of pytest-xdist and gilknocker are there where
these are installed.

Expect: nothing that can be told from noise for ``unused``, and less than 0.1 ms for each test with
``--gil-report``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import harness
from harness import Table, figure

TESTS = 5_000
QUICK_TESTS = 50
GILKNOCKER_TESTS = 30
LIMIT = 120.0
"""Seconds that one run may take."""

SUITE = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_trivial(number):
    assert number >= 0
"""
GILKNOCKER_CONFTEST = """
import pytest
from gilknocker import KnockKnock

@pytest.fixture(autouse=True)
def knocker():
    knocker = KnockKnock(1_000)
    knocker.start()
    yield
    knocker.contention_metric
    knocker.stop()
"""


IDLE_THREAD = """
import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@dataclass(frozen=True)
class Way:
    """A way to run the suite; ``base`` names the one it is compared with."""

    name: str
    options: Sequence[str]
    base: str | None
    folder: str = "suite"


PLAIN = ("-p", "no:gilknock")
UNUSED = ("-p", "gilknock")
REPORT = (*UNUSED, "--gil-report")
XDIST = ("-p", "xdist", "-n2")
BARE = Way("plain", PLAIN, None)
REPORTED = Way("--gil-report", REPORT, BARE.name)
WAYS = [
    BARE,
    Way("idle thread", (*PLAIN, "-p", "idle_thread"), BARE.name),
    Way("unused", UNUSED, BARE.name),
    REPORTED,
    Way("plain -n2", (*PLAIN, *XDIST), None),
    Way("--gil-report -n2", (*REPORT, *XDIST), "plain -n2"),
]
FEW_WAYS = [
    Way("few, plain", PLAIN, None, "few"),
    Way("few, --gil-report", REPORT, "few, plain", "few"),
    Way("few, gilknocker", PLAIN, "few, plain", "few_gilknocker"),
]
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds, and the most memory that any process of it had, in bytes."""

    wall: float
    cpu: float
    peak: int


def run(way: Way, root: Path) -> Cost:
    """Run the suite once; raises :class:`RuntimeError` when that fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *way.options]
    log = root / "log"
    with log.open("w") as out:
        start = time.perf_counter()
        with harness.child(
            command,
            cwd=root / way.folder,
            env=ENVIRONMENT,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process:
            status, cpu, peak = wait(process.pid, start + LIMIT)
            wall = time.perf_counter() - start
            process.returncode = status
    if status != 0:
        raise RuntimeError(f"{way.name}: exit {status}: {log.read_text()[-800:]}")
    return Cost(wall, cpu, peak)


def wait(pid: int, deadline: float) -> tuple[int, float, int]:
    """Wait for the child; its exit status, CPU seconds and peak memory, with its children's."""
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            cpu = usage.ru_utime + usage.ru_stime
            return os.waitstatus_to_exitcode(status), cpu, usage.ru_maxrss * 1024
        if time.perf_counter() > deadline:
            raise RuntimeError(f"a run was not done after {LIMIT:.0f} s")
        time.sleep(0.002)


def write_suite(folder: Path, tests: int) -> None:
    """Write a suite of that many trivial tests."""
    folder.mkdir()
    (folder / "test_trivial.py").write_text(SUITE.format(count=tests))
    (folder / "idle_thread.py").write_text(IDLE_THREAD)
    (folder / "pytest.ini").write_text("[pytest]\n")


def collect(ways: Sequence[Way], rounds: int, root: Path) -> dict[str, list[Cost]]:
    """The costs of every way to run, one for each round."""
    costs: dict[str, list[Cost]] = {way.name: [] for way in ways}
    if rounds > 1:
        for way in ways:
            run(way, root)  # compiles what has to be compiled, warms the caches
    for at in range(rounds):
        shift = at % len(ways)
        for way in [*ways[shift:], *ways[:shift]]:
            harness.progress(f"round {at + 1} of {rounds}: {way.name}")
            costs[way.name].append(run(way, root))
    return costs


def row(way: Way, costs: dict[str, list[Cost]], tests: int) -> list[str]:
    """One line of the table."""
    mine = costs[way.name]
    cells = [
        way.name,
        str(tests),
        figure(median(cost.wall for cost in mine)),
        figure(median(cost.cpu for cost in mine)),
    ]
    if way.base is None:
        return [*cells, *"-----"]
    base = costs[way.base]
    added = median(a.wall for a in mine) - median(b.wall for b in base)
    cells.append(f"{added / tests * 1e6:.0f} us")
    for of_mine, of_base in (
        ([cost.wall for cost in mine], [cost.wall for cost in base]),
        ([cost.cpu for cost in mine], [cost.cpu for cost in base]),
    ):
        pairs = median(a / b for a, b in zip(of_mine, of_base, strict=True))
        cells += [figure(median(of_mine) / median(of_base), 4), figure(pairs, 4)]
    return cells


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    options = harness.start(parser)
    rounds = options.rounds or (1 if options.quick else 7)
    tests = QUICK_TESTS if options.quick else TESTS
    few = [way for way in FEW_WAYS if way.folder != "few_gilknocker" or has("gilknocker")]
    ways = [way for way in WAYS if "-n2" not in way.options or has("xdist")]
    line = harness.machine_line()
    with tempfile.TemporaryDirectory(prefix="gilknock-per-test-") as folder:
        root = Path(folder)
        write_suite(root / "suite", tests)
        write_suite(root / "few", GILKNOCKER_TESTS)
        write_suite(root / "few_gilknocker", GILKNOCKER_TESTS)
        (root / "few_gilknocker" / "conftest.py").write_text(GILKNOCKER_CONFTEST)
        costs = {**collect(ways, rounds, root), **collect(few, min(rounds, 3), root)}
    head = ["run", "tests", "wall s", "CPU s", "added/test"]
    head += ["wall: of medians", "of pairs", "CPU: of medians", "of pairs"]
    harness.show(
        line,
        Table(
            f"Whole runs of trivial tests (medians of {rounds}), ratios to plain",
            head,
            [row(way, costs, tests) for way in ways]
            + [row(way, costs, GILKNOCKER_TESTS) for way in few],
        ),
    )
    harness.write_json(
        options.json,
        {name: [[cost.wall, cost.cpu] for cost in of] for name, of in costs.items()},
    )
    return 0


def has(module: str) -> bool:
    """Whether ``module`` can be imported."""
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main())
