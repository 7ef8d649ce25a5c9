"""A broken limit or gate where people look: the short summary, GitHub's annotations and summary."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from support.gate_samples import FREE, write

from pytest_gilknock import _core

pytestmark = pytest.mark.skipif(_core.status()[0] != "exact", reason="no accounting here")

HOLD = """
import ctypes
import threading

def hold():
    ctypes.PyDLL(None).usleep(60_000)

def beside(work):
    thread = threading.Thread(target=work)
    thread.start()
    work()
    thread.join()
"""
TEST = """
import hold

def test_a_holder_with_a_name_that_is_quite_long_as_those_of_tests_often_are():
    hold.beside(hold.hold)
"""


@pytest.fixture
def github(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The step summary of a run in GitHub Actions, in a project that holds the GIL."""
    for name in ("GITHUB_WORKSPACE", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    pytester.makepyfile(hold=HOLD, test_hold=TEST)
    return summary


@pytest.mark.usefixtures("github")
@pytest.mark.parametrize("ci", [False, True])
def test_the_short_summary_begins_with_the_number_and_has_it_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: bool
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    if ci:
        monkeypatch.setenv("CI", "true")
    result = pytester.runpytest("--gil-max-wait=1ms", "--junitxml=report.xml", "-q")
    (line,) = [line for line in result.outlines if line.startswith("FAILED")]
    text = result.stdout.str()
    assert re.search(r" - GIL: \S.* waited [0-9.]+ ms", line)
    assert text.count("GIL limit exceeded: ") == 1
    assert text.count("blame  ") == 1
    failure = next(ElementTree.parse(pytester.path / "report.xml").iter("failure"))
    assert re.match(r"GIL: \S.* waited [0-9.]+ ms", str(failure.get("message")))
    assert "GIL limit exceeded: " in str(failure.text)
    (case,) = ElementTree.parse(pytester.path / "report.xml").iter("testcase")
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties["gil_blame"].startswith("hold.py:5 hold")


@pytest.mark.usefixtures("github")
def test_the_annotation_stands_on_the_blamed_line(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--gil-max-wait=1ms")
    (command,) = [line for line in result.outlines if line.startswith("::error")]
    path = str(pytester.path / "hold.py").replace(":", "%3A")
    assert command.startswith(f"::error file={path},line=5,title=test_a_holder")
    assert "%0Ain test_hold.py:3 test_a_holder" in command


def test_an_annotation_of_what_lies_elsewhere_stands_on_the_test(
    pytester: pytest.Pytester, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = pytester.path / "elsewhere"
    elsewhere.mkdir()
    pytester.path.joinpath("hold.py").rename(elsewhere / "hold.py")
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    tests = pytester.mkdir("tests")
    pytester.path.joinpath("test_hold.py").rename(tests / "test_hold.py")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tests))
    result = pytester.runpytest_subprocess("--gil-max-wait=1ms", "tests")
    (command,) = [line for line in result.outlines if line.startswith("::error")]
    assert command.startswith("::error file=test_hold.py,line=3,title=")


def test_a_report_alone_fills_the_step_summary(pytester: pytest.Pytester, github: Path) -> None:
    pytester.runpytest("--gil-report").assert_outcomes(passed=1)
    page = github.read_text()
    assert page.startswith("### GIL contention\n")
    assert "| contention | wait | max wait | threads | blame | test |" in page
    assert "`hold.py:5 hold" in page
    assert "contention: share of the time in which the GIL was held" in page


def test_with_a_comparison_the_summary_is_written_once(
    pytester: pytest.Pytester, github: Path
) -> None:
    pytester.runpytest("--gil-save=b.json")
    pytester.runpytest("--gil-report", "--gil-compare=b.json")
    assert github.read_text().count("### ") == 1


def test_a_summary_that_cannot_be_written_is_told(
    pytester: pytest.Pytester, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path))
    result = pytester.runpytest("--gil-report")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY: *"])


@pytest.mark.usefixtures("github")
def test_what_is_not_surely_over_the_gate_is_a_warning(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "test_a_holder_with_a_name_that_is_quite_long_as_those_of_tests_often_are"
    entry = replace(FREE, lost=0.0, used=1.0)
    write(pytester.path / "b.json", **{f"x::{name}": entry})
    text = (pytester.path / "b.json").read_text().replace("test_a.py::x::", "test_hold.py::")
    (pytester.path / "b.json").write_text(text)
    pytester.makeconftest(
        """
        from dataclasses import replace
        from pytest_gilknock.baseline.model import BaselineEntry

        def scripted(reading, blame=None):
            entry = from_reading(reading, blame)
            return replace(entry, used=0.01, lost=5.0, others=1.8 * entry.wall, processors=2.0)

        from_reading, BaselineEntry.from_reading = BaselineEntry.from_reading, scripted
        """
    )
    result = pytester.runpytest_subprocess("--gil-compare=b.json", "--gil-compare-fail=wait:1ms")
    result.assert_outcomes(passed=1)
    (command,) = [line for line in result.outlines if line.startswith("::warning")]
    assert "test_hold.py,title=GIL contention%3A over the gate%2C but not surely::wait" in command
    assert command.endswith("other programs used 1.8 of 2 processors")
