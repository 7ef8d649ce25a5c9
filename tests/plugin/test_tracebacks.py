"""What a failing test looks like: as without the plugin, and a broken limit points at the test."""

import re
from types import SimpleNamespace

import pytest
from support import inner
from support.inner import exact

from pytest_gilknock.measurement.tracebacks import raised_at_test, remove_own_frames

CONFTEST = """
import pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "max_gil_contention: for runs without the plugin")

@pytest.fixture
def breaks_in_setup():
    raise ValueError("setup")

@pytest.fixture
def breaks_in_teardown():
    yield
    raise ValueError("teardown")
"""

PROJECT = """
import unittest
from unittest import mock

import pytest

@pytest.mark.max_gil_contention(1, phase="setup")
@pytest.mark.max_gil_contention(1, phase="teardown")
def test_all_phases():
    pass

@pytest.mark.max_gil_contention(1, phase="setup")
def test_setup(breaks_in_setup):
    pass

@pytest.mark.max_gil_contention(1, phase="teardown")
def test_teardown(breaks_in_teardown):
    pass

def test_setup_unmarked(breaks_in_setup):
    pass

def test_teardown_unmarked(breaks_in_teardown):
    pass

def test_call():
    def deeper():
        raise ValueError("call")
    deeper()

def test_chain():
    try:
        raise KeyError("first")
    except KeyError as error:
        raise ValueError("then") from error

@pytest.mark.max_gil_contention(1)
@mock.patch("nowhere.to_be_found", new=1)
def test_patch():
    pass

class TestUnit(unittest.TestCase):
    def test_unit(self):
        self.fail("unit")

    def test_skip(self):
        self.skipTest("unit")

def test_missing(no_such_fixture):
    pass

def test_exit_code():
    raise SystemExit(3)
"""

BROKEN = "import no_such_module\n"


def report(pytester, *args):
    """The failures and errors of a run, without what differs from one run to the next."""
    result = inner.run(pytester, "-rA", *args)
    text = result.stdout.str()
    start = re.search(r"^=+ (ERRORS|FAILURES|short test summary info) =+$", text, re.MULTILINE)
    assert start, text
    text = re.sub(r"in \d+\.\d+s", "", text[start.start() :]).replace(" gilknock,", "")
    text = re.sub(
        r"^=+ (?:GIL contention|Waits without the GIL) =+\n(?s:.*?)(?=^=)",
        "",
        text,
        flags=re.MULTILINE,
    )
    return re.sub(r"0x[0-9a-f]+", "0x", text), result.parseoutcomes()


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
@pytest.mark.parametrize("used", ["--gil-report", "--gil-save=base.json"])
def test_a_failure_reads_as_without_the_plugin(pytester, style, used):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=PROJECT, test_broken=BROKEN)
    args = [f"--tb={style}", "--continue-on-collection-errors"]
    plain = report(pytester, "-pno:gilknock", *args)
    text, outcomes = report(pytester, used, *args)
    text = re.sub(r"^GIL baseline .*\n", "", text, flags=re.MULTILINE)
    assert text.splitlines() == plain[0].splitlines()
    assert outcomes == plain[1] == {"passed": 3, "failed": 5, "errors": 6, "skipped": 1}


def test_a_full_trace_has_none_of_our_frames(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=PROJECT)
    text, _ = report(pytester, "--gil-report", "--full-trace")
    assert re.search(r"_pytest/runner\.py:\d+:", text)
    assert not re.search(r"pytest_gilknock/.*\.py:\d+:", text)


def test_code_of_no_module_stays_in_a_traceback():
    scope: dict[str, object] = {"__name__": None}
    exec("def inner(): raise ValueError('inner')\ndef outer(): yield inner()", scope)
    with pytest.raises(ValueError, match="inner") as excinfo:
        list(scope["outer"]())
    remove_own_frames(excinfo)
    assert [entry.name for entry in excinfo.traceback[-2:]] == ["outer", "inner"]


@pytest.mark.parametrize("place", [("a\0b.yaml", 0), ("a.yaml", "seven")])
def test_a_place_that_no_code_can_have_is_left_out(place):
    config = SimpleNamespace(rootpath="/src")
    item = SimpleNamespace(location=(*place, "name"), name="name", config=config)
    failure = pytest.fail.Exception("over its limit")
    assert raised_at_test(item, failure) is failure
    assert failure.__traceback__ is None


LIMITED = """
import pytest


@pytest.mark.max_gil_contention(0)
def test_limited():
    pass


@pytest.fixture
def something():
    yield


@pytest.mark.max_gil_contention(0, phase="setup")
def test_setup(something):
    pass


class TestIt:
    @pytest.mark.max_gil_contention(0)
    @pytest.mark.parametrize("number", [1])
    def test_method(self, number):
        pass
"""


@exact
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_limit_points_at_the_test(pytester, workers):
    path = pytester.makepyfile(test_broken_limits=LIMITED)
    result = inner.run(pytester, "--tb=line", f"-n{workers}")
    result.assert_outcomes(failed=2, errors=1)
    found = re.findall(
        rf"^{re.escape(str(path))}:(\d+): GIL: contention ",
        result.stdout.str(),
        re.MULTILINE,
    )
    assert sorted(map(int, found)) == [4, 20]  # of the decorators


@exact
@pytest.mark.parametrize("test", ["test_limited", "test_setup", "test_method"])
def test_the_debugger_stops_at_the_test_over_its_limit(pytester, test):
    pytester.makepyfile(test_broken_limits=LIMITED)
    result = pytester.run(
        *pytester._getpytestargs(),
        *("--pdb", "-x", "-k", test),
        stdin=b"p pytest.__name__\nquit\n",
    )
    after = result.stdout.str().split("entering PDB")[1]
    assert "test_broken_limits.py(" in after.split("(Pdb)")[0]
    assert "'pytest'" in after  # among the test's own globals
