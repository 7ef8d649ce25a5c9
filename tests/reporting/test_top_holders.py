from support.scripted import blamed, disabled, raw

from pytest_gilknock.reporting import top_holders
from pytest_gilknock.reporting.top_holders import TopHolders

SLOW = blamed("/src/slow.py", 3, "slow", 12, "worker", 0.2, 9)
OTHER = blamed("/src/other.py", 4, "other", 11, "MainThread", 0.05, 3)
MAIN = ((("/src/loop.py", 7, "run", None),), 11, "MainThread", 0.25, 0.01, 30)


def run(*readings):
    top = TopHolders()
    for one in readings:
        top.add(one)
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


def test_what_only_kept_knocks_waiting_is_no_holder():
    knocked = (*SLOW[:3], 0.0, 0, 0.3, 9)
    assert run(raw(blame=[knocked])).holders.most(0) == []


def test_without_a_gil_there_is_nothing():
    top = run(disabled())
    assert (top.wait, top.holders.most(0), top.victims.most(0)) == (0.0, [], [])


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
