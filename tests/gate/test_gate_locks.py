"""Gates on waits for locks and on a stopped world, in whole runs whose waits are scripted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support import scripted
from support.gate_samples import ENTRY, changed, write

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.model import reading


@pytest.fixture(autouse=True)
def same_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test of an inner run have waited as the scripted reading has, on an idle machine."""
    locks = reading.locks_of(scripted.locks())
    from_reading: Callable[..., BaselineEntry] = BaselineEntry.from_reading

    def idle(*arguments: Any, **named: Any) -> BaselineEntry:
        entry = from_reading(*arguments, **named)
        return replace(entry, wall=1.0, run_delay=None, lost=None)

    monkeypatch.setattr(reading, "locks_of", lambda raw: locks)
    monkeypatch.setattr(BaselineEntry, "from_reading", idle)


@pytest.mark.parametrize(
    ("gate", "broken"),
    [
        ("lock_wait:50%", "lock_wait 701 ms, was 10.0 ms (+691 ms, 70x)"),
        ("lock_wait:1s", None),
        ("stop_the_world:10ms", "stop_the_world 60.0 ms, was 2.00 ms (+58.0 ms, 30x)"),
        ("stop_the_world:100ms", None),
    ],
)
def test_what_grew_over_its_gate_fails_and_what_did_not_passes(
    pytester: pytest.Pytester, gate: str, broken: str | None
) -> None:
    pytester.makepyfile(test_a="def test_one(): pass\ndef test_two(): pass\n")
    less = changed(ENTRY, lock_wait=0.01, stop_the_world=0.002)
    same = changed(ENTRY, lock_wait=0.701, stop_the_world=0.06)
    write(pytester.path / "base.json", test_one=less, test_two=same)
    result = pytester.runpytest("--gil-compare=base.json", f"--gil-compare-fail={gate}")
    if broken is None:
        result.assert_outcomes(passed=2)
        return
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"GIL contention regression: {broken}",
            f"*set by --gil-compare-fail={gate}",
            "  locks       what threads waited for:",
            "                waited */cache.py:12 put in MainThread: 200 ms",
            "                let go */cache.py:15 get in worker: 200 ms",
            f"Gate: {gate}",
            f"FAILED test_a.py::test_one - GIL {broken.split('(')[0]}*",
        ]
    )


def test_saved_runs_have_the_waits_that_a_gate_is_on(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a="def test_one(): pass\n")
    pytester.runpytest("--gil-save=first").assert_outcomes(passed=1)
    gates = ("--gil-compare-fail=lock_wait:1%", "--gil-compare-fail=stop_the_world:1%")
    result = pytester.runpytest("--gil-compare=first", *gates)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*not measured*")


def test_the_worst_of_several_breaches_comes_first(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a="def test_one(): pass\n")
    less = changed(ENTRY, lock_wait=0.01, stop_the_world=0.002)
    write(pytester.path / "base.json", test_one=less)
    gates = ("lock_wait:600ms", "stop_the_world:10ms")
    result = pytester.runpytest(
        "--gil-compare=base.json", *(f"--gil-compare-fail={gate}" for gate in gates)
    )
    result.stdout.fnmatch_lines(
        [
            "GIL contention regression: stop_the_world 60.0 ms, was 2.00 ms *",
            "GIL contention regression: lock_wait 701 ms, was 10.0 ms *",
            "FAILED test_a.py::test_one - GIL stop_the_world 60.0 ms, was 2.00 ms *",
        ]
    )
