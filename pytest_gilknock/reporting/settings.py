"""What is asked for of tables, files and properties, checked, in one frozen result."""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_gilknock.options import DEFAULT_TOP, JUNIT, SHORT_FORMS, SORTS, one_of

if TYPE_CHECKING:
    from pytest_gilknock.options import Asked
    from pytest_gilknock.reporting.export import Export

FILES_WITH_PROPERTIES = ("xmlpath", "htmlpath", "json_report", "report_log", "allure_report_dir")
"""Options of those who write properties into files: pytest, pytest-html and the like."""

OLDEST_PYTEST_HTML = 4
"""The first version whose cells are texts."""


class ReportingSettings(NamedTuple):
    """What to print and to write.

    ``properties`` says which tests get some: ``all``, ``measured`` (those of which a reading is
    taken in any case), ``limited`` or ``none``.
    """

    report: bool = False
    top: int = DEFAULT_TOP
    sort: str = "wait"
    exports: tuple[Export, ...] = ()
    properties: str = "limited"
    verbosity: int = 0
    audit: bool = False
    """Whether the native calls that keep the GIL are listed."""
    locks: bool = False
    """Whether waits for locks are asked for in every test."""
    compares: bool = False
    """Whether the run is compared with saved ones, too."""
    html_columns: bool = False
    """Whether pytest-html writes a table that has room for columns."""


def read(config: pytest.Config, asked: Asked) -> ReportingSettings:
    """Return what to print and to write; raises pytest.UsageError for what cannot be used."""
    report = asked.value("gil_report", bool, False)
    return ReportingSettings(
        report=report,
        top=asked.value("gil_top", _parse_count, DEFAULT_TOP),
        sort=asked.value("gil_sort", one_of(SORTS), "wait"),
        exports=_exports(config, asked),
        properties=asked.value("gil_junit", one_of(JUNIT), _properties(config, report=report)),
        verbosity=config.getoption("verbose", 0),
        audit=asked.value("gil_audit", bool, False),
        compares="gil_compare" in asked,
        html_columns=_has_pytest_html(config),
    )


def check_table_options(asked: Asked, *, report: bool, compare: bool) -> None:
    """Raise pytest.UsageError for an option that says how to print a table that is not printed.

    An ini key may stand there for the runs that print one.
    """
    if "gil_sort" in asked.of_command_line and not report:
        raise pytest.UsageError("--gil-sort has no effect without --gil-report")
    if "gil_top" in asked.of_command_line and not (report or compare):
        raise pytest.UsageError("--gil-top has no effect without --gil-report or --gil-compare=REF")


def _properties(config: pytest.Config, *, report: bool) -> str:
    if not report:
        return "limited"
    written = any(getattr(config.option, name, None) for name in FILES_WITH_PROPERTIES)
    return "all" if written else "measured"


def _has_pytest_html(config: pytest.Config) -> bool:
    has_hooks = hasattr(config.hook, "pytest_html_results_table_row")
    if not has_hooks or not getattr(config.option, "htmlpath", None):
        return False
    major = str(getattr(import_module("pytest_html"), "__version__", "")).partition(".")[0]
    return major.isdigit() and int(major) >= OLDEST_PYTEST_HTML


def _parse_count(value: Any) -> int:
    written = str(value)
    if not (written.isascii() and written.isdigit() and len(written) < 10):
        raise ValueError(f"{value!r} is not a number of rows: 0 for all, or a count such as 10")
    return int(written)


def _exports(config: pytest.Config, asked: Asked) -> tuple[Export, ...]:
    """Return the files to write. Those of the command line replace those of the ini file."""
    short_forms = [name for name in SHORT_FORMS if name in asked]
    if "gil_export" not in asked and not short_forms:
        return ()
    from pytest_gilknock.reporting import export

    def parse_each(written: list[str]) -> list[Export]:
        from_ini = "gil_export" not in asked.of_command_line
        folder = str(config.rootpath) if from_ini else os.getcwd()
        return [export.parse_export(one, asked.place("gil_export"), folder) for one in written]

    def parse_path(name: str, path: str) -> list[Export]:
        return [export.short_export(SHORT_FORMS[name], path, asked.place(name), os.getcwd())]

    exports: list[Export] = []
    if not short_forms or "gil_export" in asked.of_command_line:
        exports += asked.value("gil_export", parse_each, [])
    for name in short_forms:
        exports += asked.value(name, partial(parse_path, name), [])
    try:
        export.check_distinct(exports)
    except ValueError as error:
        raise pytest.UsageError(f"--gil-export: {error}") from None
    return tuple(exports)
