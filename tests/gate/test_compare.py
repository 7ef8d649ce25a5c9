"""The rule that tells worse from noise, on scripted numbers."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gate_samples import BASELINE, ENTRY, FUZZ, changed

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.compare import Change, Incomparable, compare_test
from pytest_gilknock.gate.comparison_json import as_json
from pytest_gilknock.gate.expression import Gate, parse_gate, parse_gates
from pytest_gilknock.gate.runs import compare_runs
from pytest_gilknock.gate.table import as_markdown, section
from pytest_gilknock.model.metrics import METRICS


def outcome(
    metric: str, before: list[float | None], after: float | None, *gates: str
) -> Change | Incomparable:
    changes, incomparable = compare_test(
        "test_x",
        [changed(ENTRY, **{metric: value}) for value in before],
        changed(ENTRY, **{metric: after}),
        parse_gates(gates),
    )
    (found,) = [one for one in [*changes, *incomparable] if one.metric == metric]
    return found


def verdict(metric: str, before: list[float | None], after: float | None, *gates: str) -> str:
    change = outcome(metric, before, after, *gates)
    assert isinstance(change, Change)
    return change.verdict


@pytest.mark.parametrize(
    ("before", "after", "gate", "expected"),
    [
        ([0.100], 0.121, "wait:20ms", "over the gate"),
        ([0.100], 0.120, "wait:20ms", "steady"),
        ([0.100], 0.124, "wait:20ms&25%", "steady"),  # 20 ms are exceeded, 25 % are not
        ([0.100], 0.126, "wait:20ms&25%", "over the gate"),
        ([0.010], 0.029, "wait:20ms&25%", "worse"),  # 25 % are exceeded, 20 ms are not
        ([0.000], 0.019, "wait:20ms&25%", "worse"),
        ([0.000], 0.021, "wait:20ms&25%", "over the gate"),
        ([0.000], 0.0009, "wait:25%", "steady"),  # no trap: a relative part alone has a floor
        ([0.000], 0.0011, "wait:25%", "over the gate"),
        ([0.100], 0.100, "wait:0ms", "steady"),
        ([0.100], 0.100001, "wait:0ms", "over the gate"),
        ([0.100], 0.010, "wait:20ms", "better"),
        ([0.100], 0.010, "wait:0%", "better"),
    ],
)
def test_worse_is_what_exceeds_every_part_of_the_gate(
    before: list[float | None], after: float, gate: str, expected: str
) -> None:
    assert verdict("wait", before, after, gate) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (0.005, "better"),
        (0.030, "steady"),
        (0.050, "steady"),
        (0.090, "steady"),
        (0.109, "steady"),
        (0.120, "over the gate"),
    ],
)
def test_a_change_counts_only_outside_the_spread_of_the_saved_runs(
    after: float, expected: str
) -> None:
    before: list[float | None] = [0.09, 0.03]
    assert verdict("wait", before, after, "wait:20ms&25%") == expected


def test_the_difference_shown_is_from_the_usual_value_of_the_saved_runs() -> None:
    worse = outcome("wait", [0.05, 0.09, 0.03], 0.2)
    better = outcome("wait", [0.05, 0.09, 0.03], 0.01)
    assert isinstance(worse, Change)
    assert isinstance(better, Change)
    assert (worse.before, worse.difference) == (0.05, pytest.approx(0.15))
    assert (better.before, better.difference) == (0.05, pytest.approx(-0.04))
    assert worse.spread[:4] == (0.03, 0.09, 3, 0.05)


@pytest.mark.parametrize(
    ("before", "usual"),
    [
        ([0.1], 0.1),
        ([0.1, 0.2], 0.2),
        ([0.3, 0.1, 0.2], 0.2),
        ([0.4, 0.3, 0.1, 0.2], 0.3),
        ([0.1, 0.1, 0.1, 9.0, 9.0], 0.1),
    ],
)
def test_the_usual_value_is_the_median_of_two_the_worse(
    before: list[float | None], usual: float
) -> None:
    change = outcome("wait", before, 0.1)
    assert isinstance(change, Change)
    assert change.spread.usual == usual


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # A single run that waited long hides no regression that is beyond it.
        ([0.20, 0.20, 0.20, 0.20, 0.29], 0.291, "over the gate"),
        ([0.20, 0.20, 0.20, 0.20, 0.20], 0.281, "over the gate"),
        ([0.20, 0.20, 0.20, 0.20, 0.20], 0.279, "worse"),
        # What the code did before is no regression.
        ([0.20, 0.20, 0.20, 0.20, 0.29], 0.289, "steady"),
        ([0.00, 0.00, 0.00, 0.00, 9.00], 8.900, "steady"),
    ],
)
def test_worse_is_beyond_the_usual_by_the_gate_and_beyond_every_saved_run(
    before: list[float | None], after: float, expected: str
) -> None:
    assert verdict("wait", before, after, "wait:50ms&40%") == expected


@pytest.mark.parametrize(
    ("metric", "option"),
    [
        ("max_hold", "--gil-audit"),
        ("lock_wait", "--gil-locks"),
        ("stop_the_world", "--gil-locks"),
    ],
)
def test_how_to_save_what_is_measured_if_asked_for_is_told(metric: str, option: str) -> None:
    before, after = changed(ENTRY, **{metric: None}), changed(ENTRY, **{metric: 0.02})
    _, incomparable = compare_test("x", [before], after, [parse_gate(f"{metric}:1ms")])
    reason = f"not measured before; save runs with {option}"
    assert Incomparable("x", metric, reason, gated=True) in incomparable


def test_a_metric_without_a_gate_fails_no_test() -> None:
    assert verdict("wait", [0.0], 100.0, "contention:0.05") == "worse"
    assert verdict("contention", [0.0], 1.0, "wait:1s") == "worse"


def test_contended_is_compared_only_when_it_has_a_gate() -> None:
    changes, _ = compare_test("x", [ENTRY], ENTRY, ())
    assert {change.metric for change in changes} == {"contention", "wait", "max_wait"}
    assert verdict("contended", [10], 500, "contended:100&50%") == "over the gate"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (ENTRY, changed(ENTRY, method="sampled"), "exact before, sampled now"),
        (changed(ENTRY, method="sampled"), ENTRY, "sampled before, exact now"),
        (changed(ENTRY, wait=None), ENTRY, "not measured before"),
        (ENTRY, changed(ENTRY, wait=None), "not measured now"),
        (
            changed(ENTRY, method="disabled"),
            changed(ENTRY, method="disabled", wait=None),
            "not measured now",
        ),
    ],
)
def test_unlike_and_unmeasured_are_told_and_not_judged(
    before: BaselineEntry, after: BaselineEntry, reason: str
) -> None:
    changes, incomparable = compare_test("x", [before], after, [parse_gate("wait:0ms")])
    assert [change for change in changes if change.metric == "wait"] == []
    assert Incomparable("x", "wait", reason, gated=True) in incomparable


@pytest.mark.parametrize("metric", ["wait", "max_wait", "lock_wait", "stop_the_world"])
def test_what_threads_wait_for_without_a_gil_is_judged(metric: str) -> None:
    before = changed(ENTRY, method="disabled", **{metric: 0.01})
    after = changed(ENTRY, method="disabled", **{metric: 0.5})
    assert verdict_of(metric, before, after) == "over the gate"
    assert verdict_of(metric, before, before) == "steady"


@pytest.mark.parametrize("metric", ["contention", "contended", "max_hold"])
def test_what_only_a_gil_has_is_not_judged_without_one(metric: str) -> None:
    off = changed(ENTRY, method="disabled", **{metric: None})
    gate = parse_gate(f"{metric}:10%")
    _, incomparable = compare_test("x", [off], off, [gate])
    assert Incomparable("x", metric, "the GIL is disabled", gated=True) in incomparable


def verdict_of(metric: str, before: BaselineEntry, after: BaselineEntry) -> str:
    changes, _ = compare_test("x", [before], after, [parse_gate(f"{metric}:100ms")])
    return next(change.verdict for change in changes if change.metric == metric)


def test_of_several_runs_those_by_the_same_method_are_the_spread() -> None:
    runs = [changed(ENTRY, method="sampled", wait=None), changed(ENTRY, wait=0.1)]
    changes, incomparable = compare_test(
        "x", runs, changed(ENTRY, wait=0.5), [parse_gate("wait:1ms")]
    )
    assert incomparable == []
    assert [change.spread[:3] for change in changes if change.breached] == [(0.1, 0.1, 1)]


def sampled(knocks_waited: int, knocks: int) -> BaselineEntry:
    return changed(
        ENTRY,
        method="sampled",
        contention=round(knocks_waited / knocks, 4),
        knocks=knocks,
        knocks_waited=knocks_waited,
    )


def sampled_outcome(before: BaselineEntry, after: BaselineEntry) -> str:
    changes, _ = compare_test("x", [before], after, [parse_gate("contention:0.1")])
    return next(change.verdict for change in changes if change.metric == "contention")


def test_a_sampled_contention_is_judged_on_enough_knocks_only() -> None:
    assert sampled_outcome(sampled(2, 10), sampled(6, 10)) == "inconclusive"
    assert sampled_outcome(sampled(200, 1000), sampled(600, 1000)) == "over the gate"
    assert sampled_outcome(sampled(200, 1000), sampled(210, 1000)) == "steady"
    assert sampled_outcome(sampled(600, 1000), sampled(200, 1000)) == "better"


def test_a_run_compared_lists_the_worst_first_then_what_is_new_and_gone() -> None:
    before = BaselineRuns.of(
        [("0001_main", replace(BASELINE, tests=dict.fromkeys(["a", "b", "c", "d", "gone"], ENTRY)))]
    )
    after = {
        "a": changed(ENTRY, wait=0.35),  # over the gate by 100 ms
        "b": changed(ENTRY, wait=2.25),  # over the gate by 2 s
        "c": changed(ENTRY, contention=0.9),  # worse, without a gate
        "d": changed(ENTRY, wait=0.0),
        "new": ENTRY,
    }
    comparison = compare_runs(before, after, [parse_gate("wait:20ms")], name="this run")
    assert [(change.nodeid, change.verdict) for change in comparison.notable] == [
        ("b", "over the gate"),
        ("a", "over the gate"),
        ("c", "worse"),
        ("d", "better"),
    ]
    assert [change.nodeid for change in comparison.breaches] == ["b", "a"]
    assert (comparison.new, comparison.gone) == (("new",), ("gone",))
    assert comparison.before == ("0001_main",)


def test_a_test_that_only_some_of_the_saved_runs_measured_has_its_spread_from_these() -> None:
    full = replace(BASELINE, tests={"a": ENTRY, "b": ENTRY})
    partial = replace(BASELINE, tests={"a": changed(ENTRY, wait=0.5)})
    before = BaselineRuns.of([("0001_main", full), ("0002_main", partial)])
    assert {nodeid: len(entries) for nodeid, entries in before.entries.items()} == {"a": 2, "b": 1}


def test_the_baseline_reaches_a_worker_as_plain_text() -> None:
    tests = {"test[\ud800\n\x00é]": ENTRY, "b": changed(ENTRY, wait=None, method="sampled")}
    before = BaselineRuns.of(
        [("0001_main", replace(BASELINE, tests=tests)), ("0002_main", BASELINE)]
    )
    assert before.dumps().isascii()
    assert BaselineRuns.loads(before.dumps()) == before


def test_the_severity_ranks_different_metrics_by_what_was_allowed() -> None:
    gates = [parse_gate("wait:10ms"), parse_gate("contention:0.1")]
    changes, _ = compare_test("x", [ENTRY], changed(ENTRY, wait=0.35, contention=0.7), gates)
    assert {change.metric: pytest.approx(change.severity) for change in changes} == {
        "wait": 10.0,
        "contention": 2.0,
        "max_wait": 0.0,
    }
    unlimited = outcome("wait", [0.1], 0.2, "wait:0ms")
    assert isinstance(unlimited, Change)
    assert unlimited.severity == pytest.approx(0.1 / METRICS["wait"].floor)
    assert Gate("wait", None, 0.0).allowance(0.0) == METRICS["wait"].floor


@pytest.mark.parametrize(
    ("wall", "contention", "expected"),
    [
        (0.00003, 1.0, "steady"),  # a trivial test: its share says nothing
        (0.010, 0.99, "steady"),  # held 4.9 ms longer
        (0.010, 1.0, "steady"),
        (0.020, 0.76, "over the gate"),  # held 5.2 ms longer
        (1.000, 0.54, "steady"),
        (1.000, 0.56, "over the gate"),
        (0.0, 1.0, "over the gate"),
    ],
)
def test_a_contention_counts_only_if_the_gil_was_held_noticeably_longer(
    wall: float, contention: float, expected: str
) -> None:
    after = changed(ENTRY, wall=wall, contention=contention)
    changes, _ = compare_test("x", [ENTRY], after, [parse_gate("contention:0.05")])
    assert next(change.verdict for change in changes if change.metric == "contention") == expected


@pytest.mark.parametrize(
    ("metric", "after", "used", "lost", "expected"),
    [
        ("wait", 0.30, None, None, "over the gate"),
        ("wait", 0.30, 1.0, 0.0, "over the gate"),
        ("wait", 0.30, 1.0, 0.22, "over the gate"),  # 0.202 s would have been waited for anyway
        ("wait", 0.30, 1.0, 0.23, "inconclusive"),
        ("wait", 3.00, 1.0, 2.00, "over the gate"),  # a ninth of it is 0.33 s
        ("wait", 3.00, 1.0, 9.00, "inconclusive"),
        # Held in its sleep: each of 4 threads was held up for the 50 ms lost, and not for 5 s.
        ("wait", 5.00, 0.0, 0.05, "over the gate"),
        ("max_wait", 0.30, 1.0, 0.09, "over the gate"),  # no longer than what was lost
        ("max_wait", 0.30, 1.0, 0.11, "inconclusive"),
        # Held for 0.3 s of 1 s, without the others for 0.125 of 0.825.
        ("contention", 0.30, 1.0, 0.55, "over the gate"),
        ("contention", 0.30, 1.0, 2.0, "inconclusive"),
        ("contention", 0.30, 0.0, 1.0, "inconclusive"),  # it was not let onto a processor at all
        ("contention", 1.00, 1.0, 9.0, "over the gate"),  # held throughout, whoever else ran
        ("contention", 1.00, 0.0, 1.0, "inconclusive"),
        ("contended", 1000, 1.0, 9.0, "over the gate"),  # no wait more, but for longer ones
        ("wait", 0.11, 1.0, 9.0, "steady"),
        ("wait", 0.00, 1.0, 9.0, "better"),
        ("wait", 0.30, 0.0, 0.0, "over the gate"),
        ("wait", 0.30, 0.0, 1.0, "inconclusive"),  # it was not let onto a processor at all
    ],
)
def test_what_is_due_to_others_is_not_counted(
    metric: str, after: float, used: float | None, lost: float | None, expected: str
) -> None:
    gates = parse_gates(["wait:100ms", "max_wait:100ms", "contention:0.05", "contended:10"])
    before = changed(ENTRY, **{metric: 100 if metric == "contended" else 0.1})
    now = replace(changed(before, **{metric: after}), used=used, lost=lost)
    changes, incomparable = compare_test("x", [before], now, gates)
    assert incomparable == []
    assert next(change.verdict for change in changes if change.metric == metric) == expected


@pytest.mark.parametrize("metric", ["wait", "max_wait", "contention"])
@pytest.mark.parametrize(("used", "lost"), [(1.0, 0.0), (0.8, 0.2), (0.5, 0.5), (0.1, 0.9)])
def test_a_value_beyond_what_a_test_needs_to_fail_fails_it(
    metric: str, used: float, lost: float
) -> None:
    gates = parse_gates(["wait:100ms", "max_wait:100ms", "contention:0.05"])
    before = replace(changed(ENTRY, **{metric: 0.2}), used=1.0)

    def change_to(value: float) -> Change:
        now = replace(changed(before, **{metric: value}), used=used, lost=lost)
        changes, _ = compare_test("x", [before], now, gates)
        return next(change for change in changes if change.metric == metric)

    needed = change_to(0.2).needed
    assert needed is not None
    assert change_to(0.2 + needed * 1.001).breached
    assert not change_to(0.2 + needed * 0.999).breached
    assert change_to(0.3).needed == pytest.approx(needed)


@pytest.mark.parametrize(
    ("before", "knocks"),
    [((3, 12), 12), ((15, 50), 50), ((15, 50), 400), ((200, 2000), 1), ((9, 10), 10), ((1, 4), 0)],
)
@pytest.mark.parametrize("gate", ["contention:0.1", "contention:0"])
def test_what_a_sampled_test_needs_to_fail_is_what_its_knocks_leave_no_doubt_of(
    before: tuple[int, int], knocks: int, gate: str
) -> None:
    for waited in range(knocks + 1):
        now = replace(sampled(waited, max(knocks, 1)), knocks=knocks)
        changes, _ = compare_test("x", [sampled(*before)] * 3, now, [parse_gate(gate)])
        change = next(change for change in changes if change.metric == "contention")
        needed = math.inf if change.needed is None else change.needed
        assert change.breached == (change.difference > needed + 1e-4)


def test_own_threads_that_stand_ready_are_no_excuse() -> None:
    now = replace(changed(ENTRY, wait=0.9), run_delay=5.0, used=2.0, others=0.0, lost=0.0)
    changes, _ = compare_test("x", [ENTRY], now, parse_gates(["wait:50ms&50%"]))
    assert next(change.verdict for change in changes if change.metric == "wait") == "over the gate"


@pytest.mark.parametrize(
    ("lost_before", "expected"),
    [
        ([0.0], "inconclusive"),
        ([0.5], "over the gate"),  # as much as now
        ([0.3], "inconclusive"),
        ([0.47], "over the gate"),
        ([0.9], "over the gate"),  # what the machine was busier with before is not held against it
        ([None], "inconclusive"),
        ([0.0, 0.5, 0.5], "over the gate"),
        ([0.0, 0.0, 0.5], "inconclusive"),
    ],
)
def test_what_others_took_of_the_saved_runs_cancels_out(
    lost_before: list[float | None], expected: str
) -> None:
    before = [replace(changed(ENTRY, wait=0.1), used=0.5, lost=lost) for lost in lost_before]
    now = replace(changed(ENTRY, wait=0.22), used=0.25, lost=0.25)
    changes, _ = compare_test("x", before, now, parse_gates(["wait:100ms"]))
    assert next(change.verdict for change in changes if change.metric == "wait") == expected


@pytest.mark.parametrize(
    ("used_before", "used", "expected"),
    [
        ([1.0], 1.0, "over the gate"),  # threads that take turns need one processor, and had it
        ([1.0], 1.5, "over the gate"),
        ([1.0], 0.9, "over the gate"),  # a tenth less, so that 0.24 s would have been waited for
        ([1.0], 0.6, "inconclusive"),
        ([1.5], 1.0, "inconclusive"),
        ([0.1, 1.0, 1.5], 1.0, "over the gate"),
        ([0.0], 1.0, "over the gate"),
        ([None], 1.0, "inconclusive"),  # saved by a version that does not tell
        ([None, 1.0], 1.0, "over the gate"),
    ],
)
def test_who_had_the_processor_time_of_the_saved_runs_lost_nothing(
    used_before: list[float | None], used: float, expected: str
) -> None:
    before = [
        replace(changed(ENTRY, wait=0.1), used=one, lost=None if one is None else 0.0)
        for one in used_before
    ]
    now = replace(changed(ENTRY, wait=0.3), used=used, lost=1.0)
    changes, _ = compare_test("x", before, now, parse_gates(["wait:100ms"]))
    assert next(change.verdict for change in changes if change.metric == "wait") == expected


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ([0.0, 0.0, 0.0], "steady"),
        ([0.0, 0.0, 0.5], "over the gate"),  # others had half of it: 0.15 s is its own
        ([0.0, 0.0, 0.1], "steady"),
        ([0.5, 0.5, 0.5], "steady"),  # as in all
        ([None, None, None], "steady"),
        ([0.0, 0.5, 0.0], "steady"),  # not the worst one
    ],
)
def test_a_saved_run_is_not_the_worst_by_what_others_took_of_it(
    lost: list[float | None], expected: str
) -> None:
    before = [
        replace(changed(ENTRY, wait=wait), used=None if one is None else 1.0 - one, lost=one)
        for wait, one in zip([0.12, 0.13, 0.30], lost, strict=True)
    ]
    now = replace(changed(ENTRY, wait=0.26), used=1.0, lost=0.0)
    (change,) = [
        change
        for change in compare_test("x", before, now, parse_gates(["wait:50ms&25%"]))[0]
        if change.metric == "wait"
    ]
    assert change.verdict == expected
    assert change.spread.measured == 0.30


def test_without_a_gate_what_is_due_to_others_is_no_change() -> None:
    assert verdict("wait", [0.1], 0.3) == "worse"
    busy = replace(changed(ENTRY, wait=0.45), used=0.5, lost=0.5)
    changes, _ = compare_test("x", [ENTRY], busy, ())
    assert {change.verdict for change in changes} == {"steady"}


@pytest.mark.parametrize(
    ("before", "after", "attempts", "expected"),
    [
        # Sigma is 1.4826 * 1.495 * 10 ms = 22.2 ms, and 3.5 times that 77.6 ms beyond 0.11 s.
        ([0.10, 0.11, 0.12], 0.18, 1, "steady"),
        ([0.10, 0.11, 0.12], 0.19, 1, "over the gate"),
        ([0.10, 0.11, 0.12], 0.19, 3, "over the gate"),
        # Most of three attempts exceed 2.37 times sigma as seldom as one exceeds 3.5 times.
        ([0.10, 0.11, 0.12], 0.17, 3, "over the gate"),
        ([0.10, 0.11, 0.12], 0.16, 3, "steady"),
        ([0.10, 0.11, 0.12], 0.02, 1, "better"),
        ([0.10, 0.11, 0.12], 0.04, 1, "steady"),
        ([0.10, 0.12], 0.13, 1, "steady"),  # two values are no spread: the gate alone decides
        ([0.10, 0.12], 0.141, 1, "over the gate"),
        ([0.10, 0.10, 0.10], 0.121, 1, "over the gate"),
        ([0.10, 0.10, 0.90], 0.80, 1, "steady"),  # a wild one is one of the worst, still
        ([0.10, 0.10, 0.90], 0.901, 1, "over the gate"),
        # Most of five attempts exceed 1.91 times sigma as seldom, here 42.4 ms.
        ([0.10, 0.11, 0.12], 0.153, 5, "over the gate"),
        ([0.10, 0.11, 0.12], 0.152, 5, "steady"),
        ([0.10, None, 0.12], 0.141, 1, "over the gate"),
    ],
)
def test_with_three_runs_the_spread_decides_what_is_worse(
    before: list[float | None], after: float, attempts: int, expected: str
) -> None:
    changes, _ = compare_test(
        "x",
        [changed(ENTRY, wait=value) for value in before],
        changed(ENTRY, wait=after),
        parse_gates(["wait:20ms"]),
        attempts=attempts,
    )
    assert next(change.verdict for change in changes if change.metric == "wait") == expected


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"others": 0.9}, "other programs used 0.9 of 2 processors"),
        (
            {"others": 0.25, "throttled": 0.5},
            "other programs used 0.2 of 2 processors and a quota held it up for 500 ms",
        ),
        ({"throttled": 0.5}, "a quota held it up for 500 ms"),
    ],
)
def test_what_is_inconclusive_says_which_cause(conditions: dict[str, float], words: str) -> None:
    now = replace(changed(ENTRY, wait=0.5), used=0.5, lost=0.5, processors=2.0, **conditions)
    changes, _ = compare_test("x", [ENTRY], now, parse_gates(["wait:50ms"]))
    (found,) = [change for change in changes if change.metric == "wait"]
    assert (found.verdict, found.caveat) == ("inconclusive", words)


counts = st.integers(0, 2**63 - 1)
times = st.none() | st.floats(0, 1e9)
entries = st.builds(
    BaselineEntry,
    method=st.sampled_from(["exact", "sampled", "disabled"]),
    metrics=st.fixed_dictionaries(
        {
            "contention": st.none() | st.floats(0, 1),
            "wait": times,
            "max_wait": times,
            "contended": st.none() | counts,
        }
    ).map(lambda metrics: {**dict.fromkeys(METRICS), **metrics}),
    held=times,
    wall=st.floats(0, 1e9),
    knocks=counts,
    knocks_waited=counts,
    threads=counts,
    run_delay=times,
    used=times,
    others=times,
    throttled=times,
    lost=times,
    processors=st.none() | st.floats(0, 1e6),
    blame=st.none() | st.text(min_size=1),
)


@FUZZ
@given(st.lists(entries, min_size=1, max_size=3), entries)
def test_whatever_a_file_says_is_compared_or_told_and_can_be_shown(
    before: list[BaselineEntry], after: BaselineEntry
) -> None:
    gates = [*parse_gates(["wait:0ms", "max_wait:0%", "contention:0&0%", "contended:0"])]
    gates += [Gate(name, 0.0, None) for name in METRICS if name not in {g.metric for g in gates}]
    runs = BaselineRuns.of([("b", replace(BASELINE, tests={"x": entry})) for entry in before])
    comparison = compare_runs(runs, {"x": after}, gates, name="now")
    assert {one.metric for one in [*comparison.changes, *comparison.incomparable]} == set(METRICS)
    assert section(comparison, width=80, top=0, everything=True)
    assert as_json(comparison)
    assert as_markdown(comparison)


@FUZZ
@given(entries)
def test_a_run_compared_with_itself_is_steady(entry: BaselineEntry) -> None:
    gates = parse_gates(["wait:0ms", "max_wait:0%", "contention:0", "contended:0"])
    changes, _ = compare_test("x", [entry], entry, gates)
    assert {change.verdict for change in changes} <= {"steady"}
