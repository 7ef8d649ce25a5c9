"""The timeline on scripted events: a tick is a nanosecond, every process begins at 1000."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.scripted import disabled, locks, raw, totals
from support.traces import BY_KNOCKER, FORCED, KNOCKER, LENT, MAIN, UNFINISHED, WAIT, WORKER, trace

from pytest_gilknock.model.wire import ProcessTrace, RawSpan
from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.results import Results


def results(*traces: ProcessTrace) -> Results:
    made = Results(top=0, sort="wait", keep_all=True)
    for one in traces:
        made.add_process({**totals(raw()), "trace": one})
    return made


def written(*traces: ProcessTrace, made: Results | None = None) -> dict[str, Any]:
    file: dict[str, Any] = json.loads("".join(find("trace").write(made or results(*traces))))
    return file


def slices(file: dict[str, Any], *categories: str) -> list[tuple[str, float, float]]:
    return [
        (event["name"], event["ts"], event["dur"])
        for event in file["traceEvents"]
        if event["ph"] == "X" and event["cat"] in categories
    ]


def track_names(file: dict[str, Any]) -> dict[int, str]:
    return {
        event["tid"]: event["args"]["name"]
        for event in file["traceEvents"]
        if event["name"] == "thread_name"
    }


def test_holds_and_waits_are_slices_on_their_threads_tracks():
    file = written(trace([(1000, 3000, MAIN, 0), (2000, 3500, WORKER, WAIT)]))
    assert slices(file, "hold") == [("holds", 0.0, 2.0)]
    assert slices(file, "wait") == [("waits", 1.0, 1.5)]
    names = track_names(file)
    (hold, wait) = (event for event in file["traceEvents"] if event["ph"] == "X")
    assert names[hold["tid"]] == "MainThread"
    assert names[wait["tid"]] == "thread 12"


def test_what_began_before_the_window_is_cut_off():
    file = written(trace([(200, 3000, MAIN, 0), (1500, 4000, MAIN, UNFINISHED)]))
    assert slices(file, "hold") == [("holds", 0.0, 2.0), ("holds", 0.5, 2.5)]
    assert [event.get("args") for event in file["traceEvents"] if event["ph"] == "X"] == [
        None,
        {"goes on": True},
    ]


def test_a_forced_drop_is_told_from_a_voluntary_one():
    events = [
        (1000, 2000, MAIN, 0),
        (1500, 2100, WORKER, WAIT),
        (2100, 3000, WORKER, 0),
        (2000, 3100, MAIN, WAIT | FORCED),
        (3100, 4000, MAIN, 0),
    ]
    file = written(trace(events))
    assert [name for name, *_ in slices(file, "hold")] == ["holds, forced out", "holds", "holds"]
    assert [name for name, *_ in slices(file, "wait")] == ["waits", "waits, forced out"]


def test_knocks_have_a_track_and_what_is_lent_to_them_is_held():
    events = [
        (1000, 2000, MAIN, 0),
        (1500, 2100, KNOCKER, WAIT | BY_KNOCKER),
        (2100, 2200, KNOCKER, BY_KNOCKER),
        (2000, 2300, MAIN, LENT),
        (2300, 4000, MAIN, 0),
    ]
    file = written(trace(events))
    assert [name for name, *_ in slices(file, "knock")] == ["knock waits", "knock"]
    names = [name for name, *_ in slices(file, "hold")]
    assert names == ["holds, forced out", "holds, lent to gilknock's own thread", "holds"]
    knocks = {event["tid"] for event in file["traceEvents"] if event.get("cat") == "knock"}
    assert [track_names(file)[tid] for tid in knocks] == ["gilknock's own thread"]


def test_an_arrow_leads_from_each_release_to_the_waiter_that_got_it():
    events = [
        (1000, 2000, MAIN, 0),
        (1500, 2100, WORKER, WAIT),
        (2100, 3000, WORKER, 0),
        (2950, 3300, MAIN, WAIT),
        (3300, 3400, MAIN, 0),
        (3350, 3500, MAIN, WAIT),  # after its own release: no hand-over
        (3600, 3700, MAIN, UNFINISHED),
        (3500, 9000, WORKER, WAIT | UNFINISHED),  # nobody's yet
    ]
    file = written(trace(events))
    arrows = [event for event in file["traceEvents"] if event["ph"] in "sf"]
    assert [(event["ph"], event["id"], event["ts"]) for event in arrows] == [
        ("s", 1, 0.999),
        ("f", 1, 1.1),
        ("s", 2, 1.999),
        ("f", 2, 2.3),
    ]
    for arrow in arrows:
        assert any(
            event["ph"] == "X"
            and event["cat"] == "hold"
            and event["tid"] == arrow["tid"]
            and event["ts"] <= arrow["ts"] < event["ts"] + event["dur"]
            for event in file["traceEvents"]
        )


def test_tests_and_phases_are_nested_spans_with_their_readings():
    spans: list[RawSpan] = [
        ("t.py::a", "setup", 1100, 1200),
        ("t.py::a", "call", 1200, 1800),
        ("t.py::a", "", 1050, 1900),
        ("t.py::<b>", "", 2000, 2500),
    ]
    made = results(trace([], spans))
    made.add("t.py::a", "failed", {"phase": "call", "raw": raw()})
    file = written(made=made)
    assert slices(file, "test") == [("t.py::a", 0.05, 0.85), ("t.py::<b>", 1.0, 0.5)]
    assert slices(file, "phase") == [("setup", 0.1, 0.1), ("call", 0.2, 0.6)]
    (call,) = (event["args"] for event in file["traceEvents"] if event["name"] == "call")
    assert call["outcome"] == "failed"
    assert call["held (s)"] == 0.5
    (blame,) = call["blame"]
    assert "burn" in blame["place"]
    assert "pool.py:31 burn" in blame["stack"][0]


def test_without_a_gil_a_test_has_what_was_waited_for_in_its_place():
    made = results(trace([], [("t.py::a", "call", 1200, 1800)]))
    made.add("t.py::a", "passed", {"phase": "call", "raw": disabled(locks=locks())})
    file = written(made=made)
    (call,) = (event["args"] for event in file["traceEvents"] if event["name"] == "call")
    assert call["wait (s)"] == pytest.approx(0.261)
    assert call["longest wait (s)"] == 0.04
    (blame,) = call["blame"]
    assert (blame["thread"], blame["knocks waited (s)"]) == ("worker", None)
    assert "cache.py:15 get" in blame["place"]


def test_each_run_of_a_test_has_its_own_reading():
    spans: list[RawSpan] = [("t.py::a", "call", 1200, 1300), ("t.py::a", "call", 1400, 1500)]
    made = results(trace([], spans))
    for held in (0.1, 0.2):
        made.add("t.py::a", "passed", {"phase": "call", "raw": raw(held=held)})
    calls = [e for e in written(made=made)["traceEvents"] if e["name"] == "call"]
    assert [call["args"]["held (s)"] for call in calls] == [0.1, 0.2]


def test_processes_share_a_start_and_no_number():
    file = written(
        trace([(1000, 2000, MAIN, 0)], process="gw0", monotonic=5_000_000),
        trace([(1000, 2000, MAIN, 0)], process="gw1", monotonic=7_000_000),
    )
    assert slices(file, "hold") == [("holds", 0.0, 1.0), ("holds", 2000.0, 1.0)]
    names = [e["args"]["name"] for e in file["traceEvents"] if e["name"] == "process_name"]
    assert names == ["gw0 (4711)", "gw1 (4711)"]
    numbers = {(e["pid"], e["tid"]) for e in file["traceEvents"] if e["tid"]}
    assert len({tid for _, tid in numbers}) == len(numbers)
    assert max(tid for _, tid in numbers) <= 2 * 4


def test_what_was_dropped_is_told_in_the_file_and_to_the_terminal():
    made = results(trace([(2000, 3000, MAIN, 0)], dropped=1234), trace([]))
    file = written(made=made)
    assert file["otherData"]["dropped"] == 1234
    assert slices(file, "gap") == [("1234 older events not recorded", 0.0, 1.0)]
    (caveat,) = find("trace").caveats(made)
    assert "lacks 1234 older events" in caveat
    assert "gil_trace_events" in caveat


def test_without_events_the_tests_are_there_and_the_reason():
    sampled: ProcessTrace = {
        **trace([], [("t.py::a", "", 3000, 4000)]),
        "raw": None,
        "reason": "asked for",
    }
    made = results(sampled)
    file = written(made=made)
    assert slices(file, "test") == [("t.py::a", 0.0, 1.0)]
    assert file["otherData"]["processes"][0]["no_events_because"] == "asked for"
    (caveat,) = find("trace").caveats(made)
    assert caveat.endswith("no holds and waits: asked for")


def test_a_run_without_tests_is_an_empty_timeline():
    assert written(made=results())["traceEvents"] == []


@pytest.mark.parametrize("nodeid", ['a"b', "</script>", "\u2028", "\ud800", "\\", "\x07"])
def test_hostile_names_stay_text(nodeid):
    file = written(trace([], [(nodeid, "", 1000, 2000)]))
    assert slices(file, "test") == [(nodeid, 0.0, 1.0)]
