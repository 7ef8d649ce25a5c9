"""The plugin object that compares each test with its baseline, in whichever process runs it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import chain
from typing import Any

import pytest

from pytest_gilknock import _core
from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.compare import Change, compare_test, gil_was_turned_on, ran_without_gil
from pytest_gilknock.gate.expression import Gate
from pytest_gilknock.gate.result import GATE_RESULT, GateResult
from pytest_gilknock.gate.text import breach_text, gil_text, runs
from pytest_gilknock.measurement import gil_watch
from pytest_gilknock.measurement.expected_failures import is_expected_to_fail
from pytest_gilknock.measurement.tracebacks import raised_at_test
from pytest_gilknock.measurement.transport import fail_worker, has_workers, is_worker, pending_of
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import AskedMethod, GilReading
from pytest_gilknock.model.units import count
from pytest_gilknock.render import junit
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.places import worst_place

_TURNED_ON = "gilknock_gate_gil_turned_on"
"""Key of the last message of a worker of pytest-xdist: what turned its GIL on, unjudged."""


class GateChecker:
    """Fails the tests that are over a gate, and puts each test's entry on its report.

    A GIL that was off in the saved runs fails the first test that has it, or at last the run.

    With ``strict``, a baseline measured by another method, or of none of the tests, is a usage
    error. ``attempts``: how often a test over its gate is run at most. ``gates_set_by`` names the
    option or ini key.
    """

    def __init__(
        self,
        before: BaselineRuns,
        gates: Sequence[Gate],
        *,
        method: AskedMethod,
        strict: bool,
        junit: bool,
        attempts: int,
        gates_set_by: str,
    ) -> None:
        self._before = before
        self._gates = gates
        self._method = method
        self._strict = strict
        self._junit = junit
        self._attempts = attempts
        self._gates_set_by = gates_set_by
        self._first_with_gil: str | None = None
        self._began_without_gil = False
        self._turned_on: str | None = None

    def can_fail(self, item: pytest.Item) -> bool:
        """Return whether a gate can fail this test."""
        return bool(self._gates) and id_of(item) in self._before.entries

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Refuse to compare unlike with unlike, or nothing at all, where that is asked for."""
        objection = self._objection_to(items) if self._strict else None
        if objection is not None:
            words = f"--gil-compare-strict: {objection}"
            if is_worker(config):
                fail_worker(config, words)
            raise pytest.UsageError(words)

    def _objection_to(self, items: list[pytest.Item]) -> str | None:
        method = "sampled" if self._method == "sampled" else _core.status()[0]
        entries = chain.from_iterable(self._before.entries.values())
        others = {entry.method for entry in entries} - {method}
        if others:
            return (
                f"measured by the method {method} here, compared with"
                f" {', '.join(sorted(others))} in {runs(self._before.names)}"
            )
        if items and not any(id_of(item) in self._before.entries for item in items):
            return (
                f"none of the {count(len(items), 'test')} of this run is in"
                f" {runs(self._before.names)}, so nothing can be compared"
            )
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Note whether the tests of this process begin without the GIL."""
        self._began_without_gil = not gil_watch.gil_enabled()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Learn from a worker of pytest-xdist that it has a GIL which no test failed for."""
        message: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        self._turned_on = self._turned_on or message.get(_TURNED_ON)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that would pass although its last test turned the GIL on.

        No gate fails a test that skips or is expected to fail, and no other came after it.
        """
        if self._has_gil_unjudged(session):
            self._turned_on = _turned_on_text()
        if self._turned_on is None:
            return
        if is_worker(session.config):
            session.config.workeroutput[_TURNED_ON] = self._turned_on  # type: ignore[attr-defined]
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _has_gil_unjudged(self, session: pytest.Session) -> bool:
        """Return whether a test of this process turned the GIL on, and no test failed for it."""
        if not self._gates or has_workers(session.config) or self._first_with_gil is not None:
            return False
        if not self._began_without_gil or not gil_watch.gil_enabled():
            return False
        entries = map(self._before.entries.get, map(id_of, session.items))
        return any(before and ran_without_gil(before) for before in entries)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what turned the GIL on, where no test failed for it."""
        if self._turned_on is not None:
            words = f"{printable(self._turned_on)}, but no test failed for it"
            terminalreporter.write_line(f"{words}; set by {self._gates_set_by}", red=True)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge the reading of a test that passed, and fail it by raising as it would itself."""
        __tracebackhide__ = True
        returned = yield
        pending = pending_of(item)
        if pending is None or pending.record is None or pending.phase != "call":
            return returned
        reading = GilReading.from_raw(pending.record["raw"])
        root = str(item.config.rootpath)
        entry = BaselineEntry.from_reading(reading, worst_place(reading, root))
        nodeid = id_of(item)
        changes = self._changes(nodeid, entry)
        if self._junit:
            _set_properties(item, changes)
        breaches = sorted(
            (change for change in changes if change.breached),
            key=lambda change: -change.severity,
        )
        words = None
        if self._turned_gil_on(item, entry, reading.gil_enabled):
            words = self._gil_words()
        elif breaches and not is_expected_to_fail(item):
            words = breach_text(
                breaches, self._before.names, reading, root, set_by=self._gates_set_by
            )
        failure = None
        if words is not None:
            failure = raised_at_test(item, pytest.fail.Exception(words, pytrace=False))
        result: GateResult = {
            "nodeid": nodeid,
            "entry": entry.as_list(),
            "breached": failure is not None,
            "severity": max((change.severity for change in breaches), default=0.0),
            "attempts": 1,
            "breaches": int(failure is not None),
        }
        pending.attributes[GATE_RESULT] = result
        if failure is not None:
            pending.failure = failure
            raise failure
        return returned

    def _turned_gil_on(self, item: pytest.Item, entry: BaselineEntry, gil_enabled: bool) -> bool:
        """Return whether this test is the first of this process with a GIL that it did not have.

        ``gil_enabled`` says whether there is one at its end: who turns it on begins without. A test
        that is expected to fail leaves the failure to the next one.
        """
        nodeid = id_of(item)
        before = self._before.entries.get(nodeid)
        if not self._gates or not before:
            return False
        turned_on = gil_enabled and entry.method == "disabled" and ran_without_gil(before)
        if not turned_on and not gil_was_turned_on(before, entry):
            return False
        if is_expected_to_fail(item):
            return False
        if self._first_with_gil is None:  # the first keeps the blame, also when it is run again
            self._first_with_gil = nodeid
        return self._first_with_gil == nodeid

    def _gil_words(self) -> str:
        """Return why a test fails that has a GIL which it did not have."""
        lines = _enabler_lines(gil_watch.found())
        source = f"  set by      {self._gates_set_by}: a gate on any metric forbids it"
        return "\n".join([_turned_on_text(), *lines, source])

    def _changes(self, nodeid: str, entry: BaselineEntry) -> list[Change]:
        before = self._before.entries.get(nodeid)
        if not before:
            return []
        return compare_test(nodeid, before, entry, self._gates, attempts=self._attempts)[0]


def _turned_on_text() -> str:
    enabler = gil_watch.found()
    return gil_text(enabler.module if enabler else None)


def _enabler_lines(enabler: gil_watch.GilEnabler | None) -> Iterator[str]:
    if enabler is None:
        yield "  by          an import before this plugin could watch, PYTHON_GIL=1 or -X gil=1"
        return
    yield f"  module      {printable(enabler.module)}" + (
        f" of {printable(enabler.distribution)}" if enabler.distribution else ""
    )
    for importer in enabler.importers:
        yield f"  imported by {printable(importer)}"


def id_of(item: pytest.Item) -> str:
    """Return a test's id without the group that pytest-xdist appends for ``--dist=loadgroup``."""
    if getattr(item.config.option, "loadgroup", False) and item.parent is not None:
        return f"{item.parent.nodeid}::{item.name}"
    return item.nodeid


def _set_properties(item: pytest.Item, changes: Sequence[Change]) -> None:
    """Set the JUnit properties of a comparison."""
    properties: dict[str, object] = {}
    for change in changes:
        name = METRICS[change.metric].property_name
        properties[f"gil_baseline_{name}"] = change.before
        properties[f"gil_change_{name}"] = round(change.difference, 6)
    junit.set_properties(item.user_properties, properties)
