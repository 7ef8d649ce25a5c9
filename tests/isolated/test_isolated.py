"""Runs each case of this folder's scripts in a process of its own.

A few rounds of each by default; GILKNOCK_NIGHTLY=1 runs them all, for hours.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import scripting
from support import processes
from support.processes import NIGHTLY

HERE = Path(__file__).parent
PATIENCE = 4 * 3600 if NIGHTLY else 120  # s, for one case

SCRIPTS = sorted(
    path.stem
    for path in HERE.glob("*.py")
    if path.read_text("utf-8").endswith("    scripting.main()\n")
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
    command = [sys.executable, "-X", "faulthandler", HERE / f"{script}.py", case, count]
    status, told = processes.run(command, PATIENCE)
    if status == scripting.NOT_HERE:
        pytest.skip(told.strip().splitlines()[-1])
    assert status == 0, told
    assert "Fatal Python error" not in told, told
