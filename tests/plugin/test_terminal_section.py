"""The section of the terminal: what is shown, and how much of it."""

import pytest
from support import inner
from support.inner import exact, section

from pytest_gilknock.measurement import meter


@exact
@pytest.mark.parametrize("workers", [0, 2])
def test_report(two_tests, workers):
    result = inner.run(two_tests, "--gil-report", f"-n{workers}")
    result.assert_outcomes(passed=2)
    head, row, *rest = section(result)
    assert head.split() == ["contention", "wait", "max", "wait", "threads", "blame", "test"]
    assert row.endswith("test_report.py::test_wait")
    hidden = "(1 test below 1 ms wait hidden. Use -vv to show.)" in rest
    shown = any(line.endswith("test_report.py::test_calm") for line in rest)
    assert hidden != shown
    assert hidden or workers  # a worker has a thread of xdist's, which may wait on a busy machine
    assert any(line.startswith("2 tests measured, method exact, GIL enabled") for line in rest)
    processes = ", 2 processes" if workers else ""
    assert any(line.endswith(f"GIL enabled{processes}") for line in rest)


@exact
def test_header_tells_how_is_measured_and_what_is_limited(two_tests):
    result = inner.run(two_tests, "--gil-report", "--gil-max-wait=2s")
    result.stdout.fnmatch_lines(["gilknock: method exact; --gil-max-wait 2 s"])
    result = inner.run(two_tests, "--gil-report", "--gil-method=sampled")
    result.stdout.fnmatch_lines(["gilknock: method sampled, as asked for"])
    result = inner.run(two_tests, "--gil-report", "-n2")
    result.stdout.fnmatch_lines(["gilknock: method auto, in each worker"])


@exact
def test_verbosity(two_tests):
    assert not any(
        "test_wait" in line for line in section(inner.run(two_tests, "--gil-report", "-q"))
    )
    assert any(
        "test_wait" in line for line in section(inner.run(two_tests, "--gil-report", "-q", "-v"))
    )
    verbose = section(inner.run(two_tests, "--gil-report", "-v"))
    assert any(line.startswith("    thread MainThread: held ") for line in verbose)
    assert not any("test_calm" in line for line in verbose)
    assert any("test_calm" in line for line in section(inner.run(two_tests, "--gil-report", "-vv")))


@exact
def test_colours_are_those_of_the_terminal(two_tests):
    result = inner.run(two_tests, "--gil-report", "--gil-max-wait=1ms", "--color=yes")
    assert any(line.startswith("\x1b[31m") and "test_wait" in line for line in result.outlines)
    result = inner.run(two_tests, "--gil-report", "--gil-max-wait=1ms", "--color=no")
    assert "\x1b" not in result.stdout.str()


@exact
def test_sampled_report_does_not_claim_what_it_cannot_know(two_tests):
    result = inner.run(two_tests, "--gil-method=sampled", "--gil-report", "-vv")
    result.assert_outcomes(passed=2)
    lines = section(result)
    assert any("1 test" not in line and ", wait n/a in " in line for line in lines)
    assert "2 tests measured, method sampled, GIL enabled" in lines


def test_a_worker_that_crashes_is_left_out(pytester):
    pytester.makepyfile("import os\ndef test_a(): os._exit(3)\ndef test_b(): pass\n")
    result = inner.run(pytester, "-n1", "--gil-report")
    result.assert_outcomes(passed=1, failed=1)
    assert any(line.startswith("1 test measured, ") for line in section(result))
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@exact
def test_the_return_of_the_gil_is_told_once(pytester, monkeypatch):
    states = iter([False, False])
    monkeypatch.setattr(meter, "gil_enabled", lambda: next(states, True))
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    lines = section(inner.run(pytester, "--gil-report", "-vv"))
    told = [line for line in lines if "turned on" in line]
    assert told == [f"The GIL was turned on during {pytester.path.name[:-1]}.py::test_a."]


@exact
def test_the_return_of_the_gil_by_an_import_is_told(pytester, monkeypatch):
    states = iter([False])
    monkeypatch.setattr(meter, "gil_enabled", lambda: next(states, True))
    pytester.makepyfile("def test_a(): pass\n")
    lines = section(inner.run(pytester, "--gil-report"))
    told = [line for line in lines if "turned on" in line]
    assert told == ["The GIL was turned on before the tests, by an import."]


def test_keyboard_interrupt_keeps_what_was_measured(pytester):
    pytester.makepyfile(
        "def test_a(): pass\ndef test_b(): raise KeyboardInterrupt\ndef test_c(): pass\n"
    )
    result = pytester.runpytest_subprocess("--gil-report", "-vv", "-pno:cacheprovider")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert any("::test_a" in line for line in section(result))


def test_without_a_terminal(pytester):
    pytester.makepyfile("def test_a(): pass\n")
    result = inner.run(pytester, "--gil-report", "--gil-json=out.json", "-pno:terminal")
    assert result.ret == 0
    assert pytester.path.joinpath("out.json").exists()
