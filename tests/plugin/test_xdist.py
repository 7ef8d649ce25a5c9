"""Readings that travel from workers to the controller."""

import json
from types import SimpleNamespace

import pytest
from support import inner
from support.inner import exact

from pytest_gilknock.measurement.report_hooks import ReportReader
from pytest_gilknock.measurement.transport import Controller
from pytest_gilknock.plugin import FirstReading


def test_readings_are_taken_off_the_reports_that_others_keep():
    class Report:
        pass

    class Sink:
        def add_phase(self, *args, forked):
            taken.append((*args, forked))

    report, taken = Report(), []
    report.nodeid, report.outcome = "test_a", "passed"
    left = dict(vars(report))
    report.gilknock = "reading"
    reader = ReportReader(Sink())
    reader.pytest_runtest_logreport(report)
    reader.pytest_runtest_logreport(report)
    assert taken == [("test_a", "passed", "reading", False)]
    assert vars(report) == left


def test_the_totals_of_a_worker_that_crashed_are_missed():
    told = []
    sink = SimpleNamespace(add_run=told.append, add_crash=lambda: told.append("crash"))
    controller = Controller(sink)
    controller.pytest_testnodedown(SimpleNamespace(workeroutput={"gilknock_totals": "totals"}))
    controller.pytest_testnodedown(SimpleNamespace())
    controller.pytest_testnodedown(SimpleNamespace(workeroutput={}))  # nothing was measured there
    assert told == ["totals", "crash"]


@pytest.mark.parametrize("message", [None, {}, {7: "of another plugin"}])
def test_a_worker_that_says_nothing_of_ours_is_not_listened_to(message, pytestconfig):
    node = SimpleNamespace(workeroutput=message)
    FirstReading(pytestconfig).pytest_testnodedown(node, None)


@pytest.mark.parametrize("option", ["--gil-report", "--gil-max-wait=10s"])
def test_a_crash_is_told_where_the_whole_run_is(pytester, option):
    pytester.makepyfile("import os\ndef test_a(): os._exit(3)\ndef test_b(): pass\n")
    result = inner.run(pytester, "-n1", option)
    result.assert_outcomes(passed=1, failed=1)
    told = [line for line in inner.section(result) if "crashed" in line]
    line = "1 process crashed, whose totals are not in the whole run."
    assert told == ([line] if option == "--gil-report" else [])


@exact
def test_a_marker_that_workers_alone_meet_is_annotated_and_leaves_nothing_on_reports(
    pytester, monkeypatch
):
    """Nothing but their reports tells the controller that there are any."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.max_gil_contention(0)
        def test_limited(number): sum(range(10_000))
        """
    )
    seen: list[bool] = []

    class Keeper:
        """As plugins that write reports down."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            seen.append(hasattr(report, "gilknock"))

    options = [f"-pno:{name}" for name in inner.WITHOUT]
    result = pytester.runpytest_inprocess("-n1", *options, plugins=[Keeper()])
    result.assert_outcomes(failed=2)
    annotated = [line for line in result.outlines if line.startswith("::error ")]
    assert len(annotated) == 2
    assert len(seen) == 6
    assert not any(seen)


@exact
def test_names_that_are_no_utf8_reach_the_controller_escaped(two_tests):
    """execnet cannot send them as they are."""
    two_tests.makepyfile(
        test_named=r"""
        import busy

        def test_named():
            source = "def hold(milliseconds): keep_another_waiting(milliseconds)"
            scope = dict(vars(busy))
            exec(compile(source, "/src/not-utf8-\udcff.py", "exec"), scope)
            scope["hold"](50)
        """
    )
    result = inner.run(two_tests, "-n1", "--gil-json=out.json")
    result.assert_outcomes(passed=3)
    assert r"not-utf8-\\udcff.py" in two_tests.path.joinpath("out.json").read_text()


@pytest.mark.parametrize("dist", ["load", "loadgroup", "loadfile"])
def test_xdist_modes(pytester, dist):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.xdist_group("g")
        @pytest.mark.max_gil_contention(1)
        def test_a(): pass
        """
    )
    result = inner.run(pytester, "-n1", f"--dist={dist}", "--gil-json=out.json")
    result.assert_outcomes(passed=1)
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert [limit["verdict"] for limit in test["limits"]] in (["kept"], ["not judged"])


@exact
def test_nothing_of_a_short_test_travels_unless_it_is_to_be_told(pytester):
    """One of them may take its time, on a busy machine."""
    pytester.makepyfile("".join(f"def test_{letter}(): pass\n" for letter in "abcde"))

    def travelled(*options: str) -> list[object]:
        listener = Listener()
        assert pytester.inline_run("-n1", "--gil-report", *options, plugins=[listener]).ret == 0
        return listener.readings

    class Listener:
        def __init__(self) -> None:
            self.readings: list[object] = []

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_logreport(self, report: pytest.TestReport):
            if getattr(report, "gilknock", None) is not None:
                self.readings.append(report.gilknock)
            return (yield)

    assert len(travelled()) < 5
    assert len(travelled("-vv")) == 5
