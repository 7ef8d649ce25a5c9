"""Other tools at work in the process, or upon it: each still does its own work, and so do we."""

from __future__ import annotations

import cProfile
import faulthandler
import importlib
import os
import pstats
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import scripting
from loads import hold, in_background, in_threads, let_go, mix, spin
from pytest_runs import PLUGIN, pytest
from scripting import METHOD, case, checked, measured, not_here, opened, true_share

from pytest_gilknock import _core


def needed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        not_here(f"{name} is not installed")


def loads_read_well() -> None:
    """What a reading says of simple loads, whatever else looks on."""
    true_share(0.2, 0.8, lambda: (hold(0.01), let_go(0.01)))
    with measured() as raw:
        in_threads(3, lambda: [mix() for _ in range(5)])
    assert METHOD != "exact" or raw["acquisitions"] >= 3 * (1 + 5), raw


@case(usual=5, nightly=200)
def memray_tracks(count: int) -> None:
    """It redirects symbols of every loaded object, the core included."""
    memray = needed("memray")
    outer = opened()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            file = Path(folder, f"{i}.bin")
            with memray.Tracker(file, native_traces=i % 2 == 1):
                kept = opened()
                loads_read_well()
            loads_read_well()
            checked(kept.end())
            assert sum(1 for _ in memray.FileReader(file).get_high_watermark_allocation_records())
            file.unlink()
    checked(outer.end())


@case(usual=10, nightly=500)
def faulthandler_dumps(count: int) -> None:
    """Its watchdog looks at all threads, ours too, without the GIL.

    It cannot bear that threads are made or end meanwhile: so the program makes none here, and the
    knocker's must not come and go.
    """
    _core.set_knock_interval(1e-4)
    in_background(3, mix)
    window = opened()
    spin(0.02)
    with tempfile.TemporaryFile("w+") as file:
        for _ in range(count):
            faulthandler.dump_traceback_later(1e-3, repeat=True, file=file)
            with measured():
                spin(0.01)
            faulthandler.cancel_dump_traceback_later()
            faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        assert "faulthandler_dumps" in file.read()
    checked(window.end())


def some_lines() -> None:
    spin(2e-3)
    if threading.active_count() < 1:
        raise AssertionError("this line is never run")
    in_threads(2, mix)


@case(usual=10, nightly=500)
def coverage_measures(count: int) -> None:
    """The same lines are covered with windows as without: those that are run."""
    coverage = needed("coverage")
    _core.set_knock_interval(1e-4)
    first = some_lines.__code__.co_firstlineno

    def covered() -> set[int]:
        measuring = coverage.Coverage(data_file=None, config_file=False, include=[__file__])
        measuring.start()
        some_lines()
        measuring.stop()
        lines = measuring.get_data().lines(__file__) or ()
        return {line - first for line in lines} & set(range(5))

    for _ in range(count):
        assert covered() == {1, 2, 4}
        with measured():
            assert covered() == {1, 2, 4}


def threads_hooked(
    set_here: Callable[[object], None], set_in_new_threads: Callable[[object], None]
) -> tuple[set[int], set[int]]:
    """Have a hook called on everything; return the threads it was called in, and the program's."""
    hooked: set[int] = set()
    threads = {threading.get_ident()}

    def hook(*_: object) -> None:
        hooked.add(threading.get_ident())

    def work() -> None:
        threads.add(threading.get_ident())
        mix()

    with measured():
        set_here(hook)
        set_in_new_threads(hook)
        in_threads(2, work)
        set_in_new_threads(None)
        set_here(None)
    return hooked, threads


@case(usual=10, nightly=500)
def profilers_profile(count: int) -> None:
    """The hooks are called for the program's calls, in the program's threads."""
    for _ in range(count):
        profiler = cProfile.Profile()
        with measured():
            profiler.runcall(lambda: [spin(1e-4) for _ in range(5)])
        calls = {key[2]: value[0] for key, value in pstats.Stats(profiler).stats.items()}
        assert calls["spin"] == 5, calls
        for hooks in ((sys.setprofile, threading.setprofile), (sys.settrace, threading.settrace)):
            hooked, threads = threads_hooked(*hooks)
            assert hooked == threads, (hooked, threads)


def py_spy(*arguments: str) -> str:
    """Let py-spy look at this process; return what it says."""
    command = Path(sys.executable).parent / "py-spy"
    if not command.exists():
        not_here("py-spy is not installed")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        not_here(f"py-spy cannot look at this process: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


@case(usual=2, nightly=100)
def py_spy_dumps(count: int) -> None:
    """It stops all threads for a moment and reads their frames."""
    pid = str(os.getpid())
    py_spy("dump", "--pid", pid)
    with measured():
        for _ in range(count):
            assert "py_spy_dumps" in py_spy("dump", "--pid", pid)
            loads_read_well()


@case(usual=1, nightly=10)
def py_spy_records(count: int) -> None:
    pid = str(os.getpid())
    py_spy("dump", "--pid", pid)
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "record")
            recording = threading.Thread(
                target=py_spy,
                args=("record", "--pid", pid, "-d", "1", "-r", "500", "-f", "raw", "-o", str(file)),
            )
            with measured():
                recording.start()
                while recording.is_alive():
                    loads_read_well()
            assert "loads_read_well" in file.read_text()


@case(usual=2, nightly=50)
def development_mode_finds_nothing(count: int) -> None:
    """The debug hooks of the allocators check that who asks for memory has the GIL."""
    for _ in range(count):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", __file__, "profilers_profile", "2"],
            env={**os.environ, "PYTHONMALLOC": "debug"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done


SUITE = """
import threading, time, pytest

def work():
    time.sleep(0.001)
    return sum(range(100_000))

def test_works():
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

def test_fails():
    assert work() == 0

@pytest.mark.xfail(strict=True)
def test_fails_as_expected():
    assert work() == 0

@pytest.mark.skip
def test_is_skipped():
    work()

@pytest.mark.timeout(0.5)
def test_is_too_slow():
    time.sleep(60)
"""

COVERED = re.compile(r"^test_suite.py +(\d+ +\d+ +\d+%)", re.MULTILINE)


@case(usual=1, nightly=20)
def pytest_cov_and_pytest_timeout(count: int) -> None:
    """Outcomes and covered lines are the same with the plugin as without it."""
    for name in ("pytest_cov", "pytest_timeout"):
        needed(name)
    for _ in range(count):
        told = []
        for plugins, arguments in (((), ()), ((PLUGIN,), ("--gil-report",))):
            run = pytest(
                SUITE,
                "--cov=.",
                "--timeout-method=signal",
                *arguments,
                plugins=("pytest_cov.plugin", "pytest_timeout", *plugins),
            )
            covered = COVERED.search(run.text)
            told.append((run.code, run.outcomes, covered and covered[1]))
            assert run.outcomes["test_is_too_slow"] == "failure", run
            assert covered, run
        assert told[0] == told[1], told


if __name__ == "__main__":
    scripting.main()
