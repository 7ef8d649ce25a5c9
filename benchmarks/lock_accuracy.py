"""How true are waits for locks?

Question: by how much does what a window says that a thread waited for a lock, for the lock of an
object, or for a world that is to be stopped, differ from what happened?

Method: one thread keeps what another one wants for a known time, again and again. The window is the
waiter's, and is open while it asks; every row is a process of its own. A lock of the program is
kept by a thread that sleeps, the lock of an object by C code that a comparison or a sort calls and
that stays attached to the interpreter; so is a thread that does not let itself be stopped. The
waiter asks only when that C code has let go of a mutex, which it does by going to sleep: a thread
that is about to call it can still be stopped, or let go of its object, and would keep nothing. The
world is stopped by setting the recursion limit, which stops it once and does no more. A collection
looks through the whole heap where there is no GIL: of the time of its call much is no wait.

Truth: stamps of the clock. The wait begins after the stamp before the call that asks. It ends after
the stamp of the thread that lets go, as it is about to, and before that of the waiter when its call
has returned. The ``error`` counts from the first of these two ends: until the waiter has been woken
it goes on waiting, and the stamps leave open for how long. A reading is ``outside`` when it is more
than the later one, or less than the earlier one and than the waiter was asleep within its call: it
is awake until it asks, and while it spins for a lock. Then a busy machine may give its processor to
others until the lock is free, so that it gets it without a sleep, and there is no wait to see.
Where there is a GIL the waiter takes it back within its call, which is no wait for the lock: the
thread that lets go lets go of the GIL as well. ``beside`` is what the waiter's call took by its own
clock beside the measured wait, which has the wake-up in it: to ask, to spin, to return.

Run: ``python benchmarks/lock_accuracy.py`` with CPython 3.13 or newer; before, nothing is measured.
The rows of objects and of the stopped world are there where the GIL is off.

Expect: none outside, and errors of less than 2 % or 50 us, but for wake-ups that took longer: on a
virtual machine they take 50 to 250 us, which is more than 2 % of 2 ms. The waiter's own clock has
less than 100 us beside the measured wait, and more where it sets a stopped world going again.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import harness
from harness import Table, span

if TYPE_CHECKING:
    from pytest_gilknock.model.locks import LockReading

GIL_IS_ON = getattr(sys, "_is_gil_enabled", lambda: True)()
KEPT = (0.002, 0.02, 0.1)
LIMIT = 120.0
SHARE, ABSOLUTE = 0.02, 50e-6
"""An error is small below the larger of this share of the wait and these seconds."""

attached = ctypes.PyDLL(None)
"""Calls of the C library that keep the GIL, or stay attached to the interpreter without one."""

detached = ctypes.CDLL(None)
"""Calls of the C library that let go of it."""

SCHEDULED = Path("/proc/thread-self/schedstat")


class Moment(ctypes.Structure):
    """A ``timespec``."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Keeping:
    """What is kept from the waiter; the stamps of one round, in seconds of the clock.

    ``awake`` are the seconds of the waiter's call in which it was not asleep.
    """

    asked = let_go = back = awake = 0.0

    def keep(self, kept: float, is_kept: threading.Event) -> None:
        """Take what the waiter wants, say so, keep it for so long, stamp and let go."""
        raise NotImplementedError

    def await_kept(self, is_kept: threading.Event) -> None:
        """Return once it is kept."""
        is_kept.wait()

    def want(self) -> None:
        """Ask for it."""
        raise NotImplementedError


class Lock(Keeping):
    """A lock of the program."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.lock = make()

    def keep(self, kept: float, is_kept: threading.Event) -> None:
        with self.lock:
            is_kept.set()
            time.sleep(kept)
            self.let_go = time.perf_counter()

    def want(self) -> None:
        with self.lock:
            self.back = time.perf_counter()


class Attached(Keeping):
    """What a thread keeps while it stays attached to the interpreter."""

    def __init__(self) -> None:
        self.condition = ctypes.create_string_buffer(64)  # of zeros, which is what they begin with
        self.mutex = ctypes.create_string_buffer(64)

    def stay(self, kept: float, is_kept: threading.Event) -> None:
        """Stay attached, asleep, for so long.

        The mutex is free again when the sleep has begun, and not before.
        """
        attached.pthread_mutex_lock(self.mutex)
        is_kept.set()
        self.let_go = time.perf_counter() + kept
        seconds, rest = divmod(self.let_go, 1.0)
        until = ctypes.byref(Moment(int(seconds), int(rest * 1e9)))
        attached.pthread_cond_clockwait(self.condition, self.mutex, time.CLOCK_MONOTONIC, until)
        attached.pthread_mutex_unlock(self.mutex)

    def await_kept(self, is_kept: threading.Event) -> None:
        is_kept.wait()
        detached.pthread_mutex_lock(self.mutex)
        detached.pthread_mutex_unlock(self.mutex)


class Object(Attached):
    """An object whose lock is held while it calls back."""

    def stay(self, kept: float, is_kept: threading.Event) -> None:
        super().stay(kept, is_kept)
        self.let_go = time.perf_counter()


class List(Object):
    def keep(self, kept: float, is_kept: threading.Event) -> None:
        self.numbers = [1]
        self.numbers.sort(key=lambda _: self.stay(kept, is_kept))

    def want(self) -> None:
        self.numbers.append(1)


class Key:
    """Is compared with any other by what it is told to do."""

    def __init__(self, compare: Callable[[], None]) -> None:
        self.compare = compare

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        self.compare()
        return False


class Dict(Object):
    def keep(self, kept: float, is_kept: threading.Event) -> None:
        self.table: dict[object, int] = {1: 1}
        self.table[Key(lambda: self.stay(kept, is_kept))] = 1

    def want(self) -> None:
        self.table["a"] = 1


class World(Attached):
    """The world, which cannot be stopped while a thread stays attached.

    It is stopped before the thread that stayed can stamp, which lets go as its sleep ends.
    """

    def keep(self, kept: float, is_kept: threading.Event) -> None:
        self.stay(kept, is_kept)

    def want(self) -> None:
        sys.setrecursionlimit(sys.getrecursionlimit())


THINGS: dict[str, tuple[Callable[[], Keeping], str]] = {
    "threading.Lock": (lambda: Lock(threading.Lock), "program"),
    "threading.RLock": (lambda: Lock(threading.RLock), "program"),
    "threading.Condition": (lambda: Lock(threading.Condition), "program"),
    "list": (List, "objects"),
    "dict": (Dict, "objects"),
    "a world to stop": (World, "interpreter"),
}
"""What is kept, and the kind of its waits."""


@dataclass(frozen=True)
class Wait:
    """One wait, in seconds: as measured, as the stamps say, and what of it the waiter slept."""

    measured: float
    least: float
    most: float
    asleep: float

    @property
    def error(self) -> float:
        return self.measured - self.least

    @property
    def beside(self) -> float:
        return self.most - self.measured

    @property
    def is_outside(self) -> bool:
        return not min(self.least, self.asleep) <= self.measured <= self.most

    @property
    def is_off(self) -> bool:
        """Whether its error is not small."""
        return abs(self.error) > max(SHARE * self.least, ABSOLUTE)


def run_delay() -> float:
    """Return for how many seconds this thread has been ready without a processor."""
    try:
        return int(SCHEDULED.read_text().split()[1]) * 1e-9
    except OSError:
        return 0.0  # the system does not tell


def measure_once(name: str, kept: float) -> Wait:
    """Have one thread wait for what another one keeps for so many seconds."""
    from pytest_gilknock import measure

    make, kind = THINGS[name]
    thing = make()
    is_kept = threading.Event()
    found: list[LockReading] = []

    def wait() -> None:
        thing.await_kept(is_kept)
        with measure(locks=True) as m:
            delay = run_delay()
            computed = time.thread_time()
            thing.asked = time.perf_counter()
            thing.want()
            thing.back = thing.back or time.perf_counter()
            computed = time.thread_time() - computed
            thing.awake = computed + run_delay() - delay
        found.append(m.reading.locks)

    waiter = threading.Thread(target=wait, name="waiter")
    keeper = threading.Thread(target=thing.keep, args=(kept, is_kept))
    waiter.start()
    keeper.start()
    waiter.join()
    keeper.join()
    (locks,) = found
    if locks.reason is not None:
        raise SystemExit(f"waits for locks are not measured: {locks.reason}")
    if thing.asked >= thing.let_go:  # the waiter was late, and there was nothing to wait for
        return measure_once(name, kept)
    waits = (getattr(one, kind).waited for one in locks.threads if one.label == "waiter")
    least, most = thing.let_go - thing.asked, thing.back - thing.asked
    return Wait(sum(waits), least, most, most - thing.awake)


def measure_rounds(name: str, kept: float, rounds: int) -> list[dict[str, float]]:
    """Return the waits of so many rounds."""
    gc.disable()  # no other thread shall stop the world
    measure_once(name, kept)  # the first window of a process proves what it measures by
    return [asdict(measure_once(name, kept)) for _ in range(rounds)]


def row(name: str, kept: float, waits: list[Wait]) -> list[str]:
    """One line of the table."""
    return [
        name,
        span(kept),
        span(median(wait.least for wait in waits)),
        span(median(wait.measured for wait in waits)),
        span(median(wait.error for wait in waits)),
        span(max((wait.error for wait in waits), key=abs)),
        span(median(wait.beside for wait in waits)),
        f"{sum(wait.is_off for wait in waits)} of {len(waits)}",
        f"{sum(wait.is_outside for wait in waits)} of {len(waits)}",
    ]


def main() -> int:
    """Run the program."""
    parser = harness.parser(__doc__)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = harness.start(parser)
    rounds = options.rounds or (2 if options.quick else 15)
    if options.measure:
        name, kept = options.measure
        harness.reply(measure_rounds(name, float(kept), rounds))
        return 0
    line = harness.machine_line()
    names = [name for name, (_, kind) in THINGS.items() if kind == "program" or not GIL_IS_ON]
    if sys.version_info < (3, 13):
        names = []
        harness.show("Waits for locks are measured from CPython 3.13 on: nothing to compare.")
    rows, figures = [], {}
    for name in names:
        for kept in KEPT[:1] if options.quick else KEPT:
            harness.progress(f"{name}, kept for {span(kept)}")
            command = [sys.executable, __file__, "--rounds", str(rounds)]
            told = harness.ask([*command, "--measure", name, str(kept)], LIMIT)
            rows.append(row(name, kept, [Wait(**one) for one in told]))
            figures[f"{name}, {kept} s"] = told
    head = ["waited for", "kept", "truth", "measured", "error", "worst", "beside"]
    head += ["not small", "outside"]
    harness.show(line, Table(f"One wait (medians of {rounds})", head, rows))
    harness.write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
