"""CPython's own tests with a window open in every process, beside a bare run: none may differ.

Run by the interpreter to test, with ``pytest_gilknock`` built for it and importable::

    python tests/nightly/cpython_suite.py                  # the modules below that there are
    python tests/nightly/cpython_suite.py test_threading   # these only
    python tests/nightly/cpython_suite.py --no-knocks      # with no thread of ours in any process
    python tests/nightly/cpython_suite.py --locks          # waits for locks measured, too

Two environments are made. In one of them a ``.pth`` file opens a window at the start of every
process, isolated ones (``-I``) included, and leaves it open. Each module runs in both. A module
whose outcomes differ runs again in both, for ``--rounds`` rounds in all: a test differs if it has,
with a window, an outcome that it never has without one. Tests whose outcome varies without a window
are listed apart.

Returns 1 if any test differs.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from environments import run_limited

from pytest_gilknock import _core

MODULES = [
    "test_threading",
    "test_thread",
    "test_threading_local",
    "test_threadsignals",
    "test_fork1",
    "test_subprocess",
    "test_queue",
    "test_concurrent_futures",
    "test_multiprocessing_fork",
    "test_multiprocessing_spawn",
    "test_multiprocessing_forkserver",
    "test_asyncio",
    "test_socketserver",
    "test_signal",
    "test_faulthandler",
    "test_capi",
    "test_interpreters",
    "test__xxsubinterpreters",
    "test__interpreters",
    "test__interpchannels",
    "test_free_threading",
    "test_gc",
    "test_atexit",
    "test_sys",
]

RESOURCES = "cpu,network,walltime,subprocess"

# Loads the core alone, and no module with it that the tests could miss in a bare process. In
# another interpreter of the process the core refuses to be imported.
OPENED_AT_START = """\
import _frozen_importlib as _importlib, _frozen_importlib_external as _external, posix as _posix
_name = "pytest_gilknock._core"
_loader = _external.ExtensionFileLoader(_name, {core!r})
try:
    _core = _importlib.module_from_spec(_importlib.ModuleSpec(_name, _loader, origin={core!r}))
    _loader.exec_module(_core)
except ImportError:
    pass
else:
    if not {knocks}:
        _core.set_knock_interval(0)
    _window = _core.Window(locks={locks})
    _window.begin()
    _file = _posix.open({opened!r}, _posix.O_WRONLY | _posix.O_APPEND | _posix.O_CREAT, 0o666)
    _posix.write(_file, _window.peek()["method"][:1].encode())
    _posix.close(_file)
"""

Outcomes = dict[str, str]  # of one run of one module; by test


class Environment:
    """An interpreter with, or without, a window in each of its processes."""

    def __init__(
        self, folder: Path, *, window: bool, knocks: bool = True, locks: bool = False
    ) -> None:
        self.name = "window" if window else "bare"
        self.opened = folder / "opened"
        self.folder = folder
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        if window:
            site = subprocess.run(
                [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
            core = shutil.copy(_core.__file__, folder)  # a build meanwhile must not touch it
            text = OPENED_AT_START.format(
                core=core, opened=str(self.opened), knocks=knocks, locks=locks or None
            )
            # Not a sitecustomize: Debian's Python has one of its own, which comes first.
            Path(site, "opened_at_start.py").write_text(text, encoding="utf-8")
            Path(site, "opened_at_start.pth").write_text("import opened_at_start\n")

    def windows_opened(self) -> dict[str, int]:
        """How many processes opened a window, by method."""
        initials = self.opened.read_text() if self.opened.exists() else ""
        methods = {"e": "exact", "s": "sampled", "d": "disabled"}
        return {methods[initial]: n for initial, n in collections.Counter(initials).items()}

    def run(self, module: str, timeout: float) -> tuple[Outcomes, str]:
        """Run one test module; return its outcomes and what it printed."""
        report = self.folder / f"{module}.xml"
        report.unlink(missing_ok=True)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "PYTEST"))
        }
        command = [self.python, "-m", "test", "-v", "-u", RESOURCES, "--junit-xml", report, module]
        # By SIGABRT the tests' faulthandler says where they are.
        code, text = run_limited(command, self.folder, environment, timeout, signal.SIGABRT)
        outcomes = dict(outcomes_of(report)) if report.exists() else {}
        outcomes.update(
            (name, "failed") for name in failures_in(text) if not is_told(name, outcomes)
        )
        outcomes[module] = f"exit {code}"
        return outcomes, text


def outcomes_of(report: Path) -> Iterator[tuple[str, str]]:
    """The tests of a JUnit file. CPython writes no name where only a part of a test has failed."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name")
        if name is not None:
            ends = [
                child.tag
                for child in case
                if child.tag in ("error", "failure", "skipped", "output")
            ]
            yield name, ends[0] if ends else "passed"


def is_told(failure: str, outcomes: Outcomes) -> bool:
    """Whether a failure that the output tells of stands in the JUnit file too."""
    _, _, rest = failure.partition(" (")
    return outcomes.get(rest.removesuffix(")")) in ("failure", "error")


def failures_in(text: str) -> set[str]:
    """The failures that the output tells of: those of parts of tests and of classes too."""
    return {
        re.sub(r"0x[0-9a-f]+|\b\d{4,}\b", "N", line)
        for line in re.findall(r"^(?:FAIL|ERROR|UNEXPECTED SUCCESS): (.+)$", text, re.MULTILINE)
    }


def differing(rounds: list[tuple[Outcomes, Outcomes]]) -> tuple[list[str], list[str]]:
    """Of (bare, window) rounds of one module: the tests that differ, and those that vary anyway."""
    bare, window = (
        {name: {outcomes.get(name, "absent") for outcomes in side} for name in names(rounds)}
        for side in zip(*rounds, strict=True)
    )
    differ = [name for name in names(rounds) if window[name] - bare[name]]
    vary = [
        name for name in names(rounds) if name not in differ and len(bare[name] | window[name]) > 1
    ]
    return differ, vary


def names(rounds: list[tuple[Outcomes, Outcomes]]) -> list[str]:
    return sorted({name for pair in rounds for outcomes in pair for name in outcomes})


def modules_there() -> set[str]:
    """The test modules of this interpreter, and the packages they lie in: ``test_asyncio``, too."""
    listed = subprocess.run(
        [sys.executable, "-m", "test", "--list-tests"], capture_output=True, text=True, check=True
    ).stdout.split()
    parts = [name.removeprefix("test.").split(".") for name in listed]
    return {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}


def describe(name: str, rounds: list[tuple[Outcomes, Outcomes]]) -> str:
    told = [
        ", ".join(outcomes.get(name, "absent") for outcomes in side)
        for side in zip(*rounds, strict=True)
    ]
    return f"    {name}\n        bare:   {told[0]}\n        window: {told[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of a module that differs (%(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=1800, help="s, for one module (%(default)s)"
    )
    parser.add_argument("--no-knocks", action="store_true", help="start no knocker")
    parser.add_argument("--locks", action="store_true", help="measure waits for locks, too")
    parser.add_argument("--json", type=Path, help="write all outcomes there")
    parser.add_argument(
        "--logs", type=Path, help="keep the output of differing modules in this folder"
    )
    options = parser.parse_args()
    there = modules_there()
    if absent := [module for module in options.modules if module not in there]:
        parser.error(f"no such test modules: {' '.join(absent)}")
    for folder in filter(None, (options.logs, options.json and options.json.parent)):
        folder.mkdir(parents=True, exist_ok=True)

    # A shell starts its background jobs with this signal ignored, and so would the tests be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    told: dict[str, object] = {}
    tests = different = 0
    print(f"Python {sys.version}\ncore: {_core.status()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="suite-") as environments:
        bare = Environment(Path(environments, "bare"), window=False)
        window = Environment(
            Path(environments, "window"),
            window=True,
            knocks=not options.no_knocks,
            locks=options.locks,
        )
        for module in options.modules or filter(there.__contains__, MODULES):
            start = time.monotonic()
            rounds: list[tuple[Outcomes, Outcomes]] = []
            while not rounds or (len(rounds) < options.rounds and any(differing(rounds))):
                pair = []
                for environment in (bare, window):
                    outcomes, text = environment.run(module, options.timeout)
                    pair.append(outcomes)
                    if options.logs is not None:
                        log = options.logs / f"{module}-{environment.name}-{len(rounds) + 1}.log"
                        log.write_text(text, encoding="utf-8")
                rounds.append((pair[0], pair[1]))
            differ, vary = differing(rounds)
            tests += len(rounds[0][0]) - 1
            different += len(differ)
            counts = collections.Counter(rounds[0][1].values())
            print(
                f"{module}: {rounds[0][1][module]}, {dict(counts)}, {len(rounds)} round(s), "
                f"{time.monotonic() - start:.0f} s, {len(differ)} differ, {len(vary)} vary",
                *(describe(name, rounds) for name in differ),
                *(describe(name, rounds) for name in vary),
                sep="\n",
                flush=True,
            )
            told[module] = {"rounds": rounds, "differ": differ, "vary": vary}
        opened = window.windows_opened()
    print(f"{tests} outcomes compared, {different} differ; windows opened at start: {opened}")
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return 1 if different or not opened else 0


if __name__ == "__main__":
    sys.exit(main())
