"""Whole runs with limits on waits for locks and on a stopped world, and one with a gate on them.

Scripted ones have the same waits on every interpreter. The others measure, where there is
something to be measured.
"""

import re
import sys

import pytest
from support import inner, scripted
from support.inner import section
from support.locks import REASON, measured_only

from pytest_gilknock.model import reading

WITHOUT_GIL = not getattr(sys, "_is_gil_enabled", lambda: True)()
without_gil = pytest.mark.skipif(
    REASON is not None or not WITHOUT_GIL,
    reason="objects have locks, and the world is stopped for each thread, without a GIL only",
)


@pytest.fixture
def same_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test of an inner run have waited for locks as the scripted reading has."""
    locks = reading.locks_of(scripted.locks())
    monkeypatch.setattr(reading, "locks_of", lambda raw: locks)


OBJECTS = (
    "MainThread waited 30.0 ms for the lock of an object (most of all dict) in */cache.py:12 put,"
    " let go by */cache.py:15 get in worker; limit 20 ms"
)


def limited(marker: str) -> str:
    return f"import pytest\n@pytest.mark.{marker}\ndef test_it(): pass\n"


def assert_limited(result: pytest.RunResult, source: str, broken: str | None) -> None:
    """Assert that the one test fails by a limit that says so; None: it passes."""
    what = "stop-the-world" if source.endswith("stop_the_world") else "lock"
    if broken is None:
        result.assert_outcomes(passed=1)
    else:
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([f"{what} limit exceeded: {broken}, set by {source}"])


@pytest.mark.usefixtures("same_waits")
@pytest.mark.parametrize(
    ("marker", "broken"),
    [
        ('max_lock_wait("20ms", kind="objects")', OBJECTS),
        ('max_lock_wait("31ms", kind="objects")', None),
        ('max_lock_wait("1us", kind="interpreter")', "* for a lock of the interpreter, limit 1 us"),
        ('max_lock_wait("1ms", kind="interpreter")', None),
        ('max_lock_wait("199ms")', "a thread waited 200 ms for a lock of the program, limit *"),
        ('max_lock_wait("200ms")', None),
        ('max_stop_the_world("5ms")', "a thread waited 40.0 ms *, limit 5 ms"),
        ('max_stop_the_world("41ms")', None),
    ],
)
def test_a_marker_limits_the_waits_of_its_kind(
    pytester: pytest.Pytester, marker: str, broken: str | None
) -> None:
    pytester.makepyfile(limited(marker))
    assert_limited(inner.run(pytester), f"@pytest.mark.{marker.split('(')[0]}", broken)


@pytest.mark.usefixtures("same_waits")
def test_a_marker_comes_before_the_command_line_and_that_before_the_ini_file(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\ngil_max_lock_wait = 20ms@objects\n")
    pytester.makepyfile("def test_it(): pass\n")
    assert_limited(inner.run(pytester), "ini key gil_max_lock_wait", OBJECTS)
    option = "--gil-max-lock-wait=1ms@objects"
    assert_limited(inner.run(pytester, option), "--gil-max-lock-wait", OBJECTS.replace("20", "1"))
    pytester.makepyfile(limited('max_lock_wait("31ms", kind="objects")'))
    assert_limited(inner.run(pytester, option), "", None)


@pytest.mark.skipif(REASON is None, reason="locks are measured")
@pytest.mark.parametrize("marker", ['max_lock_wait("20ms")', 'max_stop_the_world("5ms")'])
def test_where_locks_are_not_measured_it_is_said_why(
    pytester: pytest.Pytester, marker: str
) -> None:
    pytester.makepyfile(limited(marker))
    result = inner.run(pytester)
    result.assert_outcomes(passed=1)
    assert any(
        f"nothing to judge, because waits for locks were not measured: {REASON}" in line
        for line in section(result)
    )


@pytest.mark.skipif(REASON is None, reason="locks are measured")
@pytest.mark.parametrize("option", ["--gil-locks", "--gil-sort=lock_wait"])
def test_where_locks_that_are_asked_for_are_not_measured_it_is_said_why(
    pytester: pytest.Pytester, option: str
) -> None:
    pytester.makepyfile("def test_it(): pass")
    why = f"Locks are not measured: {REASON}"
    assert why not in section(inner.run(pytester, "--gil-report"))
    assert why in section(inner.run(pytester, "--gil-report", option))


# --- measured ---

PROGRAM = """
import threading
import time
import pytest

@pytest.mark.{marker}
def test_it():
    lock, asks = threading.Lock(), threading.Event()
    lock.acquire()
    def take():
        asks.set()
        lock.acquire()
    thread = threading.Thread(target=take, name="taker")
    thread.start()
    asks.wait()
    time.sleep(0.15)
    lock.release()
    thread.join()
"""


@measured_only
@pytest.mark.parametrize(
    ("marker", "broken"),
    [
        (
            'max_lock_wait("20ms", kind="program")',
            "taker waited * for a lock of the program in *.py:11 test_it.take*, let go by *.py:16"
            " test_it* in MainThread; limit 20 ms",
        ),
        ('max_lock_wait("10min")', None),
        ('max_stop_the_world("10min")', None),
    ],
)
def test_a_lock_of_the_program_that_is_kept(
    pytester: pytest.Pytester, marker: str, broken: str | None
) -> None:
    pytester.makepyfile(PROGRAM.format(marker=marker))
    assert_limited(inner.run(pytester), f"@pytest.mark.{marker.split('(')[0]}", broken)


@measured_only
def test_a_table_sorted_by_waits_for_locks_has_them_measured(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROGRAM.format(marker="max_gil_wait('10min')"))
    lines = section(inner.run(pytester, "--gil-report", "--gil-sort=lock_wait"))
    row = next(place for place, line in enumerate(lines) if line.endswith("::test_it"))
    assert "  locks of the program  " in lines[row]
    assert lines[row + 1].startswith("        let go by ")
    assert re.search(r"\.py:16 test_it( > .*)? in MainThread$", lines[row + 1])


DICT = """
import ctypes
import threading
import time
import pytest

usleep = ctypes.PyDLL(None).usleep  # the thread stays attached, so a dict's lock is kept
asked = []

class Slow:
    def __hash__(self):
        return 1
    def __eq__(self, other):
        asked.append(True)
        usleep(150_000)
        return False

@pytest.mark.max_lock_wait("20ms", kind="objects")
def test_it():
    shared = {Slow(): 1}
    def put():
        shared[Slow()] = 2
    keeper = threading.Thread(target=put, name="keeper")
    keeper.start()
    while not asked:
        time.sleep(1e-3)
    shared["a"] = 3
    keeper.join()
"""


@without_gil
def test_a_dict_that_is_kept(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(DICT)
    broken = (
        "MainThread waited * for the lock of an object (most of all dict) in *.py:26 test_it,"
        " let go by *.py:21 test_it.put in *; limit 20 ms"
    )
    assert_limited(inner.run(pytester), "@pytest.mark.max_lock_wait", broken)


WORLD = """
import gc
import threading
import time
import pytest

MANY = [[i] for i in range(300_000)]

@pytest.mark.max_stop_the_world("1ms")
def test_it():
    begun, over = [], []
    def run():
        begun.append(True)
        while not over:
            pass
    thread = threading.Thread(target=run, name="runner")
    thread.start()
    while not begun:
        time.sleep(1e-3)
    gc.collect()
    over.append(True)
    thread.join()
"""


@without_gil
def test_a_world_that_is_stopped_to_collect(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(WORLD)
    broken = (
        "runner waited * for the stopped world in *.py:* test_it.run, stopped by *.py:19 test_it"
        " in MainThread; limit 1 ms"
    )
    assert_limited(inner.run(pytester), "@pytest.mark.max_stop_the_world", broken)


KEPT = """
import os
import threading
import time

def test_it():
    lock = threading.Lock()
    begun = threading.Event()
    def keep():
        with lock:
            begun.set()
            time.sleep(float(os.environ["KEPT"]))
    thread = threading.Thread(target=keep)
    thread.start()
    begun.wait()
    with lock:
        pass
    thread.join()
"""


@measured_only
def test_a_gate_judges_what_is_measured_here(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(KEPT)
    monkeypatch.setenv("KEPT", "0")
    inner.run(pytester, "--gil-save=base.json", "--gil-locks").assert_outcomes(passed=1)
    gate = ("--gil-compare=base.json", "--gil-compare-fail=lock_wait:150ms")
    inner.run(pytester, *gate).assert_outcomes(passed=1)
    monkeypatch.setenv("KEPT", "0.5")
    result = inner.run(pytester, *gate)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Contention regression: lock_wait *"])
