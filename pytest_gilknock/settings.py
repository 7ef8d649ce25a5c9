"""What a run is asked for, of all subpackages, read once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_gilknock import options
from pytest_gilknock.gate import settings as gate_settings
from pytest_gilknock.gate.settings import GateSettings
from pytest_gilknock.measurement import settings as measurement_settings
from pytest_gilknock.measurement.settings import MeasurementSettings
from pytest_gilknock.model.reading import WORTH_A_ROW
from pytest_gilknock.render.format import shown_path
from pytest_gilknock.reporting import settings as reporting_settings
from pytest_gilknock.reporting.settings import ReportingSettings

if TYPE_CHECKING:
    from pytest_gilknock.model.limits import Limit
    from pytest_gilknock.options import Asked


class Settings(NamedTuple):
    """The settings of each subpackage, and what follows from them together."""

    measurement: MeasurementSettings = MeasurementSettings()
    reporting: ReportingSettings = ReportingSettings()
    gate: GateSettings | None = None

    @property
    def measures_every_test(self) -> bool:
        """Whether every test is measured, not only those with a marker."""
        reporting = self.reporting
        asked = reporting.report or bool(reporting.exports) or self.gate is not None
        return asked or bool(self.measurement.limits) or self.measurement.audit

    @property
    def reports_every_test(self) -> bool:
        """Whether the reading of even the shortest test is reported somewhere."""
        reporting = self.reporting
        asked = bool(reporting.exports) or self.gate is not None or reporting.properties == "all"
        return asked or reporting.html_columns or reporting.verbosity >= 2

    @property
    def needs_reports(self) -> bool:
        """Whether readings are of use only with the reports of their tests, for the outcome."""
        reporting = self.reporting
        asked = bool(reporting.exports) or reporting.html_columns or self.gate is not None
        return asked or bool(self.measurement.limits)

    @property
    def shortest_reading(self) -> float:
        """How long (s) a test without limits must last to have a reading; others are counted."""
        return 0.0 if self.reports_every_test else WORTH_A_ROW

    @property
    def default_limits(self) -> dict[str, tuple[Limit, ...]]:
        """Limits of a test without markers, by phase; a phase that is missing is not measured."""
        return {"call": self.measurement.limits} if self.measures_every_test else {}


def read(config: pytest.Config) -> Settings:
    """Return the settings of this run; raises pytest.UsageError for a value that cannot be used."""
    asked = options.asked(config)
    settings = Settings(
        measurement=measurement_settings.read(asked),
        reporting=reporting_settings.read(config, asked),
        gate=gate_settings.read(config, asked),
    )
    settings = settings._replace(measurement=_with_needed_metrics(asked, settings))
    settings = settings._replace(
        reporting=settings.reporting._replace(locks=bool(settings.measurement.locks))
    )
    _spare_saved_runs(config, asked, settings)
    reporting_settings.check_table_options(
        asked,
        report=settings.reporting.report,
        compare=settings.gate is not None and settings.gate.compare is not None,
    )
    return settings


def _with_needed_metrics(asked: Asked, settings: Settings) -> MeasurementSettings:
    """Return how to measure, so that there is what the gates are on and the table is sorted by."""
    measurement = settings.measurement
    gated = {gate.metric for gate in settings.gate.gates} if settings.gate is not None else set()
    if "max_hold" in gated:
        if measurement.knock_interval == 0.0:
            raise measurement_settings.no_audit(asked.place("gil_compare_fail"))
        measurement = measurement._replace(audit=True)
    by_locks = settings.reporting.report and settings.reporting.sort == "lock_wait"
    if by_locks or not gated.isdisjoint(("lock_wait", "stop_the_world")):
        measurement = measurement._replace(locks=True)
    return measurement


def _spare_saved_runs(config: pytest.Config, asked: Asked, settings: Settings) -> None:
    """Raise pytest.UsageError for an export that would replace a saved run, or be taken for one."""
    if not settings.reporting.exports:
        return
    from pytest_gilknock.baseline.storage import RUN_FILE_FORM, is_path, names_run

    gate = settings.gate
    files = {"gil_compare": gate.compare, "gil_save": gate.save} if gate is not None else {}
    storage = gate_settings.storage_folder(config, asked)
    for export in settings.reporting.exports:
        if names_run(export.path, storage):
            raise pytest.UsageError(
                f"{export.source}: {export.path!r} would be taken for a saved run, as those in"
                f" {shown_path(storage)} are called {RUN_FILE_FORM}; give it another name or folder"
            )
        for name, path in files.items():
            if path and is_path(path) and os.path.realpath(path) == os.path.realpath(export.path):
                raise pytest.UsageError(
                    f"{export.source}: {export.path!r} is the saved run of {asked.place(name)} as"
                    " well; give each a path of its own"
                )
