"""What the scripts of this folder share: their cases, and what holds for every reading.

A script is run by itself, one case in one process::

    python tests/isolated/exits.py                 # what cases there are
    python tests/isolated/exits.py os_exit 1000    # one of them, that many times

It ends with 0, with ``NOT_HERE`` and the reason when the case needs something that is not there, or
with a traceback.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pytest_gilknock import _core

sys.path.insert(1, str(Path(__file__).parents[1]))  # for core.loads

NOT_HERE = 77

METHOD, _ = _core.status()

Reading = Any  # what a window returns; that it has numbers is for the checks below to find


@dataclass(frozen=True)
class Case:
    """One thing that may go wrong: ``run(count)`` tries it so often and raises if it does."""

    name: str
    run: Callable[[int], object]
    usual: int  # the count in every test run
    nightly: int


CASES: dict[str, dict[str, Case]] = {}  # by the module that defines them


def case(usual: int, nightly: int) -> Callable[[Callable[[int], object]], Callable[[int], object]]:
    """Make a function a case of its script."""

    def add(run: Callable[[int], object]) -> Callable[[int], object]:
        cases = CASES.setdefault(run.__module__, {})
        cases[run.__name__] = Case(run.__name__, run, usual, nightly)
        return run

    return add


def not_here(reason: str) -> NoReturn:
    """End the script: the case cannot be tried here."""
    print(reason)
    sys.exit(NOT_HERE)


def main() -> None:
    """Run the case that the command line names."""
    cases = CASES["__main__"]
    if len(sys.argv) != 3 or sys.argv[1] not in cases:
        usage = "".join(f"  {c.name} {c.usual}  (nightly: {c.nightly})\n" for c in cases.values())
        sys.exit(f"usage: {sys.argv[0]} CASE COUNT\n{usage}")
    cases[sys.argv[1]].run(int(sys.argv[2]))


def opened(**options: Any) -> _core.Window:
    """Return a new window that is open."""
    window = _core.Window(**options)
    window.begin()
    return window


def require_locks() -> None:
    """End the script where waits for locks are not measured."""
    locks = opened(locks=True).end()["locks"]
    if isinstance(locks, str):
        not_here(locks)


def checked(raw: Reading) -> Reading:
    """Return the reading, if nothing in it contradicts anything else."""
    wall = raw["wall"]
    assert wall > 0, raw
    most = wall * (1 + 1e-6) + 1e-6  # rounding
    if raw["max_wait"] is not None:
        assert 0 <= raw["max_wait"] <= most, raw
    assert 0 <= raw["knocks_waited"] <= raw["knocks"], raw
    assert raw["switch_interval"] > 0 or raw["method"] == "disabled", raw
    for latency in (raw["knock_latency"], raw["wait_latency"]):
        if latency is not None:
            count, *quantiles = latency
            assert count > 0, raw
            assert quantiles == sorted(quantiles), raw
            assert quantiles[-1] <= most, raw
    check_blame(raw)
    if raw["method"] != "exact":
        assert raw["held"] is raw["wait"] is raw["acquisitions"] is raw["contended"] is None, raw
        assert raw["threads"] == [], raw
        assert raw["wait_histogram"] is None, raw
        return raw
    held, wait, acquisitions, contended = (
        raw[key] for key in ("held", "wait", "acquisitions", "contended")
    )
    assert 0 <= held <= most, raw
    assert wait >= 0, raw
    assert 0 <= contended <= acquisitions, raw
    assert (raw["wait_latency"] or (0,))[0] == contended, raw
    assert sum(count for _, count in raw["wait_histogram"]) == contended, raw
    return raw


def check_blame(raw: Reading) -> None:
    """The parts of the blame add up, and its frames are well formed."""
    most = raw["wall"] * (1 + 1e-6) + 1e-6
    stacks = [row[0] for row in raw["blame"]] + [row[0] for row in raw["victims"]]
    for file, line, function, callee in (frame for stack in stacks for frame in stack):
        assert function != "", raw
        assert callee != "", raw
        assert line > 0 if file else (line == 0 and function in ("<GC>", "<more>")), raw
    for *_, waited, looks, knock_waited, knock_looks in raw["blame"]:
        assert (waited > 0) <= (looks > 0), raw
        assert (knock_waited > 0) <= (knock_looks > 0), raw
    known = sum(row[5] for row in raw["blame"]) + raw["blame_omitted"][2]
    assert known <= raw["knock_wait"] * (1 + 1e-6) + 1e-6, raw
    if raw["hand_over"] is None:
        assert raw["victims"] == [], raw
        assert not any(row[3] for row in raw["blame"]), raw
        return
    known = (
        sum(row[3] for row in raw["blame"])
        + raw["blame_omitted"][1]
        + raw["hand_over"]
        + raw["unlooked"]
    )
    assert abs(known - raw["wait"]) <= 1e-6 * (1 + raw["wait"]), (known, raw)
    assert sum(row[3] for row in raw["victims"]) <= raw["wait"] * (1 + 1e-6) + 1e-6, raw
    if raw["longest_wait"] is not None:
        assert abs(raw["longest_wait"][0] - raw["max_wait"]) <= 1e-6, raw
        assert 0 <= raw["longest_wait"][1] <= most, raw


def checked_threads(raw: Reading) -> Reading:
    """Likewise, and the threads' parts make up the whole."""
    checked(raw)
    if raw["method"] != "exact":
        return raw
    for native_id, _, held, wait, acquisitions, contended, max_wait in raw["threads"]:
        assert native_id > 0, raw
        assert 0 <= held <= raw["wall"] * (1 + 1e-6) + 1e-6, raw
        assert 0 <= max_wait <= wait + 1e-6, raw
        assert contended <= acquisitions, raw
    for column, key in ((2, "held"), (3, "wait"), (4, "acquisitions"), (5, "contended")):
        total = sum(thread[column] for thread in raw["threads"])
        assert abs(total - raw[key]) <= 1e-6 * (1 + raw[key]), (key, total, raw)
    return raw


@contextmanager
def measured(**options: Any) -> Iterator[dict[str, Any]]:
    """Measure a block; what is yielded has the checked reading at its end."""
    raw: dict[str, Any] = {}
    window = opened(**options)
    try:
        yield raw
    finally:
        raw.update(window.end())
    assert raw["method"] == METHOD, raw
    (checked_threads if options.get("threads", True) else checked)(raw)


@contextmanager
def repeated(*steps: Callable[[], object]) -> Iterator[None]:
    """Have a thread for each of these steps, which does it again and again until the block ends."""
    over = threading.Event()

    def again(step: Callable[[], object]) -> None:
        while not over.is_set():
            step()

    threads = [threading.Thread(target=again, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def one_of_many(attempt: Callable[[], object]) -> None:
    """Raise what the attempt raises if none of many succeeds.

    On a busy machine a thread may be kept from running at any point, be it just when it has let the
    GIL go, or is about to knock: so a load gets more than one chance to be what it is meant to be.
    """
    for left in reversed(range(20)):
        try:
            attempt()
        except AssertionError:
            if left == 0:
                raise
        else:
            return


def true_share(low: float, high: float, work: Callable[[], object]) -> None:
    """Raise unless the share of the time in which ``work`` held the GIL is read as in between."""

    def attempt() -> None:
        with measured() as raw:
            work()
        assert METHOD != "exact" or low <= raw["held"] / raw["wall"] <= high, raw

    one_of_many(attempt)


def until_a_knock_waits(window: _core.Window, work: Callable[[], object]) -> None:
    """Do the work, and go on until the window tells of a knock that had to wait."""
    patience = time.monotonic() + 60
    work()
    while METHOD != "disabled" and window.peek()["knocks_waited"] == 0:
        assert time.monotonic() < patience, "nobody knocks"
        work()


def nothing_is_open() -> None:
    """Raise if a window that is open keeps the knocker at work."""
    _core.set_knock_interval(1e-3)
    time.sleep(0.05)  # the knock under way when the last window closed
    _, before = _core.cost()
    time.sleep(0.05)
    _, after = _core.cost()
    assert before == after, "some window is open"
