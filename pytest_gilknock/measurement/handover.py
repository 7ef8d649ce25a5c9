"""The plugin object that hands each reading over with the report of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_gilknock.measurement.outlet import Outlet
    from pytest_gilknock.model.wire import Measured, RawReading

Pending = tuple[pytest.Item, "Measured | None", BaseException | None]
"""A measured phase whose report is still to come: its reading, ``None`` if it was too short for
one, and the failure if it broke a limit."""


class Handover:
    """Keeps readings until their reports are there; ``short`` counts what was too short for one."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self.short = 0
        self.pending: dict[str, Pending] = {}

    def expect(
        self,
        item: pytest.Item,
        phase: str,
        measured: Measured | None,
        failure: BaseException | None = None,
    ) -> None:
        """Keep the reading of a phase, if there is one, for its report."""
        self.pending[phase] = item, measured, failure

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
        if measured is None:
            self.short += report.outcome != "rerun"  # type: ignore[comparison-overlap]
            return
        if failure is not None and str(report.longrepr) != str(failure):
            # The test's own failure, which unittest keeps to itself until the report: it wins.
            del measured["limits"], measured["verdicts"]
        self._outlet.take_test(report, measured)
