"""What the plugin imports and starts: nothing before it is asked for something."""

import pytest
from support import inner

PROBE = """
import os
import sys
import threading

def test_probe():
    loaded = {{name for name in sys.modules if name.startswith("pytest_gilknock")}}
    assert loaded <= {early}, loaded
    tasks = "/proc/self/task"
    if os.path.isdir(tasks):
        assert len(os.listdir(tasks)) == 1
    assert threading.active_count() == 1
"""


EARLY = {
    "pytest_gilknock",
    "pytest_gilknock.plugin",
    "pytest_gilknock.options",
}
STARTS_NO_THREAD = [f"-pno:{name}" for name in (*inner.WITHOUT, "xdist")]


@pytest.mark.parametrize("github", [False, True], ids=["anywhere", "github"])
def test_unused_loads_nothing_and_starts_nothing(pytester, monkeypatch, github):
    monkeypatch.setenv("GITHUB_ACTIONS", str(github).lower())
    pytester.makepyfile(PROBE.format(early=EARLY))
    pytester.runpytest_subprocess(*STARTS_NO_THREAD).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "line",
    ["gil_report = false", "gil_forbid = no", "gil_storage = runs", "gil_compare_fail = wait:1%"],
)
def test_an_ini_file_that_asks_for_nothing_loads_nothing(pytester, line):
    pytester.makeini(f"[pytest]\n{line}\n")
    pytester.makepyfile(PROBE.format(early=EARLY))
    pytester.runpytest_subprocess(*STARTS_NO_THREAD).assert_outcomes(passed=1)


@pytest.mark.parametrize("option", [None, "--gil-report"], ids=["unused", "used"])
def test_a_controller_of_workers_loads_what_it_is_asked_for(pytester, option):
    """And its workers do."""
    pytester.makeconftest(
        f"""
        import sys

        def pytest_sessionfinish(session):
            loaded = {{name for name in sys.modules if name.startswith("pytest_gilknock")}}
            process = "worker" if hasattr(session.config, "workerinput") else "controller"
            with open(f"{{session.config.rootpath}}/{{process}}.txt", "w") as file:
                print(*sorted(loaded - {EARLY}), file=file)
        """
    )
    pytester.makepyfile("def test_a(): pass\n")
    without = [f"-pno:{name}" for name in inner.WITHOUT]
    result = pytester.runpytest_subprocess("-n1", *without, *([option] if option else []))
    result.assert_outcomes(passed=1)
    for process in ("controller", "worker"):
        loaded = pytester.path.joinpath(f"{process}.txt").read_text().split()
        assert bool(loaded) is bool(option), (process, loaded)


def test_used_loads_the_core(pytester):
    pytester.makepyfile(PROBE.format(early=EARLY))
    result = pytester.runpytest_subprocess("--gil-report", *STARTS_NO_THREAD)
    result.assert_outcomes(failed=1)


def test_importing_the_package_does_not_load_the_core(pytester):
    result = pytester.runpython_c(
        "import sys, pytest_gilknock; assert 'pytest_gilknock._core' not in sys.modules"
    )
    assert result.ret == 0


def test_collect_only_measures_nothing(pytester):
    pytester.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    result = inner.run(pytester, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_a", "*::test_b"])


@pytest.mark.parametrize("workers", [0, 2])
def test_collect_only_writes_nothing_and_prints_no_section(pytester, workers):
    pytester.makepyfile("def test_a(): pass\n")
    options = ["--gil-report", "--gil-json=out.json", "--gil-save=base.json", f"-n{workers}"]
    result = inner.run(pytester, "--collect-only", *options)
    assert result.ret == 0
    assert inner.section(result) == []
    assert not list(pytester.path.glob("*.json"))
    result.stdout.no_fnmatch_line("*gilknock: *")


@pytest.mark.parametrize("args", [("-k", "zzz"), ("-m", "skip")], ids=["none", "skipped"])
def test_nothing_is_said_of_a_run_that_measured_no_test(pytester, args):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.skip\ndef test_a(): pass\ndef test_b(): pass\n"
    )
    assert inner.section(inner.run(pytester, "--gil-report", *args)) == []


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


HOOKS_OF_TESTS = """
import pytest

NAMES = ["logstart", "setup", "call", "teardown", "protocol", "makereport", "logreport"]
NAMES += ["logfinish"]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    for name in NAMES:
        hook = getattr(session.config.hook, f"pytest_runtest_{name}")
        for implementation in hook.get_hookimpls():
            if implementation.function.__module__.startswith("pytest_gilknock."):
                print("\\nhook:", name)
"""


@pytest.mark.parametrize(
    ("test", "options", "hooks"),
    [
        ("pass", [], []),
        ("pass", ["--gil-report"], ["logstart", "call"]),
        ("assert 0", ["--gil-report"], ["logstart", "call", "makereport", "logreport"]),
        ("pass", ["--gil-json=o.json"], ["logstart", "call", "makereport", "logreport"]),
    ],
    ids=["unused", "passed", "failed", "json"],
)
def test_hooks_that_run_for_every_test_are_registered_only_where_they_are_needed(
    pytester, test, options, hooks
):
    """Their calls are most of what a short test costs."""
    pytester.makeconftest(HOOKS_OF_TESTS)
    pytester.makepyfile(f"def test_a(): {test}\n")
    result = inner.run(pytester, "-s", *options)
    found = [line.partition(" ")[2] for line in result.outlines if line.startswith("hook:")]
    without_gil = pytest.importorskip("pytest_gilknock._core").status()[0] == "disabled"
    assert found == [name for name in hooks if not (without_gil and name == "logstart")]
