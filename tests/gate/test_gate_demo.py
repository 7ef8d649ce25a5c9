"""The acceptance demonstration, a round of it: regress, be told, and be left alone otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gilknock import _core

DEMO = Path(__file__).parents[1] / "regression_demo" / "demo.py"


@pytest.mark.skipif(_core.status()[0] != "exact", reason="its gates are for exact readings")
def test_the_gate_is_red_for_each_regression_and_green_without_one() -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), "--rounds=1", "--verbose"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    rows = [line.split() for line in done.stdout.splitlines()[-6:]]
    assert [row[-2:] for row in rows] == 2 * [["0", "-"], ["-", "0"], ["-", "0"]]
