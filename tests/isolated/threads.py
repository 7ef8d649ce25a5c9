"""Threads of every kind while windows are open, and what the program sees of ours: nothing."""

from __future__ import annotations

import _thread
import ctypes
import functools
import gc
import operator
import os
import random
import sys
import sysconfig
import threading
import time
import weakref
from typing import Any

import scripting
from loads import hold, in_background, in_threads, let_go, mix, spin
from scripting import (
    METHOD,
    case,
    checked,
    checked_threads,
    measured,
    not_here,
    nothing_is_open,
    one_of_many,
    opened,
    until_a_knock_waits,
)

from pytest_gilknock import _core

SLOTS = 16384  # threads that the accounting tells apart


def most_at_once(count: int) -> int:
    return min(count, 50)


@case(usual=1000, nightly=10_000)
def born_and_gone_inside_one_window(count: int) -> None:
    with measured() as raw:
        for _ in range(count // most_at_once(count)):
            in_threads(most_at_once(count), lambda: let_go(1e-5))
    if METHOD == "exact":
        assert len(raw["threads"]) > count - most_at_once(count), len(raw["threads"])


@case(usual=SLOTS + 1000, nightly=100_000)
def more_threads_than_there_are_slots(count: int) -> None:
    """The earliest are no longer told apart; the sums still hold."""
    window = opened()
    for _ in range(count // most_at_once(count)):
        in_threads(most_at_once(count), int)
    raw = checked(window.end())
    assert raw["method"] == METHOD, raw["reason"]
    if METHOD == "exact":
        assert raw["acquisitions"] >= count, raw["acquisitions"]
        parts = [thread[2] for thread in raw["threads"]]
        assert len(parts) <= SLOTS
        assert sum(parts) <= raw["held"] * (1 + 1e-6)
    with measured():
        in_threads(4, mix)


@case(usual=300, nightly=10_000)
def storms_of_windows(count: int) -> None:
    """In many threads at once; each thread's windows overlap and close in any order."""

    def storm() -> None:
        mine: list[_core.Window] = []
        for _ in range(count // 10):
            if mine and random.random() < 0.5:
                checked_threads(mine.pop(random.randrange(len(mine))).end())
            else:
                mine.append(opened())
            random.choice((mix, int, lambda: let_go(1e-4)))()
        for window in mine:
            checked_threads(window.peek())
            checked_threads(window.end())

    with measured():
        in_threads(10, storm)


@case(usual=300, nightly=10_000)
def windows_closed_by_other_threads(count: int) -> None:
    """Who opens a window need not be who closes it, and may be gone by then."""
    windows: list[_core.Window] = []
    lock = threading.Lock()

    def one() -> None:
        for _ in range(count // 6):
            windows.append(opened())
            mix()
            with lock:
                window = windows.pop(random.randrange(len(windows)))
            checked(window.end())

    with measured():
        in_threads(6, one)


@case(usual=300, nightly=10_000)
def one_window_closed_by_many_at_once(count: int) -> None:
    """One of them gets the reading, the others are told that the window is not open.

    Looking for the names of threads that have none, and making objects for the reading, may run
    the program's own code, which may let the GIL go.
    """
    outer = opened()
    gc.callbacks.append(lambda *_: let_go(1e-4))
    gc.set_threshold(1)
    for _ in range(count // 10):
        for _ in range(3):
            _thread.start_new_thread(let_go, (5e-3,))
        window = opened()
        ends: list[object] = []
        in_threads(4, functools.partial(end_into, ends, window, threading.Barrier(4)))
        assert sum(isinstance(end, dict) for end in ends) == 1, ends
        assert ends.count("the window is not open") == 3, ends
    gc.callbacks.clear()
    checked(outer.end())
    nothing_is_open()


def end_into(ends: list[object], window: _core.Window, barrier: threading.Barrier) -> None:
    barrier.wait()
    try:
        ends.append(checked(window.end()))
    except RuntimeError as error:
        ends.append(str(error))


@case(usual=200, nightly=5000)
def made_in_c(count: int) -> None:
    """Threads that Python meets when they call it, and that go on calling it from C."""
    libc = ctypes.CDLL(None)
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    called = []

    @compare_type
    def compare(_left: int, _right: int) -> int:
        let_go(1e-6)
        return 0

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    def run(_argument: int) -> None:
        window = opened()
        libc.qsort((ctypes.c_int * 8)(), 8, 4, compare)
        mix()
        checked(window.end())
        called.append(threading.get_native_id())

    with measured() as raw:
        for _ in range(count // 8):
            threads = [ctypes.c_ulong() for _ in range(8)]
            for thread in threads:
                assert libc.pthread_create(ctypes.byref(thread), None, run, None) == 0
            for thread in threads:
                assert libc.pthread_join(thread, None) == 0
    assert len(called) == count // 8 * 8
    if METHOD == "exact":
        assert {thread[0] for thread in raw["threads"]} >= set(called)


@case(usual=5, nightly=200)
def switch_intervals_change_under_way(count: int) -> None:
    before = sys.getswitchinterval()
    for _ in range(count):
        with measured() as raw:
            in_threads(
                4, lambda: (sys.setswitchinterval(random.choice((1e-6, 1e-4, 1e-2, 0.1))), mix())
            )
            sys.setswitchinterval(3e-3)
        assert METHOD == "disabled" or abs(raw["switch_interval"] - 3e-3) < 1e-6, raw
    sys.setswitchinterval(before)


# --- what the program sees of the knocker ---


@case(usual=200, nightly=5000)
def the_program_sees_its_own_threads_only(count: int) -> None:
    _core.set_knock_interval(1e-4)
    main = {threading.get_ident()}

    def look() -> None:
        for _ in range(count):
            spin(5e-4)
            assert set(sys._current_frames()) == main
            assert threading.active_count() == 1
            assert set(threading._active) == main  # type: ignore[attr-defined]

    window = opened()
    until_a_knock_waits(window, look)
    checked_threads(window.end())


@case(usual=50_000, nightly=1_000_000)
def the_program_sees_its_own_files_only(count: int) -> None:
    """A file of ours, open for a moment, would take the number that the program is about to get."""
    _core.set_knock_interval(1e-3)
    in_background(60, lambda: let_go(3600))  # there is much to look at

    def look() -> None:
        for _ in range(count):
            first = os.open(os.devnull, os.O_RDONLY)
            os.close(first)
            second = os.open(os.devnull, os.O_RDONLY)
            files.add(second)
            os.close(second)
            assert first == second

    window = opened()
    files: set[int] = set()
    until_a_knock_waits(window, look)
    assert len(files) == 1, files
    checked_threads(window.end())


@case(usual=100, nightly=3000)
def no_garbage_is_collected_by_the_knocker(count: int) -> None:
    """A collection runs the program's finalizers: they belong into the program's threads.

    There is always a thread whose name the knocker does not know yet.
    """
    _core.set_knock_interval(1e-4)
    collectors: set[int] = set()
    idents = {threading.get_ident()}
    gc.callbacks.append(lambda *_: collectors.add(threading.get_ident()))
    gc.set_threshold(1)

    def deep(depth: int) -> None:
        deep(depth - 1) if depth else spin(5e-4)

    def run() -> None:
        idents.add(threading.get_ident())
        let_go(2e-3)
        deep(10)

    window = opened()
    until_a_knock_waits(window, lambda: [in_threads(1, run) for _ in range(count)])
    gc.callbacks.clear()
    checked_threads(window.end())
    assert collectors <= idents, collectors - idents


@case(usual=100, nightly=3000)
def names_that_are_no_text(count: int) -> None:
    """A lone surrogate cannot be encoded, which is no reason to collect garbage in the knocker."""
    _core.set_knock_interval(1e-4)
    collectors: set[int] = set()
    idents = {threading.get_ident()}
    gc.callbacks.append(lambda *_: collectors.add(threading.get_ident()))
    gc.set_threshold(1)

    def run() -> None:
        idents.add(threading.get_ident())
        spin(5e-4)

    def one(window: _core.Window) -> None:
        thread = threading.Thread(target=run, name="un\ud800named\u00fc")
        thread._native_id = -1  # type: ignore[attr-defined]  # until it has begun
        thread.start()
        spin(5e-4)
        names.update(entry[1] for entry in window.peek()["threads"])
        thread.join()

    names: set[str | None] = set()
    window = opened()
    until_a_knock_waits(window, lambda: [one(window) for _ in range(count)])
    gc.callbacks.clear()
    checked_threads(window.end())
    assert collectors <= idents, collectors - idents
    assert METHOD != "exact" or "un\N{REPLACEMENT CHARACTER}named\u00fc" in names, names


@case(usual=300, nightly=20_000)
def code_that_dies_while_it_is_blamed(count: int) -> None:
    """Its weak references call back in threads of the program only, where windows come and go.

    The knocker is often the last to know of it, and there are more lines than one window keeps.
    """
    if METHOD == "disabled":
        not_here("the GIL is off: nobody is blamed")
    _core.set_knock_interval(1e-4)
    sys.setswitchinterval(1e-5)
    for method in {METHOD, "sampled"}:
        callers, idents = callers_of_the_dead(count, method)
        assert callers <= idents, callers - idents


def callers_of_the_dead(count: int, method: str) -> tuple[set[int], set[int]]:
    """Have code blamed that dies; return where that was called back, and the program's threads."""
    idents = {threading.get_ident()}
    callers: list[int] = []
    references: list[object] = []

    def dead(_: object) -> None:
        callers.append(threading.get_ident())
        let_go(1e-5)

    def windows() -> None:
        idents.add(threading.get_ident())
        while len(references) < count:
            checked(opened(method=method).end())
            let_go(1e-4)

    window = opened(method=method)
    threads = [threading.Thread(target=windows) for _ in range(2)]
    for thread in threads:
        thread.start()
    for i in range(count):
        names: dict[str, Any] = {}
        text = "\n" * i + "def work(now, until):\n while now() < until: pass"
        exec(compile(text, "dies", "exec"), names)
        work = names.pop("work")
        references.append(weakref.ref(work.__code__, dead))
        work(time.monotonic, time.monotonic() + 1e-3)
        del work
    for thread in threads:
        thread.join()
    checked(window.end())
    gc.collect()
    checked(opened(method=method).end())
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # where code may live for ever
        assert len(callers) == count, len(callers)
    return set(callers), idents


@case(usual=100, nightly=3000)
def no_python_runs_in_the_knocker(count: int) -> None:
    """Not even that of a Thread class of the program's whose attributes are looked at."""
    _core.set_knock_interval(1e-4)
    asked: set[int] = set()

    class Curious(threading.Thread):
        def __getattribute__(self, name: str) -> object:
            asked.add(threading.get_ident())
            return super().__getattribute__(name)

    class Asking(threading.Thread):
        _told: int | None = None

        @property
        def _native_id(self) -> int | None:
            asked.add(threading.get_ident())
            return self._told

        @_native_id.setter
        def _native_id(self, told: int | None) -> None:
            self._told = told

    idents: set[int] = {threading.get_ident()}
    with measured():
        for i in range(count):
            kind = Asking if i % 2 else Curious
            thread = kind(target=lambda: (idents.add(threading.get_ident()), mix()))
            thread.start()
            spin(5e-4)
            thread.join()
    assert asked <= idents, asked - idents


@case(usual=200, nightly=10_000)
def blame_counts_the_knocks_that_waited(count: int) -> None:
    """A knock that is under way when a window closes is one that waits, in the blame as well."""
    in_background(2, mix)
    for _ in range(count):
        window = opened()
        spin(random.uniform(0, 2e-3))
        raw = checked(window.end())
        if raw["knocks_waited"] == 0:
            assert not any(knock_looks for *_, knock_looks in raw["blame"]), raw


@case(usual=1, nightly=100)
def blame_of_many_threads(count: int) -> None:
    """While one knock waits, more of them hold the GIL than a few, on more than a few lines."""
    if METHOD != "exact":
        not_here("who holds the GIL while a knock waits is told by the exact method only")
    _core.set_knock_interval(1e-3)
    sys.setswitchinterval(1e-6)

    def briefly() -> None:
        sum(range(100))
        let_go(0)

    def attempt() -> None:
        with measured() as raw:
            time.sleep(0.5)
        blamed = sum(row[5] for row in raw["blame"]) + raw["blame_omitted"][2]
        assert blamed >= 0.75 * raw["knock_wait"] * raw["held"] / raw["wall"], raw

    in_background(64, briefly)
    for _ in range(count):
        one_of_many(attempt)


# --- greenlets ---


@case(usual=50, nightly=5000)
def greenlets(count: int) -> None:
    try:
        import greenlet
    except ImportError:
        not_here("greenlet is not installed")
    if _core.status()[0] != METHOD:
        not_here("importing greenlet turns the GIL on")

    main = greenlet.getcurrent()

    def windows() -> None:
        for _ in range(20):
            window = opened()
            other.switch()
            checked(window.end())

    def back_and_forth() -> None:
        while True:
            main.switch()

    with measured():
        for _ in range(count):
            other = greenlet.greenlet(back_and_forth)
            worker = greenlet.greenlet(windows)
            while not worker.dead:
                worker.switch()


@case(usual=20, nightly=1000)
def gevent_with_everything_patched(count: int) -> None:
    try:
        import gevent
        from gevent import monkey
    except ImportError:
        not_here("gevent is not installed")
    monkey.patch_all()
    pool = gevent.get_hub().threadpool

    def work() -> None:
        window = opened()
        gevent.sleep(0)
        pool.spawn(hold, 1e-4).get()
        thread = threading.Thread(target=gevent.sleep, args=(1e-4,))
        thread.start()
        thread.join()
        checked(window.end())

    with measured():
        for _ in range(count):
            gevent.joinall([gevent.spawn(work) for _ in range(5)], raise_error=True)


# --- the knocker of gilknocker's interface ---


@case(usual=300, nightly=20_000)
def many_start_and_stop_one_knocker(count: int) -> None:
    """Without a GIL, at the same time."""
    knocker = _core.Knocker(100, 1000, 1000)
    barrier = threading.Barrier(4)
    told: list[tuple[float, float]] = []

    def work() -> None:
        for _ in range(count):
            barrier.wait()
            knocker.start()
            told.append(knocker.times())
            barrier.wait()
            knocker.stop()
            knocker.reset()

    in_threads(4, work)
    assert len(told) == 4 * count
    assert all(waited >= 0 and sampled >= 0 for waited, sampled in told), told
    assert not knocker.is_running


@case(usual=3, nightly=100)
def a_knocker_is_the_first_thread_beside_the_main_one(count: int) -> None:
    """It samples from its start on, though the main thread goes straight on into a long call."""
    for _ in range(count):
        child = os.fork()
        if child == 0:
            knocker = _core.Knocker(1000, 10_000_000, 0)
            keep_gil = functools.partial(ctypes.PyDLL(None).usleep, 300_000)
            # Between the two runs no bytecode, at which the main thread could be stopped.
            list(map(operator.methodcaller("__call__"), (knocker.start, keep_gil)))
            _, sampled = knocker.times()
            os._exit(0 if sampled > 0.2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- threads that contend without end, to the end ---


@case(usual=200, nightly=10_000)
def windows_amid_contention(count: int) -> None:
    in_background(3, mix)
    in_background(1, lambda: spin(1e-2))
    outer = opened()
    for _ in range(count):
        with measured() as raw:
            let_go(1e-5)
        assert METHOD != "exact" or raw["acquisitions"] >= 1, raw
    checked(outer.end())


if __name__ == "__main__":
    scripting.main()
