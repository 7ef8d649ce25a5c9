"""Loads whose use of the GIL is known from the load itself.

``ctypes.PyDLL`` calls hold the GIL for as long as the C function runs, ``ctypes.CDLL`` calls let it
go.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable

_holding = ctypes.PyDLL(None).usleep
_releasing = ctypes.CDLL(None).usleep


def hold(seconds: float) -> None:
    """Keep the GIL in one C call."""
    _holding(int(seconds * 1e6))


def let_go(seconds: float) -> None:
    """Be in one C call without the GIL."""
    _releasing(int(seconds * 1e6))


def spin(seconds: float) -> None:
    """Run pure Python code."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def hold_and_let_go(held: float, free: float, seconds: float) -> float:
    """Alternate for about ``seconds``; return the time for which this thread had the GIL.

    The truth is told by two clock reads around each C call that lets the GIL go: what is not
    between them is held.
    """
    start = time.perf_counter()
    released = 0.0
    while time.perf_counter() - start < seconds:
        hold(held)
        left = time.perf_counter()
        let_go(free)
        released += time.perf_counter() - left
    return time.perf_counter() - start - released


def in_threads(count: int, target: Callable[[], object]) -> list[threading.Thread]:
    """Run ``target`` in that many threads at once, wait for them, and return them."""
    threads = [threading.Thread(target=target, name=f"load-{i}") for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return threads
