"""A C call that never returns: nobody gets the GIL any more, and measuring makes it no worse."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.util
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import scripting
from loads import hold, in_threads
from pytest_runs import PLUGIN, STUCK, Run, pytest
from scripting import METHOD, case, checked, measured, not_here, one_of_many, opened, repeated

from pytest_gilknock import _core

# Each stalls in its own way: with the GIL or without it, and so that a signal ends the call or not.
SUITE = """
import ctypes, os

def lock_twice(library):
    mutex = ctypes.create_string_buffer(256)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)

def test_before():
    pass

def test_stall():
    {stall}

def test_after():
    pass
"""

WITH_GIL_UNTIL_SIGNAL = "ctypes.PyDLL(None).pause()"
WITHOUT_GIL_UNTIL_SIGNAL = "ctypes.CDLL(None).pause()"
WITH_GIL_FOR_EVER = "lock_twice(ctypes.PyDLL(None))"
WITHOUT_GIL_FOR_EVER = "lock_twice(ctypes.CDLL(None))"

# What pytest-timeout ends by itself: one method needs the stalled thread to come back to Python,
# the other one needs the GIL.
ENDED = [
    ("signal", WITH_GIL_UNTIL_SIGNAL),
    ("signal", WITHOUT_GIL_UNTIL_SIGNAL),
    ("thread", WITHOUT_GIL_UNTIL_SIGNAL),
    ("thread", WITHOUT_GIL_FOR_EVER),
]
NOT_ENDED = [
    ("signal", WITH_GIL_FOR_EVER),
    ("signal", WITHOUT_GIL_FOR_EVER),
    ("thread", WITH_GIL_UNTIL_SIGNAL),
    ("thread", WITH_GIL_FOR_EVER),
]


def both_ways(method_and_stall: tuple[str, str], patience: float) -> tuple[Run, Run]:
    """Run the suite with pytest-timeout alone, and with the plugin."""
    method, stall = method_and_stall
    arguments = ("--timeout=1", f"--timeout-method={method}")
    suite = SUITE.format(stall=stall)
    bare = pytest(suite, *arguments, plugins=("pytest_timeout",), timeout=patience)
    ours = pytest(
        suite, "--gil-report", *arguments, plugins=("pytest_timeout", PLUGIN), timeout=patience
    )
    return bare, ours


def require_pytest_timeout() -> None:
    if importlib.util.find_spec("pytest_timeout") is None:
        not_here("pytest-timeout is not installed")


@case(usual=1, nightly=20)
def pytest_timeout_ends_what_it_ends_anyway(count: int) -> None:
    require_pytest_timeout()
    with ThreadPoolExecutor(2) as pool:
        for bare, ours in pool.map(lambda way: both_ways(way, 60), ENDED * count):
            assert bare.code != STUCK, bare
            assert ours.code == bare.code, (bare, ours)
            assert ours.outcomes == bare.outcomes, (bare, ours)
            assert "Timeout" in ours.text, ours
            assert "in test_stall" in ours.text or "def test_stall" in ours.text, ours


@case(usual=0, nightly=5)
def what_pytest_timeout_does_not_end_stays_so(count: int) -> None:
    """It would be a wonder if we did better; the table of the ways would be wrong."""
    require_pytest_timeout()
    with ThreadPoolExecutor(4) as pool:
        for bare, ours in pool.map(lambda way: both_ways(way, 4), NOT_ENDED * count):
            assert bare.code == ours.code == STUCK, (bare, ours)


@case(usual=1, nightly=20)
def faulthandler_tells_where_it_stalls(count: int) -> None:
    """What needs no GIL still works: the watchdog tells the line while nobody can get the GIL."""
    for _ in range(count):
        run = pytest(
            SUITE.format(stall=WITH_GIL_FOR_EVER),
            "--gil-report",
            "-o",
            "faulthandler_timeout=1",
            "-s",
            plugins=(PLUGIN,),
            until="in test_stall",
        )
        assert run.code == STUCK, run
        assert "in test_stall" in run.text, run


@case(usual=5, nightly=200)
def the_stall_is_told_as_soon_as_it_ends(count: int) -> None:
    """The knock asked in vain meanwhile is part of the reading, though nobody let it in.

    Between the two calls there is no step of Python, in which the GIL might be let go.
    """
    for method in ("auto", "sampled"):
        for _ in range(count):
            one_of_many(partial(stalled_window, method))


def stalled_window(method: str) -> None:
    window = opened(method=method)
    calls = partial(ctypes.PyDLL(None).usleep, 150_000), partial(window.end)
    _, raw = map(partial.__call__, calls)
    checked(raw)
    if METHOD != "disabled":
        assert raw["knocks_waited"] >= 1, raw
        assert raw["max_wait"] > 0.2 * raw["wall"], raw
        assert raw["held"] is None or raw["held"] > 0.9 * raw["wall"], raw


@case(usual=3, nightly=300)
def stacks_are_read_of_threads_that_run_on(count: int) -> None:
    """Here a hold of a millisecond is a stall, and the frames that are read change meanwhile."""
    if METHOD == "disabled":
        not_here("there is no GIL to wait for")

    def run() -> None:
        while time.monotonic() < until:
            list(nested(40))
            exec("def function(x): return x\nfunction(1)")

    def nested(depth: int) -> Iterator[int]:
        if depth:
            yield from nested(depth - 1)
        yield depth

    scratch, unread = os.memfd_create("stacks"), os.open(os.devnull, os.O_WRONLY)
    number = _core.free_signal()
    faulthandler.register(number, file=scratch, all_threads=True, chain=False)
    _core.set_knock_interval(1e-3)
    sys.setswitchinterval(0.1)  # the watch looks twice, 20 ms apart
    until = time.monotonic() + count
    window = opened()
    _core.watch_stalls(1e-3, unread, scratch, number)
    in_threads(3, run)
    _core.unwatch_stalls()
    window.end()
    stalls, _ = _core.take_stalls()
    assert any("in nested" in stacks for *_, stacks in stalls), stalls


@case(usual=2, nightly=100)
def the_watch_goes_on_after_a_fork(count: int) -> None:
    """Whether a window is open at the fork or not, and whether there are other threads or none."""
    if METHOD == "disabled":
        not_here("there is no GIL to wait for")
    warnings.simplefilter("ignore")  # of forks beside threads
    _core.set_knock_interval(1e-3)
    for i in range(4 * count):
        told = os.memfd_create("report")
        _core.watch_stalls(0.05, told, -1, 0)
        before = opened() if i % 2 else None
        with repeated(partial(time.sleep, 1e-3)) if i % 4 > 1 else nullcontext():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        window = opened()
        patience = time.monotonic() + 30
        while b"no thread could get the GIL" not in os.pread(told, 1000, 0):
            assert time.monotonic() < patience, "nobody watches any more"
            hold(0.2)
        for one in (before, window):
            if one is not None:
                one.end()
        _core.unwatch_stalls()
        _core.take_stalls()
        os.close(told)


@case(usual=5, nightly=200)
def a_knocker_tells_the_stall_as_soon_as_it_ends(count: int) -> None:
    knocker = _core.Knocker(1000, 1_000_000, 0)
    knocker.start()

    def stall() -> None:
        knocker.reset()
        calls = partial(ctypes.PyDLL(None).usleep, 100_000), partial(knocker.times)
        _, (waited, sampled) = map(partial.__call__, calls)
        assert METHOD == "disabled" or waited > 0.2 * sampled > 0, (waited, sampled)

    for _ in range(count):
        one_of_many(stall)
    knocker.stop()


@case(usual=2, nightly=50)
def a_stalled_process_can_be_ended(count: int) -> None:
    """By a signal whose action is the system's own; a handler in Python would need the GIL."""
    code = (
        "import ctypes\nfrom pytest_gilknock import _core\n"
        "window = _core.Window()\nwindow.begin()\nprint('stalled', flush=True)\n"
        "mutex = ctypes.create_string_buffer(256)\nlibc = ctypes.PyDLL(None)\n"
        "libc.pthread_mutex_lock(mutex)\nlibc.pthread_mutex_lock(mutex)\n"
    )
    for _ in range(count):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "stalled\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
    with measured():
        hold(1e-3)


if __name__ == "__main__":
    scripting.main()
