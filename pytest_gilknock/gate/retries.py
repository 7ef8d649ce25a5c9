"""The plugin object that runs a test over its gate again, with fresh fixtures, and takes the best.

A repetition runs the whole of setup, call and teardown, as pytest-rerunfailures does. What a test
shares with others (fixtures of a class, a module, the session) stays as it is in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from _pytest.runner import call_and_report

if TYPE_CHECKING:
    from pytest_gilknock.gate.checker import Note
    from pytest_gilknock.measurement.handover import Pending
    from pytest_gilknock.measurement.meter import Meter


class _Attempt(NamedTuple):
    """A run of a test. Without a note it failed by itself, and that outcome stands."""

    reports: list[pytest.TestReport]
    readings: dict[str, Pending]
    note: Note | None
    repeat: bool


class Retries:
    """Takes over the tests that ``may_fail`` by a gate; runs them up to ``retries`` times more."""

    def __init__(
        self, retries: int, may_fail: Callable[[pytest.Item], bool], meter: Callable[[], Meter]
    ) -> None:
        self._retries = retries
        self._may_fail = may_fail
        self._meter = meter
        self._running: str | None = None
        self._has_subtests = False

    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        if not self._may_fail(item) or not _repeatable(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._running, self._has_subtests = item.nodeid, False
        try:
            attempts = [self._attempt(item, nextitem, self._retries)]
            while attempts[-1].repeat:
                attempts.append(self._attempt(item, nextitem, self._retries - len(attempts)))
        finally:
            self._running = None
        chosen = _outcome(attempts)
        self._meter().handover.pending = chosen.readings
        for report in chosen.reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a test has subtests, which are reported at once and would be so again."""
        if report.nodeid == self._running:
            self._has_subtests = True

    def _attempt(self, item: Any, nextitem: pytest.Item | None, left: int) -> _Attempt:
        """Run a test as pytest's own protocol does, but for the fixtures it shares with itself."""
        if not getattr(item, "_request", True):
            item._initrequest()
            _discard_instance(item)
        session = item.session
        reports = [call_and_report(item, "setup", log=False)]
        if reports[0].passed:
            reports.append(call_and_report(item, "call", log=False))
        note: Note | None = getattr(reports[-1], "gilknock_gate", None)
        stopping = session.shouldfail or session.shouldstop
        repeat = (
            note is not None
            and note["breached"]
            and left > 0
            and not self._has_subtests
            and not stopping
        )
        until = item.parent if repeat else None if stopping else nextitem
        reports.append(call_and_report(item, "teardown", log=False, nextitem=until))
        if repeat and reports[-1].failed:
            repeat = False
            reports += _tear_down_rest(item, nextitem)
        if hasattr(item, "_request"):
            item._request = False
            item.funcargs = None
        return _Attempt(reports, dict(self._meter().handover.pending), note, repeat)


def _repeatable(item: pytest.Item) -> bool:
    """Return whether a test is run by pytest's own protocol, and nobody looks at its steps."""
    option = item.config.option
    return not (
        getattr(option, "usepdb", False)
        or getattr(option, "setupshow", False)
        or getattr(option, "setuponly", False)
        or _has_reruns(item)
    )


def _has_reruns(item: pytest.Item) -> bool:
    """Return whether pytest-rerunfailures runs this test again; a breach is a failure to it."""
    if not item.config.pluginmanager.has_plugin("rerunfailures"):
        return False
    option = item.config.option
    return bool(
        getattr(option, "reruns", None)
        or getattr(option, "force_reruns", None)
        or item.config.getini("reruns")
        or item.get_closest_marker("flaky")
    )


def _discard_instance(item: Any) -> None:
    """Let a method's next run have an instance of its own; pytest keeps one with the item."""
    if isinstance(item.parent, pytest.Class):
        item.__dict__.pop("_instance", None)
        item._obj = None


def _tear_down_rest(item: Any, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Tear down what was kept for a repetition that is not to be; return a report of its errors."""
    state = item.session._setupstate
    call = pytest.CallInfo.from_call(
        lambda: state.teardown_exact(nextitem),
        when="teardown",
        reraise=(pytest.exit.Exception, KeyboardInterrupt),
    )
    if call.excinfo is None:
        return []
    return [item.ihook.pytest_runtest_makereport(item=item, call=call)]


def _outcome(attempts: list[_Attempt]) -> _Attempt:
    """Return the attempt that counts, with the number of attempts on its reports.

    Only the last one may be within the gate, or have failed by itself.
    """
    chosen = min(attempts, key=lambda attempt: attempt.note["extent"] if attempt.note else 0.0)
    if len(attempts) == 1:
        return chosen
    if chosen.note is not None:
        chosen.note["attempts"] = len(attempts)
    which = "the best" if chosen.note is not None else "the last, which failed by itself"
    words = f"measured {len(attempts)} times; this is {which}"
    for report in chosen.reports:
        report.user_properties.append(("gil_attempts", len(attempts)))
        report.sections.append(("GIL contention", words))
    return chosen
