"""What docs/ci.md writes down is what there is."""

import re
import subprocess
import sys
from pathlib import Path

from pytest_gilknock.gate import parse_gate

PAGE = Path(__file__).parents[1].joinpath("docs", "ci.md").read_text(encoding="utf-8")


def test_its_gates_are_gates() -> None:
    written = re.findall(r"--(?:gil-compare-)?fail[= ]'([^']*)'", PAGE)
    assert len(written) > 5
    for gate in written:
        assert str(parse_gate(gate)) == gate


def test_its_options_are_options() -> None:
    options = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for name in set(re.findall(r"--gil-[a-z-]+", PAGE)):
        assert re.search(rf"{name}\b(?!-)", options), name
