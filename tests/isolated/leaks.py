"""What is opened, started or forked again and again leaves nothing behind.

A case does a round of something many times. What the process has after the first half is compared
with what it has after the second half: if each round left as much as one small block of memory, it
would have grown by twice what is allowed.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import sysconfig
import time
from collections.abc import Callable

import scripting
from loads import hold, in_threads, let_go, spin
from scripting import METHOD, case, measured, not_here, opened

from pytest_gilknock import _core

SMALLEST_BLOCK = 16  # bytes, of malloc

PROC = "/proc/self"
if not os.path.isdir(PROC):
    not_here("this system does not tell of a process what it has")


class Mallinfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [(f"other{i}", ctypes.c_size_t) for i in range(10)]
    _fields_[4] = ("hblkhd", ctypes.c_size_t)
    _fields_[7] = ("uordblks", ctypes.c_size_t)


def allocated() -> int:
    """Bytes that malloc has given out; where it does not tell, the resident ones."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return resident()
    mallinfo.restype = Mallinfo
    told = mallinfo()
    return int(told.uordblks + told.hblkhd)


def resident() -> int:
    with open(f"{PROC}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def threads() -> int:
    return len(os.listdir(f"{PROC}/task"))


def files() -> int:
    return len(os.listdir(f"{PROC}/fd"))


def settled(count: Callable[[], int], most: int) -> int:
    """Return the count once it is down to that; threads that were told to end need a moment."""
    patience = time.monotonic() + 30
    while count() > most and time.monotonic() < patience:
        time.sleep(0.01)
    return count()


def repeat(
    count: int, round_: Callable[[], object], *, of: int = 1, at_rest: int | None = None
) -> None:
    """Do half of the rounds, look, do the rest, and compare. A round does ``of`` things.

    Where memory has grown others decide: a table of the interpreter's that gets too small grows
    once, and what malloc keeps for later comes and goes; a leak grows each time. ``at_rest`` is
    down to how many threads those that were told to end are waited for: one that is about to end
    still has its memory.
    """
    half = count // 2 // of * of

    def do_half() -> None:
        for _ in range(half // of):
            round_()
        if at_rest is not None:
            settled(threads, at_rest)
        gc.collect()

    do_half()
    others = files(), threads()
    told: list[str] = []
    while len(told) < 4 and (grown := memory_grown(half, do_half)):
        told.append(grown)
    assert len(told) < 4, told
    for count_of, then in zip((files, threads), others, strict=True):
        assert settled(count_of, then) <= then, (count_of.__name__, count_of(), then)
    with measured():
        spin(1e-3)


def memory_grown(half: int, do_half: Callable[[], None]) -> str:
    """Do half of the rounds; return by how much memory has grown, "" if by no more than allowed."""
    before = allocated(), resident(), sys.getallocatedblocks()
    do_half()
    after = allocated(), resident(), sys.getallocatedblocks()
    bytes_more, resident_more, blocks_more = (
        now - then for now, then in zip(after, before, strict=True)
    )
    told = f"{half} times: {bytes_more} bytes, {resident_more} resident, {blocks_more} blocks"
    print(told)
    allowed = (
        bytes_more < half * SMALLEST_BLOCK / 2
        and resident_more < half * SMALLEST_BLOCK + (1 << 20)
        and blocks_more < half / 2
    )
    return "" if allowed else told


@case(usual=50_000, nightly=1_000_000)
def windows(count: int) -> None:
    def one() -> None:
        window = opened()
        window.end()

    repeat(count, one)


@case(usual=20_000, nightly=1_000_000)
def windows_inside_windows(count: int) -> None:
    """With looks at them, and dropped while they are open."""
    outer = opened()

    def one() -> None:
        window = opened()
        inner = opened(threads=False)
        opened()
        inner.peek()
        opened(method="sampled").end()
        window.end()
        inner.end()

    repeat(count, one)
    outer.end()


@case(usual=1000, nightly=50_000)
def windows_with_blame(count: int) -> None:
    """Each has its knocks, and remembers the code that they blame."""
    if METHOD == "disabled":
        not_here("the GIL is off: nobody is blamed")
    if sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info < (3, 14):
        not_here("a free-threaded 3.13 keeps all functions made after its second thread began")
    _core.set_knock_interval(1e-4)
    blamed = 0

    def one() -> None:
        nonlocal blamed
        window = opened()
        namespace = {"spin": spin}
        exec(compile("def work():\n    spin(2e-4)\n", f"<{one}>", "exec"), namespace)
        namespace["work"]()
        blamed += len(window.end()["blame"])

    repeat(count, one)
    until = time.monotonic() + 30
    while not blamed and time.monotonic() < until:  # on a busy machine knocks come late
        one()
    assert blamed > 0


@case(usual=12_000, nightly=200_000)
def threads_with_windows(count: int) -> None:
    """Each is a new thread. What is kept of ended threads takes its room in the first thousands."""

    def one() -> None:
        window = opened()
        let_go(1e-6)
        window.end()

    def many() -> None:
        in_threads(10, one)

    repeat(count, many, of=10)


@case(usual=9000, nightly=100_000)
def knockers(count: int) -> None:
    """Stopped, or dropped while they run: more threads than the accounting tells apart."""

    def one() -> None:
        knocker = _core.Knocker(10, 1000, 0)
        knocker.start()
        knocker.times()
        knocker.stop()
        knocker.start()
        if threads() > 50:
            settled(threads, 10)

    with measured():
        hold(1e-3)
    repeat(count, one, at_rest=3)


@case(usual=300, nightly=20_000)
def forks(count: int) -> None:
    """Of a process that measures; the parent loses nothing by it."""
    fork = getattr(os, "fork", None) or not_here("no fork here")
    outer = opened()

    def one() -> None:
        window = opened()
        let_go(1e-4)
        pid = fork()
        if pid == 0:
            window.end()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        window.end()

    repeat(count, one)
    outer.end()


@case(usual=100, nightly=20_000)
def forks_of_forks(count: int) -> None:
    """A line of descendants: what is lost at each fork would add up."""
    fork = getattr(os, "fork", None) or not_here("no fork here")
    outer = opened()
    for _ in range(count):
        window = opened()
        hold(1e-4)
        pid = fork()
        if pid != 0:
            _, status = os.waitpid(pid, 0)
            os._exit(os.waitstatus_to_exitcode(status))
        window.end()
    raw = outer.end()
    assert raw["method"] == METHOD, raw
    with measured():
        spin(1e-3)


if __name__ == "__main__":
    scripting.main()
