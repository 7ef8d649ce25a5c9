"""What others took of the machine, against programs that tell themselves how much they took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from pytest_gilknock import _core
from pytest_gilknock.model.machine import MachineLoad
from pytest_gilknock.model.reading import GilReading

pytestmark = [
    pytest.mark.skipif(_core.status()[0] == "disabled", reason="the GIL is off"),
    pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="no such numbers here"),
]

WORK = """
import os, sys, time
if sys.argv[1] == "stranger" and os.fork():
    os._exit(0)  # who works is nobody's child
end = time.perf_counter() + 1.0
while time.perf_counter() < end:
    pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""


def work(who: str, *, wait: bool) -> tuple[float, MachineLoad, float]:
    """Let someone work in a window, who is waited for within or later.

    Returns the processor time it took, what others are said to have taken, and all there was.
    """
    window = _core.Window()
    window.begin()
    with subprocess.Popen(
        [sys.executable, "-c", WORK, who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        taken = float(process.stdout.readline())
        if wait:
            process.communicate()
        reading = GilReading.from_raw(window.end())
    if reading.machine is None:
        pytest.skip("this system does not tell what others take")
    return taken, reading.machine, reading.wall * reading.machine.processors


def test_a_stranger_is_one_of_the_others():
    taken, machine, _ = work("stranger", wait=False)
    assert machine.others > 0.8 * taken > 0.0


@pytest.mark.parametrize("wait", [True, False], ids=["that is gone", "that lives"])
def test_a_child_is_none_of_the_others(wait):
    taken, machine, available = work("child", wait=wait)
    assert machine.others + machine.idle < available - 0.8 * taken


def test_only_processors_that_this_process_may_use_count():
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("there is one processor only")
    time.sleep(0.06)  # the latest look was at all of them
    os.sched_setaffinity(0, {min(allowed)})
    try:
        _, machine, _ = work("child", wait=True)
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1.0 <= machine.processors < 1.2


def short_window() -> dict[str, Any]:
    window = _core.Window()
    window.begin()
    time.sleep(0.01)
    return dict(window.end())


def test_of_a_short_window_the_time_just_before_it_tells():
    for _ in range(50):
        raw = short_window()
    processors, idle, others, throttled, _ = raw["machine"]
    assert processors >= 1.0
    assert 0.0 <= others <= processors * raw["wall"] * 1.01
    assert 0.0 <= idle <= processors * raw["wall"] * 1.01
    assert throttled is None or throttled <= processors * raw["wall"] * 1.01


def test_of_a_short_window_nothing_is_told_without_a_look_just_before_it():
    time.sleep(1.2)
    assert short_window()["machine"] is None
