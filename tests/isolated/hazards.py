"""Signals, exhausted stacks and memory, and other accidents inside windows."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tracemalloc

import scripting
from loads import in_threads, let_go, mix, spin
from scripting import (
    METHOD,
    case,
    checked,
    measured,
    not_here,
    nothing_is_open,
    opened,
    until_a_knock_waits,
)

from pytest_gilknock import _core


class Alarm(Exception):
    """Raised by a signal's handler, wherever the program happens to be."""


@contextlib.contextmanager
def storm(handler: object, seconds: float = 1e-3, *, once: bool = False) -> object:
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0 if once else seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@case(usual=100, nightly=5000)
def signals_every_millisecond(count: int) -> None:
    handled = []
    with measured() as raw, storm(lambda *_: handled.append(checked(opened().end()))):
        for _ in range(count):
            in_threads(2, mix)
            spin(1e-3)
    assert handled
    assert METHOD != "exact" or raw["acquisitions"] > 0, raw


@case(usual=200, nightly=10_000)
def handlers_that_raise(count: int) -> None:
    """They come between any two steps: a window that is left open is closed with its owner."""
    raised = 0

    def fail(*_: object) -> None:
        nonlocal raised
        raised += 1
        raise Alarm

    for _ in range(count):
        # One alarm a time: a second one could come while the first ends the storm.
        with contextlib.suppress(Alarm), storm(fail, random.uniform(1e-4, 2e-3), once=True):
            for _ in range(100):
                checked(opened().end())
            let_go(1)
    assert raised == count
    nothing_is_open()
    with measured():
        mix()


@case(usual=200, nightly=10_000)
def signals_wait_for_a_thread_of_the_program(count: int) -> None:
    """The program has blocked a signal in its only thread: the knocker does not take it instead."""
    taken = []
    signal.signal(signal.SIGUSR1, lambda *_: taken.append(1))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    with measured():
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGUSR1)
            let_go(1e-4)
            assert signal.SIGUSR1 in signal.sigpending()
            assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
    assert not taken


@case(usual=3, nightly=100)
def a_fault_in_the_knocker_is_told_of(count: int) -> None:
    """Signals that tell of a fault of the thread itself reach the handler, as in every thread."""
    if not sys.platform.startswith("linux"):
        not_here("a thread's signals are looked at through /proc")
    if METHOD == "disabled":
        not_here("the GIL is off: nobody knocks")
    for _ in range(count):
        for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"):
            done = subprocess.run(
                [sys.executable, "-c", FAULT, name],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == -getattr(signal, name), done
            assert done.stderr.startswith("Fatal Python error: "), done


# Asked for all threads, faulthandler reads the frames of one that runs on, and may crash at that.
FAULT = """
import ctypes, faulthandler, os, pathlib, signal, sys, time
from pytest_gilknock import _core

faulthandler.enable(all_threads=False)
window = _core.Window()
window.begin()
while True:
    for task in pathlib.Path("/proc/self/task").iterdir():
        if (task / "comm").read_text() == "gilknock\\n":
            tgkill = 234 if os.uname().machine == "x86_64" else 131
            fault = getattr(signal, sys.argv[1])
            ctypes.CDLL(None).syscall(tgkill, os.getpid(), int(task.name), fault)
            time.sleep(1)
            sys.exit("the knocker does not take the signal")
"""


@case(usual=20, nightly=1000)
def recursion_errors(count: int) -> None:
    def deeper() -> None:
        with measured(threads=False):
            deeper()

    def deep_without_windows() -> None:
        deep_without_windows()

    for _ in range(count):
        with measured():
            try:
                deep_without_windows()
            except RecursionError:
                mix()
        with contextlib.suppress(RecursionError):
            deeper()
    nothing_is_open()
    with measured():
        mix()


@case(usual=1, nightly=20)
def no_memory_for_anything(count: int) -> None:
    """The address space is full: what cannot be had raises MemoryError, and that is all."""
    resource = importlib.import_module("resource")
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    spare = 64 << 20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    _core.set_knock_interval(1e-4)
    window = opened()
    for _ in range(count):
        resource.setrlimit(resource.RLIMIT_AS, (used + spare, hard))
        hoard: list[bytes] = []
        size = spare
        while size > 16:
            try:
                hoard.append(bytes(size))
            except MemoryError:
                size //= 2
        opened_then = 0
        for _ in range(200):
            with contextlib.suppress(MemoryError):
                inner = opened()
                spin(1e-4)
                inner.end()
                opened_then += 1
        hoard.clear()
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, hard))
        with measured():
            spin(5e-3)
    until_a_knock_waits(window, lambda: spin(0.01))
    checked(window.end())
    nothing_is_open()


@case(usual=40, nightly=400)
def the_nth_block_of_memory_is_not_there(count: int) -> None:
    """Each step of opening and closing a window fails in turn."""
    try:
        testcapi = importlib.import_module("_testcapi")
    except ImportError:
        not_here("this Python comes without _testcapi")
    opened().end()
    failed = 0
    for start in range(count):
        window = None
        testcapi.set_nomemory(start, start + 1)
        try:
            window = _core.Window()
            window.begin()
            window.peek()
            window.end()
        except MemoryError:
            failed += 1
        finally:
            testcapi.remove_mem_hooks()
        if window is not None:
            with contextlib.suppress(RuntimeError):
                window.end()
    assert failed > 0
    nothing_is_open()
    with measured():
        mix()


@case(usual=3, nightly=50)
def no_memory_for_the_knocker(count: int) -> None:
    """Knocks fall due while nobody gets any memory.

    All knockers are at work by then: 3.11 crashes if a thread state finds no memory (a block of its
    size is tried first, but another thread may end the memory in between).
    """
    try:
        testcapi = importlib.import_module("_testcapi")
    except ImportError:
        not_here("this Python comes without _testcapi")
    _core.set_knock_interval(1e-4)
    window = opened()
    knockers = [_core.Knocker(100, 1_000_000, 0) for _ in range(2)]
    for knocker in knockers:
        knocker.start()
    while METHOD != "disabled" and not (
        window.peek()["knocks"] and all(any(knocker.times()) for knocker in knockers)
    ):
        spin(1e-3)
    for _ in range(count):
        nothing = itertools.repeat(None, 1_000_000)  # takes a while, and takes no memory
        testcapi.set_nomemory(0)
        for _ in nothing:
            pass
        testcapi.remove_mem_hooks()
        mix()
    for knocker in knockers:
        knocker.stop()
    checked(window.end())


@case(usual=150, nightly=3000)
def tracemalloc_starts_and_stops(count: int) -> None:
    """Up to 3.13.1 it may not stop while a thread waits for the GIL to have memory traced."""
    with measured():
        for _ in range(count):
            tracemalloc.start(5)
            spin(0.01)
            tracemalloc.stop()


@case(usual=20, nightly=1000)
def tracemalloc_takes_snapshots(count: int) -> None:
    _core.set_knock_interval(1e-4)
    tracemalloc.start(5)
    with measured() as raw:
        for _ in range(count):
            in_threads(3, lambda: (mix(), [bytearray(100) for _ in range(100)]))
            tracemalloc.take_snapshot()
    assert METHOD != "exact" or raw["held"] > 0, raw


if __name__ == "__main__":
    if sys.platform == "win32":
        not_here("no such signals here")
    scripting.main()
