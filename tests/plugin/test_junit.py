"""Properties in the JUnit file."""

import pytest
from support import inner

JUNIT = """
import pytest

@pytest.mark.max_gil_contention(1)
def test_limited(): pass

def test_other(): pass
"""


@pytest.mark.parametrize(
    ("args", "mode", "limited", "other"),
    [
        ((), None, True, False),
        (("--gil-report",), None, True, True),
        ((), "all", True, False),
        (("--gil-report",), "all", True, True),
        (("--gil-report",), "limited", True, False),
        (("--gil-report",), "none", False, False),
    ],
)
def test_junit_modes(pytester, args, mode, limited, other):
    pytester.makeini("[pytest]\n" + (f"gil_junit = {mode}\n" if mode else ""))
    pytester.makepyfile(JUNIT)
    inner.run(pytester, "--junit-xml=junit.xml", *args).assert_outcomes(passed=2)
    cases = pytester.path.joinpath("junit.xml").read_text().split("<testcase ")[1:]
    assert ["gil_contention" in case for case in cases] == [limited, other]


def test_a_limited_test_that_fails_by_itself_has_properties(pytester):
    pytester.makepyfile(JUNIT.replace("test_limited(): pass", "test_limited(): assert False"))
    inner.run(pytester, "--junit-xml=junit.xml").assert_outcomes(passed=1, failed=1)
    cases = pytester.path.joinpath("junit.xml").read_text().split("<testcase ")[1:]
    assert ['name="gil_contention"' in case for case in cases] == [True, False]


def test_without_a_junit_file_a_report_adds_no_properties_to_a_short_test(pytester, monkeypatch):
    monkeypatch.setattr("pytest_gilknock.settings.WORTH_A_ROW", 60.0)  # on a busy machine, too
    pytester.makeconftest(
        "def pytest_runtest_logreport(report): assert report.user_properties == []"
    )
    pytester.makepyfile("def test_a(): pass")
    assert inner.run(pytester, "--gil-report").ret == 0


def test_user_properties_of_others_stay(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_contention(1)
        def test_a(record_property):
            record_property("mine", 1)
            record_property("gil_method", "old")
        """
    )
    inner.run(pytester, "--junit-xml=junit.xml")
    written = pytester.path.joinpath("junit.xml").read_text()
    assert '<property name="mine" value="1" />' in written
    assert written.count("gil_method") == 1
    assert "old" not in written
