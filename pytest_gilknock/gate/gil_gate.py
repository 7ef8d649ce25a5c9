"""The plugin object for a GIL that is on, and was off in the saved runs: any gate forbids that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.gate.compare import gil_was_turned_on, ran_without_gil
from pytest_gilknock.gate.failure_text import gil_text
from pytest_gilknock.gate.node_id import id_of
from pytest_gilknock.gate.result import FAILED_FOR_GIL
from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.measurement.expected_failures import is_expected_to_fail
from pytest_gilknock.measurement.gil_turned_on import FailsForGil
from pytest_gilknock.render.format import printable

if TYPE_CHECKING:
    from pytest_gilknock.baseline.model import BaselineEntry
    from pytest_gilknock.gate.baseline_runs import BaselineRuns


class GilGate(FailsForGil):
    """Fails the first test of each process that has a GIL which it did not have.

    A test that skips or is expected to fail leaves that to the next one of its process, and the
    last one to the run. ``set_by`` names the option or ini key of the gates; ``travels`` says
    whether the reports of this process go to another one, which prints.
    """

    def __init__(self, before: BaselineRuns, set_by: str, *, travels: bool) -> None:
        super().__init__("gilknock_gate_gil_turned_on", set_by)
        self._before = before
        self._travels = travels
        self._began_without_gil = False
        self._first_with_gil: str | None = None
        self._test_failed = False

    def failure_of(
        self, item: pytest.Item, entry: BaselineEntry, *, gil_enabled: bool
    ) -> str | None:
        """Return why a test fails that is the first with a GIL; None for any other.

        ``gil_enabled`` says whether there is one at its end: who turns it on begins without.
        """
        nodeid = id_of(item)
        before = self._before.entries.get(nodeid)
        if not before:
            return None
        turned_on = gil_enabled and entry.method == "disabled" and ran_without_gil(before)
        if not turned_on and not gil_was_turned_on(before, entry):
            return None
        if is_expected_to_fail(item):
            return None
        if self._first_with_gil is None:  # the first keeps the blame, also when it is run again
            self._first_with_gil = nodeid
        if self._first_with_gil != nodeid:
            return None
        source = f"  set by      {self._set_by}: a gate on any metric forbids it"
        return "\n".join([_turned_on_text(), *_enabler_lines(str(item.config.rootpath)), source])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Note whether the tests of this process begin without the GIL."""
        self._began_without_gil = not gil_watch.gil_enabled()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note, where the run is printed, that a test of any process failed for its GIL.

        First, as others may write down all that a report has.
        """
        if not self._travels and report.__dict__.pop(FAILED_FOR_GIL, False) and report.failed:
            self._test_failed = True

    def objection_to(self, session: pytest.Session) -> str | None:
        """Return what turned the GIL on, if a test of this process did and none failed for it."""
        if self._first_with_gil is not None or not self._began_without_gil:
            return None
        entries = (self._before.entries.get(id_of(item)) for item in session.items)
        if not any(before and ran_without_gil(before) for before in entries):
            return None
        return f"{_turned_on_text()}, but no test failed for it"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why the run fails, unless a test of another process says it."""
        if not self._test_failed:
            super().pytest_terminal_summary(terminalreporter)


def _turned_on_text() -> str:
    enabler = gil_watch.found()
    return gil_text(enabler.module if enabler else None)


def _enabler_lines(root: str) -> Iterator[str]:
    """Yield which module turned the GIL on, and who imported it."""
    enabler = gil_watch.found()
    if enabler is None:
        yield "  by          an import before this plugin could watch, PYTHON_GIL=1 or -X gil=1"
        return
    yield f"  module      {printable(enabler.module)}" + (
        f" of {printable(enabler.distribution)}" if enabler.distribution else ""
    )
    for place in enabler.places(root):
        yield f"  imported by {printable(place)}"
