"""An error of the plugin's own changes no test's outcome, ends no run, and is said."""

import pytest
from support import inner
from support.inner import section

from pytest_gilknock import _core
from pytest_gilknock.gate import checker
from pytest_gilknock.gate import reporter as gate_reporter
from pytest_gilknock.reporting import terminal

TESTS = """
    import time

    def test_passes():
        time.sleep(0.002)

    def test_fails():
        assert False, "by itself"
"""


class FailsAtEnd:
    """A window that has no reading."""

    def __init__(self, **options: object) -> None:
        self._window = _REAL(**options)

    def begin(self) -> None:
        self._window.begin()

    def end(self, *arguments: float) -> None:
        self._window.end(*arguments)
        raise RuntimeError("no reading")

    def take_trace(self) -> None:
        raise AssertionError("not to be reached")


class FailsAtBegin(FailsAtEnd):
    """A window that cannot be opened."""

    def begin(self) -> None:
        raise MemoryError


class CannotBeMade:
    """There is no room for a window."""

    def __init__(self, **options: object) -> None:
        raise MemoryError


_REAL = _core.Window

WINDOWS = [
    pytest.param(CannotBeMade, "MemoryError", id="made"),
    pytest.param(FailsAtBegin, "MemoryError", id="opened"),
    pytest.param(FailsAtEnd, "RuntimeError: no reading", id="closed"),
]


@pytest.mark.parametrize(("window", "reason"), WINDOWS)
def test_tests_that_cannot_be_measured_have_their_outcomes(pytester, monkeypatch, window, reason):
    monkeypatch.setattr(_core, "Window", window)
    pytester.makepyfile(TESTS)
    result = inner.run(pytester, "--gil-report")
    result.assert_outcomes(passed=1, failed=1)
    assert "AssertionError: by itself" in result.stdout.str()
    name = "test_tests_that_cannot_be_measured_have_their_outcomes.py::test_passes"
    assert section(result)[:2] == [
        f"The run as a whole was not measured: {reason}",
        f"2 tests not measured, such as {name}: {reason}",
    ]


@pytest.mark.parametrize(("window", "reason"), WINDOWS)
def test_a_limit_that_cannot_be_judged_is_told(pytester, monkeypatch, window, reason):
    monkeypatch.setattr(_core, "Window", window)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_wait("20ms")
        @pytest.mark.max_gil_wait("20ms", phase="setup")
        def test_limited(): pass
        def test_other(): pass
        """
    )
    result = inner.run(pytester)
    result.assert_outcomes(passed=2)
    name = "test_a_limit_that_cannot_be_judged_is_told.py::test_limited"
    told = f"1 test not measured, such as {name}: {reason}; limits of 1 test were not judged"
    assert told in section(result)


def test_a_worker_says_what_it_cannot_measure(pytester):
    pytest.importorskip("xdist")
    pytester.makeconftest(
        """
        from pytest_gilknock import _core

        class Window:
            def __init__(self, **options):
                raise MemoryError

        _core.Window = Window
        """
    )
    pytester.makepyfile("def test_a(): pass\n")
    result = pytester.runpytest_subprocess("--gil-report", "-n1")
    result.assert_outcomes(passed=1)
    assert section(result)[:2] == [
        "The run as a whole was not measured: MemoryError",
        "1 test not measured, such as test_a_worker_says_what_it_cannot_measure.py::test_a:"
        " MemoryError",
    ]


@pytest.mark.parametrize(("window", "reason"), WINDOWS[1:])
def test_a_trace_that_cannot_be_recorded_says_why(pytester, monkeypatch, window, reason):
    def of_the_trace_alone(**options: object) -> object:
        return (window if "trace" in options else _REAL)(**options)

    monkeypatch.setattr(_core, "Window", of_the_trace_alone)
    pytester.makepyfile("def test_a(): pass\n")
    result = inner.run(pytester, "--gil-export=trace:trace.json")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    assert reason.replace("MemoryError", "there is no memory for") in result.stdout.str()


def breaks(*args: object, **kwargs: object) -> None:
    raise KeyError("wait")


def test_a_section_that_cannot_be_made_says_so(pytester, monkeypatch):
    monkeypatch.setattr(terminal, "section", breaks)
    pytester.makepyfile("def test_a(): pass\n")
    result = inner.run(pytester, "--gil-report", "--gil-json=out.json")
    assert result.ret == pytest.ExitCode.OK
    said, written = section(result)
    assert said == "This report could not be made: KeyError: 'wait'"
    assert written.startswith("GIL readings written to ")


def test_a_reading_that_cannot_be_counted_is_told(pytester, monkeypatch):
    monkeypatch.setattr("pytest_gilknock.reporting.results.Results.add", breaks)
    pytester.makepyfile("import time\ndef test_a(): time.sleep(0.01)\n")
    result = inner.run(pytester, "--gil-report", "--gil-max-wait=1s")
    result.assert_outcomes(passed=1)
    (told,) = (line for line in section(result) if "not measured" in line)
    assert told.endswith("::test_a: KeyError: 'wait'; limits of 1 test were not judged")


def test_a_test_that_no_gate_can_judge_passes_and_is_told(pytester, monkeypatch):
    pytester.makepyfile("def test_a(): pass\n")
    assert inner.run(pytester, "--gil-save=base.json").ret == pytest.ExitCode.OK
    monkeypatch.setattr(checker, "compare_test", breaks)
    compared = ("--gil-compare=base.json", "--gil-compare-fail=wait:1s")
    result = inner.run(pytester, *compared)
    result.assert_outcomes(passed=1)
    name = "test_a_test_that_no_gate_can_judge_passes_and_is_told.py::test_a"
    assert f"Warning: {name} was neither compared nor saved: KeyError: 'wait'" in result.outlines


def test_a_comparison_that_cannot_be_shown_says_so(pytester, monkeypatch):
    pytester.makepyfile("def test_a(): pass\n")
    assert inner.run(pytester, "--gil-save=base.json").ret == pytest.ExitCode.OK
    monkeypatch.setattr(gate_reporter, "section", breaks)
    result = inner.run(pytester, "--gil-compare=base.json")
    assert result.ret == pytest.ExitCode.OK
    assert "This comparison could not be shown: KeyError: 'wait'" in result.outlines


def test_a_run_that_cannot_be_saved_fails_and_says_so(pytester, monkeypatch):
    monkeypatch.setattr("pytest_gilknock.gate.io.save", breaks)
    pytester.makepyfile("def test_a(): pass\n")
    result = inner.run(pytester, "--gil-save=base.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert "GIL baseline not saved: KeyError: 'wait'" in result.outlines
