"""How a reading gets from where its test runs to where it is printed.

A measured phase leaves its reading with its item. When pytest makes the report of that
phase, the reading moves on to the report, as an attribute of plain data. So it goes wherever the
report goes: to the controller of pytest-xdist, out of a process that pytest-forked made for one
test, or nowhere at all, because a plugin drops the report and runs the test again. What a process
measured as a whole goes out with the last message of an xdist worker.

Hooks that are called for every report are most of what the plugin costs a short test. Where nothing
but the reading of a test is shown, and the process that prints runs the tests as pytest itself
does, a test that raises nothing needs no report to say so: its reading is printed by the process
that has it (:class:`Meter`), and these hooks are registered by the first test that raises.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from os import getpid  # not called through os: a test may have replaced it there
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from pytest_gilknock.measurement.tracebacks import remove_own_frames
from pytest_gilknock.model import wire
from pytest_gilknock.model.blame import listed
from pytest_gilknock.model.limits import Limit
from pytest_gilknock.model.reading import GilReading

if TYPE_CHECKING:
    from pytest_gilknock.model.blame import Blame, Hold, Victim
    from pytest_gilknock.model.wire import PhaseRecord, RunTotals

_TOTALS = "gilknock_totals"  # in the last message of an xdist worker, as is the next
_USAGE_ERROR = "gilknock_usage_error"
_WRITER = "gilknock-report-writer"
_READER = "gilknock-report-reader"


@dataclass(slots=True)
class Pending:
    """A measured phase whose report is still to be made.

    ``record`` is None where the phase was too short for one. ``failure`` is what was raised for a
    limit or a gate. ``attributes`` are put on the report unless the test failed by itself.
    """

    phase: str
    record: PhaseRecord | None
    failure: BaseException | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


PENDING = "_gilknock_pending"
"""The attribute of an item that has its :class:`Pending`. Not a key of its stash: every test asks
for it several times, and a stash answers by calls of Python functions, which take four times as
long."""


def pending_of(item: pytest.Item) -> Pending | None:
    """Return the measured phase of a test whose report is still to be made, if there is one."""
    return getattr(item, PENDING, None)


class Sink(Protocol):
    """Where measuring processes leave what they measured."""

    def add_phase(
        self, nodeid: str, outcome: str, record: PhaseRecord | None, *, forked: bool = False
    ) -> None:
        """Take a measured phase of a test that is over.

        ``record`` is None where it was too short for one. ``forked`` says that a process was
        forked for this test alone.
        """

    def add_run(self, totals: RunTotals) -> None:
        """Take the totals of a process whose last test has run."""

    def add_crash(self) -> None:
        """Take note of a process that crashed, and its totals with it."""


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
        forked: bool = attributes.pop(wire.FORKED, False)
        if report.outcome in wire.OUTCOMES:
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
        if call.excinfo is not None:
            remove_own_frames(call.excinfo)
        before: Pending | None = getattr(item, PENDING, None)
        report = yield
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
    attributes = report.__dict__
    if pending.failure is not None:
        attributes[wire.BREACH] = True
        attributes[wire.BLAMED] = blamed_line(record)
        _shorten_summary(report, pending.failure)
    attributes.update(pending.attributes)


def blamed_line(record: PhaseRecord) -> list[Any] | None:
    """Return the file and line that is most to blame, if it is the program's own.

    That is what kept others waiting longest, or for a limit on holds the place of the longest hold;
    for limits on locks, where the locks were let go for which they are.
    """
    reading = GilReading.from_raw(record["raw"])
    broken = [Limit(*limit) for limit, breached, _ in record.get("verdicts", []) if breached]
    rows: Sequence[Blame | Hold | Victim] = listed(reading.blame, reading.wait)
    if {limit.kind for limit in broken} == {"max_hold"}:
        rows = reading.holds
    elif broken and all(limit.is_on_locks for limit in broken):
        kinds = [kind for limit in broken for kind in limit.lock_kinds]
        _, kind = reading.locks.longest_of(kinds)
        rows = reading.locks.blame.get(kind) or reading.locks.victims.get(kind, ())
    frame = next((row.frame for row in rows), None)
    return [frame.file, frame.line] if frame is not None and frame.own else None


def _shorten_summary(report: pytest.TestReport, failure: BaseException) -> None:
    """Let the short test summary, and JUnit's message, begin with the number.

    A line of a terminal has no room for more, and in CI, where lines are not cut off, the whole
    text would stand there once more.
    """
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        head, _, fact = str(failure).partition("\n")[0].partition(": ")
        crash.message = f"{head.partition(' ')[0]} {fact}"


def _is_own_failure(call: pytest.CallInfo[None], pending: Pending) -> bool:
    """Return whether the test failed by something else than a limit or a gate.

    unittest keeps a test's own failure to itself until the report is made: it wins.
    """
    return call.excinfo is not None and call.excinfo.value is not pending.failure


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process runs tests for another one."""
    return hasattr(config, "workerinput")


def has_workers(config: pytest.Config) -> bool:
    """Return whether this process has others run its tests."""
    return config.pluginmanager.has_plugin("dsession")


def fail_worker(config: pytest.Config, text: str) -> NoReturn:
    """End this worker before it runs a test, and have its controller end with a usage error."""
    _last_message(config)[_USAGE_ERROR] = text
    pytest.exit(text, returncode=pytest.ExitCode.USAGE_ERROR)


class WorkerSink:
    """Sends a worker's totals to the controller; the readings of its tests go on their reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._last_message = _last_message(config)

    def add_phase(
        self, nodeid: str, outcome: str, record: PhaseRecord | None, *, forked: bool = False
    ) -> None:
        raise AssertionError("a worker prints nothing")

    def add_run(self, totals: RunTotals) -> None:
        self._last_message[_TOTALS] = {**totals, "raw": wire.encodable(totals["raw"])}

    def add_crash(self) -> None:
        raise AssertionError("a worker has no workers")


class Controller:
    """Plugin object that passes what workers measured as a whole to ``sink``."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's last message; one that crashed has sent none."""
        message: dict[str, Any] | None = getattr(node, "workeroutput", None)
        if message is None:
            self._sink.add_crash()
        elif _USAGE_ERROR in message:
            raise pytest.UsageError(message[_USAGE_ERROR])
        elif _TOTALS in message:
            self._sink.add_run(message[_TOTALS])


def _last_message(config: pytest.Config) -> dict[str, Any]:
    output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
    return output
