"""The plugin objects that put readings on the reports of tests, and take them off again.

Hooks that are called for every report are most of what the plugin costs a short test. Where nothing
but the reading of a test is shown, and the process that prints runs the tests as pytest itself
does, a test that raises nothing needs no report to say so: its reading is printed by the process
that has it (:class:`Meter`), and these hooks are registered by the first test that raises.
"""

from __future__ import annotations

from collections.abc import Generator
from os import getpid  # not called through os: a test may have replaced it there
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.measurement.breaches import SECTION, add_breach
from pytest_gilknock.measurement.tracebacks import remove_own_frames
from pytest_gilknock.measurement.transport import PENDING, Pending, is_worker
from pytest_gilknock.model import wire
from pytest_gilknock.render.format import error_text

if TYPE_CHECKING:
    from pytest_gilknock.measurement.transport import Sink
    from pytest_gilknock.model.wire import PhaseRecord, Unmeasured

_WRITER = "gilknock-report-writer"
_READER = "gilknock-report-reader"


def write_on_reports(config: pytest.Config, sink: Sink) -> None:
    """Have readings travel on reports from now on, to ``sink`` if this is the process to print."""
    if not config.pluginmanager.has_plugin(_WRITER):
        config.pluginmanager.register(ReportWriter(), _WRITER)
        if not is_worker(config):
            read_reports(config, sink)


def read_reports(config: pytest.Config, sink: Sink) -> None:
    """Take the readings off all reports from now on, for ``sink``."""
    if not config.pluginmanager.has_plugin(_READER):
        config.pluginmanager.register(ReportReader(sink), _READER)


class ReportReader:
    """Plugin object that takes readings off reports, in the process that prints."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a phase's reading off its report, and count it unless the test is run again.

        First, as others may keep the report until the end, or write down all that it has.
        """
        attributes = report.__dict__
        if wire.RECORD not in attributes:
            return
        record: PhaseRecord | None = attributes.pop(wire.RECORD)
        unmeasured: Unmeasured | None = attributes.pop(wire.UNMEASURED, None)
        forked: bool = attributes.pop(wire.FORKED, False)
        if report.outcome not in wire.OUTCOMES:
            return
        if unmeasured is not None:
            self._sink.add_unmeasured(report.nodeid, unmeasured)
        else:
            self._sink.add_phase(report.nodeid, report.outcome, record, forked=forked)


class ReportWriter:
    """Plugin object that puts readings on reports, in the process that runs the tests."""

    def __init__(self) -> None:
        self._pid = getpid()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Outermost: within it pytest-retry runs a test again, and changes the report's outcome.

        Reports of subtests are made while their test is still being measured: nothing is pending.
        """
        trouble = None
        if call.excinfo is not None:
            try:
                remove_own_frames(call.excinfo)
            except Exception as error:  # it would end the run with an internal error
                trouble = f"frames of the plugin are left in the traceback: {error_text(error)}"
        before: Pending | None = getattr(item, PENDING, None)
        report = yield
        if trouble is not None:
            report.sections.append((SECTION, trouble))
        pending: Pending | None = getattr(item, PENDING, None)
        if pending is not None and pending.phase == call.when:
            delattr(item, PENDING)
            again = pending is not before
            if again:
                report.user_properties[:] = item.user_properties
            attributes = report.__dict__
            attributes[wire.RECORD] = pending.record
            if getpid() != self._pid:
                attributes[wire.FORKED] = True
            if pending.unmeasured is not None:
                attributes[wire.UNMEASURED] = pending.unmeasured
            if pending.record is not None:
                own_failure = not again and _is_own_failure(call, pending)
                _add_verdict(report, pending, pending.record, own_failure=own_failure)
        return report


def _add_verdict(
    report: pytest.TestReport, pending: Pending, record: PhaseRecord, *, own_failure: bool
) -> None:
    """Say on a report what its limits and gates say, unless the test failed by itself."""
    if own_failure:
        record.pop("limits", None)
        record.pop("verdicts", None)
        return
    if pending.failure is not None:
        add_breach(report, pending.failure, record, pending.metric)
    report.__dict__.update(pending.attributes)


def _is_own_failure(call: pytest.CallInfo[None], pending: Pending) -> bool:
    """Return whether the test failed by something else than a limit or a gate.

    unittest keeps a test's own failure to itself until the report is made: it wins.
    """
    return call.excinfo is not None and call.excinfo.value is not pending.failure
