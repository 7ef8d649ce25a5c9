"""What the command line and the ini file ask for, checked, in one frozen result."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pytest

from pytest_gilknock.gate import settings as gate_options
from pytest_gilknock.model.limits import Limit
from pytest_gilknock.model.trace import DEFAULT_EVENTS
from pytest_gilknock.model.units import parse_duration, parse_share
from pytest_gilknock.options import DEFAULT_TOP, JUNIT, METHODS, SHORT_FORMS, SORTS, given

if TYPE_CHECKING:
    from pytest_gilknock.gate.settings import GateSettings
    from pytest_gilknock.model.reading import AskedMethod
    from pytest_gilknock.model.wire import Kind
    from pytest_gilknock.reporting.export import Export

T = TypeVar("T")


class Settings(NamedTuple):
    """What a run is asked for. Times in seconds."""

    report: bool = False
    top: int = DEFAULT_TOP
    sort: str = "wait"
    limits: tuple[Limit, ...] = ()
    method: AskedMethod = "auto"
    knock_interval: float | None = None
    switch_interval: float | None = None
    stall_timeout: float = 1.0
    trace_events: int = DEFAULT_EVENTS
    exports: tuple[Export, ...] = ()
    junit: str = "limited"
    gate: GateSettings | None = None
    verbosity: int = 0

    @property
    def tells_all(self) -> bool:
        """Whether even the shortest test has its reading told somewhere."""
        asked = bool(self.exports) or self.gate is not None or self.junit == "all"
        return asked or self.verbosity >= 2

    @property
    def measures_all(self) -> bool:
        """Whether every test is measured, not only those with a marker."""
        asked = self.report or bool(self.exports) or self.gate is not None
        return asked or bool(self.limits)

    @property
    def limits_of_all(self) -> dict[str, tuple[Limit, ...]]:
        """The limits of a test without markers, for each phase to measure."""
        return {"call": self.limits} if self.measures_all else {}


def read(config: pytest.Config) -> Settings:
    """Return the settings of this run; raises pytest.UsageError for a value that cannot be used."""
    asked = given(config)

    def value(name: str, parse: Callable[[Any], T], default: T) -> T:
        if name not in asked:
            return default
        place, raw = asked[name]
        try:
            return parse(raw)
        except ValueError as error:
            raise pytest.UsageError(f"{place}: {error}") from None

    def limit(name: str, kind: Kind, parse: Callable[[Any], float]) -> Limit | None:
        bound = value(name, parse, None)
        return None if bound is None else Limit(kind, bound, asked[name][0])

    report = value("gil_report", bool, False)
    gate = gate_options.read(config)
    limits = (
        limit("gil_max_contention", "contention", parse_share),
        limit("gil_max_wait", "max_wait", parse_duration),
    )
    settings = Settings(
        report=report,
        top=value("gil_top", _parse_count, DEFAULT_TOP),
        sort=value("gil_sort", _one_of(SORTS), "wait"),
        limits=tuple(limit for limit in limits if limit is not None),
        method=cast("AskedMethod", value("gil_method", _one_of(METHODS), "auto")),
        knock_interval=value("gil_knock_interval", _or_off(_between("100us", "10s"), "off"), None),
        switch_interval=value("gil_switch_interval", _between("1us", "1min"), None),
        stall_timeout=value("gil_stall_timeout", _or_off(_between("10ms", "60min"), "0"), 1.0),
        trace_events=value("gil_trace_events", _parse_events, DEFAULT_EVENTS),
        exports=_exports(config, asked),
        junit=value("gil_junit", _one_of(JUNIT), _default_junit(config, report=report)),
        gate=gate,
        verbosity=config.getoption("verbose", 0),
    )
    _check_table_options(config, settings)
    return settings


def _exports(config: pytest.Config, asked: dict[str, tuple[str, Any]]) -> tuple[Export, ...]:
    """Return the files to write. Those of the command line replace those of the ini file."""
    if config.option.gil_json_format is not None:
        raise pytest.UsageError(
            "--gil-json-format: write --gil-export=FORMAT:PATH instead, such as"
            " --gil-export=github-action-benchmark:gil.json"
        )
    short = [name for name in SHORT_FORMS if name in asked]
    if "gil_export" not in asked and not short:
        return ()
    from pytest_gilknock.reporting import export

    folder = os.getcwd()
    place, written = asked.get("gil_export", ("", []))
    if config.option.gil_export is None:
        folder, written = str(config.rootpath), [] if short else written
    try:
        exports = [export.parse_export(one, place, folder) for one in written]
        for name in short:
            place, path = asked[name]
            exports.append(export.short_export(SHORT_FORMS[name], path, place, os.getcwd()))
        place = "--gil-export"
        export.check_distinct(exports)
    except ValueError as error:
        raise pytest.UsageError(f"{place}: {error}") from None
    return tuple(exports)


_FILE_REPORTS = ("xmlpath", "htmlpath", "json_report", "report_log", "allure_report_dir")
"""Options of plugins whose files show properties: pytest's own, pytest-html and the like."""


def _default_junit(config: pytest.Config, *, report: bool) -> str:
    """Return which tests get properties; ``measured``: those whose reading is taken anyway."""
    if not report:
        return "limited"
    return (
        "all" if any(getattr(config.option, name, None) for name in _FILE_REPORTS) else "measured"
    )


def _check_table_options(config: pytest.Config, settings: Settings) -> None:
    """Refuse an option that says how to print a table, where none is printed.

    An ini key may stand there for the runs that print one.
    """
    compare = settings.gate is not None and settings.gate.compare is not None
    if config.option.gil_sort is not None and not settings.report:
        raise pytest.UsageError("--gil-sort has no effect without --gil-report")
    if config.option.gil_top is not None and not (settings.report or compare):
        raise pytest.UsageError("--gil-top has no effect without --gil-report or --gil-compare=REF")


def _parse_count(value: Any) -> int:
    written = str(value)
    if not (written.isascii() and written.isdigit() and len(written) < 10):
        raise ValueError(f"{value!r} is not a number of rows: 0 for all, or a count such as 10")
    return int(written)


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return str(value)

    return parse


def _parse_events(value: Any) -> int:
    written = str(value).replace("_", "")
    if not (written.isascii() and written.isdigit() and 0 < len(written) < 10 and int(written)):
        raise ValueError(f"{value!r} is not a number of events from 1 to 999999999")
    return int(written)


def _or_off(parse: Callable[[Any], float], *off: str) -> Callable[[Any], float]:
    """Return a parser that takes these values for 0 seconds."""

    def parse_or_off(value: Any) -> float:
        if str(value) in off:
            return 0.0
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or {' or '.join(map(repr, off))}") from None

    return parse_or_off


def _between(low: str, high: str) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        number = parse_duration(value)
        if not parse_duration(low) <= number <= parse_duration(high):
            raise ValueError(f"{value!r} is not a time from {low} to {high}")
        return number

    return parse
