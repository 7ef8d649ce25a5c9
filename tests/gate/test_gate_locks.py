"""Gates on waits for locks and on a stopped world, in whole runs whose waits are scripted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support import gate_samples, scripted
from support.gate_samples import changed, write

from pytest_gilknock import _core
from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.model import reading
from pytest_gilknock.model.reading import locks_of

ENTRY = replace(gate_samples.ENTRY, method=_core.status()[0])
"""As measured here, so that it is compared."""


@pytest.fixture(autouse=True)
def same_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test of an inner run have waited as the scripted reading has, on an idle machine."""
    locks = locks_of(scripted.locks())
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
            f"Contention regression: {broken}",
            f"*set by --gil-compare-fail={gate}",
            "  locks       what threads waited for:",
            "                waited */cache.py:12 put in MainThread: 200 ms",
            "                let go */cache.py:15 get in worker: 200 ms",
            f"Gate: {gate}",
            f"FAILED test_a.py::test_one - Contention: {broken.split('(')[0]}*",
        ]
    )


def test_the_annotation_stands_on_the_line_that_the_metric_blames(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_a="def test_one(): pass\n", app="pass\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    stopped_at = scripted.lock_place(
        str(pytester.path / "app.py"), 1, "collect", 12, "worker", 0.06
    )
    raw = scripted.locks(blame={**scripted.locks()["blame"], "stop_the_world": [stopped_at]})
    locks = locks_of(raw)
    monkeypatch.setattr(reading, "locks_of", lambda _: locks)
    write(pytester.path / "base.json", test_one=changed(ENTRY, stop_the_world=0.002))
    result = pytester.runpytest("--gil-compare=base.json", "--gil-compare-fail=stop_the_world:10ms")
    (command,) = [line for line in result.outlines if line.startswith("::error")]
    assert command.startswith("::error file=app.py,line=1,")


OFF = replace(ENTRY, method="disabled", held=None, metrics=dict.fromkeys(ENTRY.metrics))
"""An entry of a test that ran without the GIL, and of which nothing else was measured."""


def run_with_the_gil_off(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, before: BaselineEntry, gate: str
) -> pytest.RunResult:
    """Gate a test against this entry, with a reading as those of a free-threaded Python are."""
    read: Callable[..., reading.GilReading] = reading.GilReading.from_raw
    off = scripted.disabled(locks=scripted.locks())
    monkeypatch.setattr(reading.GilReading, "from_raw", lambda _: read(off))
    pytester.makepyfile(test_a="def test_one(): pass\n")
    write(pytester.path / "base.json", test_one=before)
    return pytester.runpytest("--gil-compare=base.json", f"--gil-compare-fail={gate}")


@pytest.mark.parametrize(
    ("gate", "broken"),
    [
        ("lock_wait:50%", "lock_wait 701 ms, was 10.0 ms (+691 ms, 70x)"),
        ("stop_the_world:10ms", "stop_the_world 60.0 ms, was 2.00 ms (+58.0 ms, 30x)"),
        ("wait:50%", "wait 261 ms, was 20.0 ms (+241 ms, 13x)"),
        ("max_wait:50%", "max_wait 40.0 ms, was 4.00 ms (+36.0 ms, 10x)"),
        ("wait:1s", None),
    ],
)
def test_gates_hold_where_the_gil_is_off(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, gate: str, broken: str | None
) -> None:
    less = changed(OFF, wait=0.02, max_wait=0.004, lock_wait=0.01, stop_the_world=0.002)
    result = run_with_the_gil_off(pytester, monkeypatch, less, gate)
    if broken is None:
        result.assert_outcomes(passed=1)
        return
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"Contention regression: {broken}", "*= Waits without the GIL compared =*"]
    )
    result.stdout.no_fnmatch_line("*judged by the gate*")


def test_a_gate_on_contention_says_that_there_is_no_gil_to_judge(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_with_the_gil_off(pytester, monkeypatch, OFF, "contention:0.1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["Warning: contention of 1 test not judged by the gate: the GIL is disabled"]
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
            "Contention regression: stop_the_world 60.0 ms, was 2.00 ms *",
            "Contention regression: lock_wait 701 ms, was 10.0 ms *",
            "FAILED test_a.py::test_one - Contention: stop_the_world 60.0 ms, was 2.00 ms *",
        ]
    )
