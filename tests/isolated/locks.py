"""Threads that wait for locks, beside windows, new threads, forks and collections."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import scripting
from scripting import case, repeated, require_locks

from pytest_gilknock._core import Window


def open_window() -> Window:
    window = Window(locks=True)
    window.begin()
    return window


def checked(locks: Any) -> dict[str, tuple[int, float, float]]:
    assert isinstance(locks, dict), locks
    kinds: dict[str, tuple[int, float, float]] = locks["kinds"]
    for count, waited, longest in kinds.values():
        assert 0.0 <= longest <= waited + 1e-9
        assert count or waited == longest == 0.0
    return kinds


def beside_a_storm(count: int, act: Callable[[], None]) -> None:
    """Act so often while threads wait for a lock and for objects, begin, end and collect."""
    outer, lock = open_window(), threading.Lock()
    table: dict[int, int] = {}

    def contend() -> None:
        with lock:
            table[random.randrange(50)] = 1

    def start_a_thread() -> None:
        thread = threading.Thread(target=lambda: lock.acquire() and lock.release())
        thread.start()
        thread.join()

    def collect() -> None:
        gc.collect()
        time.sleep(1e-3)

    with repeated(contend, contend, contend, start_a_thread, collect):
        for _ in range(count):
            act()
    checked(outer.end()["locks"])


@case(usual=200, nightly=100_000)
def windows_open_and_close(count: int) -> None:
    def act() -> None:
        window = open_window()
        time.sleep(random.random() * 2e-3)
        checked(window.peek()["locks"])
        checked(window.end()["locks"])

    beside_a_storm(count, act)


@case(usual=300, nightly=20_000)
def named_while_others_begin_and_end(count: int) -> None:
    """Those that waited are looked up among the threads that are alive, which change meanwhile."""

    def contend() -> None:
        with lock:
            time.sleep(1e-4)

    def start_threads() -> None:
        threads = [threading.Thread(target=int) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lock = threading.Lock()
    with repeated(contend, contend, start_threads, start_threads):
        for _ in range(count):
            window = open_window()
            time.sleep(1e-3)
            locks: Any = window.end()["locks"]
            for rows in (*locks["victims"].values(), *locks["blame"].values()):
                assert all(row[2] is None or isinstance(row[2], str) for row in rows), rows


@case(usual=20, nightly=5000)
def children_measure_on(count: int) -> None:
    def act() -> None:
        child = os.fork()
        if child == 0:
            window, lock = open_window(), threading.Lock()
            lock.acquire()
            lock.acquire(timeout=1e-3)
            os._exit(0 if checked(window.end()["locks"])["program"][0] >= 1 else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0, status

    beside_a_storm(count, act)


if __name__ == "__main__":
    require_locks()
    scripting.main()
