"""Sets up what a run asks for. Imported only in runs that ask for something."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_gilknock.measurement.gil_watch import gil_enabled
from pytest_gilknock.measurement.header import Header
from pytest_gilknock.measurement.meter import Meter, OuterPhases
from pytest_gilknock.measurement.report_hooks import read_reports
from pytest_gilknock.measurement.settings import no_audit
from pytest_gilknock.measurement.transport import Controller, WorkerSink, fail_worker, is_worker
from pytest_gilknock.render.format import printable
from pytest_gilknock.reporting import github
from pytest_gilknock.reporting.reporter import Reporter
from pytest_gilknock.settings import Settings, read

if TYPE_CHECKING:
    from pytest_gilknock.measurement.markers import PhaseLimits
    from pytest_gilknock.measurement.transport import Sink
    from pytest_gilknock.reporting.changes import Changes

_SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
_METER = "gilknock-meter"
_OUTER_PHASES = "gilknock-outer-phases"
_REPORTER = "gilknock-reporter"
_CONTROLLER = "gilknock-controller"


def settings_of(config: pytest.Config) -> Settings:
    """Return the settings of a run; raises pytest.UsageError for a value that cannot be used."""
    if _SETTINGS not in config.stash:
        config.stash[_SETTINGS] = read(config)
    return config.stash[_SETTINGS]


def start(config: pytest.Config) -> None:
    """Check what the options ask for, and register what does it."""
    settings = settings_of(config)
    measurement = settings.measurement
    if measurement.switch_interval is not None:
        config.pluginmanager.register(SwitchInterval(measurement.switch_interval))
    if config.option.collectonly:
        return
    if measurement.forbid is not None:
        from pytest_gilknock.measurement.gil_forbid import GilForbid, check_interpreter

        check_interpreter(measurement.forbid)
        config.pluginmanager.register(GilForbid(measurement.forbid))
    if not is_worker(config):
        _check_exports(settings)
    if settings.gate is not None:
        from pytest_gilknock.gate.setup import install

        def show(changes: Changes) -> None:
            _reporter(config).results.changes = changes

        install(config, settings.gate, measurement, settings.reporting, show)
    if settings.measures_every_test:
        _meter(config)
        config.pluginmanager.register(Header(measurement))
        if settings.reporting.html_columns and not is_worker(config):
            from pytest_gilknock.reporting.html_columns import HtmlColumns

            # Registered last, so that its hook runs before the one that takes readings off reports.
            config.pluginmanager.register(HtmlColumns(config))


def listen_to_workers(config: pytest.Config) -> None:
    """Have the reports of other processes reach the reporter of this one."""
    if not config.pluginmanager.has_plugin(_CONTROLLER):
        config.pluginmanager.register(Controller(_reporter(config)), _CONTROLLER)
        read_reports(config, _reporter(config))


def prepare(config: pytest.Config, marked: list[pytest.Item]) -> None:
    """Read the markers' limits, and make sure that all can be measured."""
    limits = _read_markers(config, marked) if marked else {}
    _check_audit(config, limits)
    if config.option.collectonly:
        return
    if limits:
        meter = _meter(config)
        meter.limits.update(limits)
        meter.use_reports(config)
        outer = any(phase != "call" for phases in limits.values() for phase in phases)
        if outer and not config.pluginmanager.has_plugin(_OUTER_PHASES):
            config.pluginmanager.register(OuterPhases(meter), _OUTER_PHASES)
    if config.pluginmanager.has_plugin(_METER):
        _check_method(config)


class SwitchInterval:
    """Runs the tests under another switch interval (s), and restores the one there was."""

    def __init__(self, seconds: float) -> None:
        # CPython cuts off fractions of a microsecond; a float may lack a hair to a whole one.
        self._seconds = (round(seconds * 1e6) + 0.5) * 1e-6

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        __tracebackhide__ = True
        before = sys.getswitchinterval()
        sys.setswitchinterval(self._seconds)
        try:
            return (yield)
        finally:
            sys.setswitchinterval(before)


def _meter(config: pytest.Config) -> Meter:
    """Return the meter of this process; makes it, and what listens to it, when first asked."""
    meter: Meter | None = config.pluginmanager.get_plugin(_METER)
    if meter is None:
        sink = WorkerSink(config) if is_worker(config) else _reporter(config)
        settings = settings_of(config)
        meter = Meter(
            settings.measurement,
            sink,
            settings.default_limits,
            shortest=settings.shortest_reading,
            properties=settings.reporting.properties,
            travels=is_worker(config),
        )
        config.pluginmanager.register(meter, _METER)
        if is_worker(config) or settings.needs_reports:
            meter.use_reports(config)
        _watch_for_stalls(config, meter, sink)
        _record_trace(config, meter)
    return meter


def _record_trace(config: pytest.Config, meter: Meter) -> None:
    settings = settings_of(config)
    if any(export.report.needs_trace for export in settings.reporting.exports):
        from pytest_gilknock.measurement.tracing import TraceRecorder

        method, events = settings.measurement.method, settings.measurement.trace_events
        recorder = TraceRecorder(config, method, events, meter.extras)
        config.pluginmanager.register(recorder)


def _watch_for_stalls(config: pytest.Config, meter: Meter, sink: Sink) -> None:
    """Have stalls watched where there are knocks: without the GIL, or by choice, there are none."""
    settings = settings_of(config).measurement
    if settings.stall_timeout and settings.knock_interval != 0.0 and gil_enabled():
        from pytest_gilknock.measurement.stalls import StallWatch

        watch = StallWatch(config, settings.stall_timeout, meter.extras, sink)
        config.pluginmanager.register(watch)


def _reporter(config: pytest.Config) -> Reporter:
    """Return what prints and writes the readings; makes it when first asked."""
    reporter: Reporter | None = config.pluginmanager.get_plugin(_REPORTER)
    if reporter is None:
        reporter = Reporter(config, settings_of(config).reporting)
        config.pluginmanager.register(reporter, _REPORTER)
        if github.is_running(os.environ):
            from pytest_gilknock.reporting.github_annotator import Annotator

            config.pluginmanager.register(Annotator(config))
    return reporter


def _read_markers(
    config: pytest.Config, marked: list[pytest.Item]
) -> dict[pytest.Item, PhaseLimits]:
    """Return the limits of each marked test."""
    from pytest_gilknock.measurement.markers import MarkerError, limits_of

    limits: dict[pytest.Item, PhaseLimits] = {}
    errors: list[str] = []
    defaults = settings_of(config).default_limits
    for item in marked:
        try:
            limits[item] = limits_of(item, defaults)
        except MarkerError as error:
            errors.append(str(error))
    if errors:
        _usage_error(config, "\n".join(errors))
    return limits


def _check_audit(config: pytest.Config, limits: dict[pytest.Item, PhaseLimits]) -> None:
    """Raise a usage error for a limit on holds where no knocks are made, which audit them."""
    if settings_of(config).measurement.knock_interval != 0.0:
        return
    for item, phases in limits.items():
        if any(limit.kind == "max_hold" for phase in phases.values() for limit in phase):
            place = f"marker max_gil_hold on {printable(item.nodeid)}"
            _usage_error(config, str(no_audit(place)))


def _check_method(config: pytest.Config) -> None:
    """Raise a usage error where only exact readings were asked for, and none can be had."""
    if settings_of(config).measurement.method != "exact":
        return
    from pytest_gilknock import _core

    method, reason = _core.status()
    if method != "exact":
        _usage_error(config, f"--gil-method: 'exact' cannot be had here: {reason or method}")


def _usage_error(config: pytest.Config, text: str) -> NoReturn:
    if is_worker(config):
        fail_worker(config, text)
    raise pytest.UsageError(text)


def _check_exports(settings: Settings) -> None:
    for export in settings.reporting.exports:
        try:
            export.check()
        except ValueError as error:
            raise pytest.UsageError(f"{export.source}: {error}") from None
