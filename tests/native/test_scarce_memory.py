"""The core while its own threads cannot get memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import processes
from support.processes import NIGHTLY
from toolchain import COMPILER

from pytest_gilknock import _core

HERE = Path(__file__).parent
GLIBC = "CS_GNU_LIBC_VERSION"

LOAD = """
import ctypes, sys, time
from pytest_gilknock import _core

def knocked_at(number):
    # Code that no look has seen, so that each look has to copy names.
    source = "\\n" * (number % 50) + f'''
def work_{number}():
    until = time.perf_counter() + 1e-3
    while time.perf_counter() < until:
        pass
work_{number}()
'''
    exec(compile(source, f"made_{number}.py", "exec"), {"time": time})

_core.set_knock_interval(1e-4)
for window_number in range(int(sys.argv[1])):
    window = _core.Window()
    window.begin()
    for number in range(10):
        knocked_at(window_number * 10 + number)
    raw = window.end()
    assert 0.0 <= raw["wait"] <= raw["wall"] * 2, raw
assert ctypes.CDLL(None).scarce_memory_failed() > 100
"""


@pytest.mark.skipif(
    GLIBC not in os.confstr_names, reason="the library replaces the allocator of glibc"
)
@pytest.mark.skipif(_core.status()[0] == "disabled", reason="without a GIL nobody knocks")
def test_looks_and_knocks_without_memory_do_no_harm(tmp_path: Path) -> None:
    library = tmp_path / "scarce_memory.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    done = subprocess.run(
        [*COMPILER, *flags, "-o", str(library), str(HERE / "scarce_memory.c")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    status, told = processes.run(
        [sys.executable, "-X", "faulthandler", "-c", LOAD, 6000 if NIGHTLY else 100],
        3600 if NIGHTLY else 120,
        env={**os.environ, "LD_PRELOAD": str(library)},
    )
    assert status == 0, told
