"""What else a run has of the plugin: its fixture, markers, options, the switch interval."""

import re
import sys
import time

import pytest
from support import inner

from pytest_gilknock import _core
from pytest_gilknock.reporting.file_report import formats


@pytest.mark.parametrize("args", [("--gil-switch-interval=123us",), ("--gil-report",)])
def test_switch_interval(pytester, args):
    before = sys.getswitchinterval()
    pytester.makepyfile(
        """
        import sys

        def test_a(pytestconfig):
            expected = 123e-6 if pytestconfig.option.gil_switch_interval else 0.005
            assert abs(sys.getswitchinterval() - expected) < 1e-9
        """
    )
    inner.run(pytester, *args).assert_outcomes(passed=1)
    assert sys.getswitchinterval() == before


def test_fixture(pytester):
    pytester.makepyfile(
        """
        import pytest

        def test_a(gilknock):
            with pytest.raises(RuntimeError, match="nothing measured yet"):
                gilknock.reading
            with gilknock.measure() as m:
                pass
            assert gilknock.reading is m.reading
            assert m.reading.method in ("sampled", "disabled")
        """
    )
    inner.run(pytester, "--gil-method=sampled").assert_outcomes(passed=1)


def test_markers_are_registered(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_contention(1)
        @pytest.mark.max_gil_wait("1min", thread=None)
        @pytest.mark.max_lock_wait("1min", kind=None)
        def test_limited(): pass
        """
    )
    inner.run(pytester, "--strict-markers").assert_outcomes(passed=1)
    result = inner.run(pytester, "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.max_gil_contention(limit, ?, phase='call'): *"])


def test_help_lists_the_options(pytester):
    result = inner.run(pytester, "--help")
    result.stdout.fnmatch_lines(["GIL contention:", "*--gil-report *", "*gil_knock_interval *"])


def test_help_names_every_format(pytester):
    lines = inner.run(pytester, "--help").stdout.str()
    text = re.sub(r"-\n +", "-", lines).partition("--gil-export=")[2].partition("--gil-json=")[0]
    assert set(formats()) <= set(re.split(r"[\s,()]+", text))


@pytest.mark.parametrize("asked", [[], ["-ogil_knock_interval=7ms"]])
def test_the_knock_interval_is_after_a_run_what_it_was_before(pytester, asked):
    pytester.makepyfile("def test_it(): pass")
    before = _core.set_knock_interval(0.125)
    try:
        inner.run(pytester, "--gil-report", *asked).assert_outcomes(passed=1)
    finally:
        after = _core.set_knock_interval(before)
    assert after == 0.125


def test_what_is_registered_when_a_test_fails_is_no_part_of_its_reading(pytester):
    """Other plugins are told of it, and may take their time."""
    pytester.makepyfile("def test_a(): assert 0")
    walls: list[float] = []

    class Other:
        def pytest_plugin_registered(self, plugin: object) -> None:
            if type(plugin).__name__ == "ReportWriter":
                time.sleep(0.5)

        @pytest.hookimpl(tryfirst=True, wrapper=True)
        def pytest_runtest_logreport(self, report: pytest.TestReport):
            if hasattr(report, "gilknock"):
                walls.append(report.gilknock["raw"]["wall"])
            return (yield)

    options = ["--gil-report", *(f"-pno:{name}" for name in inner.WITHOUT)]
    pytester.runpytest_inprocess(*options, plugins=[Other()]).assert_outcomes(failed=1)
    assert len(walls) == 1
    assert walls[0] < 0.5


def test_a_run_inside_a_measured_test(pytester):
    pytester.makeconftest("pytest_plugins = ['pytester']")
    pytester.makepyfile(
        """
        def test_outer(pytester):
            pytester.makepyfile("def test_inner(): pass")
            result = pytester.runpytest_inprocess("--gil-report", "-pno:pytest-retry")
            result.assert_outcomes(passed=1)
        """
    )
    inner.run(pytester, "--gil-report").assert_outcomes(passed=1)
