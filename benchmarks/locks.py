"""What does measuring waits for locks cost the program that waits?

Question: how much slower are taking a lock that is free, being put to sleep and woken, and work
that many threads do under one lock, while a window is open that measures locks?

Method: two processes do the same in turn. In one of them nothing was ever patched; in the other a
window is open with locks measured. Every round starts both anew, where they have one turn each or,
for ``park``, many short ones; the order alternates. Compared are turns that follow each other: what
the machine makes of both at that moment cancels out, which is more than ``park`` pays. Shown are
the medians of the time for one operation, and over the rounds those of the difference and of the
ratio; in brackets the interval in which the median difference of all possible rounds lies with
95 %, by the sign test.

Truth: the clock around a fixed number of operations.

The uncontended rows never sleep, so nothing of ours runs in them. ``park`` asks for a lock that is
taken, with a deadline that is over at once: one sleep, which nobody ends. ``hand-over`` is one
between two threads that wake each other with two locks, by a sleep and a wake-up unless they
spin. In the rows of many threads each takes one lock, works for some microseconds and lets it go;
``dict`` is a dict that all of them write to, whose own lock they need where there is no GIL.

Run: ``python benchmarks/locks.py`` with CPython 3.13 or newer; before, nothing is measured. Most is
seen of a free-threaded one.

Expect: a ratio of 1 in the uncontended rows, and some microseconds more in ``park``.
"""

from __future__ import annotations

import argparse
import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import harness
from harness import Table

HERE = __file__
PR_SET_TIMERSLACK = 29
CROWDS = (1, 2, 8, 64)
LIMIT = 120


def take_free_lock(count: int) -> float:
    """Return the seconds for one acquire and release that never wait."""
    lock = threading.Lock()
    acquire, release = lock.acquire, lock.release
    started = time.perf_counter()
    for _ in range(count):
        acquire()
        release()
    return (time.perf_counter() - started) / count


def write_own_dict(count: int) -> float:
    """Return the seconds for one write to a dict that no other thread has."""
    table: dict[int, int] = {}
    started = time.perf_counter()
    for i in range(count):
        table[i & 63] = i
    return (time.perf_counter() - started) / count


def park(count: int) -> float:
    """Return the seconds for one wait for a taken lock, until a deadline that is over at once."""
    wake_in_time()
    lock = threading.Lock()
    lock.acquire()
    started = time.perf_counter()
    for _ in range(count):
        lock.acquire(timeout=1e-9)
    return (time.perf_counter() - started) / count


def wake_in_time() -> None:
    """Have the system wake this thread when its sleep is over, and not some 50 us later."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def hand_over(count: int) -> float:
    """Return the seconds for one hand-over between two threads that wake each other."""
    mine, other = threading.Lock(), threading.Lock()
    mine.acquire()
    other.acquire()

    def answer() -> None:
        for _ in range(count):
            other.acquire()
            mine.release()

    thread = threading.Thread(target=answer)
    thread.start()
    started = time.perf_counter()
    for _ in range(count):
        other.release()
        mine.acquire()
    took = time.perf_counter() - started
    thread.join()
    return took / (2 * count)


def crowd(threads: int, step: Callable[[int], None], count: int) -> float:
    """Return the seconds for one step, of which all threads together do ``count``."""
    each = max(1, count // threads)
    start = threading.Barrier(threads + 1)

    def work() -> None:
        start.wait()
        for i in range(each):
            step(i)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    return (time.perf_counter() - started) / (each * threads)


def under_one_lock(threads: int) -> Callable[[int], float]:
    """Return work under a lock that these threads share."""
    lock = threading.Lock()

    def step(i: int) -> None:
        with lock:
            sum(range(100))

    return lambda count: crowd(threads, step, count)


def on_one_dict(threads: int) -> Callable[[int], float]:
    """Return writes to a dict that these threads share."""
    table: dict[int, int] = {}

    def step(i: int) -> None:
        table[i & 63] = i

    return lambda count: crowd(threads, step, count)


# name: the work, how many operations in a turn, and how many turns in a round
WORKS: dict[str, tuple[Callable[[int], float], int, int]] = {
    "uncontended lock": (take_free_lock, 400_000, 1),
    "uncontended dict": (write_own_dict, 400_000, 1),
    "park": (park, 100, 100),
    "hand-over": (hand_over, 10_000, 1),
    **{f"lock, threads: {n}": (under_one_lock(n), 40_000, 1) for n in CROWDS},
    **{f"dict, threads: {n}": (on_one_dict(n), 400_000, 1) for n in CROWDS},
}


def work_in_turns(name: str, window: bool, quick: bool) -> None:
    """Do the work each time a line is read, in a window or where nothing is patched; then end.

    Answers with the seconds for one operation, and at the end with the number of waits.
    """
    signal.alarm(LIMIT)
    work, count, _ = WORKS[name]
    if quick:
        count //= 20
    if not window:
        for _ in sys.stdin:
            harness.reply(work(count))
        return
    from pytest_gilknock._core import Window

    opened = Window(locks=True)
    opened.begin()
    for _ in sys.stdin:
        harness.reply(work(count))
    locks = opened.end()["locks"]
    if isinstance(locks, str):
        raise SystemExit(f"locks are not measured: {locks}")
    harness.reply(sum(kind[0] for kind in locks["kinds"].values()))


@dataclass(frozen=True)
class Round:
    """The seconds for one operation, turn by turn, and how many waits the window counted."""

    bare: list[float]
    window: list[float]
    waits: int

    @property
    def difference(self) -> float:
        return median(b - a for a, b in zip(self.bare, self.window, strict=True))

    @property
    def ratio(self) -> float:
        return median(b / a for a, b in zip(self.bare, self.window, strict=True))


def take_turn(process: subprocess.Popen[str]) -> float:
    """Have a process of :func:`work_in_turns` do its work, and return the seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process ended, or took too long")
    return float(line)


def measure_round(name: str, window_first: bool, quick: bool) -> Round:
    """Start both processes and have them do the work in turn."""
    command = [sys.executable, HERE, "--work", name, *["--quick"] * quick]
    found: dict[bool, list[float]] = {False: [], True: []}
    with ExitStack() as stack:
        processes = {
            window: stack.enter_context(
                harness.child(
                    [*command, *["--window"] * window],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for window in (False, True)
        }
        for turn in range(WORKS[name][2]):
            first = window_first == (turn % 2 == 0)
            for window in (first, not first):
                found[window].append(take_turn(processes[window]))
        told, _ = processes[True].communicate()
    if processes[True].returncode != 0:
        raise RuntimeError("the process with the window failed")
    return Round(found[False], found[True], int(told))


def compare(name: str, count: int, quick: bool) -> dict[str, float]:
    """Return what so many rounds of a work come to."""
    rounds = []
    for at in range(count):
        harness.progress(f"{name}: round {at + 1} of {count}")
        rounds.append(measure_round(name, at % 2 == 0, quick))
    difference, low, high = harness.median_within([one.difference for one in rounds])
    return {
        "bare": median(median(one.bare) for one in rounds),
        "window": median(median(one.window) for one in rounds),
        "difference": difference,
        "low": low,
        "high": high,
        "ratio": median(one.ratio for one in rounds),
        "waits": max(one.waits for one in rounds),
    }


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--window", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", default="", metavar="TEXT", help="works whose name has this")
    options = harness.start(parser)
    if options.work:
        work_in_turns(options.work, options.window, options.quick)
        return 0
    line = harness.machine_line()
    rounds = options.rounds or (1 if options.quick else 7)
    names = [name for name in WORKS if options.only in name]
    if options.quick:
        names = names[:4]
    if sys.version_info < (3, 13):
        names = []
        harness.show("Waits for locks are measured from CPython 3.13 on: nothing to compare.")
    figures = {name: compare(name, rounds, options.quick) for name in names}
    rows = [
        [
            name,
            f"{of['bare'] * 1e6:.3f} us",
            f"{of['window'] * 1e6:.3f} us",
            f"{of['difference'] * 1e6:+.3f} us",
            f"({of['low'] * 1e6:+.3f} to {of['high'] * 1e6:+.3f})",
            f"{of['ratio']:.3f}",
            f"{of['waits']:.0f}",
        ]
        for name, of in figures.items()
    ]
    head = ["work", "bare", "window", "difference", "with 95 %", "ratio", "waits"]
    harness.show(line, Table(f"One operation (medians of {rounds})", head, rows))
    harness.write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
