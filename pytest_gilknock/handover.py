"""The plugin object that hands each reading over with the report of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_gilknock.outlet import Outlet
    from pytest_gilknock.raw import Measured, RawReading

Pending = tuple[pytest.Item, "Measured", BaseException | None]
"""A measured phase whose report is still to come, and the failure if it broke a limit."""


class Handover:
    """Keeps readings until their reports are there.

    Listens from the first reading on: three more calls a test, of which a run of tests that are too
    short to tell of has no use.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._listening = False
        self.pending: dict[str, Pending] = {}

    def expect_report(
        self, item: pytest.Item, measured: Measured, failure: BaseException | None
    ) -> None:
        """Keep the reading of a phase for its report."""
        if not self._listening:
            self._listening = True
            item.config.pluginmanager.register(self)
        self.pending[measured["phase"]] = item, measured, failure

    def forget(self, phase: str) -> None:
        """Drop what was never reported: some plugins run tests for their own ends."""
        self.pending.pop(phase, None)

    def reading_of(self, item: pytest.Item) -> RawReading | None:
        """Return what the call of a test measured, until its report is logged."""
        at, measured, _ = self.pending.get("call", (None, None, None))
        return None if at is not item or measured is None else measured["raw"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass on the reading with its report.

        Reports of subtests come while their test is still being measured, so they find none.
        """
        if not self.pending:
            return
        pending = self.pending.get(report.when or "")
        if pending is None or pending[0].nodeid != report.nodeid:
            return
        _, measured, failure = self.pending.pop(report.when or "")
        if failure is not None and str(report.longrepr) != str(failure):
            # The test's own failure, which unittest keeps to itself until the report: it wins.
            del measured["limits"], measured["verdicts"]
        self._outlet.take_test(report, measured)
