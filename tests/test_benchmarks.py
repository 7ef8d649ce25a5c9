"""The benchmarks still run against the package as it is: a short run of each."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gilknock import _core

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROGRAMS = (
    "accuracy",
    "blame",
    "convoy",
    "lock_accuracy",
    "locks",
    "overhead",
    "page_size",
    "per_test",
    "scale",
    "versions",
)


def test_all_are_run() -> None:
    programs = {path.stem for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text()}
    assert programs == set(PROGRAMS)


@pytest.mark.skipif(_core.status()[0] != "exact", reason="they show exact readings")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler for their loads")
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_quick_run_ends_well(program: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, f"{program}.py", "--quick", "--json", str(figures)]
    done = subprocess.run(
        command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(figures.read_text())
