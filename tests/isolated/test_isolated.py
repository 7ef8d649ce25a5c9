"""Runs each case of this folder's scripts in a process of its own.

A few rounds of each by default; GILKNOCK_NIGHTLY=1 runs them all, for hours.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import scripting

HERE = Path(__file__).parent
NIGHTLY = os.environ.get("GILKNOCK_NIGHTLY") == "1"
PATIENCE = 4 * 3600 if NIGHTLY else 120  # s, for one case

SCRIPTS = (
    "embedding",
    "exits",
    "forks",
    "gil_turned_on",
    "hazards",
    "interpreters",
    "leaks",
    "stalls",
    "threads",
    "tools",
    "verdicts",
)


def cases() -> list[object]:
    """Every case of every script; one that cannot be loaded here tells why when it runs."""
    found: list[object] = []
    for script in SCRIPTS:
        try:
            importlib.import_module(script)
        except SystemExit:
            found.append(pytest.param(script, "any", 1, id=script))
            continue
        for case in scripting.CASES[script].values():
            count = case.nightly if NIGHTLY else case.usual
            found.append(
                pytest.param(
                    script,
                    case.name,
                    count,
                    id=f"{script}-{case.name}",
                    marks=pytest.mark.skipif(count == 0, reason="runs with GILKNOCK_NIGHTLY=1"),
                )
            )
    return found


@pytest.mark.parametrize(("script", "case", "count"), cases())
def test_case(script: str, case: str, count: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", HERE / f"{script}.py", case, str(count)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler tells where it is
        try:
            told, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            told = "not even SIGABRT ends it"
        pytest.fail(f"no end after {PATIENCE} s\n{told}")
    finally:
        end_group(process.pid)
    if process.returncode == scripting.NOT_HERE:
        pytest.skip(told.strip().splitlines()[-1])
    assert process.returncode == 0, told
    assert "Fatal Python error" not in told, told


def end_group(group: int) -> None:
    """End what the script has left behind, itself included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
