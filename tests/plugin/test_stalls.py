"""Stalls: who is told, when, and that nothing else is disturbed."""

from __future__ import annotations

import importlib.util
import json
import signal

import pytest
from support.inner import WITHOUT

from pytest_gilknock import _core

METHOD = _core.status()[0]
pytestmark = [
    pytest.mark.skipif(METHOD == "disabled", reason="without the GIL nobody knocks"),
    pytest.mark.skipif(not hasattr(signal, "SIGRTMAX"), reason="there are no real-time signals"),
]

SUITE = """
import ctypes, signal, threading

def hold_on(seconds):
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))

def test_before():
    pass

def test_stall():
    {stall}

def test_after():
    pass
"""
HOLD = "hold_on(1.5)"
HEAD = "gilknock: no thread could get the GIL for"


def run(
    pytester: pytest.Pytester, *arguments: str, stall: str = HOLD, timeout: str = "200ms"
) -> pytest.RunResult:
    pytester.makepyfile(SUITE.format(stall=stall))
    without = (f"-pno:{name}" for name in WITHOUT)
    ours = ("--gil-max-wait=1min", "-o", f"gil_stall_timeout={timeout}")
    return pytester.runpytest_subprocess(*without, *ours, *arguments, timeout=60)


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_the_stacks_are_on_stderr_whatever_is_captured(pytester, capture):
    result = run(pytester, f"--capture={capture}")
    result.assert_outcomes(passed=3)
    told = result.stderr.str()
    assert told.count(HEAD) == 1
    head, _, stacks = told.partition(HEAD)[2].partition("\n")
    assert "s, in test_the_stacks_are_on_stderr_whatever_is_captured.py::test_stall" in head
    assert " in hold_on\n" in stacks
    assert " in test_stall\n" in stacks
    if METHOD == "exact":
        assert "thread 0x" in head
        assert head.endswith("(MainThread) holds it")


def test_the_terminal_names_test_line_and_duration(pytester):
    result = run(pytester)
    place = r"held at .*_duration\.py:\d+ hold_on( by MainThread)?"
    result.stdout.re_match_lines(
        [rf"Stall: no thread could get the GIL for [\d.]+ m?s in .*::test_stall, {place}"]
    )


def test_the_json_has_them(pytester):
    run(pytester, "--gil-json=gil.json")
    (stall,) = json.loads(pytester.path.joinpath("gil.json").read_text())["stalls"]
    assert stall["test"].endswith("::test_stall")
    assert 1.0 < stall["lasted"] < 20
    assert stall["place"].endswith(" hold_on")
    assert "in test_stall" in stall["stacks"]


def test_stacks_of_all_threads_are_there(pytester):
    stall = "threading.Thread(target=hold_on, args=(1.5,)).start()"
    told = run(pytester, stall=stall).stderr.str()
    assert told.count("most recent call first") >= 2
    assert " in hold_on\n" in told


def test_each_stall_is_told_once(pytester):
    told = run(pytester, stall="hold_on(1); import time; time.sleep(0.2); hold_on(1)").stderr.str()
    assert told.count(HEAD) == 2


@pytest.mark.parametrize(
    ("stall", "timeout"), [("hold_on(0.3)", "10s"), (HOLD, "0"), ("pass", "200ms")]
)
def test_nothing_is_told_without_a_stall(pytester, stall, timeout):
    result = run(pytester, stall=stall, timeout=timeout)
    result.assert_outcomes(passed=3)
    assert HEAD not in result.stderr.str()
    result.stdout.no_fnmatch_line("Stall:*")


TURNS = """go = threading.Event()
    compute = lambda: go.wait() and [n * n for n in range(400_000)]
    threads = [threading.Thread(target=compute) for _ in range(100)]
    for thread in threads: thread.start()
    go.set()
    for thread in threads: thread.join()"""


@pytest.mark.skipif(METHOD != "exact", reason="knocks alone do not see who else gets the GIL")
def test_threads_that_take_turns_are_no_stall(pytester):
    """A knock waits for all of them, each for a switch interval."""
    result = run(pytester, "--gil-json=gil.json", stall=TURNS, timeout="200ms")
    (test,) = (
        test
        for test in json.loads(pytester.path.joinpath("gil.json").read_text())["tests"]
        if test["nodeid"].endswith("::test_stall")
    )
    assert test["reading"]["max_wait"] > 0.2
    assert HEAD not in result.stderr.str()
    result.stdout.no_fnmatch_line("Stall:*")


def test_a_run_that_dies_has_told_its_stall(pytester):
    stall = "signal.signal(signal.SIGALRM, signal.SIG_DFL); signal.alarm(2); hold_on(60)"
    result = run(pytester, stall=stall)
    assert result.ret == -signal.SIGALRM
    assert " in hold_on\n" in result.stderr.str()


def test_a_handler_of_the_program_keeps_its_signal(pytester):
    # It was free when the run began, and so was taken for the stacks: they are left out then.
    stall = (
        "signal.signal(signal.SIGRTMAX, lambda *_: None)\n"
        "    hold_on(1)\n"
        "    assert callable(signal.getsignal(signal.SIGRTMAX))"
    )
    result = run(pytester, stall=stall)
    result.assert_outcomes(passed=3)
    assert HEAD in result.stderr.str()


def test_the_signal_is_given_back(pytester):
    pytester.makeconftest(
        """
        import signal
        from pytest_gilknock import _core

        def pytest_unconfigure(config):
            print("free", _core.free_signal() == signal.SIGRTMAX)
        """
    )
    run(pytester, "-s", stall="pass").stdout.fnmatch_lines(["free True"])


def test_the_watchdog_of_pytest_is_left_alone(pytester):
    told = run(pytester, "-o", "faulthandler_timeout=1").stderr.str()
    assert HEAD in told
    assert "Timeout (0:00:01)!" in told


def test_workers_tell_theirs(pytester):
    pytest.importorskip("xdist")
    result = run(pytester, "-n1", "--gil-json=gil.json")
    result.assert_outcomes(passed=3)
    assert " in hold_on\n" in result.stderr.str()
    result.stdout.re_match_lines([r"Stall: .*::test_stall, held at .* hold_on.*"])
    assert len(json.loads(pytester.path.joinpath("gil.json").read_text())["stalls"]) == 1


@pytest.mark.skipif(importlib.util.find_spec("pytest_timeout") is None, reason="needs its plugin")
@pytest.mark.parametrize("method", ["signal", "thread"])
def test_pytest_timeout_ends_what_it_ends_anyway(pytester, method):
    # Its thread needs a turn at the GIL before the test is over.
    stall = "import time; hold_on(3); time.sleep(1)"
    result = run(pytester, "--timeout=1", f"--timeout-method={method}", stall=stall)
    told = result.stderr.str()
    assert HEAD in told
    if method == "signal":
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["*Timeout*"])
    else:
        assert result.ret == 1
        assert "Timeout" in told + result.stdout.str()


def test_a_fork_meanwhile_does_no_harm(pytester):
    stall = "import os; pid = os.fork() or os._exit(0); os.waitpid(pid, 0); hold_on(1.5)"
    result = run(pytester, "-W", "error::DeprecationWarning", stall=stall)
    result.assert_outcomes(passed=3)
    assert HEAD in result.stderr.str()


def test_a_run_inside_a_test_leaves_the_others_watched(pytester):
    pytester.makeconftest("pytest_plugins = ['pytester']")
    pytester.makepyfile(
        test_0="""
        import ctypes

        def test_outer(pytester):
            ctypes.PyDLL(None).usleep(1_000_000)
            pytester.makepyfile("def test_inner(): pass")
            result = pytester.runpytest_inprocess("--gil-report", "-pno:pytest-retry")
            result.assert_outcomes(passed=1)
            ctypes.PyDLL(None).usleep(1_000_000)
        """
    )
    run(pytester, "--gil-json=gil.json", timeout="400ms").assert_outcomes(passed=4)
    stalls = json.loads(pytester.path.joinpath("gil.json").read_text())["stalls"]
    tests = [stall["test"].rpartition("::")[2] for stall in stalls]
    assert tests.count("test_outer") >= 2  # one before the run inside it, one after
    assert "test_stall" in tests


def test_a_test_that_closes_all_files_ends_no_run(pytester):
    stall = "import os; os.closerange(3, 256)"
    result = run(pytester, "-s", "-pno:faulthandler", "-pno:logging", stall=stall)
    result.assert_outcomes(passed=3)
    assert result.ret == 0


@pytest.mark.parametrize("value", ["1us", "2h", "never", "-1"])
def test_a_bad_timeout_is_refused(pytester, value):
    result = run(pytester, timeout=value)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*ini key gil_stall_timeout: '{value}' is not a *, or '0'"])


@pytest.mark.parametrize("without", ["", "memfd_create"])
def test_no_folder_for_temporary_files_is_needed(pytester, without):
    pytester.makeconftest(
        f"""
        import os, tempfile
        if {without!r}:
            del os.{without or "memfd_create"}

        def refused(*arguments, **named):
            raise FileNotFoundError("no usable temporary directory")

        tempfile.TemporaryFile = refused
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=3)
    assert HEAD in result.stderr.str()
    result.stdout.fnmatch_lines(["Stall: no thread could get the GIL*"])
