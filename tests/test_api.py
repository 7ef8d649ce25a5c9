import ctypes
import re
import threading
import time
import warnings
from functools import partial

import pytest
from core.loads import spin
from support import inner
from support.inner import exact
from support.machine import run_delay_of_this_thread
from support.scripted import disabled, reading, sampled
from support.scripted import raw as scripted_raw

import pytest_gilknock
from pytest_gilknock import GilNotMeasuredWarning, GilReading, _core, assert_releases_gil, measure
from pytest_gilknock.api import _own_run_delay, judge_release

HOLDS = ctypes.PyDLL(None).usleep
RELEASES = ctypes.CDLL(None).usleep
FROM_RAW = GilReading.from_raw


@exact
def test_measure_tells_holding_from_releasing():
    with measure() as held:
        HOLDS(30_000)
    with measure() as released:
        RELEASES(200_000)  # on a busy machine the thread may be stopped for a while with the GIL
    assert held.reading.contention > 0.9
    assert released.reading.contention < 0.5
    assert held.reading.wall >= 0.03


def test_reading_inside_the_block_is_live():
    with measure() as m:
        spin(0.01)
        first = m.reading
        spin(0.01)
        assert m.reading.wall > first.wall >= 0.01
    assert m.reading.wall > first.wall
    assert m.reading is m.reading


def test_reading_before_the_block():
    with pytest.raises(RuntimeError, match="nothing measured yet"):
        measure().reading  # noqa: B018


def test_blocks_nest():
    with measure() as outer:
        spin(0.005)
        with measure() as inner:
            spin(0.005)
    assert outer.reading.wall > inner.reading.wall + 0.005


def test_one_object_measures_one_block_at_a_time():
    m = measure()
    with m:
        with pytest.raises(RuntimeError, match="open already"):
            m.__enter__()
        spin(0.01)
    first = m.reading
    start = time.perf_counter()
    with m:
        pass
    took = time.perf_counter() - start
    assert first.wall >= 0.01
    assert m.reading.wall < took + 0.005


class WindowUnderSignals:
    """A window in whose calls the handler of a signal raises."""

    def __init__(self, at: str, **options: object) -> None:
        self.at = at

    def begin(self) -> None:
        if self.at == "begin":
            raise TimeoutError

    def end(self) -> None:
        raise TimeoutError


@pytest.mark.parametrize("at", ["begin", "end"])
def test_a_block_that_a_signal_breaks_off_can_be_measured_again(monkeypatch, at):
    m = measure()
    with monkeypatch.context() as patch:
        patch.setattr(_core, "Window", partial(WindowUnderSignals, at))
        with pytest.raises(TimeoutError), m:
            pass
    with pytest.raises(RuntimeError, match="nothing measured yet"):
        m.reading  # noqa: B018
    with m:
        spin(0.005)
    assert m.reading.wall >= 0.005


@exact
def test_blocks_in_several_threads_at_once():
    barrier = threading.Barrier(4)
    readings = []

    def work():
        with measure() as m:
            barrier.wait()
            spin(0.01)
            barrier.wait()
        readings.append(m.reading)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reading.wall >= 0.01 for reading in readings] == [True] * 4
    assert all(reading.wait > 0.0 for reading in readings)


def test_an_exception_leaves_the_block_measured():
    m = measure()
    with pytest.raises(KeyError), m:
        raise KeyError
    assert m.reading.wall > 0.0


def test_unknown_method():
    with pytest.raises(ValueError, match="method 'fast' is not one of auto, exact, sampled"):
        measure(method="fast")


@exact
def test_sampled_does_not_claim_what_it_cannot_know():
    with measure(method="sampled") as m:
        spin(0.01)
    assert m.reading.method == "sampled"
    assert m.reading.held is None
    assert m.reading.threads == ()


def test_release_passes():
    with assert_releases_gil() as m:
        RELEASES(30_000)
    assert m.reading.wall >= 0.03


@exact
def test_keeping_the_gil_fails_and_tells_where():
    with pytest.raises(AssertionError) as failure, assert_releases_gil():
        HOLDS(300_000)
    text = str(failure.value)
    assert text.startswith("the GIL was released for 0.0")
    assert "at least 0.9 was asked for: this thread held it for " in text
    assert "  contention  " in text
    assert "test_api.py" in text


def test_an_exception_in_the_block_is_not_replaced():
    def hold_and_fail():
        HOLDS(10_000)
        raise KeyError

    with pytest.raises(KeyError), assert_releases_gil():
        hold_and_fail()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf"), "101%", "most", None])
def test_min_share_out_of_range(share):
    with pytest.raises(ValueError, match=r"min_share: .* is not a share from 0 to 1"):
        assert_releases_gil(share)


@exact
def test_min_share_as_a_marker_takes_it():
    with assert_releases_gil("90%"):
        RELEASES(30_000)
    with pytest.raises(AssertionError, match=r"at least 0\.75 was asked for"):  # noqa: SIM117
        with assert_releases_gil("75%"):
            HOLDS(30_000)


BROKEN_BLOCKS = """
import ctypes
import pytest
from pytest_gilknock import assert_releases_gil, measure

def test_block():
    with assert_releases_gil():
        ctypes.PyDLL(None).usleep(200_000)

def test_share():
    with assert_releases_gil("much"):
        pass

def test_open():
    m = measure()
    with m:
        m.__enter__()

def test_nothing():
    measure().reading

@pytest.mark.filterwarnings("error")
def test_warning():
    with assert_releases_gil(method="sampled"):
        pass
"""


@exact
@pytest.mark.parametrize("style", ["auto", "long", "short", "line"])
def test_a_failure_shows_nothing_of_this_package(pytester, style):
    pytester.makepyfile(test_blocks=BROKEN_BLOCKS)
    result = inner.run(pytester, f"--tb={style}", "--show-capture=no")
    result.assert_outcomes(failed=5)
    ours = [line for line in result.outlines if "pytest_gilknock/" in line or "api.py" in line]
    assert ours == []
    if style == "line":
        path = re.escape(str(pytester.path / "test_blocks.py"))
        lines = re.findall(rf"^{path}:(\d+): ", result.stdout.str(), re.MULTILINE)
        assert lines == ["6", "10", "16", "19", "23"]


@exact
def test_the_debugger_stops_at_the_block(pytester):
    pytester.makepyfile(test_blocks=BROKEN_BLOCKS)
    result = pytester.run(
        *pytester._getpytestargs(),
        *("--pdb", "-x", "-k", "test_block"),
        stdin=b"where\nargs\nquit\n",
    )
    assert "api.py" not in result.stdout.str().split("entering PDB")[1].split("(Pdb)")[0]


@pytest.mark.parametrize(
    "judged",
    [reading(threads=[(11, "own", 0.9, 0.0, 1, 0, 0.0)]), FROM_RAW(sampled(50, 50))],
    ids=["exact", "sampled"],
)
def test_a_block_in_a_removed_folder_fails_as_elsewhere(judged, tmp_path, monkeypatch):
    folder = tmp_path / "removed"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(AssertionError, match=r"the GIL was (released|free) for 0\.[01]00 of"):
        judge_release(judged, 0.9, 11)


@pytest.mark.parametrize(
    ("wall", "held", "outcome"),
    [
        (200e-6, 27e-6, "passes"),
        (900e-6, 99e-6, "passes"),
        (900e-6, 101e-6, "fails"),
        (190e-6, 99e-6, "warns"),
        (80e-6, 79e-6, "warns"),
        (150e-6, 149e-6, "fails"),
    ],
)
def test_a_block_too_short_to_judge_is_no_failure(wall, held, outcome):
    judged = reading(wall=wall, threads=[own(held, 0.0)])
    if outcome == "warns":
        with pytest.warns(GilNotMeasuredWarning, match="the block is too short: the GIL was held"):
            judge_release(judged, 0.9, 11)
    elif outcome == "fails":
        with pytest.raises(AssertionError, match="of which 100 us would be allowed in any block"):
            judge_release(judged, 0.9, 11)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            judge_release(judged, 0.9, 11)


@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_a_warning_points_at_the_block(monkeypatch, method):
    """Exact: no thread of its own in the reading; sampled: too few knocks for a verdict."""
    raw = sampled(0, 0) if method == "sampled" else scripted_raw(threads=[])
    monkeypatch.setattr(GilReading, "from_raw", lambda _: FROM_RAW(raw))
    with pytest.warns(GilNotMeasuredWarning) as warned, assert_releases_gil():
        pass
    assert [warning.filename for warning in warned] == [__file__]


def own(held, wait):
    return (11, "MainThread", held, wait, 5, 1, wait)


OTHER = (12, "worker", 0.9, 0.0, 5, 1, 0.0)


@pytest.mark.parametrize(
    ("held", "wait", "passes"),
    [
        (0.1, 0.0, True),
        (0.11, 0.0, False),
        (1.0, 0.0, False),
        # Of the 0.5 s in which it did not wait for others, it held the GIL for 0.05 s or more.
        (0.05, 0.5, True),
        (0.06, 0.5, False),
    ],
)
def test_share_leaves_out_the_time_spent_waiting(held, wait, passes):
    judged = reading(wall=1.0, threads=[OTHER, own(held, wait)])
    if passes:
        judge_release(judged, 0.9, 11)
    else:
        with pytest.raises(AssertionError, match="the GIL was released for"):
            judge_release(judged, 0.9, 11)


def test_a_thread_without_a_processor_while_it_held_is_not_judged():
    judged = reading(wall=1.0, threads=[own(0.4, 0.0)])
    with pytest.warns(GilNotMeasuredWarning, match="was without a processor for 310 ms"):
        judge_release(judged, 0.9, 11, 0.31)
    with pytest.raises(AssertionError, match=r"the GIL was released for 0\.600"):
        judge_release(judged, 0.9, 11, 0.29)


def test_the_own_run_delay_is_that_of_the_kernel():
    try:
        before = run_delay_of_this_thread()
    except OSError:
        assert _own_run_delay() == 0.0
    else:
        assert before <= _own_run_delay() <= run_delay_of_this_thread()


def test_other_threads_do_not_count():
    judge_release(reading(held=1.0, threads=[OTHER, own(0.0, 0.0)]), 1.0, 11)


@pytest.mark.parametrize("threads", [[OTHER], [own(0.0, 1.0)]])
def test_unknown_part_of_the_block_warns(threads):
    with pytest.warns(GilNotMeasuredWarning, match="this thread's part of the block is unknown"):
        judge_release(reading(wall=1.0, threads=threads), 0.9, 11)


def test_disabled_gil_passes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge_release(GilReading.from_raw(disabled()), 1.0, 11)


@pytest.mark.parametrize(
    ("knocks", "waited", "outcome"),
    [(19, 19, "warns"), (20, 20, "fails"), (20, 0, "passes"), (20, 4, "passes"), (20, 8, "fails")],
)
def test_sampled_release_is_judged_by_enough_knocks(knocks, waited, outcome):
    judged = GilReading.from_raw(sampled(knocks, waited))
    if outcome == "warns":
        with pytest.warns(
            GilNotMeasuredWarning, match="asked 19 times for the GIL in the block, 20"
        ):
            judge_release(judged, 0.9, 11)
    elif outcome == "fails":
        with pytest.raises(
            AssertionError, match=f"of {knocks} requests of .*, at least 0.9 was asked"
        ):
            judge_release(judged, 0.9, 11)
    else:
        judge_release(judged, 0.9, 11)


def test_public_names():
    for name in pytest_gilknock.__all__:
        assert getattr(pytest_gilknock, name).__name__ == name
    assert set(pytest_gilknock.__all__) <= set(dir(pytest_gilknock))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pytest_gilknock.nothing  # noqa: B018
