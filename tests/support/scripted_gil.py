"""A GIL that is off in an inner run, until a test of it sets a variable as if by an import."""

from typing import Any

import pytest

from pytest_gilknock.measurement import gil_forbid, gil_watch

# Variables are set in each worker by itself, and taken back when a test ends.
SCRIPT = """
import os
from pytest_gilknock.measurement import gil_forbid, gil_watch
from pytest_gilknock.model.stack import Frame

def check_interpreter(source):
    pass

def gil_enabled():
    return "SCRIPTED_GIL" in os.environ

FOUND = gil_watch.GilEnabler("needs.gil", "needs 1.0", (Frame("app.py", 3, "load"),))
"""

WORKERS = """
if "PYTEST_XDIST_WORKER" in os.environ:
    gil_forbid.check_interpreter = check_interpreter
    gil_watch.gil_enabled = gil_enabled
    gil_watch._Watch.found = FOUND
"""

IMPORTS = "__import__('os').environ['SCRIPTED_GIL'] = '1'"
"""What a test does that imports a module, with a GIL that this import turns on."""


def script_gil(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes of inner runs have a GIL that is off until a test does ``IMPORTS``."""
    monkeypatch.setenv("SCRIPTED_GIL", "")
    monkeypatch.delenv("SCRIPTED_GIL")
    script: dict[str, Any] = {}
    exec(SCRIPT, script)
    monkeypatch.setattr(gil_forbid, "check_interpreter", script["check_interpreter"])
    monkeypatch.setattr(gil_watch, "gil_enabled", script["gil_enabled"])
    monkeypatch.setattr(gil_watch._Watch, "found", script["FOUND"])
    pytester.makeconftest(SCRIPT + WORKERS)
