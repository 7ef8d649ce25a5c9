"""Systems that do not tell what the accounting goes by: no reading is exact, and it says why."""

from __future__ import annotations

import platform
import subprocess
import sys

import scripting
from scripting import METHOD, case, not_here
from seccomp import DENY, FAKE, GETRUSAGE

SANDBOXED = """
import sys, time
from seccomp import filter_getrusage

filter_getrusage(int(sys.argv[1]))
from pytest_gilknock import _core

method, reason = _core.status()
window = _core.Window()
window.begin()
time.sleep(0.02)
raw = window.end()
assert raw["method"] == method == "sampled", raw
assert raw["reason"] == reason, raw
assert "voluntary context switches" in reason, reason
assert raw["wait"] is None, raw
"""


def sandboxed(action: int) -> None:
    if METHOD != "exact" or platform.machine() not in GETRUSAGE:
        not_here("no reading is exact here anyway")
    command = [sys.executable, "-c", SANDBOXED, str(action)]
    done = subprocess.run(command, cwd=sys.path[0], timeout=60, stderr=subprocess.PIPE, text=True)
    if "PermissionError" in done.stderr:
        not_here("this system lets no process filter its system calls")
    assert done.returncode == 0, done.stderr


@case(usual=1, nightly=20)
def where_getrusage_is_denied(count: int) -> None:
    for _ in range(count):
        sandboxed(DENY)


@case(usual=1, nightly=20)
def where_getrusage_tells_nothing(count: int) -> None:
    for _ in range(count):
        sandboxed(FAKE)


if __name__ == "__main__":
    scripting.main()
