"""Baselines on scripted numbers, shared by the tests of everything made of baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pytest_gilknock import _core
from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.codec import dumps, loads
from pytest_gilknock.baseline.model import Baseline, BaselineEntry, Commit, Interpreter, Machine
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import GilReading, locks_of

SCRIPTED = [
    pytest.mark.skipif(
        _core.status()[0] != "exact", reason="the scripted baselines are of exact readings"
    ),
    pytest.mark.usefixtures("scripted_readings"),
]
"""The marks of whole runs whose readings are scripted."""

ENTRY = BaselineEntry(
    method="exact",
    metrics={
        **dict.fromkeys(METRICS),
        "contention": 0.5,
        "wait": 0.25,
        "max_wait": 0.005,
        "contended": 51,
    },
    held=0.5,
    wall=1.0,
    knocks=50,
    knocks_waited=25,
    threads=4,
    run_delay=0.0,
)
MACHINE = Machine(kind="Linux-CPython-3.13-64bit", release="6.8.0", arch="x86_64", cpus=2)
INTERPRETER = Interpreter(version="3.13.0", gil_enabled=True, switch_interval=0.005)
BASELINE = Baseline(
    created="2025-01-31T12:00:00Z",
    machine=MACHINE,
    interpreter=INTERPRETER,
    commit=Commit(id="3f2a9c1b", branch="main", dirty=False),
    tests={"test_a.py::test_one": ENTRY, "test_a.py::test_two": ENTRY},
)

BUSY = """
import os

def busy(contention=1.0):
    os.environ["CONTENTION"] = str(float(contention))
"""


def reading(**changes: Any) -> GilReading:
    """A reading of 3 s with more digits than a baseline keeps."""
    values: dict[str, Any] = {
        "method": "exact",
        "reason": None,
        "gil_enabled": True,
        "switch_interval": 0.005,
        "wall": 3.00000049,
        "held": 1.00000051,
        "wait": 0.1234567,
        "max_wait": 0.0050004,
        "acquisitions": 100,
        "contended": 7,
        "knocks": 150,
        "knocks_waited": 40,
        "knock_latency": None,
        "wait_latency": None,
        "wait_histogram": (),
        "threads": (),
        "threads_omitted": 0,
        "blame": (),
        "blame_method": "looked",
        "blame_reason": None,
        "blame_omitted": (0, 0.0, 0.0),
        "hand_over": 0.1234567,
        "unlooked": 0.0,
        "unlooked_reason": None,
        "victims": (),
        "knock_wait": 0.0,
        "longest_wait": None,
        "run_delay": None,
        "machine": None,
        "locks": locks_of("not asked for"),
        "max_hold": None,
        "holds": (),
        "holds_unseen": 0,
    }
    return GilReading(**{**values, **changes})


def changed(entry: BaselineEntry, **changes: Any) -> BaselineEntry:
    """Return an entry with other values of its metrics, by their names, or other conditions."""
    metrics = {name: changes.pop(name) for name in METRICS if name in changes}
    return replace(entry, metrics={**entry.metrics, **metrics}, **changes)


FREE = changed(ENTRY, contention=0.0, wait=0.0, max_wait=0.0)
FULL = changed(ENTRY, contention=1.0, wait=9.0, max_wait=9.0)

GATE = "--gil-compare-fail=contention:0.5"

FUZZ = settings(deadline=None, derandomize=True, max_examples=300)


SCRIPT = """
import os
from dataclasses import replace
from pytest_gilknock.baseline.model import BaselineEntry

from_reading = BaselineEntry.from_reading

def scripted(reading, blame=None):
    contention = float(os.environ.pop("CONTENTION", "0"))
    entry = from_reading(reading)
    metrics = {**entry.metrics, "contention": contention, "wait": 0.0, "max_wait": 0.0}
    return replace(entry, metrics=metrics, wall=1.0, run_delay=None, lost=None)
"""


def script_readings(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test of an inner run have the contention that it says it has, 0 if it says none."""
    workers = "if 'PYTEST_XDIST_WORKER' in os.environ:\n    BaselineEntry.from_reading = scripted\n"
    pytester.makeconftest(SCRIPT + workers)
    script: dict[str, Any] = {}
    exec(SCRIPT, script)
    monkeypatch.setattr(BaselineEntry, "from_reading", script["scripted"])


def write(path: Path, **tests: BaselineEntry) -> None:
    """Write a baseline of this machine for tests of ``test_a.py``."""
    named = {f"test_a.py::{name}": entry for name, entry in tests.items()}
    path.write_text(dumps(environment.baseline(named)))


def read(path: Path) -> Baseline:
    return loads(path.read_bytes(), str(path))


def run(project: pytest.Pytester, *arguments: str, tests: str = "one or two") -> pytest.RunResult:
    """Run some tests of the fixture ``project``."""
    return project.runpytest("-k", tests, *arguments)
