"""Gates for people who have saved runs and no idea which gate to write."""

import json

import pytest
from support.gate_samples import ENTRY, changed

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.compare import compare_test
from pytest_gilknock.gate.expression import parse_gate
from pytest_gilknock.gate.suggest import as_json, as_text, suggest


def runs(*waits: float | None) -> list[BaselineEntry]:
    return [changed(ENTRY, wait=wait) for wait in waits]


def gates(**tests: list[BaselineEntry]) -> dict[str, str]:
    return {one.gate.metric: str(one.gate) for one in suggest(tests)}


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        # 20 ms beyond the others, and a quarter of that to spare.
        ([0.10, 0.10, 0.12], "wait:1ms&25%"),
        ([0.10, 0.11, 0.12], "wait:20ms&10%"),
        ([0.10, 0.10, 0.11, 0.10, 0.13], "wait:1ms&40%"),  # from their median on
        ([0.10, 0.10, 0.10], "wait:1ms&10%"),
        ([1.00, 1.00, 1.06], "wait:1ms&10%"),  # 6 % of it, and 8 % with what is spare
        ([1.00, 1.00, 1.50], "wait:1s&10%"),
        ([0.00, 0.00, 0.00], "wait:1ms&10%"),
        ([0.00, 0.00, 5.00], "wait:10s&10%"),
        ([0.10, None, 0.11, 0.12], "wait:20ms&10%"),
    ],
)
def test_a_gate_is_as_tight_as_the_noise_allows(waits: list[float | None], expected: str) -> None:
    assert gates(t=runs(*waits))["wait"] == expected


def test_the_saved_runs_keep_the_gates_that_are_suggested() -> None:
    tests = {
        "quiet": runs(0.010, 0.011, 0.010, 0.012),
        "noisy": runs(0.200, 0.300, 0.250, 0.410),
        "wild": runs(0.001, 0.001, 0.090, 0.001),
    }
    found = [parse_gate(str(one.gate)) for one in suggest(tests)]
    assert [gate.metric for gate in found] == ["contention", "wait", "max_wait"]
    for nodeid, entries in tests.items():
        for at, entry in enumerate(entries):
            others = entries[:at] + entries[at + 1 :]
            changes, _ = compare_test(nodeid, others, entry, found)
            assert not any(change.breached for change in changes)


@pytest.mark.parametrize("worst", [0.3, 0.5, 0.85, 1.0])
def test_a_gate_on_a_share_that_moves_far_can_be_copied(worst: float) -> None:
    entries = [changed(ENTRY, contention=share) for share in (0.01, 0.01, worst)]
    written = gates(t=entries)["contention"]
    assert str(parse_gate(written)) == written


def test_a_metric_that_three_runs_do_not_have_gets_no_gate() -> None:
    assert "wait" not in gates(t=runs(0.1, None, 0.1))
    assert gates(t=runs(0.1, None, 0.1)).keys() == {"contention", "max_wait"}


def test_waits_for_locks_get_gates_where_runs_measured_them() -> None:
    measured = [changed(ENTRY, lock_wait=wait, stop_the_world=0.05) for wait in (0.1, 0.1, 0.12)]
    found = gates(t=measured)
    assert found["lock_wait"] == "lock_wait:1ms&25%"
    assert found["stop_the_world"] == "stop_the_world:1ms&10%"


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ({}, "there are 0"),
        ({"t": runs(0.1)}, "a suggestion needs 3 saved runs or more, .* there is 1"),
        ({"t": runs(0.1, 0.1)}, "there are 2"),
    ],
)
def test_few_runs_are_refused(tests: dict[str, list[BaselineEntry]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        suggest(tests)


def test_it_prints_options_to_copy_and_what_decided_them() -> None:
    suggestions = suggest({"a.py::t[\x07]": runs(0.10, 0.10, 0.14), "b": runs(9.0, 9.0, 9.0)})
    lines = as_text(suggestions, ["1", "2", "3"]).splitlines()
    assert lines[0] == "Gates that 3 saved runs keep:"
    (line,) = [line for line in lines if "wait:50ms" in line and "max_wait" not in line]
    assert line.startswith("  --gil-compare-fail='wait:50ms&10%' ")
    assert line.endswith("  a.py::t[\\x07] was once 40.0 ms beyond the median of its other runs")
    (contention,) = [line for line in lines if "=contention" in line or "'contention" in line]
    assert contention.endswith("  no test is noisy")
    document = json.loads(as_json(suggestions, ["1", "2", "3"]))
    assert document["runs"] == ["1", "2", "3"]
    (wait,) = [one for one in document["gates"] if one["metric"] == "wait"]
    assert wait == {
        "gate": "wait:50ms&10%",
        "metric": "wait",
        "noisiest": "a.py::t[\x07]",
        "growth": pytest.approx(0.04),
    }
