"""Sets up what --gil-save and --gil-compare ask for. Imported only in runs that ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.baseline import environment
from pytest_gilknock.baseline.model import Baseline, BaselineError
from pytest_gilknock.gate import io as gate_io
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.gate.checker import GateChecker
from pytest_gilknock.gate.gil_gate import GilGate
from pytest_gilknock.gate.page_rows import changes_of
from pytest_gilknock.gate.reporter import BEFORE, GateReporter
from pytest_gilknock.measurement.transport import is_worker
from pytest_gilknock.model.units import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilknock.gate.settings import GateSettings
    from pytest_gilknock.measurement.settings import MeasurementSettings
    from pytest_gilknock.reporting.changes import Changes
    from pytest_gilknock.reporting.settings import ReportingSettings


def install(
    config: pytest.Config,
    gate: GateSettings,
    measurement: MeasurementSettings,
    reporting: ReportingSettings,
    show: Callable[[Changes], None],
) -> None:
    """Register the checker, and the reporter in the process that prints; ``show`` takes its
    comparison where a file has room for it.

    Before the meter is registered, so that its window stays the innermost. Raises
    pytest.UsageError before any test runs.
    """
    if is_worker(config):
        before = BaselineRuns.loads(config.workerinput[BEFORE])  # type: ignore[attr-defined]
    else:
        before = _register_reporter(config, gate, measurement, reporting, show)
    gil_gate = None
    if gate.gates:
        gil_gate = GilGate(before, gate.gates_set_by, travels=is_worker(config))
    checker = GateChecker(
        before,
        gate.gates,
        method=measurement.method,
        strict=gate.strict,
        junit=reporting.properties != "none",
        attempts=1 + gate.retries,
        gates_set_by=gate.gates_set_by,
        gil_gate=gil_gate,
    )
    config.pluginmanager.register(checker)
    if gil_gate is not None:
        config.pluginmanager.register(gil_gate)
    if gate.retries and gate.gates:
        from pytest_gilknock.gate.retries import Retries

        config.pluginmanager.register(Retries(gate.retries, checker.can_fail))


def _register_reporter(
    config: pytest.Config,
    gate: GateSettings,
    measurement: MeasurementSettings,
    reporting: ReportingSettings,
    show: Callable[[Changes], None],
) -> BaselineRuns:
    """Register what saves and compares, once it is known that it can; return the saved runs."""
    now = _now(measurement)
    try:
        gate_io.check_save(gate, now)
    except (OSError, BaselineError) as error:
        raise pytest.UsageError(f"--gil-save: {error}") from None
    before, caveats = gate_io.read_baseline_runs(gate, now)
    if gate.strict and caveats:
        raise pytest.UsageError(f"--gil-compare-strict: {'; '.join(caveats)}")
    shows = any(export.report.shows_changes for export in reporting.exports)
    reporter = GateReporter(
        config,
        gate,
        now,
        before,
        caveats=caveats,
        top=reporting.top,
        show=(lambda comparison: show(changes_of(comparison))) if shows else None,
    )
    config.pluginmanager.register(reporter)
    return before


def _now(settings: MeasurementSettings) -> Baseline:
    """Return what this run is measured on, as a baseline without tests."""
    now = environment.baseline({})
    if settings.switch_interval is None:
        return now
    interval = round(settings.switch_interval, SECONDS.digits)
    return replace(now, interpreter=replace(now.interpreter, switch_interval=interval))
