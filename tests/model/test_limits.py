import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripted import AUDITED, disabled, locks, raw, reading, sampled

from pytest_gilknock.model.limits import Limit, judge, parse_lock_wait, parse_wait
from pytest_gilknock.model.reading import GilReading
from pytest_gilknock.model.stack import NOT_ASKED

CONTENTION = Limit("contention", 0.3, "here")
MAX_WAIT = Limit("max_wait", 0.02, "here")
MAX_HOLD = Limit("max_hold", 0.02, "here")
MAX_LOCK_WAIT = Limit("max_lock_wait", 0.1, "here")
MAX_STOP = Limit("max_stop_the_world", 0.005, "here")
OBJECTS = MAX_LOCK_WAIT._replace(lock_kind="objects", bound=0.02)


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
        assert f"{waited} of {knocks} request" in verdict.fact
        assert ("not enough to judge" in verdict.fact) == (outcome == "not judged")


def test_nothing_seen_is_no_verdict():
    nothing = GilReading.from_raw(sampled(0, 0, None))
    for limit in (CONTENTION, MAX_WAIT):
        verdict = judge(nothing, limit)
        assert verdict is not None
        assert not verdict.breached
        assert f"was not measured: {NOT_ASKED}" in verdict.fact


def test_disabled_gil_is_no_verdict():
    for limit in (CONTENTION, MAX_WAIT):
        verdict = judge(GilReading.from_raw(disabled()), limit)
        assert verdict is not None
        assert not verdict.breached
        assert verdict.fact.startswith("the GIL is disabled: there is nothing to judge; what")
        assert "max_lock_wait and max_stop_the_world" in verdict.fact


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
ODD_NAMES = [
    (16, " padded ", 0.4, 0.05, 50, 25, 0.021),
    (17, "thé" * 63 + "th", 0.4, 0.05, 50, 25, 0.022),
    (18, "no \ufffd text", 0.4, 0.05, 50, 25, 0.023),
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
        ("padded", "max wait of  padded  21.0 ms, limit 20 ms"),
        ("thé" * 70, f"max wait of {'thé' * 63}th 22.0 ms, limit 20 ms"),
        ("no \udcff text", "max wait of no \ufffd text 23.0 ms, limit 20 ms"),
        ("*", "max wait of thread 15 50.0 ms, limit 20 ms"),
    ],
)
def test_a_limit_for_threads_counts_their_own_waits(thread, fact):
    threads = [*THREADS, *ODD_NAMES]
    verdict = judge(reading(threads=threads, max_wait=9.0), MAX_WAIT._replace(thread=thread))
    if fact is None:
        assert verdict is None
    else:
        assert verdict is not None
        assert verdict.fact.startswith(fact)
        assert verdict.breached == ("not measured" not in fact)


@pytest.mark.parametrize(
    ("thread", "fact"),
    [
        ("MainThread", None),  # it does not end
        ("pool_1", "max wait of pool_1 was not measured: 7 threads that ended made room"),
        ("gone", "max wait of gone was not measured: 7 threads that ended made room"),
        ("pool_0", "max wait of pool_0 30.0 ms, limit 20 ms"),
    ],
)
def test_threads_that_made_room_for_others_may_have_waited_longer(thread, fact):
    limit = MAX_WAIT._replace(thread=thread)
    verdict = judge(reading(threads=THREADS, threads_omitted=7), limit)
    assert (verdict and verdict.fact[: len(fact)]) == fact
    assert verdict is None or verdict.breached == ("not measured" not in fact)


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
    assert verdict.fact.startswith("max wait of MainThread was not measured: a sampled")


def test_a_hold_is_judged_where_holds_were_audited():
    assert judge(reading(max_hold=0.0), MAX_HOLD) is None
    assert judge(reading(max_hold=0.02), MAX_HOLD) is None
    verdict = judge(reading(**AUDITED), MAX_HOLD)
    assert (verdict.breached, verdict.fact) == (True, "max hold 30.0 ms, limit 20 ms")
    assert MAX_HOLD.text == "20 ms"


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (raw(), NOT_ASKED),
        (raw(blame_method="released", blame_reason="a sandbox"), "a sandbox"),
        (sampled(50, 25), "the self-test failed"),
    ],
)
def test_holds_that_were_not_audited_are_no_verdict(measured, why):
    verdict = judge(GilReading.from_raw(measured), MAX_HOLD)
    assert (verdict.breached, verdict.fact) == (False, f"max hold was not measured: {why}")


def test_without_a_gil_no_hold_is_judged():
    assert not judge(GilReading.from_raw(disabled()), MAX_HOLD).breached


def without_gil(**changes):
    kinds = {**locks()["kinds"], **changes}
    return GilReading.from_raw(disabled(locks=locks(kinds=kinds)))


@pytest.mark.parametrize(
    ("limit", "fact"),
    [
        (MAX_LOCK_WAIT, "a thread waited 200 ms for a lock of the program, limit 100 ms"),
        (
            OBJECTS,
            "a thread waited 30.0 ms for the lock of an object (most of all dict), limit 20 ms",
        ),
        (MAX_STOP, "a thread waited 40.0 ms for the stopped world, limit 5 ms"),
    ],
)
def test_limits_on_locks_tell_what_was_waited_for(limit, fact):
    for measured in (without_gil(), reading(locks=locks())):
        assert judge(measured, limit) == (limit, True, fact)
    assert judge(without_gil(), limit._replace(bound=0.2)) is None


@pytest.mark.parametrize("limit", [MAX_LOCK_WAIT, OBJECTS, MAX_STOP])
def test_limits_on_locks_say_so_where_these_are_not_measured(limit):
    why = (
        "nothing to judge, because waits for locks were not measured: locks park since Python 3.13"
    )
    for measured in (disabled(), raw(locks="locks park since Python 3.13 only")):
        verdict = judge(GilReading.from_raw(measured), limit)
        assert verdict is not None
        assert not verdict.breached
        assert verdict.fact.startswith(why)


def test_what_there_is_only_without_a_gil_is_not_judged_with_one():
    none = {**locks()["kinds"], "objects": (0, 0.0, 0.0), "stop_the_world": (0, 0.0, 0.0)}
    measured = reading(locks=locks(kinds=none))
    for limit in (OBJECTS, MAX_STOP):
        verdict = judge(measured, limit)
        assert verdict is not None
        assert not verdict.breached
        assert verdict.fact.startswith("nothing to judge, because the GIL is on")
    assert judge(measured, MAX_LOCK_WAIT._replace(bound=0.2)) is None


def test_a_wait_that_could_not_be_told_apart_is_no_breach_but_said():
    verdict = judge(without_gil(unproven=(1, 0.5, 0.5)), MAX_LOCK_WAIT._replace(bound=0.3))
    assert verdict is not None
    assert not verdict.breached
    assert "for a lock that could not be told apart, limit 300 ms" in verdict.fact


def test_a_bound_on_locks_may_be_for_one_kind():
    assert parse_lock_wait("20ms") == (0.02, None)
    assert parse_lock_wait("20ms@objects") == (0.02, "objects")
    assert OBJECTS.text == "20 ms@objects"
    with pytest.raises(ValueError, match="'dict' is not one of objects, interpreter, program"):
        parse_lock_wait("20ms@dict")
