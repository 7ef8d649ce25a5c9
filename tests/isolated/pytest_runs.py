"""Runs of pytest on a little suite, with the plugin and without it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_gilknock import _core

PLUGIN = "pytest_gilknock.plugin"
PACKAGE = str(Path(_core.__file__).parents[1])
STUCK = "no end"


@dataclass(frozen=True)
class Run:
    """What became of a run."""

    code: int | str  # the return code, or STUCK
    outcomes: dict[str, str]  # of the tests that are told of
    text: str  # stdout and stderr


def pytest(
    suite: str,
    *arguments: str,
    plugins: tuple[str, ...] = (),
    timeout: float = 60,
    until: str | None = None,
) -> Run:
    """Run a suite with only these plugins; end a run that does not end, or has said ``until``."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_suite.py").write_text(suite, encoding="utf-8")
        report = Path(folder, "report.xml")
        with open(os.path.join(folder, "text"), "w+", errors="replace") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}"]
                + [argument for plugin in plugins for argument in ("-p", plugin)]
                + list(arguments),
                cwd=folder,
                env={
                    **os.environ,
                    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    "PYTHONPATH": PACKAGE,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            patience = time.monotonic() + timeout
            while process.poll() is None and time.monotonic() < patience:
                if until is not None and until in text_of(output):
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
            code: int | str = STUCK if process.poll() is None else process.returncode
            if code == STUCK:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            text = text_of(output)
        return Run(code, outcomes(report) if report.exists() else {}, text)


def text_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def outcomes(report: Path) -> dict[str, str]:
    """Return the outcome of each test of a JUnit file."""
    return {
        case.get("name", ""): next(
            (child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed"
        )
        for case in ElementTree.parse(report).iter("testcase")
    }
