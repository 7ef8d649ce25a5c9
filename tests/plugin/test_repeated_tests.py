"""Tests that run more than once, or that nobody reports."""

import json

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
