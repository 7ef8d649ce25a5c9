"""A metric is one row: a row added to the table is compared, gated and printed everywhere."""

import json
from dataclasses import replace

import pytest
from support.gate_samples import BASELINE, ENTRY
from support.scripted import raw, reading

from pytest_gilknock.baseline.model import Entry
from pytest_gilknock.gate.compare import Before, Change, Comparison, compare_runs, compare_test
from pytest_gilknock.gate.expression import parse_gate, parse_gates
from pytest_gilknock.gate.formats import as_markdown
from pytest_gilknock.gate.text import section
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.units import COUNT
from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.results import Results

KNOCKS = Metric(
    name="knocks",
    unit=COUNT,
    of=lambda reading: reading.knocks,
    floor=5,
    noticeable=(10, 0.1),
    worse="lower",
)


@pytest.fixture
def knocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "knocks", KNOCKS)


def change(before: list[int], after: int, gate: str = "knocks:20") -> Change:
    entries = [replace(ENTRY, knocks=knocks) for knocks in before]
    changes, _ = compare_test("t", entries, replace(ENTRY, knocks=after), parse_gates([gate]))
    return next(change for change in changes if change.metric == "knocks")


@pytest.mark.usefixtures("knocks")
@pytest.mark.parametrize(
    ("before", "after", "verdict", "was"),
    [
        ([50], 29, "over the gate", 50),
        ([50, 60], 31, "worse", 50),
        ([50, 60], 45, "steady", 50),
        ([50, 60], 55, "steady", 50),
        ([50, 60], 71, "better", 60),
        ([50], 500, "better", 50),
    ],
)
def test_where_less_is_worse_the_least_of_the_saved_runs_is_the_worst(
    before: list[int], after: int, verdict: str, was: int
) -> None:
    found = change(before, after)
    assert (found.verdict, found.before, found.difference) == (verdict, was, after - was)


@pytest.mark.usefixtures("knocks")
def test_a_row_is_all_that_a_comparison_and_its_gate_need() -> None:
    after = {nodeid: replace(ENTRY, knocks=10) for nodeid in BASELINE.tests}
    gate = parse_gate("knocks:20&25%")
    compared = compare_runs(Before.of([("a", BASELINE)]), after, [gate], name="b")
    assert str(gate) == "knocks:20&25%"
    assert [(one.metric, one.verdict) for one in compared.breaches] == [
        ("knocks", "over the gate")
    ] * 2
    assert row_of(compared) == ["!", "knocks", "50", "10", "-40", "-80%", "test_a.py::test_one"]
    assert "| knocks | 50 | 10 | -40 | -80% |" in as_markdown(compared)


def row_of(compared: Comparison) -> list[str]:
    lines = section(compared, width=100, top=0, everything=False)
    return next(line.text for line in lines if "test_one" in line.text).split()


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_taken_from_a_reading(name: str) -> None:
    measured = reading()
    value = METRICS[name].of(measured)
    assert value is not None
    assert value == getattr(measured, name)
    assert getattr(Entry.from_reading(measured), name) == pytest.approx(value, abs=1e-4)


@pytest.mark.usefixtures("knocks")
def test_what_is_better_when_higher_has_no_place_where_smaller_is_better() -> None:
    results = Results(top=0, sort="wait", keep_all=True)
    results.add("t", "passed", {"phase": "call", "raw": raw()})
    benches = json.loads("".join(find("github-action-benchmark").write(results)))
    names = {bench["name"] for bench in benches}
    assert names == {"t contention", "t wait", "t max_wait", "t contended"}
