"""Columns and details in the report of pytest-html."""

import json
import re
from html import unescape

import pytest
from support import inner
from support.inner import exact
from support.scripted import disabled, locks, measured

from pytest_gilknock.model import wire
from pytest_gilknock.reporting.html_columns import HtmlColumns

pytest.importorskip("pytest_html", reason="pytest-html is not installed")

SUITE = """
import threading
import time
import pytest

def hog(stop):
    while not stop.is_set():
        sum(range(1000))

def test_waits():
    stop = threading.Event()
    threads = [threading.Thread(target=hog, args=(stop,), name="<b>hog</b>") for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()

def test_alone():
    pass

@pytest.mark.skip
def test_skipped():
    pass
"""
HEADS = ["result", "testId", "duration", "gil_wait", "gil_contention"]


def run(pytester, *args):
    """Run pytest in a process of its own, with pytest-html."""
    pytester.makepyfile(test_it=SUITE)
    without = [f"-pno:{name}" for name in inner.WITHOUT]
    plugins = ("-ppytest_metadata.plugin", "-ppytest_html.plugin", "-ppytest_html.fixtures")
    args = (*plugins, "--html=out.html", "--self-contained-html", *without, *args)
    result = pytester.runpytest_subprocess(*args)
    result.assert_outcomes(passed=2, skipped=1)
    return pytester.path.joinpath("out.html").read_text()


def heads(page):
    return re.findall(r'<th class="sortable[^"]*" data-column-type="(\w+)"', page)


def known(page):
    """What pytest-html knows of each test, by its name."""
    blob = json.loads(unescape(re.search(r'data-jsonblob="([^"]*)"', page)[1]))
    return {nodeid.partition("::")[2]: one[0] for nodeid, one in blob["tests"].items()}


@exact
@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_each_test_has_its_wait_and_contention(pytester, workers):
    if workers:
        pytest.importorskip("xdist")
    page = run(pytester, "--gil-report", *workers)
    assert heads(page) == HEADS
    found = known(page)
    rows = {name: "".join(test["resultsTableRow"][3:5]) for name, test in found.items()}
    assert all(len(test["resultsTableRow"]) == 6 for test in found.values())
    shown = {name: re.sub(r"<span hidden>.*?</span>", "", row) for name, row in rows.items()}
    assert re.fullmatch(
        r'<td class="col-gil_wait">[\d.]+ m?s</td><td class="col-gil_contention">[\d.]+</td>',
        shown["test_waits"],
    )
    assert ">n/a<" in shown["test_skipped"]
    order = sorted(found, key=lambda name: found[name]["gil_wait"])
    assert order == ["test_skipped", "test_alone", "test_waits"]


@exact
def test_a_test_that_kept_threads_waiting_has_its_blame_below(pytester):
    found = known(run(pytester, "--gil-max-wait=1min"))
    (extra,) = found["test_waits"]["extras"]
    assert "blame       where the GIL was held while others waited:" in extra["content"]
    assert "test_it.py:" in extra["content"]
    assert "&lt;b&gt;hog&lt;/b&gt;" in extra["content"]
    assert "<b>" not in extra["content"]
    assert found["test_alone"]["extras"] == []
    assert found["test_alone"]["gil_wait"].endswith("0 s")


def test_without_a_gil_the_wait_is_that_for_what_took_its_place(pytestconfig):
    columns = HtmlColumns(pytestconfig)
    report = pytest.TestReport("t.py::test", ("t.py", 1, "test"), {}, "passed", None, "call")
    report.__dict__[wire.RECORD] = measured(disabled(locks=locks()))
    columns.pytest_runtest_logreport(report)
    cells = ["result", "links"]
    columns.pytest_html_results_table_row(report, cells)
    assert [re.sub("<.*?>", " ", cell).split() for cell in cells[1:3]] == [
        ["000000000.261000", "261", "ms"],
        ["-", "n/a"],
    ]
    (extra,) = report.extras
    assert "GIL         off; threads waited 261 ms for the interpreter" in extra["content"]


def test_parts_of_tests_have_rows_of_their_own(pytester):
    """Reports of subtests cannot be hashed."""
    pytester.makepyfile(
        test_parts="""
        import unittest

        class TestParts(unittest.TestCase):
            def test_parts(self):
                for part in range(3):
                    with self.subTest(part=part):
                        assert part != 1
        """
    )
    args = ("-ppytest_metadata.plugin", "-ppytest_html.plugin", "-ppytest_html.fixtures")
    result = pytester.runpytest_subprocess(*args, "--html=out.html", "--gil-report")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    page = pytester.path.joinpath("out.html").read_text()
    assert heads(page) == HEADS
    assert "TestParts::test_parts" in page


def test_a_run_that_measures_nothing_has_the_columns_of_pytest_html(pytester):
    page = run(pytester)
    assert heads(page) == HEADS[:3]
    assert all(len(test["resultsTableRow"]) == 4 for test in known(page).values())


def test_a_measured_run_without_its_report_does_without(pytester):
    pytester.makepyfile(test_it=SUITE)
    result = inner.run(pytester, "--gil-report", "-ppytest_html.plugin")
    result.assert_outcomes(passed=2, skipped=1)
