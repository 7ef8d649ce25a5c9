"""A suite with limits, run again and again: the same verdict every time, or none and a reason."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import scripting
from pytest_runs import PLUGIN, pytest
from scripting import METHOD, case, not_here
from support.machine import hogs

SUITE = """
import ctypes, threading, time, pytest
from pytest_gilknock import assert_releases_gil

hold = ctypes.PyDLL(None).usleep
let_go = ctypes.CDLL(None).usleep

def spin(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass

def alternate(held, free):
    for _ in range(20):
        hold(held)
        let_go(free)

def in_two_threads(work):
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

@pytest.mark.max_gil_contention(0.5)
def test_python_alone_breaks():
    spin(0.2)

@pytest.mark.max_gil_contention(0.5)
def test_native_work_without_the_gil_keeps():
    let_go(300_000)

@pytest.mark.max_gil_contention(0.4)
def test_mostly_held_breaks():
    alternate(20_000, 4_000)

@pytest.mark.max_gil_contention(0.6)
def test_mostly_free_keeps():
    alternate(4_000, 20_000)

@pytest.mark.max_gil_wait("20ms")
def test_a_long_call_breaks():
    hold(300_000)

@pytest.mark.max_gil_wait("250ms")
def test_short_calls_keep():
    alternate(5_000, 10_000)

@pytest.mark.max_gil_wait("1ms")
def test_two_threads_in_python_break():
    in_two_threads(lambda: spin(0.3))

@pytest.mark.max_gil_contention(0.5)
@pytest.mark.max_gil_wait("250ms")
def test_two_threads_without_the_gil_keep():
    in_two_threads(lambda: let_go(200_000))

def test_nothing_is_asked():
    spin(0.01)
"""

BREAKS = {
    "test_python_alone_breaks",
    "test_mostly_held_breaks",
    "test_a_long_call_breaks",
    "test_two_threads_in_python_break",
}


def not_judged(document: Path) -> set[str]:
    """The tests with a limit of which the reading could not tell whether it is kept."""
    tests = json.loads(document.read_text(encoding="utf-8"))["tests"]
    return {
        test["nodeid"].rpartition("::")[2]
        for test in tests
        if any(limit["verdict"] == "not judged" for limit in test["limits"])
    }


def repeat(count: int, method: str) -> None:
    if METHOD == "disabled":
        not_here("the GIL is off: there is nothing to judge")
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            document = Path(folder, "readings.json")
            run = pytest(
                SUITE,
                "--gil-report",
                f"--gil-method={method}",
                f"--gil-json={document}",
                plugins=(PLUGIN,),
                timeout=300,
            )
            assert document.exists(), run.text
            unclear = not_judged(document)
        assert method == "sampled" or not unclear, (unclear, run.text)
        assert len(run.outcomes) == 9, run.text
        for test, outcome in run.outcomes.items():
            expected = "failure" if test in BREAKS else "passed"
            assert outcome == expected or (test in unclear and outcome == "passed"), run.text


@case(usual=2, nightly=200)
def exact_on_an_idle_machine(count: int) -> None:
    repeat(count, "exact")


@case(usual=2, nightly=200)
def exact_beside_hogs(count: int) -> None:
    with hogs(os.cpu_count() or 1):
        repeat(count, "exact")


@case(usual=1, nightly=200)
def sampled_on_an_idle_machine(count: int) -> None:
    repeat(count, "sampled")


@case(usual=1, nightly=200)
def sampled_beside_hogs(count: int) -> None:
    with hogs(os.cpu_count() or 1):
        repeat(count, "sampled")


if __name__ == "__main__":
    scripting.main()
