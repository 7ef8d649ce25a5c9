"""Which readings are a convoy, by numbers as measured of Beazley's server and of other loads."""

from __future__ import annotations

import pytest
from support.scripted import reading

from pytest_gilknock.model.convoy import convoy_of

Row = tuple[str, float, float, int, int]  # name, held, wait, acquisitions, contended


def of(*rows: Row, wall: float = 1.0, interval: float = 0.005, **changes):
    threads = [
        (number, name, held, wait, acquisitions, contended, wait / max(1, contended))
        for number, (name, held, wait, acquisitions, contended) in enumerate(rows, 1)
    ]
    return reading(threads=threads, wall=wall, switch_interval=interval, **changes)


HOG: Row = ("hog", 0.93, 0.02, 160, 160)
SERVER: Row = ("server", 0.02, 0.80, 4000, 158)


def test_a_server_beside_a_thread_that_computes_is_a_convoy():
    convoy = convoy_of(of(SERVER, HOG))
    assert [thread.name for thread in convoy.threads] == ["server"]
    assert [thread.name for thread in convoy.computing] == ["hog"]
    assert convoy.waits == 158
    assert convoy.mean_wait == pytest.approx(0.8 / 158)
    assert convoy.mean_hold == pytest.approx(0.02 / 4000)


def test_two_servers_are_one_convoy():
    convoy = convoy_of(of(SERVER, ("other", 0.01, 0.7, 300, 140), HOG))
    assert len(convoy.threads) == 2
    assert convoy.waits == 298
    assert convoy.wait == pytest.approx(1.5)


def test_a_thread_that_waited_and_never_had_the_gil_is_none():
    assert convoy_of(of(("odd", 0.0, 0.8, 0, 10), HOG)) is None


@pytest.mark.parametrize("interval", [0.0001, 0.001, 0.02, 0.1])
def test_whatever_the_switch_interval(interval):
    waits = int(0.8 / interval)
    server: Row = ("server", 1e-6 * waits, 0.8, waits, waits)
    hog: Row = ("hog", 0.9, 0.0, waits, waits)
    found = convoy_of(of(server, hog, interval=interval)) is not None
    assert found == (waits >= 10)


def test_behind_several_threads_a_wait_takes_an_interval_for_each():
    hogs: list[Row] = [(f"hog{n}", 0.24, 0.74, 48, 48) for n in range(4)]
    server: Row = ("server", 0.001, 0.9, 60, 45)
    assert convoy_of(of(server, *hogs)) is not None
    assert convoy_of(of(server, ("hog", 0.9, 0.0, 48, 48))) is None


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([("a", 0.33, 0.66, 66, 66), ("b", 0.33, 0.66, 66, 66)], id="pool"),
        pytest.param([("alone", 1.0, 0.0, 0, 0)], id="one thread"),
        pytest.param([("server", 0.1, 0.0, 50_000, 0)], id="server alone"),
        pytest.param([("server", 0.07, 0.0004, 27_000, 5), HOG], id="waits too few"),
        pytest.param([("server", 0.02, 0.02, 4000, 400), HOG], id="waits too short"),
        pytest.param([("server", 0.02, 0.8, 40, 40), HOG], id="waits too long"),
        pytest.param([("server", 0.1, 0.8, 160, 158), HOG], id="holds too long"),
        pytest.param([("server", 0.001, 0.06, 4000, 12), HOG], id="waits for little of the time"),
        pytest.param([("zlib", 0.001, 0.2, 40, 40), HOG], id="away for long in between"),
        pytest.param([SERVER, ("other", 0.9, 0.01, 90_000, 90_000)], id="nobody computes"),
        pytest.param([], id="nothing"),
    ],
)
def test_others_are_not(rows):
    assert convoy_of(of(*rows)) is None


@pytest.mark.parametrize(("longest", "is_convoy"), [(0.0063, True), (0.02, True), (0.0642, False)])
def test_a_thread_that_waits_for_two_native_calls_is_none(longest, is_convoy):
    """The loop of an application, beside two calls that keep the GIL for some 55 ms each."""
    loop = (1, "Thread-1 (run_blocking_portal)", 0.0431, 0.1217, 135, 13, longest)
    worker = (2, "AnyIO worker thread", 0.0652, 0.0028, 5, 3, 0.002)
    found = convoy_of(reading(threads=[loop, worker], wall=0.188, switch_interval=0.005))
    assert (found is not None) is is_convoy


def test_without_sums_nothing_is_said():
    assert convoy_of(reading(threads=[], held=None, wait=None, method="sampled")) is None
