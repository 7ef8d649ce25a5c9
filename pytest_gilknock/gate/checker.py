"""The plugin object that compares each test with its baseline, in whichever process runs it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock import _core
from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.compare import Change, compare_test
from pytest_gilknock.gate.expression import Gate
from pytest_gilknock.gate.failure_text import breach_text
from pytest_gilknock.gate.node_id import id_of
from pytest_gilknock.gate.result import FAILED_FOR_GIL, GATE_RESULT, NOT_JUDGED, GateResult
from pytest_gilknock.gate.text import names_of_runs
from pytest_gilknock.measurement.expected_failures import is_expected_to_fail
from pytest_gilknock.measurement.tracebacks import raised_at_test
from pytest_gilknock.measurement.transport import Pending, fail_worker, is_worker, pending_of
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import AskedMethod, GilReading
from pytest_gilknock.model.units import count
from pytest_gilknock.render import junit
from pytest_gilknock.render.format import error_text
from pytest_gilknock.render.places import worst_place

if TYPE_CHECKING:
    from pytest_gilknock.gate.gil_gate import GilGate
    from pytest_gilknock.model.wire import PhaseRecord


class GateChecker:
    """Fails the tests that are over a gate, and puts each test's entry on its report.

    With ``strict``, a baseline measured by another method, or of none of the tests, is a usage
    error. ``attempts``: how often a test over its gate is run at most. ``gates_set_by`` names the
    option or ini key. ``gil_gate`` is there if there are gates.
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
        gil_gate: GilGate | None,
    ) -> None:
        self._before = before
        self._gates = gates
        self._method = method
        self._strict = strict
        self._junit = junit
        self._attempts = attempts
        self._gates_set_by = gates_set_by
        self._gil_gate = gil_gate

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
                f" {', '.join(sorted(others))} in {names_of_runs(self._before.names)}"
            )
        if items and not any(id_of(item) in self._before.entries for item in items):
            return (
                f"none of the {count(len(items), 'test')} of this run is in"
                f" {names_of_runs(self._before.names)}, so nothing can be compared"
            )
        return None

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Judge the reading of a test that passed, and fail it by raising as it would itself."""
        __tracebackhide__ = True
        returned = yield
        pending = pending_of(item)
        if pending is None or pending.record is None or pending.phase != "call":
            return returned
        try:
            pending.failure = self._judge(item, pending, pending.record)
        except Exception as error:
            pending.attributes[NOT_JUDGED] = error_text(error)
        if pending.failure is not None:
            raise pending.failure
        return returned

    def _judge(
        self, item: pytest.Item, pending: Pending, record: PhaseRecord
    ) -> BaseException | None:
        """Leave a test's entry for its report; return what the test fails with, if it does."""
        reading = GilReading.from_raw(record["raw"])
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
        if self._gil_gate is not None:
            words = self._gil_gate.failure_of(item, entry, gil_enabled=reading.gil_enabled)
            if words is not None:
                pending.attributes[FAILED_FOR_GIL] = True
        if words is None and breaches and not is_expected_to_fail(item):
            pending.metric = breaches[0].metric
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
        return failure

    def _changes(self, nodeid: str, entry: BaselineEntry) -> list[Change]:
        before = self._before.entries.get(nodeid)
        if not before:
            return []
        return compare_test(nodeid, before, entry, self._gates, attempts=self._attempts)[0]


def _set_properties(item: pytest.Item, changes: Sequence[Change]) -> None:
    """Set the JUnit properties of a comparison."""
    properties: dict[str, object] = {}
    for change in changes:
        name = METRICS[change.metric].property_name
        properties[f"gil_baseline_{name}"] = change.before
        properties[f"gil_change_{name}"] = round(change.difference, 6)
    junit.set_properties(item.user_properties, properties)
