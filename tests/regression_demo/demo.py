"""A team's gate at work: a project, its baseline, two regressions, and what the gate says of each.

Each round runs the project's tests once unchanged, once with a lock convoy (the digests are
computed in Python, and whoever wakes up beside them waits for a switch interval) and once with a
native call that stops releasing the GIL. An unchanged run that is red is a false alarm; a changed
one that is green, or red without the right words, is a miss. The rounds are run on the machine as
it is, and beside CPU hogs.

    python tests/regression_demo/demo.py --rounds 200 --hogs 0 1
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path.insert(1, str(HERE.parent))

from support import machine  # noqa: E402

SAVED_RUNS = 3
GATES = ("wait:50ms&50%", "contention:0.25")


class Change(NamedTuple):
    """A change of the service: what it replaces by what, which test it slows, the words for it."""

    old: str
    new: str
    test: str
    words: tuple[str, ...]


CHANGES = {
    "no change": None,
    "lock convoy": Change(
        old="return hashlib.sha256(block).digest()",
        new="return bytes([sum(block[at] for at in range(0, len(block), 64)) % 256])",
        test="test_requests_are_answered_beside_the_digests",
        words=("GIL contention regression: ", "service.py:", "digest"),
    ),
    "native call holds the GIL": Change(
        old="device = ctypes.CDLL(None)",
        new="device = ctypes.PyDLL(None)",
        test="test_devices_are_polled_at_once",
        words=("GIL contention regression: contention", "service.py:", "poll_device"),
    ),
}


def run_tests(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the project's tests in a process of their own."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def make_project(project: Path) -> None:
    """Write the project and save its baseline: a few runs, whose spread the gate is judged by."""
    for name in ("service.py", "test_service.py"):
        project.joinpath(name).write_text(HERE.joinpath(name).read_text())
    for _ in range(SAVED_RUNS):
        saved = run_tests(project, "--gil-save=main")
        if saved.returncode != 0:
            raise SystemExit(f"the baseline could not be saved:\n{saved.stdout}")


def apply(project: Path, change: Change | None) -> None:
    """Put the service as it is with this change."""
    source = HERE.joinpath("service.py").read_text()
    if change is not None:
        assert source.count(change.old) == 1
        source = source.replace(change.old, change.new)
    project.joinpath("service.py").write_text(source)


def is_wrong(change: Change | None, done: "subprocess.CompletedProcess[str]") -> bool:
    """Return whether the gate's verdict is a false alarm or a miss."""
    if change is None:
        return done.returncode != 0
    failed = f"FAILED test_service.py::{change.test}" in done.stdout
    return done.returncode != 1 or not failed or any(one not in done.stdout for one in change.words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each row (default: 1)")
    parser.add_argument(
        "--hogs", type=int, nargs="+", default=[0, 1], help="CPU hogs beside them (default: 0 1)"
    )
    parser.add_argument("--retries", type=int, default=0, help="--gil-compare-retries of each run")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the wrong runs' output")
    options = parser.parse_args()

    gate = [f"--gil-compare-fail={one}" for one in GATES]
    gate += ["--gil-compare=main", f"--gil-compare-retries={options.retries}"]
    wrong: Counter[tuple[str, int]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        make_project(project)
        for _ in range(options.rounds):
            for hogs in options.hogs:
                for name, change in CHANGES.items():
                    apply(project, change)
                    with machine.hogs(hogs):
                        done = run_tests(project, *gate)
                    if is_wrong(change, done):
                        wrong[name, hogs] += 1
                        if options.verbose:
                            print(f"--- {name}, {hogs} hogs: exit code {done.returncode}")
                            print(done.stdout, flush=True)

    print(
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}"
        f" {platform.release()}, {len(os.sched_getaffinity(0))} CPUs"
    )
    print(f"gate: {', '.join(GATES)}; baseline: {SAVED_RUNS} runs; retries: {options.retries}")
    print(f"{'change':27}{'hogs':>6}{'runs':>6}{'false alarms':>14}{'misses':>8}")
    for hogs in options.hogs:
        for name, change in CHANGES.items():
            number = wrong[name, hogs]
            false_alarms, misses = (number, "-") if change is None else ("-", number)
            print(f"{name:27}{hogs:6}{options.rounds:6}{false_alarms:>14}{misses:>8}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
