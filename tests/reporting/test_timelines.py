"""Timelines of single tests, on scripted traces: a tick is a nanosecond."""

from support.traces import BY_KNOCKER, FORCED, KNOCKER, LENT, MAIN, WAIT, WORKER, trace

from pytest_gilknock.reporting import timelines as module
from pytest_gilknock.reporting.timelines import HOLDS, HOLDS_UNTIL_FORCED, WAITS, timelines

CALL = ("t", "call", 10_000, 20_000)


def only(process, wanted="t"):
    ((nodeid, timeline),) = timelines([process], {wanted})
    assert nodeid == wanted
    return timeline


def tracks(timeline):
    return {
        thread["name"]: [
            tuple(thread["slices"][at : at + 3]) for at in range(0, len(thread["slices"]), 3)
        ]
        for thread in timeline["threads"]
    }


def test_the_events_of_a_call_are_cut_to_it():
    events = [
        (2_000, 9_000, MAIN, 0),
        (9_500, 12_000, MAIN, 0),
        (11_000, 12_000, WORKER, WAIT),
        (12_000, 25_000, WORKER, 0),
        (26_000, 27_000, MAIN, 0),
    ]
    timeline = only(trace(events, [CALL]))
    assert timeline["length"] == 10.0
    assert timeline["left_out"] == 0
    assert tracks(timeline) == {
        "MainThread": [(0.0, 2.0, HOLDS)],
        "thread 12": [(1.0, 2.0, WAITS), (2.0, 10.0, HOLDS)],
    }


def test_a_hold_that_was_dropped_on_request_is_told_from_others():
    events = [
        (10_000, 15_000, MAIN, 0),
        (15_000, 16_000, WORKER, 0),
        (15_000, 16_000, MAIN, WAIT | FORCED),
        (16_000, 17_000, MAIN, 0),
    ]
    assert [kind for _, _, kind in tracks(only(trace(events, [CALL])))["MainThread"]] == [
        HOLDS_UNTIL_FORCED,
        WAITS,
        HOLDS,
    ]


def test_knocks_have_no_track():
    events = [(10_000, 11_000, MAIN, 0), (11_000, 11_500, KNOCKER, BY_KNOCKER)]
    events.append((11_000, 12_000, MAIN, LENT))
    assert list(tracks(only(trace(events, [CALL])))) == ["MainThread"]


def test_only_the_calls_of_the_wanted_tests_with_events():
    spans = [CALL, ("t", "setup", 5_000, 10_000), ("other", "call", 20_000, 30_000)]
    events = [(10_000, 11_000, MAIN, 0), (21_000, 22_000, MAIN, 0)]
    found = list(timelines([trace(events, spans)], {"t", "without events"}))
    assert [nodeid for nodeid, _ in found] == ["t"]
    assert list(timelines([trace([], spans)], {"t"})) == []


def test_a_process_without_a_trace_has_no_timelines():
    process = {**trace([], [CALL]), "raw": None, "reason": "not exact"}
    assert list(timelines([process], {"t"})) == []


def test_a_long_test_shows_its_longest_slices_and_counts_the_rest(monkeypatch):
    monkeypatch.setattr(module, "MOST_SLICES", 5)
    events = [(10_000 + 100 * n, 10_010 + 100 * n + n % 10, MAIN, 0) for n in range(50)]
    timeline = only(trace(events, [CALL]))
    slices = tracks(timeline)["MainThread"]
    assert [start for start, _, _ in slices] == [0.9, 1.9, 2.9, 3.9, 4.9]
    assert timeline["left_out"] == 45
    assert timeline["shortest"] == 0.0  # 19 ns


def test_of_slices_equally_long_there_are_no_more_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(module, "MOST_SLICES", 5)
    events = [(10_000 + 200 * n, 10_100 + 200 * n, MAIN, 0) for n in range(40)]
    timeline = only(trace([*events, (18_500, 19_900, WORKER, 0)], [CALL]))
    assert {name: len(slices) for name, slices in tracks(timeline).items()} == {
        "MainThread": 4,
        "thread 12": 1,
    }
    assert (timeline["left_out"], timeline["shortest"]) == (36, 0.1)


def test_what_the_trace_had_no_room_for_is_unknown():
    events = [(12_000, 13_000, MAIN, 0), (14_000, 15_000, MAIN, 0)]
    assert only(trace(events, [CALL], dropped=7))["unknown"] == 3.0
    assert only(trace(events, [CALL]))["unknown"] == 0.0


def test_the_busiest_threads_get_tracks(monkeypatch):
    monkeypatch.setattr(module, "MOST_THREADS", 1)
    events = [(10_000, 10_500, MAIN, 0), (11_000, 11_500, WORKER, 0), (12_000, 12_500, WORKER, 0)]
    timeline = only(trace(events, [CALL]))
    assert list(tracks(timeline)) == ["thread 12"]
    assert (timeline["left_out"], timeline["threads_left_out"]) == (0, 1)
