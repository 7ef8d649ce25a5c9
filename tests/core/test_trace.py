"""The trace of a window against its reading, and against loads whose truth is known."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict

import pytest
from support.inner import exact
from support.knocks import knock_interval

from pytest_gilknock import _core, measure
from pytest_gilknock.model.trace import Trace, TraceEvent

from . import loads


def sums(trace: Trace, kind: str) -> dict[str, float]:
    """Seconds by thread."""
    found: dict[str, float] = defaultdict(float)
    for event in trace:
        if event.kind == kind and event.thread is not None:
            found[event.thread.label] += event.duration
    return found


def in_order(events: list[TraceEvent]) -> bool:
    """Whether they follow each other, up to the rounding of floats."""
    return all(earlier.end <= later.start + 1e-9 for earlier, later in itertools.pairwise(events))


def by_thread(trace: Trace, label: str) -> list[TraceEvent]:
    return [event for event in trace if event.thread is not None and event.thread.label == label]


def mixed_load() -> None:
    loads.in_threads(
        4, lambda: [(loads.spin(0.002), loads.let_go(0.001), loads.hold(0.001)) for _ in range(40)]
    )


@exact
def test_the_events_are_the_readings_sums_thread_by_thread():
    with measure(trace=True) as m:
        mixed_load()
    assert m.trace.dropped == 0
    assert m.trace.duration == pytest.approx(m.reading.wall, rel=1e-6)
    held, wait = sums(m.trace, "hold"), sums(m.trace, "wait")
    for thread in m.reading.threads:
        assert held[thread.label] == pytest.approx(thread.held, rel=1e-3, abs=1e-6)
        assert wait[thread.label] == pytest.approx(thread.wait, rel=1e-3, abs=1e-6)
    waits = [e for e in m.trace if e.kind == "wait" and e.thread is not None and not e.unfinished]
    assert len(waits) == m.reading.contended
    holds = [e for e in m.trace if e.kind == "hold" and e.thread is not None]
    unbroken = len(holds) - 2 * sum(event.lent for event in holds)
    assert unbroken == m.reading.acquisitions + 1  # the one in which the block began


@exact
def test_one_thread_at_a_time_holds_the_gil_and_each_does_one_thing_at_a_time():
    with measure(trace=True) as m:
        mixed_load()
    own = [event for event in m.trace if event.kind == "hold" and event.thread is not None]
    assert in_order(own)
    for label in sums(m.trace, "hold"):
        assert in_order(sorted(by_thread(m.trace, label), key=lambda event: event.start))


@exact
def test_a_drop_on_request_is_told_from_one_of_free_will():
    def sleeper() -> None:
        for _ in range(20):
            time.sleep(0.001)

    with measure(trace=True) as m:
        threads = [
            threading.Thread(target=loads.spin, args=(0.3,), name="spinner"),
            threading.Thread(target=sleeper, name="sleeper"),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    spins = [e for e in by_thread(m.trace, "spinner") if e.kind == "hold"]
    sleeps = [e for e in by_thread(m.trace, "sleeper") if e.kind == "hold"]
    assert sum(event.forced for event in spins) > 0.4 * (len(spins) - 1)
    assert sum(event.forced for event in sleeps) < 0.2 * len(sleeps)


@exact
def test_a_wait_ends_where_the_hold_of_another_has_ended():
    with measure(trace=True) as m:
        mixed_load()
    last = 0.0
    for event in m.trace:
        if event.kind == "hold":
            last = event.end
        elif not event.unfinished:
            assert event.end >= last - 1e-9


@exact
def test_a_ring_that_is_too_small_keeps_the_latest_and_counts_the_others():
    window = _core.Window(trace=20)
    window.begin()
    for _ in range(100):
        time.sleep(0)
    window.end()
    trace = Trace(window.take_trace())
    assert 20 < len(trace) <= 22
    assert trace.dropped > 70
    assert window.take_trace() is None
    assert next(iter(trace)).start > 0


@exact
def test_a_trace_within_a_trace_is_a_part_of_it():
    with measure(trace=True) as outer:
        loads.let_go(0.001)
        with measure(trace=True) as inner:
            loads.hold_and_let_go(0.001, 0.001, 0.02)
        loads.let_go(0.001)
    assert 0 < len(inner.trace) < len(outer.trace)
    assert sum(e.duration for e in inner.trace) < sum(e.duration for e in outer.trace)


@exact
def test_knocks_are_told_and_count_nowhere():
    with knock_interval(0.002), measure(trace=True) as m:
        loads.spin(0.2)
    knocks = [event for event in m.trace if event.thread is None]
    assert {event.kind for event in knocks} == {"hold", "wait"}
    assert sum(sums(m.trace, "hold").values()) == pytest.approx(m.reading.held, rel=1e-3)
    assert any(event.lent for event in m.trace)


def test_without_the_accounting_there_is_no_trace():
    with measure(method="sampled", trace=True) as m:
        pass
    assert m.trace is None


def test_the_trace_is_there_once_the_block_has_ended():
    with measure(trace=True) as m, pytest.raises(RuntimeError, match="has not ended"):
        _ = m.trace
    with measure() as m:
        pass
    with pytest.raises(RuntimeError, match="measure\\(trace=True\\)"):
        _ = m.trace


@pytest.mark.parametrize("number", [-1, 2**80])
def test_a_number_of_events_that_cannot_be_is_refused(number):
    with pytest.raises((ValueError, OverflowError)):
        _core.Window(trace=number)


@exact
def test_without_memory_for_the_ring_nothing_is_open():
    window = _core.Window(trace=2**62)
    with pytest.raises(MemoryError):
        window.begin()
    del window
    with measure() as m:
        pass
    assert m.reading.method == "exact"
