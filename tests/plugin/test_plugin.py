"""Whole runs of the plugin; the outcomes of tests and bad input have files of their own."""

import json
import sys
from types import SimpleNamespace

import pytest
from support import inner
from support.inner import exact

from pytest_gilknock import _core
from pytest_gilknock.measurement import meter
from pytest_gilknock.measurement.distributed import Controller

disabled = pytest.mark.skipif(_core.status()[0] != "disabled", reason="the GIL is enabled")

BUSY = """
import ctypes
import threading

def keep_another_waiting(milliseconds):
    wanted = threading.Event()
    def want():
        while not wanted.is_set():
            pass
    thread = threading.Thread(target=want, name="the one who waits")
    thread.start()
    ctypes.PyDLL(None).usleep(milliseconds * 1000)
    wanted.set()
    thread.join()
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def two_tests(pytester):
    pytester.makepyfile(busy=BUSY)
    pytester.makepyfile(
        """
        from busy import keep_another_waiting

        def test_wait():
            keep_another_waiting(50)

        def test_calm():
            pass
        """
    )
    return pytester


def section(result):
    """The lines of our section of the terminal."""
    lines = result.outlines
    start = next((n for n, line in enumerate(lines) if " GIL contention " in line), None)
    if start is None:
        return []
    ends = (n for n, line in enumerate(lines) if n > start and line.startswith("="))
    return lines[start + 1 : next(ends, len(lines))]


@exact
@pytest.mark.parametrize("workers", [0, 2])
def test_report(two_tests, workers):
    result = inner.run(two_tests, "--gil-report", f"-n{workers}")
    result.assert_outcomes(passed=2)
    head, row, *rest = section(result)
    assert head.split() == ["contention", "wait", "max", "wait", "threads", "blame", "test"]
    assert row.endswith("test_report.py::test_wait")
    assert "(1 test below 1 ms wait hidden. Use -vv to show.)" in rest
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
def test_without_a_report_only_limits_speak(two_tests):
    result = inner.run(two_tests, "--gil-max-wait=1ms")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "GIL limit exceeded: max wait *, limit 1 ms, set by --gil-max-wait",
            "  contention  * (the GIL was held * of *)",
            "  wait        * over all threads; longest single wait *",
            "  threads     2 threads took the GIL, busiest first:",
            "              MainThread: held *, waited *",
        ]
    )
    assert section(result) == []


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
            "  blame       lines that held the GIL while others waited:",
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
        ("0", [], "@max_gil_wait('1h' and 3600)", "ini key gil_max_contention"),
        ("0", [], "@max_gil_contention(1, phase='setup')", "ini key gil_max_contention"),
    ],
)
def test_marker_before_command_line_before_ini(pytester, ini, args, marker, source):
    pytester.makeini(f"[pytest]\ngil_max_contention = {ini}\n")
    pytester.makepyfile(
        f"from pytest import mark\nmax_gil_contention = mark.max_gil_contention\n"
        f"max_gil_wait = mark.max_gil_wait\n{marker}\ndef test_it(): pass\n"
    )
    result = inner.run(pytester, *args)
    if source is None:
        result.assert_outcomes(passed=1)
    else:
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([f"GIL limit exceeded: *, set by {source}*"])


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
def test_both_limits_are_told_when_both_are_broken(two_tests):
    result = inner.run(two_tests, "--gil-max-wait=1ms", "--gil-max-contention=0", "-k", "test_wait")
    result.stdout.fnmatch_lines(
        ["GIL limit exceeded: contention *", "GIL limit exceeded: max wait *"]
    )


def test_sampled_limits_without_enough_knocks_pass_and_are_told(pytester):
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    result = inner.run(pytester, "--gil-method=sampled", "--gil-max-contention=0.5")
    result.assert_outcomes(passed=2)
    (line,) = section(result)
    assert line.startswith("2 tests passed with a GIL limit that could not be judged, such as ")


@exact
def test_sampled_report_does_not_claim_what_it_cannot_know(two_tests):
    result = inner.run(two_tests, "--gil-method=sampled", "--gil-report", "-vv")
    result.assert_outcomes(passed=2)
    lines = section(result)
    assert any("1 test" not in line and ", wait n/a in " in line for line in lines)
    assert "2 tests measured, method sampled, GIL enabled" in lines


@disabled
@pytest.mark.parametrize("workers", [0, 2])
def test_a_disabled_gil_breaks_no_limit(two_tests, workers):
    args = ["--gil-report", "--gil-max-wait=0", "--gil-max-contention=0", f"-n{workers}"]
    result = inner.run(two_tests, *args)
    result.assert_outcomes(passed=2)
    lines = section(result)
    assert "Whole run: the GIL is disabled, so no thread waits for it" in lines
    assert any(
        line.startswith("2 tests passed with a GIL limit that could not be") for line in lines
    )


@disabled
def test_exact_with_the_gil_disabled(two_tests):
    result = inner.run(two_tests, "--gil-report", "--gil-method=exact")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --gil-method: 'exact' cannot be had here: the GIL is off"])


@pytest.mark.parametrize("workers", [0, 2])
def test_json(two_tests, workers):
    result = inner.run(two_tests, "--gil-json=out.json", f"-n{workers}")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["GIL readings written to *out.json"])
    assert section(result) == []
    written = json.loads(two_tests.path.joinpath("out.json").read_text())
    assert written["schema"] == 1
    assert written["run"]["processes"] == max(1, workers)
    assert [test["nodeid"].split("::")[1] for test in written["tests"]] == [
        "test_calm",
        "test_wait",
    ]
    for test in written["tests"]:
        assert test["outcome"] == "passed"
        assert test["limits"] == []
        assert test["reading"]["wall"] > 0.0
    assert sorted(two_tests.path.glob("*out.json*")) == [two_tests.path / "out.json"]


@pytest.mark.parametrize("count", [0, 120])
def test_json_of_no_tests_and_of_many(pytester, count):
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("number", range({count}))
        def test_a(number):
            pass
        """
    )
    inner.run(pytester, "--gil-json=out.json")
    written = json.loads(pytester.path.joinpath("out.json").read_text())
    names = [test["nodeid"].rpartition("::")[2] for test in written["tests"]]
    assert len(names) == count
    assert names == sorted(names)


@exact
def test_json_tells_limits_and_their_verdicts(two_tests):
    inner.run(two_tests, "--gil-json=out.json", "--gil-max-wait=1ms")
    written = json.loads(two_tests.path.joinpath("out.json").read_text())
    calm, wait = (test["limits"] for test in written["tests"])
    limit = {"kind": "max_wait", "bound": 0.001, "source": "--gil-max-wait"}
    assert calm == [{**limit, "verdict": "kept", "fact": None}]
    assert wait[0]["verdict"] == "breached"
    assert wait[0]["fact"].startswith("max wait ")


def test_json_of_a_run_that_stops(pytester):
    pytester.makepyfile("def test_a(): assert 0\ndef test_b(): pass\n")
    assert inner.run(pytester, "--gil-json=out.json", "-x").ret == 1
    written = json.loads(pytester.path.joinpath("out.json").read_text())
    assert [test["outcome"] for test in written["tests"]] == ["failed"]


def test_a_file_that_cannot_be_written_in_the_end(pytester):
    pytester.mkdir("out")
    pytester.makepyfile("import os\ndef test_a(): os.rmdir('out')\n")
    result = inner.run(pytester, "--gil-json=out/gil.json")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["--gil-json: *gil.json: *No such file or directory*"])


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


def test_without_a_junit_file_a_report_adds_no_properties(pytester):
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


def test_the_controller_takes_readings_off_the_reports_it_keeps():
    class Report:
        pass

    report, taken = Report(), []
    report.gilknock = "reading"
    outlet = SimpleNamespace(take_test=lambda *args: taken.append(args))
    Controller(outlet).pytest_runtest_logreport(report)
    Controller(outlet).pytest_runtest_logreport(report)
    assert taken == [(report, "reading")]
    assert vars(report) == {}


@pytest.mark.parametrize("dist", ["load", "loadgroup", "loadfile"])
def test_xdist_modes(pytester, dist):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.xdist_group("g")
        @pytest.mark.max_gil_contention(1)
        def test_a(): pass
        """
    )
    result = inner.run(pytester, "-n1", f"--dist={dist}", "--gil-json=out.json")
    result.assert_outcomes(passed=1)
    (test,) = json.loads(pytester.path.joinpath("out.json").read_text())["tests"]
    assert [limit["verdict"] for limit in test["limits"]] in (["kept"], ["not judged"])


def test_a_worker_that_crashes_is_left_out(pytester):
    pytester.makepyfile("import os\ndef test_a(): os._exit(3)\ndef test_b(): pass\n")
    result = inner.run(pytester, "-n1", "--gil-report")
    result.assert_outcomes(passed=1, failed=1)
    assert any(line.startswith("1 test measured, ") for line in section(result))
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize("option", ["--gil-report", "--gil-max-wait=10s"])
def test_nothing_of_the_plugin_is_imported_while_a_test_has_its_way(pytester, option):
    """Nor registered: plugins that look at each new one would do so among the test's patches."""
    pytester.makeconftest(
        """
        def pytest_plugin_registered(plugin):
            assert not running, plugin

        running = []
        """
    )
    pytester.makepyfile(
        """
        import builtins
        import time
        from conftest import running
        import_ = builtins.__import__

        def test_a(monkeypatch):
            def refuse(name, *args, **kwargs):
                assert "gilknock" not in name, name
                return import_(name, *args, **kwargs)

            monkeypatch.setattr(builtins, "__import__", refuse)
            monkeypatch.setattr("conftest.running", [1])
            time.sleep(0.01)
        """
    )
    inner.run(pytester, option).assert_outcomes(passed=1)


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
def test_nothing_of_a_short_test_travels_unless_it_is_to_be_told(pytester):
    pytester.makepyfile("def test_a(): pass\n")

    def travelled(*options: str) -> list[object]:
        listener = Listener()
        assert pytester.inline_run("-n1", "--gil-report", *options, plugins=[listener]).ret == 0
        return listener.readings

    class Listener:
        def __init__(self) -> None:
            self.readings: list[object] = []

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if hasattr(report, "gilknock"):
                self.readings.append(report.gilknock)

    assert travelled() == []
    assert len(travelled("-vv")) == 1


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


def test_collect_only_measures_nothing(pytester):
    pytester.makepyfile(JUNIT)
    result = inner.run(pytester, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_limited", "*::test_other"])


def test_markers_are_registered(pytester):
    pytester.makepyfile(JUNIT)
    inner.run(pytester, "--strict-markers").assert_outcomes(passed=2)
    result = inner.run(pytester, "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.max_gil_contention(limit, ?, phase='call'): *"])


def test_help_lists_the_options(pytester):
    result = inner.run(pytester, "--help")
    result.stdout.fnmatch_lines(["GIL contention:", "*--gil-report *", "*gil_knock_interval *"])


def test_keyboard_interrupt_keeps_what_was_measured(pytester):
    pytester.makepyfile(
        "def test_a(): pass\ndef test_b(): raise KeyboardInterrupt\ndef test_c(): pass\n"
    )
    result = pytester.runpytest_subprocess("--gil-report", "-vv", "-pno:cacheprovider")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert any("::test_a" in line for line in section(result))


PROBE = """
import os
import sys
import threading

def test_probe():
    assert not sys.modules.keys() & {late}
    tasks = "/proc/self/task"
    if os.path.isdir(tasks):
        assert len(os.listdir(tasks)) == 1
    assert threading.active_count() == 1
"""
STARTS_NO_THREAD = [f"-pno:{name}" for name in (*inner.WITHOUT, "xdist")]
LATE = {
    f"pytest_gilknock.{name}"
    for name in ("_core", "activation", "limits", "reading", "reporter", "text")
}


def test_unused_loads_nothing_and_starts_nothing(pytester):
    pytester.makepyfile(PROBE.format(late=LATE))
    pytester.runpytest_subprocess(*STARTS_NO_THREAD).assert_outcomes(passed=1)


def test_used_loads_the_core(pytester):
    pytester.makepyfile(PROBE.format(late=LATE))
    result = pytester.runpytest_subprocess("--gil-report", *STARTS_NO_THREAD)
    result.assert_outcomes(failed=1)


def test_importing_the_package_does_not_load_the_core(pytester):
    result = pytester.runpython_c(
        "import sys, pytest_gilknock; assert 'pytest_gilknock._core' not in sys.modules"
    )
    assert result.ret == 0


def test_without_a_terminal(pytester):
    pytester.makepyfile("def test_a(): pass\n")
    result = inner.run(pytester, "--gil-report", "--gil-json=out.json", "-pno:terminal")
    assert result.ret == 0
    assert pytester.path.joinpath("out.json").exists()


def test_a_run_inside_a_measured_test(pytester):
    pytester.makeconftest("pytest_plugins = ['pytester']")
    pytester.makepyfile(
        """
        def test_outer(pytester):
            pytester.makepyfile("def test_inner(): pass")
            pytester.runpytest_inprocess("--gil-report").assert_outcomes(passed=1)
        """
    )
    inner.run(pytester, "--gil-report").assert_outcomes(passed=1)
