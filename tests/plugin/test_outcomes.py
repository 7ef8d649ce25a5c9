"""The table of outcomes: kinds of tests x kept or broken limit x plain or xdist x JUnit family.

One small project is run once in each way; each row then looks at its own test in what came out.
"""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

import pytest
from support.inner import exact

pytestmark = exact

CONFTEST = """
import json
import pytest

REPORTS = []


def pytest_runtest_logreport(report):
    kind = report.outcome
    if hasattr(report, "wasxfail"):
        kind = "xfailed" if report.skipped else "xpassed"
    if report.when == "call" or kind != "passed":
        REPORTS.append((report.nodeid.split("::", 1)[1], report.when, kind, report.longreprtext))


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        config.rootpath.joinpath("reports.json").write_text(json.dumps(REPORTS))
"""

# A limit of 0 is broken by whatever runs at all, a limit of 1 by nothing: no timing decides.
PROJECT = """
import asyncio
import time
import unittest

import pytest

breaks = pytest.mark.max_gil_contention(0)
keeps = pytest.mark.max_gil_contention(1)
RUNS = {}


def run_number(name):
    RUNS[name] = RUNS.get(name, 0) + 1
    return RUNS[name]


def test_unmarked():
    pass

@keeps
def test_kept():
    pass

@breaks
def test_broken():
    pass

@breaks
def test_own_failure():
    assert "own" == "failure"

@breaks
@pytest.mark.xfail
def test_xfail():
    pass

@breaks
@pytest.mark.xfail(strict=True)
def test_xfail_strict():
    pass

@keeps
@pytest.mark.xfail(strict=True)
def test_xfail_strict_kept():
    pass

@breaks
@pytest.mark.xfail(raises=ValueError)
def test_xfail_raises_another():
    pass

@keeps
@pytest.mark.xfail
def test_xfail_kept():
    pass

@breaks
@pytest.mark.skip(reason="marked")
def test_skip_mark():
    pass

@breaks
def test_skip_inside():
    pytest.skip("inside")

@breaks
@pytest.mark.flaky(reruns=1)
def test_rerun_broken():
    pass

@pytest.mark.max_gil_contention(0.5)
@pytest.mark.flaky(reruns=1)
def test_rerun_mended():
    if run_number("mended") == 1:
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            pass
    else:
        time.sleep(0.2)

@pytest.mark.parametrize(
    "number", [pytest.param(0, marks=keeps), pytest.param(1, marks=breaks)]
)
def test_parametrized(number):
    pass

@breaks
class TestClass:
    def test_of_the_class(self):
        pass

    @keeps
    def test_of_its_own(self):
        pass

class TestUnit(unittest.TestCase):
    @keeps
    def test_kept(self):
        pass

    @breaks
    def test_broken(self):
        pass

    @breaks
    def test_own_failure(self):
        self.fail("own failure")

    @breaks
    def test_skip(self):
        self.skipTest("inside")

    @breaks
    @unittest.expectedFailure
    def test_expected_failure(self):
        self.fail("expected")

@keeps
@pytest.mark.asyncio
async def test_async_kept():
    await asyncio.sleep(0)

@breaks
@pytest.mark.asyncio
async def test_async_broken():
    await asyncio.sleep(0)

@keeps
def test_subtests_kept(subtests):
    with subtests.test("a"):
        pass

@breaks
def test_subtests_broken(subtests):
    with subtests.test("a"):
        pass

@pytest.fixture
def something():
    yield

@pytest.mark.max_gil_contention(0, phase="setup")
def test_setup_broken(something):
    pass

@pytest.mark.max_gil_contention(0, phase="teardown")
def test_teardown_broken(something):
    pass

@pytest.mark.max_gil_contention(1, phase="setup")
@pytest.mark.max_gil_contention(0)
def test_two_phases(something):
    pass
"""

SET_BY_MARKER = "GIL limit exceeded: contention"


class Row(NamedTuple):
    test: str
    outcomes: list[tuple[str, str]]
    text: str = ""  # in the last of them


CALL = "call"
TABLE = [
    Row("test_unmarked", [(CALL, "passed")]),
    Row("test_kept", [(CALL, "passed")]),
    Row("test_broken", [(CALL, "failed")], SET_BY_MARKER),
    Row("test_own_failure", [(CALL, "failed")], "assert 'own' == 'failure'"),
    Row("test_xfail", [(CALL, "xfailed")], SET_BY_MARKER),
    Row("test_xfail_strict", [(CALL, "xfailed")], SET_BY_MARKER),
    Row("test_xfail_strict_kept", [(CALL, "failed")], "XPASS(strict)"),
    Row("test_xfail_raises_another", [(CALL, "failed")], SET_BY_MARKER),
    Row("test_xfail_kept", [(CALL, "xpassed")]),
    Row("test_skip_mark", [("setup", "skipped")], "marked"),
    Row("test_skip_inside", [(CALL, "skipped")], "inside"),
    Row("test_rerun_broken", [(CALL, "rerun"), (CALL, "failed")], SET_BY_MARKER),
    Row("test_rerun_mended", [(CALL, "rerun"), (CALL, "passed")]),
    Row("test_parametrized[0]", [(CALL, "passed")]),
    Row("test_parametrized[1]", [(CALL, "failed")], SET_BY_MARKER),
    Row("TestClass::test_of_the_class", [(CALL, "failed")], SET_BY_MARKER),
    Row("TestClass::test_of_its_own", [(CALL, "passed")]),
    Row("TestUnit::test_kept", [(CALL, "passed")]),
    Row("TestUnit::test_broken", [(CALL, "failed")], SET_BY_MARKER),
    Row("TestUnit::test_own_failure", [(CALL, "failed")], "AssertionError: own failure"),
    Row("TestUnit::test_skip", [(CALL, "skipped")], "inside"),
    Row("TestUnit::test_expected_failure", [(CALL, "xfailed")], "expected"),
    Row("test_async_kept", [(CALL, "passed")]),
    Row("test_async_broken", [(CALL, "failed")], SET_BY_MARKER),
    Row("test_subtests_kept", [(CALL, "passed"), (CALL, "passed")]),
    Row("test_subtests_broken", [(CALL, "passed"), (CALL, "failed")], SET_BY_MARKER),
    Row(
        "test_setup_broken",
        [("setup", "failed")],
        "GIL limit exceeded during setup: contention",
    ),
    Row(
        "test_teardown_broken",
        [(CALL, "passed"), ("teardown", "failed")],
        "GIL limit exceeded during teardown: contention",
    ),
    Row("test_two_phases", [(CALL, "failed")], SET_BY_MARKER),
]


class Run(NamedTuple):
    reports: list[tuple[str, str, str, str]]
    readings: dict[tuple[str, str], dict]
    properties: dict[str, list[dict[str, str]]]
    output: str
    status: int


@pytest.fixture(
    scope="module",
    params=[(0, "xunit2"), (2, "xunit2"), (0, "xunit1"), (2, "xunit1")],
    ids=lambda param: f"n{param[0]}-{param[1]}",
)
def run(request, tmp_path_factory):
    workers, family = request.param
    path = tmp_path_factory.mktemp("project")
    (path / "conftest.py").write_text(CONFTEST)
    (path / "test_it.py").write_text(PROJECT)
    (path / "pytest.ini").write_text(
        f"[pytest]\njunit_family = {family}\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "--gil-report", "--gil-json=gil.json"]
    command += ["--junit-xml=junit.xml", "-p", "no:cacheprovider", f"-n{workers}"]
    done = subprocess.run(
        command,
        cwd=path,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    written = json.loads((path / "gil.json").read_text())["tests"]
    readings = {(test["nodeid"].split("::", 1)[1], test["phase"]): test for test in written}
    assert len(readings) == len(written)
    return Run(
        reports=json.loads((path / "reports.json").read_text()),
        readings=readings,
        properties=junit_properties(path / "junit.xml"),
        output=done.stdout,
        status=done.returncode,
    )


def junit_properties(path):
    found = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = ".".join([*(case.get("classname") or "").split(".")[1:], case.get("name") or ""])
        properties = [(p.get("name"), p.get("value")) for p in case.iter("property")]
        assert len(properties) == len(dict(properties)), f"{name}: {properties}"
        found.setdefault(name, []).append(dict(properties))
    return found


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.test)
def test_outcome(run, row):
    mine = [report for report in run.reports if report[0] == row.test]
    assert [(when, outcome) for _, when, outcome, _ in mine] == row.outcomes
    assert row.text in mine[-1][3]
    if row.text != SET_BY_MARKER:
        assert SET_BY_MARKER not in mine[-1][3]


def test_table_is_complete(run):
    assert {report[0] for report in run.reports} == {row.test for row in TABLE}


def test_nothing_breaks_inside(run):
    assert "INTERNALERROR" not in run.output
    assert "PluggyTeardownRaisedWarning" not in run.output


def test_every_test_that_ran_is_measured_once(run):
    skipped = {"test_skip_mark"}
    calls = {name for name, phase in run.readings if phase == "call"}
    assert calls == {row.test for row in TABLE} - skipped - {"test_setup_broken"}
    outer = {key for key in run.readings if key[1] != "call"}
    assert outer == {
        ("test_setup_broken", "setup"),
        ("test_teardown_broken", "teardown"),
        ("test_two_phases", "setup"),
    }


@pytest.mark.parametrize(
    ("name", "phase", "verdicts"),
    [
        ("test_unmarked", "call", []),
        ("test_kept", "call", ["kept"]),
        ("test_broken", "call", ["breached"]),
        ("test_own_failure", "call", []),
        ("TestUnit::test_own_failure", "call", []),
        ("TestUnit::test_broken", "call", ["breached"]),
        ("test_skip_inside", "call", []),
        ("test_rerun_broken", "call", ["breached"]),
        ("test_rerun_mended", "call", ["kept"]),
        ("test_setup_broken", "setup", ["breached"]),
        ("test_two_phases", "setup", ["kept"]),
        ("test_two_phases", "call", ["breached"]),
    ],
)
def test_verdict(run, name, phase, verdicts):
    assert [limit["verdict"] for limit in run.readings[name, phase]["limits"]] == verdicts


def test_table_shows_each_breach(run):
    section = re.split(" GIL contention | Waits without the GIL ", run.output)[1]
    section = section.split("Whole run")[0]
    shown = {line.split("test_it.py::")[1] for line in section.splitlines() if "::" in line}
    broken = {row.test for row in TABLE if row.text == SET_BY_MARKER}
    outer = {"test_setup_broken (setup)", "test_teardown_broken (teardown)"}
    assert broken | outer <= shown


def test_junit_properties(run):
    assert run.properties["test_skip_mark"] == run.properties["test_setup_broken"] == [{}]
    for name in run.properties.keys() - {"test_skip_mark", "test_setup_broken"}:
        *_, properties = run.properties[name]
        reading = run.readings[name.replace(".", "::"), "call"]["reading"]
        assert properties == {
            "gil_contention": str(reading["contention"]),
            "gil_wait_s": str(reading["wait"]),
            "gil_max_wait_s": str(reading["max_wait"]),
            "gil_method": reading["method"],
            "gil_blame": properties["gil_blame"],
        }
