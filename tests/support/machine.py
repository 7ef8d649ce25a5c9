"""A machine that has other things to do, and what it says of that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# Says when it is at work; ends with its parent.
HOG = """
import os
parent = os.getppid()
print(flush=True)
while os.getppid() == parent:
    sum(range(100_000))
"""


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Have that many other processes each take what they get of a processor."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", HOG], stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
        yield


def run_delay_of_this_thread() -> float:
    """Seconds for which the calling thread has been ready to run, and had no processor.

    The second number of the kernel's schedstat, in nanoseconds
    (Documentation/scheduler/sched-stats).
    Raises :class:`OSError` where the kernel does not count them.
    """
    with open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) * 1e-9
