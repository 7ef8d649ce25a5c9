"""Readings against loads whose truth is known from the load itself.

Ratios only, with room: the machine may be busy.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.inner import METHOD, exact
from support.knocks import knock_interval
from support.machine import hogs, run_delay_of_this_thread

from pytest_gilknock import _core
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.model.wire import RawReading

from . import loads

with_gil = pytest.mark.skipif(METHOD == "disabled", reason="the GIL is off")


class Measured:
    """``with Measured() as m: ...`` and then ``m.reading``."""

    reading: GilReading

    def __init__(
        self, method: str = "auto", *, threads: bool = True, knocks_every: float = 0.0
    ) -> None:
        self.window = _core.Window(method=method, threads=threads, knocks_every=knocks_every)

    def __enter__(self) -> Measured:
        self.window.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.reading = GilReading.from_raw(self.window.end())


@exact
@pytest.mark.parametrize(
    ("held", "free"),
    [(1e-3, 1e-3), (50e-6, 450e-6), (20e-3, 20e-3), (0.2e-3, 2e-3)],
    ids=["1ms-1ms", "50us-450us", "20ms-20ms", "0.2ms-2ms"],
)
def test_contention_is_the_share_of_time_the_load_held_the_gil(held, free):
    with Measured() as m:
        truth = loads.hold_and_let_go(held, free, 0.5)
    pushed_aside = m.reading.run_delay or 0.0  # with the GIL in hand, when it had just been let go
    assert m.reading.held == pytest.approx(truth, abs=0.03 * m.reading.wall + pushed_aside)
    assert m.reading.contention == pytest.approx(m.reading.held / m.reading.wall)


@pytest.fixture
def no_knocks():
    """On a busy machine a knock may be put aside with the GIL in hand, or on its way to it."""
    with knock_interval(0):
        yield


@exact
@pytest.mark.usefixtures("no_knocks")
def test_one_pure_python_thread_holds_the_gil_all_the_time_and_nobody_waits():
    with Measured() as m:
        loads.spin(0.3)
    assert m.reading.contention > 0.99
    assert m.reading.wait == 0
    assert m.reading.contended == 0


@exact
def test_two_pure_python_threads_wait_one_thread_second_per_second():
    with Measured() as m:
        threads = loads.in_threads(2, lambda: loads.spin(1.0))
    by_name = {thread.name: thread for thread in m.reading.threads}
    wait = sum(by_name[thread.name].wait for thread in threads)
    # On a busy machine a thread may stand without a processor before it can ask for the GIL again.
    assert 0.85 - (m.reading.run_delay or 0.0) <= wait <= 1.15
    assert m.reading.contention > 0.9
    assert m.reading.max_wait >= m.reading.switch_interval


@exact
def test_a_wait_is_as_long_as_the_call_that_kept_the_gil():
    """A second thread asks for the GIL while a C call holds it: both know for how long."""
    released = threading.Event()

    def come_back() -> None:
        released.wait()
        loads.let_go(0.1)

    thread = threading.Thread(target=come_back, name="victim")
    thread.start()
    with Measured() as m:
        released.set()
        time.sleep(0.02)
        start = time.perf_counter()
        loads.hold(0.4)
        held = time.perf_counter() - start
        thread.join()
    victim = next(thread for thread in m.reading.threads if thread.name == "victim")
    assert 0.4 * held < victim.wait < 1.2 * held
    assert 0.5 * victim.wait < victim.max_wait <= victim.wait
    assert m.reading.max_wait >= victim.max_wait


@exact
def test_the_accounting_alone_tells_no_places():
    """That is what the cost of blame is compared with."""
    _core.status()
    if not _core._look(False):
        pytest.skip("nobody looks on this interpreter")
    try:
        with Measured() as m:
            loads.in_threads(2, lambda: loads.spin(0.2))
    finally:
        _core._look(True)
    assert m.reading.wait > 0.1
    assert not m.reading.blame
    assert not m.reading.victims


@with_gil
def test_a_native_call_that_keeps_the_gil_is_blamed_by_its_line():
    line = test_a_native_call_that_keeps_the_gil_is_blamed_by_its_line.__code__.co_firstlineno + 5
    with Measured() as m:
        for _ in range(4):
            loads._holding(150_000)  # the line to blame
    assert m.reading.contention > 0.9
    assert m.reading.max_wait > 0.08
    worst = m.reading.blame[0]
    assert os.path.basename(worst.file) == "test_truth.py"
    assert worst.line == line
    assert worst.function.endswith("test_a_native_call_that_keeps_the_gil_is_blamed_by_its_line")
    assert worst.thread_label == "MainThread"
    assert worst.knock_waited > 0.08


@exact
def test_a_knock_that_waits_for_long_looks_again_and_again():
    """The look that it makes as it begins to wait is one of several that are charged."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1.0)  # nobody tells the holder to let go
    window = _core.Window()
    window.begin()
    try:
        for _ in range(8):
            loads.hold(200e-3)  # many times as long as looks are apart, however long one takes
            time.sleep(1e-4)
        raw = window.end()
    finally:
        sys.setswitchinterval(interval)
    if raw["blame_method"] != "looked":
        pytest.skip(f"nobody looks here: {raw['blame_reason']}")
    assert raw["knocks_waited"] >= 4
    assert sum(row[6] for row in raw["blame"]) > 1.6 * raw["knocks_waited"]


@with_gil
def test_many_short_windows_do_not_put_the_next_knock_off():
    for _ in range(500):
        with Measured():
            pass
    with Measured() as m:
        loads.hold(0.4)
    assert m.reading.max_wait > 0.1


@with_gil
def test_a_knock_that_outlasts_others_counts_for_them():
    """What is held for long would otherwise be seen by one knock, and what is free by many."""
    with Measured("sampled") as m:
        loads.hold(0.5)
        loads.let_go(0.5)
    assert 0.25 < m.reading.contention < 0.75


@with_gil
def test_a_native_call_that_releases_the_gil_keeps_nobody_waiting():
    with Measured() as m:
        loads.let_go(0.3)
    pushed_aside = m.reading.run_delay or 0.0  # with the GIL in hand, on a busy machine
    assert (m.reading.held or 0.0) < 0.1 * m.reading.wall + pushed_aside
    assert (m.reading.max_wait or 0.0) < 0.1 * m.reading.wall + pushed_aside


@exact
def test_a_window_of_two_milliseconds_reads_true():
    """On a busy machine one of some attempts must show it."""
    medians = []
    while len(medians) < 5 and (not medians or medians[-1] >= 0.02):
        errors = []
        for _ in range(21):
            with Measured() as m:
                loads.hold(1e-3)
                left = time.perf_counter()
                loads.let_go(1e-3)
                released = time.perf_counter() - left
            errors.append(abs(m.reading.contention - (1 - released / m.reading.wall)))
        medians.append(sorted(errors)[10])
    assert medians[-1] < 0.02, medians


@exact
def test_windows_nest_and_overlap():
    outer, inner, later = (_core.Window() for _ in range(3))
    outer.begin()
    loads.let_go(0.05)
    inner.begin()
    began = time.perf_counter()
    loads.hold(0.05)
    held = time.perf_counter() - began  # longer on a busy machine
    later.begin()
    first_raw = inner.end()
    loads.let_go(0.05)
    first, last, whole = map(GilReading.from_raw, (first_raw, later.end(), outer.end()))
    assert first.contention > 0.9
    assert last.contention < 0.3
    assert whole.contention == pytest.approx(held / whole.wall, abs=0.1)
    assert whole.wall > first.wall + last.wall


@exact
def test_the_longest_wait_belongs_to_the_windows_that_saw_it():
    def contend() -> None:
        loads.in_threads(2, lambda: loads.spin(0.1))

    outer, before, after = (_core.Window() for _ in range(3))
    outer.begin()
    before.begin()
    contend()
    seen = GilReading.from_raw(before.end())
    after.begin()
    loads.let_go(0.02)
    nothing = GilReading.from_raw(after.end())
    whole = GilReading.from_raw(outer.end())
    assert seen.wait_latency is not None
    assert nothing.wait_latency is None or nothing.wait_latency.max < seen.wait_latency.max
    assert whole.wait_latency.max == pytest.approx(seen.wait_latency.max)
    assert whole.wait >= seen.wait


@exact
def test_waits_are_counted_by_their_length():
    with Measured() as m:
        loads.in_threads(2, lambda: loads.spin(0.15))
    reading = m.reading
    assert reading.wait_histogram is not None
    assert sum(count for _, count in reading.wait_histogram) == reading.contended
    leasts = [least for least, _ in reading.wait_histogram]
    assert leasts == sorted(leasts)
    assert all(math.log2(least * 1e6).is_integer() for least in leasts)
    assert leasts[-1] <= 1.04 * reading.wait_latency.max <= 1.05 * 2 * leasts[-1]
    low = sum(least * count for least, count in reading.wait_histogram)
    assert low / 1.05 <= reading.wait <= 2.1 * low


@exact
def test_a_reading_is_live_until_the_window_closes():
    window = _core.Window()
    window.begin()
    loads.let_go(0.02)
    early = window.peek()
    loads.let_go(0.05)
    late = window.end()
    assert early["wall"] < late["wall"]
    assert early["held"] <= late["held"]


@exact
def test_threads_that_ended_inside_the_window_keep_their_part_and_their_name():
    with Measured() as m:
        threads = loads.in_threads(3, lambda: (loads.hold(0.06), loads.let_go(0.03)))
    by_name = {thread.name: thread for thread in m.reading.threads}
    for thread in threads:
        assert 0.05 < by_name[thread.name].held < 0.6


@exact
@pytest.mark.parametrize("count", [3, 8])
def test_victims_are_the_threads_that_waited(count):
    """Where a thread waited is told whenever it waited behind holds as long as these."""
    wait = misplaced = 0.0
    for _ in range(4):
        with Measured() as m:
            loads.in_threads(count, lambda: sum(number * number for number in range(600_000)))
        told: dict[int, float] = {}
        for victim in m.reading.victims:
            for part in victim.threads:
                told[part.native_id] = told.get(part.native_id, 0.0) + part.waited
        for thread in m.reading.threads:
            wait += thread.wait
            misplaced += max(0.0, told.get(thread.native_id, 0.0) - thread.wait)
    assert misplaced < 0.08 * wait


@contextmanager
def working(*works: Callable[[], object]) -> Iterator[None]:
    """Repeat each of ``works`` in a thread of its own."""
    over = threading.Event()

    def repeat(work: Callable[[], object]) -> None:
        while not over.is_set():
            work()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def compute_for_a_moment() -> None:
    sum(range(20_000))
    loads.let_go(5e-4)


def come_back() -> None:
    loads.let_go(2e-4)


@exact
def test_no_sum_of_a_victim_is_less_than_its_longest_wait():
    """Most of these waits are short, so that only some are told, and the sums are estimates."""
    with working(*(compute_for_a_moment,) * 2, *(come_back,) * 3):
        rows = [row for _ in range(40) for row in reading_of(0.02)["victims"]]
    assert len(rows) > 40
    assert [row for row in rows if row[3] < row[4] - 1e-9] == []


@exact
def test_a_thread_that_waits_once_for_long_is_told_as_it_was():
    """Others wait often and shortly, so that what is told of them is an estimate."""
    hold = 0.015

    def keep() -> None:
        loads.hold(hold)
        loads.let_go(0.02)

    this_thread = threading.get_native_id()
    with working(keep, *(come_back,) * 3):
        readings = [reading_of(0.02) for _ in range(100)]
    own = [
        row
        for reading in readings
        for row in reading["victims"]
        if row[1] == this_thread and row[5] == 1 and row[4] > 0.6 * hold
    ]
    assert len(own) > 10
    assert sum(row[3] == pytest.approx(row[4]) for row in own) > 0.8 * len(own)


def reading_of(seconds: float) -> RawReading:
    """Return the raw reading of a window of that length."""
    window = _core.Window()
    window.begin()
    loads.let_go(seconds)
    return window.end()


@exact
def test_a_thousand_threads_born_and_gone_inside_one_window_are_all_counted():
    with Measured() as m:
        for _ in range(20):
            loads.in_threads(50, lambda: loads.let_go(1e-4))
    assert len(m.reading.threads) >= 1000
    assert len({thread.native_id for thread in m.reading.threads}) > 50
    total = sum(thread.held for thread in m.reading.threads)
    assert total == pytest.approx(m.reading.held, rel=1e-6)
    assert sum(thread.wait for thread in m.reading.threads) == pytest.approx(m.reading.wait)


@exact
def test_the_session_window_tells_no_threads_but_the_same_sums():
    with Measured(threads=False) as outer, Measured() as inner:
        loads.hold_and_let_go(1e-3, 1e-3, 0.5)
    assert outer.reading.threads == ()
    assert outer.reading.held == pytest.approx(inner.reading.held, rel=0.2)


def await_last_knock() -> None:
    """Return when no knock is under way that was made for a window before: it may still wait."""
    for _ in range(100):
        with Measured(threads=False) as m:
            time.sleep(0.01)
        if m.reading.knocks == 0:
            break


@exact
def test_a_window_that_needs_more_knocks_has_them_at_once():
    """Inside a window for which knocks are far apart by then, and are so again afterwards."""
    found = []
    with Measured() as outer:
        for _ in range(10):
            time.sleep(0.12)
            with Measured(knocks_every=0.005) as m:
                loads.hold(0.1)
            found.append(m.reading.max_wait or 0.0)
        time.sleep(0.12)
        before = outer.window.peek()["knocks"]
        time.sleep(0.5)
        afterwards = outer.window.peek()["knocks"] - before
    assert sorted(found)[3] > 0.08, found
    assert afterwards < 50


@exact
def test_a_window_that_needs_fewer_knocks_than_there_are_changes_nothing():
    counts = []
    for every in (0.0, 5.0):
        with Measured() as outer:
            for _ in range(300):
                with Measured(knocks_every=every):
                    time.sleep(0.001)
        counts.append(outer.reading.knocks)
    assert counts[1] < 3 * counts[0], counts


def test_the_knocks_that_a_window_needs_have_a_time():
    for wrong in (-0.005, 1e-7, 3601.0, float("nan")):
        with pytest.raises(ValueError, match="knocks_every must be from 1e-6 to 3600 seconds"):
            _core.Window(knocks_every=wrong)
    with Measured(knocks_every=0.0):
        pass


@exact
def test_nobody_knocks_for_a_window_that_tells_no_threads():
    await_last_knock()
    with Measured(threads=False) as alone:
        loads.spin(0.3)
    assert alone.reading.knocks == 0
    assert alone.reading.contention > 0.99
    with Measured(threads=False) as outer, Measured():
        loads.spin(0.3)
    assert outer.reading.knocks > 0


@with_gil
@pytest.mark.parametrize("method", ["auto", "sampled"])
def test_a_window_that_is_too_short_is_closed_without_a_reading(method):
    window = _core.Window(method=method)
    window.begin()
    assert window.end(3600.0) is None
    with pytest.raises(RuntimeError, match="not open"):
        window.end()


def test_a_window_that_lasted_is_read():
    window = _core.Window()
    window.begin()
    time.sleep(0.01)
    assert window.end(0.01)["wall"] >= 0.01


@pytest.mark.skipif(METHOD != "disabled", reason="the GIL is on")
def test_no_window_is_too_short_with_the_gil_off():
    window = _core.Window()
    window.begin()
    assert window.end(3600.0)["method"] == "disabled"


def test_end_takes_one_number_at_most():
    window = _core.Window()
    window.begin()
    with pytest.raises(TypeError):
        window.end("soon")
    with pytest.raises(TypeError):
        window.end(0.0, 0.0)
    assert window.end(0.0)["wall"] > 0.0


@with_gil
def test_sampled_readings_come_from_knocks_alone():
    with Measured("sampled") as m:
        loads.let_go(0.02)  # a knock from before the window is answered
        loads.hold(0.3)
    reading = m.reading
    assert reading.method == "sampled"
    assert reading.reason == "asked for"
    assert reading.held is reading.wait is reading.acquisitions is reading.contended is None
    assert reading.contention >= 0.5
    assert reading.max_wait > 0.2
    assert reading.blame[0].function == "hold"
    assert reading.blame[0].thread_label == "MainThread"


@with_gil
def test_sampled_contention_agrees_with_the_load():
    with Measured("sampled") as m:
        truth = loads.hold_and_let_go(30e-3, 30e-3, 2.0)
    assert m.reading.knocks >= 30
    assert m.reading.contention == pytest.approx(truth / m.reading.wall, abs=0.3)


@with_gil
def test_knocks_that_wait_behind_python_wait_about_the_switch_interval():
    with Measured() as m:
        loads.spin(0.5)
    assert m.reading.knocks >= 5
    assert m.reading.knock_latency.p50 >= 0.5 * m.reading.switch_interval
    assert m.reading.blame[0].function.endswith("spin")


@exact
def test_without_knocks_there_is_no_knocking_thread_and_the_sums_stay_exact():
    script = """
import ctypes, os, sys
from pytest_gilknock import _core
_core.set_knock_interval(0)
window = _core.Window()
window.begin()
ctypes.PyDLL(None).usleep(100_000)
threads = len(os.listdir("/proc/self/task"))
reading = window.end()
assert threads == 1, threads
assert reading["knocks"] == 0 and reading["knock_latency"] is None and reading["blame"] == []
assert reading["held"] > 0.9 * reading["wall"] > 0.09, reading
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@with_gil
def test_the_shortest_knock_interval_counts_no_millions_of_knocks_for_a_long_hold():
    with knock_interval(1e-6):
        window = _core.Window()
        window.begin()
        loads.hold(0.5)
        raw = window.end()
    assert raw["knocks"] < 100_000


def busy_machine():
    return hogs(3 * (os.cpu_count() or 1))


@exact
@pytest.mark.usefixtures("no_knocks")
def test_run_delay_tells_a_busy_machine_from_a_busy_gil():
    """A thread that must share its processor with others is ready to run, yet does not."""
    with busy_machine(), Measured() as m:
        loads.spin(0.6)
    if m.reading.run_delay is None:
        pytest.skip("this system does not tell how long threads wait for a processor")
    assert 0.1 * m.reading.wall < m.reading.run_delay < 1.5 * m.reading.wall
    assert m.reading.contention > 0.99
    assert m.reading.wait == 0


@exact
@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="no such numbers here")
def test_run_delay_counts_threads_that_lived_within_the_window():
    truths = []

    def spin_and_tell():
        loads.spin(0.2)
        truths.append(run_delay_of_this_thread())

    with busy_machine(), Measured() as m:
        for _ in range(3):
            thread = threading.Thread(target=spin_and_tell)
            thread.start()
            thread.join()
    assert sum(truths) <= m.reading.run_delay < 1.5 * m.reading.wall


@with_gil
def test_a_window_too_short_to_tell_the_run_delay_says_so():
    with Measured() as m:
        pass
    assert m.reading.run_delay is None


def test_with_the_gil_off_there_is_nothing_to_measure():
    if METHOD != "disabled":
        pytest.skip("the GIL is on")
    with Measured() as m:
        loads.spin(0.01)
    assert m.reading.method == "disabled"
    assert m.reading.reason == "the GIL is off"
    assert m.reading.gil_enabled is False
    assert m.reading.contention is None
    assert m.reading.max_wait is None
    assert m.reading.wall > 0


def test_a_window_opens_once_and_closes_once():
    window = _core.Window()
    with pytest.raises(RuntimeError, match="not open"):
        window.end()
    window.begin()
    with pytest.raises(RuntimeError, match="opens once"):
        window.begin()
    window.end()
    for call in (window.end, window.peek):
        with pytest.raises(RuntimeError, match="not open"):
            call()
    with pytest.raises(RuntimeError, match="opens once"):
        window.begin()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"'auto', 'exact' or 'sampled', not 'guess'"):
        _core.Window(method="guess")
    with pytest.raises(TypeError):
        _core.Window("exact")
    for bad in (-1.0, 1e-9, float("nan"), 1e9):
        with pytest.raises(ValueError, match="knock interval"):
            _core.set_knock_interval(bad)


@pytest.fixture
def usual_knocks():
    with knock_interval(None):
        yield


@pytest.mark.usefixtures("usual_knocks")
def test_the_knock_interval_that_was_set_before_is_returned():
    _core.set_knock_interval(None)
    told = [_core.set_knock_interval(seconds) for seconds in (0.25, 0, 1, None, None)]
    assert told == [None, 0.25, 0, 1, None]


@with_gil
@pytest.mark.usefixtures("usual_knocks")
def test_a_window_that_is_open_is_knocked_for_again_when_knocks_are_no_longer_off():
    window = _core.Window()
    window.begin()
    _core.set_knock_interval(0)
    loads.let_go(0.2)
    before = window.peek()["knocks"]
    _core.set_knock_interval(1e-3)
    patience = time.monotonic() + 30
    while window.peek()["knocks"] == before:
        assert time.monotonic() < patience, "nobody knocks"
        loads.let_go(1e-3)
    window.end()


def test_a_window_that_is_dropped_open_closes_by_itself():
    for _ in range(100):
        _core.Window().begin()
    with Measured() as m:
        loads.let_go(0.01)
    assert m.reading.wall > 0


def test_cost_grows_with_the_windows():
    before, _ = _core.cost()
    for _ in range(100):
        with Measured():
            pass
    after, knocking = _core.cost()
    assert METHOD == "disabled" or after > before
    assert knocking >= 0
