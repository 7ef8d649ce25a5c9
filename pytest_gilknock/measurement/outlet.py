"""Where readings go. For type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pytest

    from pytest_gilknock.model.wire import Measured, RunTotals


class Outlet(Protocol):
    """Where the meter's readings go: to what prints them, be it in this process or in another."""

    def take_test(self, report: pytest.TestReport, measured: Measured) -> None:
        """Take the reading of the phase that ``report`` is about."""

    def take_run(self, totals: RunTotals) -> None:
        """Take the totals of this process, when its last test has run."""
