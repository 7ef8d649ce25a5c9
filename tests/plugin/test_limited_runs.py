"""Limits in whole runs: which one applies, what a breach says, when there is no verdict."""

import json
import re

import pytest
from support import inner
from support.inner import disabled, exact, section


def assert_breach(result: pytest.RunResult, said: str | None) -> None:
    """Assert that the one test fails by a limit, with this pattern in its text; None: it passes."""
    if said is None:
        result.assert_outcomes(passed=1)
    else:
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([f"GIL limit exceeded: {said}*"])


@exact
def test_without_a_report_only_limits_speak(two_tests):
    result = inner.run(two_tests, "--gil-max-wait=1ms")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "GIL limit exceeded: *[0-9] ms*limit 1 ms, set by --gil-max-wait",
            "  contention  * (the GIL was held * of *)",
            "  wait        * over all threads; longest single wait *",
            "  threads     2 threads took the GIL, busiest first:",
            "              MainThread: held *, waited *",
        ]
    )
    assert section(result) == []


XFAILS = """
import threading

import pytest

@pytest.mark.xfail
def test_lenient(): pass

@pytest.mark.xfail(strict=True)
def test_strict(): pass

@pytest.mark.xfail(strict=True)
def test_fails(): assert False

@pytest.mark.xfail(False, reason="does not apply", strict=True)
def test_elsewhere(): pass

@pytest.mark.xfail(strict=True)
@pytest.mark.max_gil_contention(0)
def test_own_limit(): pass

def test_marks_itself(request):
    request.applymarker(pytest.mark.xfail(strict=True))

STATE = []

@pytest.mark.xfail("not STATE", reason="holds only before", strict=True)
def test_ends_its_condition(): STATE.append(1)

@pytest.mark.xfail(raises=ValueError)
def test_expects_another_failure(): pass

@pytest.mark.xfail(strict=True)
@pytest.mark.max_gil_wait("1us")
def test_own_limit_beside_that_of_the_run():
    def compute():
        for _ in range(20): sum(range(100_000))
    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


@exact
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        ([], {"xpassed": 2, "failed": 3, "xfailed": 3, "passed": 1}),
        (["--gil-max-contention=0"], {"xpassed": 1, "failed": 5, "xfailed": 3}),
        (["--gil-max-contention=0", "--runxfail"], {"failed": 9}),
        (
            ["-o", "gil_max_wait=1us", "--gil-max-contention=0"],
            {"xpassed": 1, "failed": 5, "xfailed": 3},
        ),
    ],
)
def test_a_limit_of_the_whole_run_turns_no_red_test_green(pytester, arguments, outcomes, workers):
    """A test that is expected to fail, and passes, is red if its marker is strict."""
    pytester.makepyfile(XFAILS)
    inner.run(pytester, *arguments, f"-n{workers}").assert_outcomes(**outcomes)


@exact
def test_a_breach_names_the_line_to_blame(pytester):
    pytester.makepyfile(
        """
        import ctypes

        def hold():
            ctypes.PyDLL(None).usleep(60_000)

        def test_it():
            for _ in range(5):
                hold()
        """
    )
    inner.run(pytester, "--gil-max-wait=1ms").stdout.fnmatch_lines(
        [
            "  blame       where the GIL was * while others waited:",
            "              *test_a_breach_names_the_line_to_blame.py:4 hold in MainThread: *",
            "                  ctypes.PyDLL(None).usleep(60_000)",
        ]
    )


@exact
@pytest.mark.parametrize(
    ("ini", "args", "marker", "source"),
    [
        ("0", [], "", "ini key gil_max_contention"),
        ("1", ["--gil-max-contention=0"], "", "--gil-max-contention"),
        ("0", ["--gil-max-contention=1"], "", None),
        ("1", ["--gil-max-contention=1"], "@max_gil_contention(0)", "@pytest.mark.max_gil_cont"),
        ("0", ["--gil-max-contention=0"], "@max_gil_contention(1)", None),
        ("0", [], "@max_gil_wait('3600s')", "ini key gil_max_contention"),
        ("0", [], "@max_gil_contention(1, phase='setup')", "ini key gil_max_contention"),
    ],
)
def test_marker_before_command_line_before_ini(pytester, ini, args, marker, source):
    pytester.makeini(f"[pytest]\ngil_max_contention = {ini}\n")
    pytester.makepyfile(
        f"from pytest import mark\nmax_gil_contention = mark.max_gil_contention\n"
        f"max_gil_wait = mark.max_gil_wait\n{marker}\ndef test_it(): pass\n"
    )
    assert_breach(inner.run(pytester, *args), source and f"*, set by {source}")


@exact
def test_the_closest_marker_wins(pytester):
    pytester.makepyfile(
        """
        from pytest import mark

        pytestmark = mark.max_gil_contention(0)

        def test_of_the_module(): pass

        class TestOther:
            def test_of_its_module(self): pass

        @mark.max_gil_contention(1)
        class TestIt:
            def test_of_the_class(self): pass

            @mark.max_gil_contention(0)
            def test_of_its_own(self): pass
        """
    )
    result = inner.run(pytester, "-rA")
    result.stdout.fnmatch_lines(
        [
            "PASSED *::test_of_the_class",
            "FAILED *::test_of_the_module*",
            "FAILED *::test_of_its_module*",
            "FAILED *::test_of_its_own*",
        ]
    )


@exact
def test_a_project_may_be_collected_more_than_once(pytester):
    """Some plugins do; each phase is measured once all the same, and its limit holds."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_collection(session):
            session.perform_collect()
            return (yield)
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.max_gil_contention(0, phase="setup")
        def test_a(): pass
        """
    )
    result = inner.run(pytester, "--gil-json=out.json")
    result.assert_outcomes(errors=1)
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert [limit["verdict"] for limit in test["limits"]] == ["breached"]


@exact
@pytest.mark.parametrize("way", ["", "trylast=True", "wrapper=True", "hookwrapper=True"])
def test_a_marker_may_be_added_by_any_plugin(pytester, way):
    pytester.makeconftest(
        f"""
        import pytest

        @pytest.hookimpl({way})
        def pytest_collection_modifyitems(items):
            {"yield" if "wrapper" in way else ""}
            items[0].add_marker(pytest.mark.max_gil_contention(0))
        """
    )
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    inner.run(pytester).assert_outcomes(passed=1, failed=1)


@exact
def test_both_limits_are_told_when_both_are_broken(two_tests):
    result = inner.run(two_tests, "--gil-max-wait=1ms", "--gil-max-contention=0", "-k", "test_wait")
    result.stdout.fnmatch_lines(["GIL limit exceeded: contention *", "GIL limit exceeded: *wait*"])


PAIR = """
import ctypes, threading, pytest

def wait_in_main():
    ticker = threading.Thread(target=ctypes.PyDLL(None).usleep, args=(60_000,), name="tick-1")
    ticker.start()
    while ticker.is_alive():
        pass

{markers}
def test_it():
    wait_in_main()
"""


@exact
@pytest.mark.parametrize(
    ("markers", "args", "broken"),
    [
        ('("1ms", thread="MainThread")', [], "MainThread waited *; limit 1 ms, set by @pytest.m"),
        ('("1ms", thread="Main*")', [], "MainThread waited *; limit 1 ms"),
        ('("1ms", thread="MainThread")("1min", thread="tick-*")', [], "MainThread waited *"),
        ('("1min", thread="MainThread")("1min")', ["--gil-max-wait=1us"], None),
        ('("1min", thread="MainThread")', ["--gil-max-wait=1us"], None),
        ("", ["--gil-max-wait=1ms@MainThread", "--gil-max-wait=1min@tick-*"], "MainThread waited"),
        ("", ["--gil-max-wait=1us", "--gil-max-wait=1min"], None),
    ],
)
def test_limits_for_one_thread(pytester, markers, args, broken):
    marks = [f"@pytest.mark.max_gil_wait({mark}" for mark in markers.split("(")[1:]]
    pytester.makepyfile(PAIR.format(markers="\n".join(marks)))
    assert_breach(inner.run(pytester, *args), broken)


@exact
def test_limits_for_several_threads_in_the_ini_file(pytester):
    pytester.makeini("[pytest]\ngil_max_wait =\n    1min@tick-*\n    1ms@MainThread\n    1min\n")
    pytester.makepyfile(PAIR.format(markers=""))
    result = inner.run(pytester)
    result.stdout.fnmatch_lines(
        [
            "gilknock: *; ini key gil_max_wait 60 s@tick-[*]; ini key gil_max_wait 1 ms@Main*",
            "GIL limit exceeded: MainThread waited *, set by ini key gil_max_wait",
        ]
    )


@exact
@pytest.mark.parametrize("workers", [0, 2])
def test_a_thread_that_is_not_there_is_told(pytester, workers):
    marker = '@pytest.mark.max_gil_wait("1ms", thread="MianThread")'
    pytester.makepyfile(PAIR.format(markers=marker))
    result = inner.run(pytester, "--gil-json=gil.json", f"-n{workers}")
    result.assert_outcomes(passed=1)
    told = "max wait of MianThread was not measured: no thread of that name took or asked for the"
    (line,) = (line for line in section(result) if told in line)
    # A thread of the worker that xdist receives messages in may have asked for it meanwhile, too.
    assert re.search("GIL, only MainThread, (thread [0-9]+, )?tick-1$", line)
    (limit,) = json.loads(pytester.path.joinpath("gil.json").read_text())["tests"][0]["limits"]
    assert (limit["thread"], limit["verdict"]) == ("MianThread", "not judged")


def test_sampled_limits_without_enough_knocks_pass_and_are_told(pytester):
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    result = inner.run(pytester, "--gil-method=sampled", "--gil-max-contention=0.5")
    result.assert_outcomes(passed=2)
    (line,) = section(result)
    assert line.startswith("Limits of 2 tests could not be judged, such as of ")


LONE_HOLDS = """
    import ctypes
    import time

    import pytest

    @pytest.fixture
    def rested():
        time.sleep(0.07)  # the next knock of its own accord may be 50 ms away

    @pytest.mark.max_gil_wait("40ms")
    @pytest.mark.parametrize("number", range(15))
    def test_keeps_the_gil(rested, number):
        ctypes.PyDLL(None).usleep(80_000)
"""


@exact
def test_a_limit_on_waits_finds_each_long_hold_though_no_thread_waits(pytester):
    pytester.makepyfile(LONE_HOLDS)
    inner.run(pytester).assert_outcomes(failed=15)


@disabled
@pytest.mark.parametrize("workers", [0, 2])
def test_a_disabled_gil_breaks_no_limit(two_tests, workers):
    args = ["--gil-report", "--gil-max-wait=0", "--gil-max-contention=0", f"-n{workers}"]
    result = inner.run(two_tests, *args)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*= Waits without the GIL =*"])
    lines = section(result)
    assert any(
        line.startswith("Whole run: the GIL is disabled, so no thread waits for it")
        for line in lines
    )
    assert any(line.startswith("Limits of 2 tests could not be judged") for line in lines)


@disabled
def test_exact_with_the_gil_disabled(two_tests):
    result = inner.run(two_tests, "--gil-report", "--gil-method=exact")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --gil-method: 'exact' cannot be had here: the GIL is off"])
