import pytest
from support.scripted import AUDITED, blamed, disabled, raw, sampled

from pytest_gilknock.reporting import top_holders
from pytest_gilknock.reporting.top_holders import TopHolders

SLOW = blamed("/src/slow.py", 3, "slow", 12, "worker", 0.2, 9)
OTHER = blamed("/src/other.py", 4, "other", 11, "MainThread", 0.05, 3)
MAIN = ((("/src/loop.py", 7, "run", None),), 11, "MainThread", 0.25, 0.01, 30)


def run(*readings):
    top = TopHolders()
    for number, one in enumerate(readings):
        top.add(f"t.py::test_{number}", one)
    return top


def test_places_are_summed_over_tests():
    top = run(raw(blame=[SLOW, OTHER]), raw(blame=[SLOW, SLOW]), raw(blame=[], victims=[MAIN]))
    first, second = top.holders.most(0)
    assert (first.place.frame.function, first.tests, first.looks) == ("slow", 2, 27)
    assert round(first.waited, 9) == 0.6
    assert first.threads == {"worker"}
    assert second.place.frame.function == "other"
    assert [place.place.frame.function for place in top.holders.most(1)] == ["slow"]
    assert top.victims.most(0)[0].place.frame.function == "run"
    assert top.wait == 0.75


def test_a_test_with_several_measured_phases_counts_once():
    top = TopHolders()
    phases = raw(blame=[SLOW], wait=0.25, hand_over=0.05, unlooked=0.05, **AUDITED)
    for nodeid in ("a", "b", "a", "a"):  # phases of tests that run side by side
        top.add(nodeid, phases)
    holder, victim, hold = (top.holders.most(1)[0], top.victims.most(1)[0], top.holds.most(1)[0])
    assert (holder.tests, round(holder.waited, 9)) == (2, 0.8)
    assert (victim.tests, hold.tests) == (2, 2)
    assert [part.tests for part in top.placeless()] == [2, 2]


def test_what_only_kept_knocks_waiting_is_no_holder():
    knocked = (*SLOW[:3], 0.0, 0, 0.3, 9)
    assert run(raw(blame=[knocked])).holders.most(0) == []


def test_what_has_no_place_is_summed_where_it_is_a_percent_of_the_wait():
    top = run(raw(wait=1.0, hand_over=0.02, unlooked=0.0), raw(wait=1.0, unlooked=0.01))
    assert [(part.what, part.waited, part.tests) for part in top.placeless()] == [
        ("(hand-over: nobody held it)", 0.03, 2)
    ]
    assert top.unlooked.tests == 1
    top.add("t", sampled(9, 3))
    top.add("t", raw(wait=0.0, unlooked=0.01, hand_over=0.0))
    assert [part.what for part in top.placeless()][1:] == ["(nobody looked)"]


def test_the_wait_is_that_for_places_and_that_without_any():
    omitted = {"blame_omitted": (7, 0.25, 0.0), "hand_over": 0.25, "unlooked": 0.005}
    top = run(raw(blame=[SLOW, OTHER], wait=0.755, **omitted))
    assert [(part.what, part.waited) for part in top.placeless()] == [
        ("(hand-over: nobody held it)", 0.25),
        ("(places for which there was no room)", 0.25),
    ]
    (slow, other), _ = top.holders.listed(0, top.wait)
    assert top.waited_elsewhere([slow]) == pytest.approx(other.waited)
    assert top.waited_elsewhere([slow, other]) == pytest.approx(0.0)


def test_without_a_gil_there_is_nothing():
    top = run(disabled())
    assert (top.wait, top.holders.most(0), top.victims.most(0)) == (0.0, [], [])
    assert top.placeless() == []


def test_memory_is_bounded_and_what_is_forgotten_is_counted(monkeypatch):
    monkeypatch.setattr(top_holders, "MOST_PLACES", 10)
    rows = [blamed("/a.py", line, "f", 1, None, float(line), 1) for line in range(1, 26)]
    top = run(*(raw(blame=[row]) for row in rows))
    kept = top.holders.most(0)
    assert len(kept) <= 10
    assert len(kept) + top.holders.forgotten == 25
    assert kept[0].place.frame.line == 25
    assert kept[0].threads == {"unnamed threads"}


def test_a_place_is_json_ready():
    assert run(raw(blame=[SLOW])).holders.most(1)[0].as_dict() == {
        "file": "/src/slow.py",
        "line": 3,
        "function": "slow",
        "inside": None,
        "waited": 0.2,
        "looks": 9,
        "tests": 1,
        "threads": ["worker"],
    }


def test_holds_are_summed_over_tests():
    longer = ((("/src/app/native.py", 5, "call", "zlib.crc32"),), 11, "MainThread", 0.05, 0.05, 1)
    other = ((("/src/x.py", 1, "x", None),), 11, "MainThread", 0.2, 0.01, 20)
    top = run(
        raw(**AUDITED), raw(), raw(max_hold=0.05, holds=[longer, longer, other], holds_unseen=3)
    )
    first, second = top.holds.most(0)
    assert (first.longest, first.count, first.tests) == (0.05, 6, 2)
    assert (round(first.held, 9), first.thread_label) == (0.18, "MainThread and 1 more")
    assert second.as_dict() == {
        "file": "/src/x.py",
        "line": 1,
        "function": "x",
        "inside": None,
        "longest": 0.01,
        "count": 20,
        "held": 0.2,
        "tests": 1,
        "threads": ["MainThread"],
    }
    assert (top.holds.audited, top.holds.unseen) == (2, 3)
    assert [hold.count for hold in top.holds.most(1)] == [6]


def test_why_holds_were_not_audited_is_kept():
    assert run(sampled(9, 3), disabled()).holds.why_not == "the self-test failed"
    assert run(raw()).holds.why_not == "gilknock's own thread did not ask for the GIL meanwhile"
    assert run(raw(max_hold=0.0)).holds.why_not is None


def test_holds_that_are_forgotten_are_counted(monkeypatch):
    monkeypatch.setattr(top_holders, "MOST_PLACES", 10)
    rows = [((("/a.py", n, "f", None),), 1, None, float(n), float(n), 2) for n in range(1, 26)]
    top = run(*(raw(max_hold=row[4], holds=[row]) for row in rows))
    kept = top.holds.most(0)
    assert len(kept) <= 10
    assert 2 * len(kept) + top.holds.unseen == 50
    assert kept[0].place.frame.line == 25
