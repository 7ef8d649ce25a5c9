"""Sets up what --gil-save and --gil-compare ask for. Imported only in runs that ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_gilknock.baseline import environment as origin
from pytest_gilknock.baseline.model import SECONDS_DIGITS, Baseline, BaselineError
from pytest_gilknock.gate import io as gate_files
from pytest_gilknock.gate.checker import Gatekeeper
from pytest_gilknock.gate.compare import Before
from pytest_gilknock.gate.reporter import BEFORE, GateReporter
from pytest_gilknock.measurement.transport import is_worker

if TYPE_CHECKING:
    from pytest_gilknock.gate.settings import GateSettings
    from pytest_gilknock.measurement.settings import Settings


def install(
    config: pytest.Config,
    settings: Settings,
    gate: GateSettings,
) -> None:
    """Register what this process needs: to judge where tests run, to report where they are told.

    Before the meter is registered, so that its window stays the innermost. Raises
    pytest.UsageError before any test runs.
    """
    if config.option.collectonly:
        return
    if is_worker(config):
        before = Before.loads(config.workerinput[BEFORE])  # type: ignore[attr-defined]
    else:
        before = _report(config, settings, gate)
    gatekeeper = Gatekeeper(before, gate.gates, strict=gate.strict, junit=settings.junit != "none")
    config.pluginmanager.register(gatekeeper)
    if gate.retries and gate.gates:
        from pytest_gilknock.gate.retries import Retries

        config.pluginmanager.register(Retries(gate.retries, gatekeeper.knows))


def _report(config: pytest.Config, settings: Settings, gate: GateSettings) -> Before:
    """Check what is to be saved, read what is compared with, and register who tells of both."""
    now = _now(settings)
    try:
        gate_files.check_save(gate, now)
    except (OSError, BaselineError) as error:
        raise pytest.UsageError(f"--gil-save: {error}") from None
    before, warnings = gate_files.read_before(gate, now)
    if gate.strict and warnings:
        raise pytest.UsageError(f"--gil-compare-strict: {'; '.join(warnings)}")
    reporter = GateReporter(config, gate, now, before, warnings=warnings, top=settings.top)
    config.pluginmanager.register(reporter)
    return before


def _now(settings: Settings) -> Baseline:
    """Return what this run is measured on, as a baseline without tests."""
    now = origin.baseline({})
    if settings.switch_interval is None:
        return now
    interval = round(settings.switch_interval, SECONDS_DIGITS)
    return replace(now, interpreter=replace(now.interpreter, switch_interval=interval))
