import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted import disabled, raw, reading, sampled

from pytest_gilknock.model.limits import Limit, judge, parse_wait
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.model.statistics import wilson_interval
from pytest_gilknock.model.units import parse_duration, parse_share

CONTENTION = Limit("contention", 0.3, "here")
MAX_WAIT = Limit("max_wait", 0.02, "here")


@pytest.mark.parametrize(
    ("written", "share"),
    [(0, 0.0), (1, 1.0), (0.3, 0.3), ("0.3", 0.3), (".3", 0.3), ("30%", 0.3), (" 100 % ", 1.0)],
)
def test_parse_share(written, share):
    assert parse_share(written) == share


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (0.02, 0.02),
        (0.999, 0.999),
        ("0.999", 0.999),
        ("0.02", 0.02),
        ("300us", 300e-6),
        ("20ms", 0.02),
        (" 1.5 s ", 1.5),
        ("2min", 120.0),
    ],
)
def test_parse_duration(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


NEITHER = [
    math.nan,
    math.inf,
    -0.1,
    -1,
    10**400,
    True,
    False,
    None,
    [],
    b"1",
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "+1",
    "1e-3",
    "1_0",
    "0x1",
    "1 2",
    ".",
    "٣",
    "9" * 400,
]


@pytest.mark.parametrize("written", [*NEITHER, 1.01, 30, "30", "101%", "0.3%%", "20ms"])
def test_not_a_share(written):
    with pytest.raises(
        ValueError, match=r"is not a share from 0 to 1, such as 0\.3 or '30%'"
    ) as error:
        parse_share(written)
    assert repr(written) in str(error.value)


@pytest.mark.parametrize("written", [*NEITHER, "20 parsecs", "20%", "20 m", "20MS", "ms"])
def test_not_a_duration(written):
    with pytest.raises(ValueError, match="is not a time with its unit") as error:
        parse_duration(written)
    assert repr(written) in str(error.value)


@pytest.mark.parametrize("written", [1, 1.0, 20, "20", "1", " 20 ", "1.0"])
def test_a_duration_of_1_or_more_needs_its_unit(written):
    number = f"{float(written):g}"
    with pytest.raises(
        ValueError, match=f"has no unit; write '{number}ms' or '{number}s'"
    ) as error:
        parse_duration(written)
    assert repr(written) in str(error.value)


@given(st.text())
def test_any_text_is_parsed_or_refused(written):
    for parse, most in ((parse_share, 1.0), (parse_duration, math.inf)):
        try:
            value = parse(written)
        except ValueError:
            continue
        assert 0.0 <= value <= most
        assert math.isfinite(value)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_where_the_share_is_two_deviations_off(hits_of_trials):
    hits, trials = hits_of_trials
    share = hits / trials
    low, high = wilson_interval(hits, trials)
    assert 0.0 <= low <= share <= high <= 1.0
    assert (low == 0.0) == (hits == 0)
    assert (high == 1.0) == (hits == trials)
    for bound in (low, high):
        if 0.0 < bound < 1.0:
            deviations = abs(share - bound) / math.sqrt(bound * (1 - bound) / trials)
            assert deviations == pytest.approx(1.959964, abs=1e-4)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_wilson_interval(hits, trials, low, high):
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "breached"),
    [({"held": 0.2}, False), ({"held": 0.3}, False), ({"held": 0.301}, True)],
)
def test_exact_contention(changes, breached):
    verdict = judge(reading(**changes), CONTENTION)
    assert (verdict is not None and verdict.breached) == breached


def test_breach_of_contention_tells_both_numbers():
    verdict = judge(reading(held=0.974), CONTENTION)
    assert verdict is not None
    assert verdict.fact == "contention 0.974, limit 0.3"


@pytest.mark.parametrize(
    ("max_wait", "breached"), [(0.0, False), (0.02, False), (0.0200001, True), (3.0, True)]
)
def test_max_wait(max_wait, breached):
    for measured in (raw(max_wait=max_wait), sampled(10, 5, max_wait)):
        verdict = judge(GilReading.from_raw(measured), MAX_WAIT)
        assert (verdict is not None and verdict.breached) == breached


def test_breach_of_max_wait_tells_both_numbers():
    verdict = judge(reading(max_wait=0.0482), MAX_WAIT)
    assert verdict is not None
    assert verdict.fact == "max wait 48.2 ms, limit 20 ms"


@pytest.mark.parametrize(
    ("waited", "knocks", "limit", "outcome"),
    [
        (60, 100, 0.3, "breached"),
        (10, 100, 0.3, "kept"),
        (30, 100, 0.3, "not judged"),
        (35, 100, 0.3, "not judged"),
        (3, 3, 0.3, "breached"),
        (1, 1, 0.3, "not judged"),
        (0, 1, 0.3, "not judged"),
        (0, 9, 0.3, "kept"),
        (9, 9, 1.0, "kept"),
    ],
)
def test_sampled_contention_is_judged_by_its_interval(waited, knocks, limit, outcome):
    verdict = judge(
        GilReading.from_raw(sampled(knocks, waited)), Limit("contention", limit, "here")
    )
    if outcome == "kept":
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict.breached == (outcome == "breached")
        assert f"{waited} of {knocks} knock" in verdict.fact
        assert ("not enough to judge" in verdict.fact) == (outcome == "not judged")


def test_nothing_seen_is_no_verdict():
    nothing = GilReading.from_raw(sampled(0, 0, None))
    for limit in (CONTENTION, MAX_WAIT):
        verdict = judge(nothing, limit)
        assert verdict is not None
        assert not verdict.breached
        assert "was not measured: no knock fell into the window" in verdict.fact


def test_disabled_gil_is_no_verdict():
    for limit in (CONTENTION, MAX_WAIT):
        verdict = judge(GilReading.from_raw(disabled()), limit)
        assert verdict is not None
        assert not verdict.breached
        assert verdict.fact == "the GIL is disabled: there is nothing to judge"


def test_parse_wait():
    assert parse_wait("20ms@MainThread") == (0.02, "MainThread")
    assert parse_wait(" 20ms @ AnyIO worker thread ") == (0.02, "AnyIO worker thread")
    assert parse_wait("20ms@a@b") == (0.02, "a@b")
    assert parse_wait(0.02) == (0.02, None)


@given(st.text())
def test_any_text_is_a_wait_or_refused(written):
    try:
        bound, thread = parse_wait(written)
    except ValueError:
        return
    assert math.isfinite(bound)
    assert thread is None or thread.strip()


THREADS = [
    (11, "MainThread", 0.1, 0.2, 50, 25, 0.0052),
    (12, "pool_0", 0.4, 0.05, 50, 25, 0.03),
    (13, "pool_1", 0.4, 0.05, 50, 25, 0.001),
    (14, "Thread-1 [x]", 0.4, 0.05, 50, 25, 0.04),
    (15, None, 0.4, 0.05, 50, 25, 0.05),
]


@pytest.mark.parametrize(
    ("thread", "fact"),
    [
        ("MainThread", None),
        ("pool_1", None),
        ("mainthread", "max wait of mainthread was not measured: no thread of that name took or"),
        ("pool_*", "max wait of pool_0 30.0 ms, limit 20 ms"),
        ("Thread-1 [x]", "max wait of Thread-1 [x] 40.0 ms, limit 20 ms"),
        ("thread 15", "max wait of thread 15 50.0 ms, limit 20 ms"),
        ("*", "max wait of thread 15 50.0 ms, limit 20 ms"),
    ],
)
def test_a_limit_for_threads_counts_their_own_waits(thread, fact):
    verdict = judge(reading(threads=THREADS, max_wait=9.0), MAX_WAIT._replace(thread=thread))
    if fact is None:
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict.fact.startswith(fact)
        assert verdict.breached == ("not measured" not in fact)


def test_threads_there_were_are_named():
    limit = MAX_WAIT._replace(thread="worker")
    verdict = judge(reading(threads=THREADS), limit)
    assert verdict is not None
    assert verdict.fact.endswith(", only MainThread, Thread-1 [x], pool_0, pool_1, thread 15")
    many = [(n, f"w{n:02}", 0.0, 0.0, 1, 0, 1.0) for n in range(12)]
    verdict = judge(reading(threads=many), limit)
    assert verdict is not None
    assert verdict.fact.endswith("w08, w09 and 2 more")
    verdict = judge(reading(threads=[]), limit)
    assert verdict is not None
    assert verdict.fact.endswith("was not measured: no thread took or asked for the GIL")


def test_knocks_do_not_tell_of_a_thread():
    limit = MAX_WAIT._replace(thread="MainThread")
    verdict = judge(GilReading.from_raw(sampled(10, 5, 3.0)), limit)
    assert verdict is not None
    assert not verdict.breached
    assert verdict.fact.startswith("max wait of MainThread was not measured: the knocks")
