"""What a program can tell of its threads is the same while a window is open."""

import faulthandler
import os
import subprocess
import sys
import tempfile
import time

import pytest
from support.inner import METHOD
from support.knocks import knock_interval

from pytest_gilknock import _core

pytestmark = pytest.mark.skipif(METHOD == "disabled", reason="the GIL is off: there is no knocker")


@pytest.fixture(autouse=True)
def frequent_knocks():
    with knock_interval(1e-4):
        yield


def opened():
    window = _core.Window()
    window.begin()
    deadline = time.monotonic() + 30
    while window.peek()["knocks"] == 0:
        assert time.monotonic() < deadline
        time.sleep(1e-3)
    return window


def threads_dumped():
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().count("hread 0x")


@pytest.mark.skipif(
    "t" in getattr(sys, "abiflags", ""), reason="there every thread state has to be listed"
)
def test_the_knocker_is_in_no_list_of_threads():
    before = threads_dumped(), len(sys._current_exceptions())
    window = opened()
    during = threads_dumped(), len(sys._current_exceptions())
    window.end()
    assert during == before


FORKS = """
import os, time, warnings
from pytest_gilknock import _core

warnings.simplefilter("always")  # of a fork beside another thread, from 3.12 on
_core.set_knock_interval(1e-4)
window = _core.Window()
window.begin()
for _ in range(20):
    known = window.peek()["knocks"]
    while window.peek()["knocks"] == known:
        time.sleep(1e-3)
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_warns_of_no_thread_of_ours_and_the_knocks_go_on():
    ended = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
