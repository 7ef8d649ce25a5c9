"""An error of the plugin's own changes no test's outcome, ends no run, and is said."""

import errno
import itertools

import pytest
from support import inner
from support.inner import METHOD, section
from support.scripted import measured, raw

from pytest_gilknock import _core
from pytest_gilknock.gate import checker
from pytest_gilknock.gate import reporter as gate_reporter
from pytest_gilknock.measurement import breaches, report_hooks, stalls
from pytest_gilknock.measurement.stalls import StallWatch
from pytest_gilknock.model import wire
from pytest_gilknock.reporting import github_annotator, html_columns, terminal

has_gil = pytest.mark.skipif(METHOD == "disabled", reason="the GIL is disabled")

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


OVER_ITS_LIMIT = """
    import pytest, time

    @pytest.mark.max_gil_contention(0)
    def test_over_its_limit():
        end = time.perf_counter() + 0.01
        while time.perf_counter() < end:
            pass
"""


@has_gil
def test_a_limit_without_a_line_to_blame_fails_its_test_alone(pytester, monkeypatch):
    monkeypatch.setattr(breaches, "blamed_line", breaks)
    pytester.makepyfile(OVER_ITS_LIMIT + "\n    def test_after(): pass\n")
    result = inner.run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    assert "the line to blame could not be found: KeyError: 'wait'" in result.outlines
    (line,) = (line for line in result.outlines if line.startswith("FAILED"))
    assert " - GIL: " in line


@pytest.mark.parametrize("ours", ["--gil-max-wait=1min", "--gil-save=base.json"])
def test_a_traceback_with_our_frames_keeps_its_failure(pytester, monkeypatch, ours):
    monkeypatch.setattr(report_hooks, "remove_own_frames", breaks)
    pytester.makepyfile(TESTS)
    result = inner.run(pytester, ours)
    result.assert_outcomes(passed=1, failed=1)
    assert "AssertionError: by itself" in result.stdout.str()
    told = "frames of the plugin are left in the traceback: KeyError: 'wait'"
    assert told in result.outlines


@pytest.mark.parametrize(
    "broken", [pytest.param("METRICS", id="cells"), pytest.param("import_module", id="details")]
)
def test_columns_that_cannot_be_filled_say_so(pytestconfig, monkeypatch, broken):
    monkeypatch.setattr(html_columns, broken, None)
    columns = html_columns.HtmlColumns(pytestconfig)
    report = pytest.TestReport("t.py::test", ("t.py", 1, "test"), {}, "passed", None, "call")
    report.__dict__[wire.RECORD] = measured(raw(wait=0.2))
    columns.pytest_runtest_logreport(report)
    cells = ["result", "links"]
    columns.pytest_html_results_table_row(report, cells)
    assert len(cells) == 4
    assert all("n/a: TypeError: " in cell for cell in cells[1:3])


@has_gil
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("is_in_repository", "No GIL annotation of {name}: KeyError: 'wait'"),
        ("workflow_commands", "GIL annotations could not be made: KeyError: 'wait'"),
    ],
)
def test_what_cannot_be_annotated_is_told(pytester, monkeypatch, broken, said):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr(breaches, "blamed_line", lambda *_: ["a.py", 1])
    monkeypatch.setattr(github_annotator, broken, breaks)
    pytester.makepyfile(test_a=OVER_ITS_LIMIT)
    result = inner.run(pytester)
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert said.format(name="test_a.py::test_over_its_limit") in result.outlines


@has_gil
@pytest.mark.parametrize(
    "broken",
    ["free_signal", "watch_stalls", "label_stalls", "unwatch_stalls", "take_stalls"],
)
def test_stalls_that_cannot_be_watched_are_told(pytester, monkeypatch, broken):
    around = list(StallWatch._runs)  # the run of this very test may have one
    monkeypatch.setattr(_core, broken, breaks)
    pytester.makepyfile(TESTS)
    result = inner.run(pytester, "--gil-report", "-o", "gil_stall_timeout=1min")
    monkeypatch.undo()
    _core.unwatch_stalls()
    for watch in around[-1:]:
        watch._begin()
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert section(result).count("Stalls may be missing: KeyError: 'wait'") == 1
    assert StallWatch._runs == around


def none_left(*arguments: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_no_descriptor_is_left_for_a_copy_of_stderr(pytestconfig, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(stalls.os, "dup", none_left)
        patch.setattr(stalls.os, "open", none_left)
        assert stalls._real_stderr(pytestconfig) == -1


@pytest.mark.parametrize(
    ("broken_call", "said"),
    [
        (1, ["The knock interval could not be set: KeyError: 'wait'"]),
        (2, ["The knock interval could not be restored: KeyError: 'wait'"]),
        (3, []),
    ],
)
def test_a_knock_interval_that_cannot_be_set_is_told(pytester, monkeypatch, broken_call, said):
    before = _core.set_knock_interval(0.125)
    calls = itertools.count(1)
    real = _core.set_knock_interval
    monkeypatch.setattr(
        _core,
        "set_knock_interval",
        lambda seconds: breaks() if next(calls) == broken_call else real(seconds),
    )
    try:
        pytester.makepyfile(TESTS)
        result = inner.run(pytester, "--gil-report", "-o", "gil_knock_interval=250ms")
    finally:
        after = real(before)
    result.assert_outcomes(passed=1, failed=1)
    assert [line for line in section(result) if "knock interval" in line] == said
    assert after == (0.25 if broken_call == 2 else 0.125)


def test_a_worker_says_what_else_failed(pytester):
    pytest.importorskip("xdist")
    pytester.makeconftest(
        """
        from pytest_gilknock import _core

        def breaks(seconds):
            raise MemoryError

        _core.set_knock_interval = breaks
        """
    )
    pytester.makepyfile("def test_a(): pass\n")
    result = pytester.runpytest_subprocess("--gil-report", "-o", "gil_knock_interval=1ms", "-n2")
    result.assert_outcomes(passed=1)
    assert section(result).count("The knock interval could not be set: MemoryError") == 1
