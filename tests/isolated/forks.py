"""Forks while measuring: parent and child both go on, and both read what is true of themselves."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import scripting
from loads import hold, in_background, in_threads, let_go, mix, spin
from scripting import (
    METHOD,
    case,
    checked,
    checked_threads,
    measured,
    not_here,
    opened,
    true_share,
    until_a_knock_waits,
)

from pytest_gilknock import _core

FORK = getattr(os, "fork", None) or not_here("no fork here")


def in_child(
    work: Callable[..., object], *arguments: object, fork: Callable[[], int] = FORK
) -> int:
    """Run ``work`` in a forked child; return its process id."""
    pid = fork()
    if pid != 0:
        return pid
    code = 1
    try:
        work(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()  # not otherwise: in 3.15 another thread may have left stderr locked
        sys.stderr.flush()
    finally:
        os._exit(code)


def ends_well(pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"a child ended with {code}"


def new_windows_read_well() -> None:
    """What holds in every process, forked or not: a load is read for what it is."""
    true_share(0.9, 1, lambda: spin(2e-3))
    true_share(0, 0.5, lambda: let_go(5e-3))
    with measured() as raw:
        let_go(1e-4)
    if METHOD == "exact":
        assert raw["acquisitions"] >= 1, raw
        assert {thread[0] for thread in raw["threads"]} == {threading.get_native_id()}, raw
    in_threads(2, mix)


def all_windows_read_well(*inherited: _core.Window) -> None:
    inherited_windows_read_well(*inherited)
    new_windows_read_well()


def inherited_windows_read_well(*windows: _core.Window) -> None:
    """A window that was open at the fork goes on in the child, with the child's one thread."""
    for window in windows:
        raw = checked_threads(window.peek())
        let_go(1e-3)
        later = checked_threads(window.end())
        assert later["method"] == raw["method"], later
        if METHOD == "exact":
            assert later["held"] >= raw["held"], (raw, later)
            assert later["acquisitions"] > raw["acquisitions"], (raw, later)


@case(usual=40, nightly=1000)
def os_fork_inside_a_window(count: int) -> None:
    def work(outer: _core.Window) -> None:
        all_windows_read_well(outer)
        until_a_knock_waits(opened(), lambda: spin(1e-3))

    for _ in range(count):
        with measured() as raw:
            outer = opened()
            spin(1e-4)
            ends_well(in_child(work, outer))
            checked_threads(outer.end())
        if METHOD == "exact":
            assert raw["contended"] <= 1, raw  # one knocker, nobody else


@case(usual=40, nightly=1000)
def windows_in_the_child_only(count: int) -> None:
    def work() -> None:
        new_windows_read_well()
        until_a_knock_waits(opened(), lambda: spin(1e-3))

    for _ in range(count):
        ends_well(in_child(work))
    work()


@case(usual=20, nightly=1000)
def children_that_leave_windows_open(count: int) -> None:
    """The child ends by itself, through the interpreter's own end."""
    window = opened()
    for i in range(count):
        pid = os.fork()
        if pid == 0:
            global _kept
            _kept = opened()
            let_go(random.uniform(0, 2e-3))
            if i % 2:
                _kept.end()
            sys.exit(0)
        ends_well(pid)
    checked_threads(window.end())


@case(usual=20, nightly=1000)
def forks_from_a_second_thread(count: int) -> None:
    """The child's only thread is not the one that opened the windows."""
    window = opened()

    def fork() -> None:
        mine = opened()

        def work() -> None:
            checked(window.end())
            all_windows_read_well(mine)

        ends_well(in_child(work))
        checked(mine.end())

    for _ in range(count):
        in_threads(1, fork)
    checked_threads(window.end())


@case(usual=20, nightly=1000)
def forks_while_many_threads_contend(count: int) -> None:
    in_background(4, mix)
    in_background(2, lambda: checked(opened().end()))
    window = opened()
    for i in range(count):
        mine = opened()
        pid = in_child(all_windows_read_well, window, mine)
        if i % 2:
            mix()
        ends_well(pid)
        checked(mine.end())
    checked(window.end())


@case(usual=8, nightly=300)
def forks_in_many_threads_at_once(count: int) -> None:
    def fork() -> None:
        for _ in range(count):
            mine = opened()
            pid = in_child(new_windows_read_well)
            mix()
            ends_well(pid)
            checked(mine.end())

    with measured():
        in_threads(4, fork)


@case(usual=8, nightly=200)
def forks_of_forks(count: int) -> None:
    def generation(left: int) -> None:
        window = opened()
        mix()
        if left:
            ends_well(in_child(lambda: (inherited_windows_read_well(window), generation(left - 1))))
        new_windows_read_well()
        checked(window.end())

    for _ in range(count):
        generation(4)


@case(usual=20, nightly=1000)
def forkpty(count: int) -> None:
    def fork() -> int:
        pid, terminal = os.forkpty()
        if pid != 0:
            terminals.append(terminal)
        return pid

    terminals: list[int] = []
    with measured():
        for _ in range(count):
            pid = in_child(new_windows_read_well, fork=fork)
            told = read_all(terminals.pop())
            try:
                ends_well(pid)
            except AssertionError:
                print(told)
                raise


def read_all(terminal: int) -> str:
    told = b""
    try:
        while data := os.read(terminal, 4096):
            told += data
    except OSError:  # how Linux tells that the other side is closed
        pass
    os.close(terminal)
    return told.decode()


@case(usual=20, nightly=1000)
def subprocesses(count: int) -> None:
    """Fork and exec; also by way of Python code in the forked child."""
    with measured():
        for i in range(count):
            done = subprocess.run(
                ["/bin/echo", str(i)],
                preexec_fn=new_windows_read_well if i % 2 else None,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{i}\n", "")


@case(usual=20, nightly=1000)
def a_knock_is_under_way_at_the_fork(count: int) -> None:
    """The forking thread has kept the GIL for a while, and knockers wait for it."""
    _core.set_knock_interval(1e-4)
    knocker = _core.Knocker(0, 1_000_000, 0)
    knocker.start()
    window = opened()

    def work() -> None:
        all_windows_read_well(window)
        until_a_knock_waits(opened(), lambda: spin(1e-3))
        knocker.times()
        knocker.stop()
        knocker.start()
        patience = time.monotonic() + 60
        while knocker.times()[1] == 0:
            assert time.monotonic() < patience, "the child has no knocker of its own"
            let_go(1e-3)
        knocker.stop()

    for _ in range(count):
        hold(2e-3)
        ends_well(in_child(work))
    checked_threads(window.end())
    knocker.stop()


@case(usual=20, nightly=500)
def python_does_not_warn_of_our_thread(count: int) -> None:
    """From 3.12 on, Python warns of a fork in a process with threads. The program has none."""
    for _ in range(count):
        with measured(), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            let_go(random.uniform(0, 3e-3))
            ends_well(in_child(lambda: None))
        assert told == [], [str(warning.message) for warning in told]


def knockers() -> list[int]:
    """Return the native ids of the threads that knock."""
    return [
        int(task.name)
        for task in Path("/proc/self/task").iterdir()
        if (task / "comm").read_text() == "gilknock\n"
    ]


@case(usual=10, nightly=500)
def forks_in_a_worker_while_the_main_thread_waits(count: int) -> None:
    """The main thread is in C all the while; there are knocks before a fork and after it.

    The fork does not end the knocker either, which would have to wait for its turn with the GIL.
    """
    if METHOD == "disabled":
        not_here("the GIL is off: nobody knocks")
    _core.set_knock_interval(1e-3)

    def worker(window: _core.Window) -> None:
        for _ in range(count):
            before = knockers() if sys.platform.startswith("linux") else []
            ends_well(in_child(new_windows_read_well))
            assert not before or knockers() == before
            knocks = window.peek()["knocks"]
            patience = time.monotonic() + 20
            while window.peek()["knocks"] < knocks + 3:
                assert time.monotonic() < patience, "nobody knocks any more"
                spin(1e-3)

    window = opened()
    until_a_knock_waits(window, lambda: spin(1e-3))
    in_threads(1, lambda: worker(window))
    checked_threads(window.end())


def measured_task(number: int) -> int:
    new_windows_read_well()
    return number


def by(method: str, count: int) -> None:
    """Pools, each of two processes that have eight tasks; counted are the processes."""
    if method not in multiprocessing.get_all_start_methods():
        not_here(f"no start method {method!r} here")
    context = multiprocessing.get_context(method)
    for _ in range((count + 1) // 2):
        with measured(), ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(measured_task, range(8))) == list(range(8))


@case(usual=12, nightly=1000)
def multiprocessing_fork(count: int) -> None:
    by("fork", count)


@case(usual=4, nightly=1000)
def multiprocessing_spawn(count: int) -> None:
    by("spawn", count)


@case(usual=4, nightly=1000)
def multiprocessing_forkserver(count: int) -> None:
    by("forkserver", count)


if __name__ == "__main__":
    scripting.main()
