"""Tests that run more than once, or that nobody reports."""

import json
import textwrap

import pytest
from support import inner
from support.inner import exact, section


@exact
def test_a_run_that_nobody_reports_leaves_nothing_for_the_next(pytester):
    """As some plugins that repeat tests do; subtests are reported while the repetition runs."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, log=False, nextitem=nextitem)
            runtestprotocol(item, nextitem=nextitem)
            return True
        """
    )
    pytester.makepyfile(
        """
        import time

        def test_a(subtests):
            with subtests.test("a"):
                pass
            time.sleep(0.1)
        """
    )
    inner.run(pytester, "--gil-json=out.json")
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert test["reading"]["wall"] > 0.1


@exact
def test_short_runs_that_nobody_reports_are_not_counted(pytester):
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtestloop(session):  # and then comes pytest's own
            for item in session.items:
                runtestprotocol(item, log=False, nextitem=None)
        """
    )
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    result = inner.run(pytester, "--gil-report")
    assert any(line.startswith("2 tests measured, ") for line in section(result))


@exact
@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_short_tests_are_counted_once_however_often_they_run(pytester, workers):
    pytest.importorskip("pytest_rerunfailures")
    pytester.makepyfile(
        """
        import pytest
        import time
        import unittest
        tried = []

        @pytest.mark.flaky(reruns=3)
        class Test(unittest.TestCase):  # its failures do not show before the report
            def test_at_last(self):
                tried.append(1)
                if len(tried) == 2:
                    time.sleep(0.01)
                assert len(tried) == 4

        def test_short():
            pass
        """
    )
    result = pytester.runpytest_subprocess("--gil-report", *workers)
    result.assert_outcomes(passed=2)
    assert any(line.startswith("2 tests measured, ") for line in section(result))


@exact
@pytest.mark.parametrize("options", [(), ("-vv",)], ids=["terse", "verbose"])
def test_every_call_is_counted_once_whatever_becomes_of_it(pytester, options):
    pytester.makepyfile(
        """
        import pytest
        import time
        import unittest

        def test_passes():
            time.sleep(0.01)

        def test_fails():
            time.sleep(0.01)
            assert 0

        def test_skips():
            pytest.skip()

        @pytest.mark.xfail
        def test_fails_as_expected():
            assert 0

        def test_passes_after_a_failure():
            time.sleep(0.01)

        class Test(unittest.TestCase):
            def test_fails(self):
                assert 0

        def test_interrupts():
            raise KeyboardInterrupt
        """
    )
    result = pytester.runpytest_subprocess("--gil-report", *options)
    result.assert_outcomes(passed=2, failed=2, skipped=1, xfailed=1)
    assert any(line.startswith("6 tests measured, ") for line in section(result))


def test_a_test_that_replaces_getpid_is_not_taken_for_forked(pytester):
    pytester.makepyfile(
        """
        import os

        def test_a(monkeypatch):
            monkeypatch.setattr(os, "getpid", lambda: 1)
        """
    )
    result = inner.run(pytester, "--gil-report", "--gil-json=out.json")
    result.assert_outcomes(passed=1)
    assert not [line for line in section(result) if "in forked processes" in line]


RUN_AGAIN = {
    "around the protocol": """
        from _pytest.runner import runtestprotocol

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, log=False, nextitem=nextitem)
            return (yield)
        """,
    "around the report": """
        from _pytest.runner import CallInfo

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            if call.when == "call":
                CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), "call")
            return (yield)
        """,
    "dropped": """
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call" and item.name == "test_other":
                report.outcome = "rerun"
            return report
        """,
    "of no module": """
        def pytest_runtest_protocol(item, nextitem):
            pass

        pytest_runtest_protocol.__module__ = None
        """,
}


@exact
@pytest.mark.parametrize(
    ("way", "measured"),
    [
        ("around the protocol", 2),
        ("around the report", 2),
        ("dropped", 1),
        ("of no module", 2),
    ],
)
def test_a_test_that_passes_each_time_is_counted_once(pytester, way, measured):
    pytester.makeconftest("import pytest\n" + textwrap.dedent(RUN_AGAIN[way]))
    pytester.makepyfile("def test_a():\n    pass\n\n\ndef test_other():\n    pass\n")
    result = pytester.runpytest_subprocess("--gil-report")
    assert any(
        line.startswith((f"{measured} tests measured, ", f"{measured} test measured, "))
        for line in section(result)
    )


@exact
def test_a_limit_holds_where_the_loop_over_the_tests_is_replaced(pytester):
    pytester.makeconftest(
        """
        import _pytest.main

        def main(config, session):
            config.hook.pytest_collection(session=session)
            for item, following in zip(session.items, [*session.items[1:], None]):
                config.hook.pytest_runtest_protocol(item=item, nextitem=following)

        _pytest.main._main = main
        """
    )
    pytester.makepyfile(
        """
        import time

        import pytest

        def test_a():
            time.sleep(0.01)

        @pytest.mark.max_gil_contention(0.1)
        def test_over():
            end = time.perf_counter() + 0.2
            while time.perf_counter() < end:
                pass
        """
    )
    result = pytester.runpytest_subprocess("--gil-report")
    result.assert_outcomes(passed=1, failed=1)
