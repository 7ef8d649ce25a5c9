"""Tests that are judged by the clock run alone, though there are several workers."""

import re
from pathlib import Path

import pytest

CONFTEST = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from support import turns

turns.JUDGED_BY_THE_CLOCK = (Path(__file__).parent / "clock",)

def pytest_configure(config):
    if {taking_turns} and hasattr(config, "workerinput"):
        config.pluginmanager.register(turns.Turns(__file__))
"""
TESTS = """
import os
import time

import pytest

@pytest.mark.parametrize("number", range(6))
def test(number):
    for moment in ("begins", "ends"):
        with open({log!r}, "a") as file:
            file.write(f"{kind}{{number}} {{moment}}\\n")
        time.sleep(0.05)
"""


def overlaps(pytester: pytest.Pytester, *, taking_turns: bool) -> list[str]:
    """Run tests of both kinds with two workers; return which ran beside one of the clock's."""
    log = pytester.path / "log"
    tests = str(Path(__file__).parents[1])
    pytester.makeconftest(CONFTEST.format(tests=tests, taking_turns=taking_turns))
    for kind in ("clock", "logic"):
        path = pytester.path / kind / f"test_{kind}.py"
        path.parent.mkdir()
        path.write_text(TESTS.format(log=str(log), kind=kind))
    result = pytester.runpytest_subprocess("-n2", "--dist=load", "--maxschedchunk=1")
    result.assert_outcomes(passed=12)
    running: set[str] = set()
    found = []
    for name, moment in re.findall(r"(\w+) (begins|ends)", log.read_text()):
        if moment == "ends":
            running.remove(name)
            continue
        if any("clock" in one for one in (name, *running)) and running:
            found.append(name)
        running.add(name)
    return found


def test_tests_judged_by_the_clock_run_alone(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    assert overlaps(pytester, taking_turns=True) == []


def test_without_turns_they_do_not(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    assert overlaps(pytester, taking_turns=False)
