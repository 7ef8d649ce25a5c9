"""A team's gate at work: four projects, their baselines, regressions small and large.

Each project is a service with its tests. A round runs the tests once, unchanged or with a
regression, compared with a baseline as docs/ci.md recommends, on the machine as it is or beside CPU
hogs. An unchanged run that is red is a false alarm; a changed one that is green, or red
without naming the test and the service's file, is a miss. A small regression makes threads wait
twice as long as before, a large one six times as long and more.

    python tests/regression_demo/demo.py --rounds 40 --hogs 0 1 2 --results rounds.jsonl

writes each round down in the file, prints the table of all cells (a project, a change, a number of
hogs), and goes on where it was broken off, by --seconds or by hand. Ten rounds of each of a
project's cells share a baseline. Beside the hogs the machine should have nothing else to do: what
other work does to a round counts as the gate's own fault.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.insert(1, str(HERE.parent))

from support import machine  # noqa: E402

SAVED_RUNS = 8
GATES = ("wait:50ms&40%", "contention:0.1")
RETRIES = 4
ROUNDS_OF_A_BASELINE = 10

SIZES = ("none", "small", "large")


class Change(NamedTuple):
    """A change of a service: what it replaces by what."""

    old: str
    new: str


class Project(NamedTuple):
    """A service, the test that its regressions slow down, and these."""

    name: str
    test: str
    small: Change
    large: Change

    @property
    def folder(self) -> Path:
        return HERE / self.name

    def change(self, size: str) -> Change | None:
        return {"none": None, "small": self.small, "large": self.large}[size]


PROJECTS = (
    Project(
        "pool",
        "test_uploads_are_stored",
        small=Change(
            old='return upload[:1] != b"#"',
            new="return not any(byte == 256 for byte in upload[:10_500])",
        ),
        large=Change(
            old='return upload[:1] != b"#"',
            new="return not any(byte == 256 for byte in upload[:50_000])",
        ),
    ),
    Project(
        "loop",
        "test_requests_are_answered_beside_the_reports",
        small=Change(
            old="return json.dumps(ROWS) + checksum(BLOCK)",
            new="return json.dumps(ROWS + ROWS[:480]) + checksum(BLOCK)",
        ),
        large=Change(
            old="return hashlib.sha256(block).hexdigest()",
            new="return hex(sum(sum(block[at : at + 1024]) for at in range(0, len(block), 2560)))",
        ),
    ),
    Project(
        "native",
        "test_devices_are_watched_at_once",
        small=Change(old="resetting = library", new="resetting = ctypes.PyDLL(None)"),
        large=Change(old="waiting = library", new="waiting = ctypes.PyDLL(None)"),
    ),
    Project(
        "short",
        "test_documents_are_read_at_once",
        small=Change(
            old="word.isalpha()",
            new="word.decode().strip().isalpha()",
        ),
        large=Change(
            old="word.isalpha()",
            new="bytes(sorted(word)).isalpha()",
        ),
    ),
)


class Cell(NamedTuple):
    """A row of the table."""

    project: Project
    size: str
    hogs: int

    @property
    def is_calm(self) -> bool:
        """Whether unchanged code runs on a machine that has nothing else to do."""
        return self.size == "none" and self.hogs == 0

    @property
    def key(self) -> str:
        return f"{self.project.name} {self.size} {self.hogs}"

    @property
    def fingerprint(self) -> str:
        """Changes with what is run: rounds of other sources, or of another change, do not count."""
        sources = [path.read_bytes() for path in sorted(self.project.folder.glob("*.py"))]
        change = repr(self.project.change(self.size)).encode()
        return hashlib.sha256(b"\0".join([*sources, change])).hexdigest()[:12]


def environment() -> dict[str, str]:
    """Return this process' environment without what makes pytest start slowly."""
    kept = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run_tests(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a project's tests in a process of their own."""
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_gilknock.plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def write_project(project: Project, folder: Path) -> None:
    """Write the project's files as they are without a change."""
    for name in ("service.py", "test_service.py"):
        folder.joinpath(name).write_text(project.folder.joinpath(name).read_text())


def apply(project: Project, folder: Path, change: Change | None) -> None:
    """Put the service as it is with this change."""
    source = project.folder.joinpath("service.py").read_text()
    if change is not None:
        assert source.count(change.old) == 1, change
        source = source.replace(change.old, change.new)
    folder.joinpath("service.py").write_text(source)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)


def save_baseline(folder: Path, name: str, runs: int) -> None:
    """Save a few runs, whose spread the gate judges by."""
    for _ in range(runs):
        saved = run_tests(folder, f"--gil-save={name}")
        if saved.returncode != 0:
            raise SystemExit(f"the baseline could not be saved:\n{saved.stdout}")


def is_wrong(cell: Cell, done: "subprocess.CompletedProcess[str]") -> bool:
    """Return whether the gate's verdict is a false alarm or a miss."""
    if cell.size == "none":
        return done.returncode != 0
    failed = f"FAILED test_service.py::{cell.project.test}" in done.stdout
    said = "GIL contention regression: " in done.stdout
    blamed = re.search(r"\bservice\.py:[0-9]", done.stdout) is not None
    return done.returncode != 1 or not (failed and said and blamed)


class Results:
    """Which rounds were right, by the cell and by what they were run with; kept in a file."""

    def __init__(self, path: Path | None, conditions: str) -> None:
        self._path = path
        self._conditions = conditions
        self._rounds: dict[str, list[bool]] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                one = json.loads(line)
                if one["conditions"] == conditions:
                    self._rounds.setdefault(self._key(one["cell"], one["sources"]), []).append(
                        one["wrong"]
                    )

    @staticmethod
    def _key(cell: str, sources: str) -> str:
        return f"{cell} {sources}"

    def add(self, cell: Cell, wrong: bool, output: str) -> None:
        """Note a round; ``output`` is what pytest printed."""
        sources = cell.fingerprint
        self._rounds.setdefault(self._key(cell.key, sources), []).append(wrong)
        if self._path is not None:
            one = {
                "cell": cell.key,
                "sources": sources,
                "conditions": self._conditions,
                "wrong": wrong,
                "output": output,
            }
            with self._path.open("a") as file:
                file.write(json.dumps(one) + "\n")

    def of(self, cell: Cell) -> list[bool]:
        return self._rounds.get(self._key(cell.key, cell.fingerprint), [])


def missing_rounds(cell: Cell, options: argparse.Namespace, results: Results) -> int:
    rounds: int = options.calm_rounds if cell.is_calm and options.calm_rounds else options.rounds
    return max(0, rounds - len(results.of(cell)))


def run_cells(cells: list[Cell], options: argparse.Namespace, results: Results, end: float) -> None:
    """Run the next rounds of one project's cells, against one baseline, until it is time."""
    project = cells[0].project
    gate = [f"--gil-compare-fail={one}" for one in options.gate]
    gate += ["--gil-compare=main", f"--gil-compare-retries={options.retries}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(project, folder)
        save_baseline(folder, "main", options.saved_runs)
        for cell in cells:
            apply(project, folder, project.change(cell.size))
            with machine.hogs(cell.hogs):
                for _ in range(min(missing_rounds(cell, options, results), ROUNDS_OF_A_BASELINE)):
                    if time.monotonic() > end:
                        return
                    done = run_tests(folder, *gate)
                    wrong = is_wrong(cell, done)
                    results.add(cell, wrong, done.stdout)
                    if wrong and options.verbose:
                        print(f"--- {cell.key}: exit code {done.returncode}")
                        print(done.stdout, flush=True)


def run_table(cells: list[Cell], options: argparse.Namespace, results: Results) -> None:
    """Run the rounds that the cells lack, some of each project in turn, until it is time."""
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        lacking = [cell for cell in cells if missing_rounds(cell, options, results)]
        if not lacking:
            return
        for project in PROJECTS:
            of_project = [cell for cell in lacking if cell.project is project]
            if of_project and time.monotonic() < end:
                run_cells(of_project, options, results, end)


def print_table(cells: list[Cell], results: Results) -> None:
    print(f"{'project':10}{'change':8}{'hogs':>6}{'runs':>6}{'false alarms':>14}{'misses':>8}")
    for cell in cells:
        rounds = results.of(cell)
        false_alarms, misses = (sum(rounds), "-") if cell.size == "none" else ("-", sum(rounds))
        row = f"{cell.project.name:10}{cell.size:8}{cell.hogs:6}{len(rounds):6}"
        print(f"{row}{false_alarms:>14}{misses:>8}")


def parse_arguments() -> argparse.Namespace:
    names = [project.name for project in PROJECTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each cell (default: 1)")
    parser.add_argument(
        "--calm-rounds",
        type=int,
        metavar="N",
        help="runs of unchanged code without hogs (default: as --rounds)",
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no round after so much time"
    )
    parser.add_argument(
        "--hogs", type=int, nargs="+", default=[0, 1, 2], help="CPU hogs (default: 0 1 2)"
    )
    parser.add_argument("--projects", nargs="+", choices=names, default=names)
    parser.add_argument("--changes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument(
        "--gate", nargs="+", default=GATES, metavar="METRIC:EXPR", help="--gil-compare-fail"
    )
    parser.add_argument(
        "--retries", type=int, default=RETRIES, help="--gil-compare-retries (default: %(default)s)"
    )
    parser.add_argument(
        "--saved-runs",
        type=int,
        default=SAVED_RUNS,
        help="runs of which a baseline is made (default: %(default)s)",
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the rounds down here")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the wrong runs' output")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    conditions = f"{' '.join(options.gate)}; baseline {options.saved_runs} runs;"
    conditions += f" retries {options.retries}"
    results = Results(options.results, conditions)
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}"
        f" {platform.release()}, {len(os.sched_getaffinity(0))} CPUs"
    )
    print(f"gate: {conditions}")
    cells = [
        Cell(project, size, hogs)
        for project in PROJECTS
        for hogs in options.hogs
        for size in SIZES
        if project.name in options.projects and size in options.changes
    ]
    run_table(cells, options, results)
    print_table(cells, results)
    failed = sum(sum(results.of(cell)) for cell in cells)
    missing = sum(missing_rounds(cell, options, results) for cell in cells)
    if missing:
        print(f"{missing} rounds are missing: run it again with the same --results")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
