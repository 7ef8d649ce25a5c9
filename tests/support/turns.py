"""Tests that judge by the clock, run while no other worker of pytest-xdist runs a test."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

JUDGED_BY_THE_CLOCK = (TESTS / "docs" / "test_recorded.py",)
# Of the isolated scripts those that ask how long something took, or what an idle machine is told.
ISOLATED = TESTS / "isolated" / "test_isolated.py"
ISOLATED_BY_THE_CLOCK = ("test_case[verdicts-", "test_case[stalls-", "test_case[audit-")


def is_judged_by_the_clock(item: pytest.Item) -> bool:
    """Return whether a test needs the machine for itself."""
    if item.path == ISOLATED:
        return item.name.startswith(ISOLATED_BY_THE_CLOCK)
    return any(item.path.is_relative_to(path) for path in JUDGED_BY_THE_CLOCK)


class Turns:
    """Plugin object of a worker: it has a lock while it runs a test, alone or with the others.

    A row of tests that are judged by the clock keeps the lock from one to the next: else each of
    them would wait for a test of another worker. ``lock`` is a file that there is.
    """

    def __init__(self, lock: str) -> None:
        self._file = open(lock, "rb")  # noqa: SIM115 (for as long as the worker lives)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the tests that are judged by the clock first, so that they are a row."""
        items.sort(key=lambda item: not is_judged_by_the_clock(item))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        alone = is_judged_by_the_clock(item)
        fcntl.flock(self._file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            if not alone or nextitem is None or not is_judged_by_the_clock(nextitem):
                fcntl.flock(self._file, fcntl.LOCK_UN)
