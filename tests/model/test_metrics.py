"""A metric is one row: one that is added is saved, compared, gated and printed everywhere."""

import json
from dataclasses import replace

import pytest
from support.gate_samples import BASELINE, ENTRY, changed
from support.scripted import AUDITED, locks, raw, reading

from pytest_gilknock.baseline import codec
from pytest_gilknock.baseline.codec import dumps, loads
from pytest_gilknock.baseline.model import BaselineEntry, BaselineError
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.compare import Change, compare_test
from pytest_gilknock.gate.expression import parse_gate, parse_gates
from pytest_gilknock.gate.runs import Comparison, compare_runs
from pytest_gilknock.gate.table import as_markdown, section
from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.units import COUNT
from pytest_gilknock.render.junit import reading_properties
from pytest_gilknock.reporting.file_report import find
from pytest_gilknock.reporting.results import Results
from pytest_gilknock.reporting.terminal import section as results_section

ACQUIRED = Metric(
    name="acquired",
    unit=COUNT,
    of=lambda reading: reading.acquisitions,
    floor=5,
    noticeable=(10, 0.1),
    worse="lower",
    since=9,
)


@pytest.fixture
def acquired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "acquired", ACQUIRED)
    monkeypatch.setattr(codec, "SCHEMA_VERSION", 9)


def change(before: list[int], after: int, gate: str = "acquired:20") -> Change:
    entries = [changed(ENTRY, acquired=value) for value in before]
    changes, _ = compare_test("t", entries, changed(ENTRY, acquired=after), parse_gates([gate]))
    return next(change for change in changes if change.metric == "acquired")


@pytest.mark.usefixtures("acquired")
@pytest.mark.parametrize(
    ("before", "after", "verdict", "was"),
    [
        ([50], 29, "over the gate", 50),
        ([50, 60], 31, "worse", 50),
        ([50, 60], 45, "steady", 50),
        ([50, 60], 55, "steady", 50),
        ([50, 60], 71, "better", 50),
        ([50], 500, "better", 50),
    ],
)
def test_where_less_is_worse_the_usual_of_two_saved_runs_is_the_lesser(
    before: list[int], after: int, verdict: str, was: int
) -> None:
    found = change(before, after)
    assert (found.verdict, found.before, found.difference) == (verdict, was, after - was)


@pytest.mark.usefixtures("acquired")
def test_a_row_is_all_that_a_comparison_and_its_gate_need() -> None:
    after = {nodeid: changed(ENTRY, acquired=10) for nodeid in BASELINE.tests}
    gate = parse_gate("acquired:20&25%")
    tests = {nodeid: changed(ENTRY, acquired=50) for nodeid in BASELINE.tests}
    before = replace(BASELINE, tests=tests)
    compared = compare_runs(BaselineRuns.of([("a", before)]), after, [gate], name="b")
    assert str(gate) == "acquired:20&25%"
    assert [(one.metric, one.verdict) for one in compared.breaches] == [
        ("acquired", "over the gate")
    ] * 2
    assert row_of(compared) == ["!", "acquired", "50", "10", "-40", "-80%", "test_a.py::test_one"]
    assert "| acquired | 50 | 10 | -40 | -80% |" in as_markdown(compared)


def row_of(compared: Comparison) -> list[str]:
    lines = section(compared, width=100, top=0, everything=False)
    return next(line.text for line in lines if "test_one" in line.text).split()


@pytest.mark.usefixtures("acquired")
def test_a_row_is_all_that_a_baseline_needs_and_older_ones_lack_it() -> None:
    old = dumps(BASELINE).replace('"schema": 9', '"schema": 8').replace('"acquired": null, ', "")
    read = loads(old.encode(), "old.json")
    assert {entry.metrics["acquired"] for entry in read.tests.values()} == {None}
    new = replace(BASELINE, tests={"t": changed(ENTRY, acquired=7)})
    assert loads(dumps(new).encode(), "new.json") == new
    with pytest.raises(BaselineError, match='the test "t" has no "acquired"'):
        loads(dumps(new).replace('"acquired": 7, ', "").encode(), "new.json")
    with pytest.raises(BaselineError, match='has "acquired", which schema 8 does not know'):
        loads(dumps(new).replace('"schema": 9', '"schema": 8').encode(), "new.json")
    with pytest.raises(BaselineError, match=r"has schema 10, this .* reads schemas 1 to 9"):
        loads(dumps(new).replace('"schema": 9', '"schema": 10').encode(), "new.json")


@pytest.mark.usefixtures("acquired")
def test_a_row_is_all_that_the_reports_of_a_run_need() -> None:
    results = Results(top=0, sort="wait")
    results.add("t", "passed", {"phase": "call", "raw": raw()})
    head, row, *_ = results_section(results, width=100, verbosity=0)
    assert " acquired  threads " in head.text
    assert "      100        2  " in row.text
    assert reading_properties(reading())["gil_acquired"] == reading().acquisitions


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_taken_from_a_reading(name: str) -> None:
    measured = reading(**AUDITED, locks=locks())
    value = METRICS[name].of(measured)
    assert value is not None
    known = {"lock_wait": 0.2 + 0.001 + 0.5, "stop_the_world": 0.06}
    expected = known[name] if name in known else getattr(measured, name)
    assert value == pytest.approx(
        expected, rel=1e-12
    )  # sum() is exact to the last bit from 3.12 on
    assert BaselineEntry.from_reading(measured).metrics[name] == pytest.approx(value, abs=1e-4)


@pytest.mark.usefixtures("acquired")
def test_what_is_better_when_higher_has_no_place_where_smaller_is_better() -> None:
    results = Results(top=0, sort="wait", keep_all=True)
    results.add("t", "passed", {"phase": "call", "raw": raw(**AUDITED, locks=locks())})
    benches = json.loads("".join(find("github-action-benchmark").write(results)))
    names = {bench["name"] for bench in benches}
    assert names == {f"t {name}" for name in METRICS} - {"t acquired"}
