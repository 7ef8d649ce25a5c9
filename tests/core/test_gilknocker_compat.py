"""The threads of gilknocker's interface."""

import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from pytest_gilknock import _core

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing tells threads by name")


def threads_that_knock():
    names = {task: task / "comm" for task in Path("/proc/self/task").iterdir()}
    found = set()
    for task, name in names.items():
        try:
            if name.read_text() == "gilknock\n":
                found.add(task)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            pass
    return found


def seen(knocker, wanted, seconds):
    """The threads that the knocker has within that time, or until these are as many as wanted."""
    others = threads_that_knock()
    knocker.start()
    found = set()
    until = time.monotonic() + seconds
    while len(found) < wanted and time.monotonic() < until:
        found |= threads_that_knock() - others
        time.sleep(1e-3)
    knocker.stop()
    return found


def test_each_sampling_phase_has_a_thread_of_its_own():
    assert len(seen(_core.Knocker(100, 1000, 10_000), 3, 30.0)) == 3


def test_one_long_sampling_phase_has_one_thread():
    assert len(seen(_core.Knocker(100, 1000, 0), 2, 0.1)) == 1


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="a thread may be had at any time")
def test_no_thread_is_made_while_tracemalloc_traces():
    knocker = _core.Knocker(100, 1000, 10_000)
    knocker.start()
    tracemalloc.start()
    try:
        time.sleep(0.05)  # for a change of threads under way
        before = threads_that_knock()
        time.sleep(0.1)
        during = threads_that_knock()
    finally:
        tracemalloc.stop()
        knocker.stop()
    assert before == during != set()
