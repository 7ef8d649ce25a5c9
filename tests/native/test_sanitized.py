"""Runs the extension built with sanitizers, under an interpreter that is not.

The sanitizers see the extension's own memory accesses, and (through the libraries loaded before the
interpreter) all allocations, threads and locks of the process, the GIL's mutex among them: the
accounting stays exact. What counts here is what they find. The readings are judged at full speed,
in tests/core and tests/isolated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import processes
from support.processes import NIGHTLY
from toolchain import ADDRESS, COMPILER, THREAD, runtime_library, why_not

from pytest_gilknock import _core

METHOD, _ = _core.status()
ROOT = Path(__file__).parents[2]
PATIENCE = 3600 if NIGHTLY else 120  # s, for one run

# Of tests/core, those in which most happens in the least time.
BRIEF = "trace or thousand or ended or nest or longest or blamed or dropped or cost"

# Scripts of tests/isolated, their cases, and how often they try. None forks while threads work: in
# the child the sanitizers' own locks stay as they were, and the parent's threads seem to use its
# memory.
CASES = [
    ("exits", "sys_exit_while_threads_work", 2),
    ("exits", "daemon_threads_open_and_close_windows", 2),
    ("exits", "a_knock_is_unanswered", 1),
    ("threads", "born_and_gone_inside_one_window", 200),
    ("threads", "windows_closed_by_other_threads", 50),
    ("threads", "windows_amid_contention", 40),
    ("hazards", "signals_every_millisecond", 20),
    ("stacks", "tables_of_lines_made_by_the_program", 1),
    ("storms", "windows_without_forks", 300),
]
NOT_HERE = 77  # a case's status where it needs what is not there (isolated/scripting.py)
MANY = 20  # times as often with GILKNOCK_NIGHTLY=1

# Checks first that it is this build that is measured with, and exactly where the usual build does.
PYTEST = """
import sys
import sysconfig
from pytest_gilknock import _core
assert _core.__file__.startswith(sys.argv[1]), _core.__file__
assert _core.status()[0] == sys.argv[2], _core.status()
import pytest
sys.exit(pytest.main(sys.argv[3:]))
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which(COMPILER[0]) is None,
    reason="needs gcc on Linux",
)


@dataclass(frozen=True)
class Sanitizer:
    build: str  # what GILKNOCK_SANITIZE asks for
    library: str  # to be loaded first of all
    options: dict[str, str]  # in the environment; each is told where to write its reports, too


SANITIZERS = [
    Sanitizer(
        ADDRESS,
        "libasan.so",
        # The interpreter itself leaves memory behind.
        {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"},
    ),
    Sanitizer(
        THREAD,
        "libtsan.so",
        # Without the interpreter's own accesses, of which it sees a few, in calls of the C library;
        # and the interpreter joins no daemon thread.
        {"TSAN_OPTIONS": "ignore_noninstrumented_modules=1:report_thread_leaks=0:halt_on_error=1"},
    ),
]


@dataclass(frozen=True)
class Sanitized:
    """The package with an extension that is built with a sanitizer."""

    build: str
    folder: Path
    reports: Path  # where the sanitizer writes what it finds
    environment: dict[str, str]

    def run(self, *command: object) -> tuple[int, str]:
        """Run the interpreter; return its status and what it wrote. A report fails the test."""
        environment = {**os.environ, **self.environment}
        status, told = processes.run(
            [sys.executable, *command], PATIENCE, cwd=self.folder, env=environment
        )
        reports = ""
        for report in self.reports.iterdir():
            reports += report.read_text(errors="replace")
            report.unlink()
        assert not reports, reports
        return status, told


@pytest.fixture(scope="module", params=SANITIZERS, ids=lambda sanitizer: sanitizer.build)
def sanitized(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Sanitized:
    sanitizer: Sanitizer = request.param
    pytest.importorskip("setuptools", minversion="80", reason="setup.py needs it")
    if sanitizer.build == THREAD and METHOD == "disabled":
        pytest.skip("it does not see by which locks an interpreter without GIL orders its threads")
    if reason := why_not(sanitizer.build):
        pytest.skip(f"{COMPILER[0]} cannot build and run with {sanitizer.build}: {reason}")
    library = runtime_library(sanitizer.library)
    if library is None:
        pytest.skip(f"{COMPILER[0]} has no {sanitizer.library}")

    with processes.shared_between_workers(tmp_path_factory) as shared:
        folder = shared / "sanitized" / sanitizer.build
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            built = tmp_path_factory.mktemp("built")
            build_sanitized(sanitizer.build, built)
            built.rename(folder)
    reports = tmp_path_factory.mktemp("reports")
    options = {
        name: f"{value}:log_path={reports / 'report'}" for name, value in sanitizer.options.items()
    }
    environment = {
        **options,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):  # which has one allocator only
        environment["PYTHONMALLOC"] = "malloc"
    probe = [sys.executable, "-c", ""]
    done = subprocess.run(probe, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"the interpreter does not run with {library.name}: {done.stderr.strip()}")
    return Sanitized(sanitizer.build, folder, reports, environment)


def build_sanitized(sanitizer: str, folder: Path) -> None:
    """Make a copy of the package in ``folder``, with an extension that is built so."""
    package = folder / "pytest_gilknock"
    shutil.copytree(ROOT / package.name, package, ignore=shutil.ignore_patterns("_core.*.so"))
    objects = folder / "objects"
    build = ["setup.py", "build_ext", "--build-lib", folder, "--build-temp", objects]
    done = subprocess.run(
        [sys.executable, *map(str, build)],
        env={**os.environ, "GILKNOCK_SANITIZE": sanitizer},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(objects)


def test_core(sanitized: Sanitized) -> None:
    where = ["-c", ROOT / "pyproject.toml", "--rootdir", ROOT, ROOT / "tests" / "core"]
    everything = "not fork" if sanitized.build == THREAD else ""
    what = everything if NIGHTLY else BRIEF
    status, told = sanitized.run(
        "-c", PYTEST, sanitized.folder, METHOD, "-p", "no:cacheprovider", "-k", what, *where
    )
    assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), told  # too slow, perhaps


@pytest.mark.parametrize(("script", "case", "count"), CASES)
def test_isolated(sanitized: Sanitized, script: str, case: str, count: int) -> None:
    path = ROOT / "tests" / "isolated" / f"{script}.py"
    status, told = sanitized.run(path, case, count * MANY if NIGHTLY else count)
    if status == NOT_HERE:
        pytest.skip(told.strip().splitlines()[-1])
    assert status == 0, told
