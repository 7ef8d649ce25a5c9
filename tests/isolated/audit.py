"""Windows that audit holds, beside native calls that keep the GIL, new threads, forks and exits."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import threading
import time
from collections.abc import Callable

import scripting
from scripting import Reading, case, checked, not_here, opened, repeated

KEEPING = ctypes.PyDLL(None)  # keeps the GIL in its calls
LONG = 15_000  # us: three switch intervals
FOUND, MISSED = 0, 3


def audited(raw: Reading) -> Reading:
    """Return the reading, if its holds do not contradict each other."""
    checked(raw)
    assert raw["max_hold"] is not None, raw
    for stack, _, _, held, longest, count in raw["holds"]:
        assert stack, raw
        assert count > 0, raw
        assert 0 < longest <= held * (1 + 1e-9), raw
        assert longest <= raw["max_hold"], raw
    assert raw["holds_unseen"] >= 0, raw
    assert bool(raw["max_hold"]) == bool(raw["holds"] or raw["holds_unseen"]), raw
    return raw


def start_and_end_a_thread() -> None:
    thread = threading.Thread(target=lambda: sum(range(100)))
    thread.start()
    thread.join()


def beside_a_storm(count: int, act: Callable[[], None]) -> None:
    """Act so often while calls keep the GIL and threads compute, begin, end and collect."""
    outer = opened(audit=True)

    def keep() -> None:
        KEEPING.usleep(LONG)
        time.sleep(1e-3)

    def compute() -> None:
        sum(range(20_000))
        time.sleep(0.0)

    def start_a_thread() -> None:
        start_and_end_a_thread()
        time.sleep(0.0)

    def collect() -> None:
        gc.collect()
        time.sleep(1e-3)

    with repeated(keep, compute, start_a_thread, collect):
        for _ in range(count):
            act()
    audited(outer.end())


@case(usual=40, nightly=100_000)
def windows_open_and_close(count: int) -> None:
    def act() -> None:
        window = opened(audit=True)
        time.sleep(random.random() * 20e-3)
        audited(window.peek())
        audited(window.end())

    beside_a_storm(count, act)


@case(usual=10, nightly=5000)
def children_audit_on(count: int) -> None:
    """A machine that lets nobody ask in time makes a child miss its hold, but not all of them."""
    ended: list[int] = []

    def act() -> None:
        child = os.fork()
        if child == 0:
            window = opened(audit=True)
            KEEPING.usleep(2 * LONG)
            time.sleep(1e-3)
            os._exit(FOUND if audited(window.end())["max_hold"] else MISSED)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    beside_a_storm(count, act)
    assert FOUND in ended, ended
    assert set(ended) <= {FOUND, MISSED}, ended


@case(usual=3, nightly=200)
def exits_while_a_call_keeps_it(count: int) -> None:
    """A process that audits ends by itself, and by ``os._exit()``, whatever keeps the GIL."""
    for turn in range(count):
        child = os.fork()
        if child == 0:
            opened(audit=True)
            for _ in range(3):
                threading.Thread(target=lambda: KEEPING.usleep(LONG), daemon=True).start()
            if turn % 2:
                os._exit(0)
            raise SystemExit(0)
        assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    probe = opened().end()
    if probe["method"] != "exact" or probe["blame_method"] != "looked":
        not_here(f"holds cannot be audited: {probe['reason'] or probe['blame_reason']}")
    scripting.main()
