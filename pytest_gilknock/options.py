"""Options and ini keys: their declaration, their precedence, and one frozen result.

Imported with the plugin in every run, so it imports nothing that is not needed to declare them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from pytest_gilknock.gate_options import GateSettings
    from pytest_gilknock.limits import Kind, Limit
    from pytest_gilknock.reading import AskedMethod

T = TypeVar("T")

METHODS = ("auto", "exact", "sampled")
SORTS = ("wait", "max_wait", "held", "contention")
JUNIT = ("all", "limited", "none")

DEFAULT_TOP = 10


class Settings(NamedTuple):
    """What the command line and the ini file ask for. Times in seconds."""

    report: bool = False
    top: int = DEFAULT_TOP
    sort: str = "wait"
    limits: tuple[Limit, ...] = ()
    method: AskedMethod = "auto"
    knock_interval: float | None = None
    switch_interval: float | None = None
    json: str | None = None
    json_format: str | None = None
    junit: str = "limited"
    gate: GateSettings | None = None

    @property
    def measures_all(self) -> bool:
        """Whether every test is measured, not only those with a marker."""
        asked = self.report or self.json is not None or self.gate is not None
        return asked or bool(self.limits)

    @property
    def limits_of_all(self) -> dict[str, tuple[Limit, ...]]:
        """The limits of a test without markers, for each phase to measure."""
        return {"call": self.limits} if self.measures_all else {}


_OPTIONS: tuple[tuple[str, str | None, str], ...] = (
    ("gil_top", "N", f"rows of the GIL table, 0 for all (default: {DEFAULT_TOP})"),
    ("gil_sort", "|".join(SORTS), "order of the GIL table (default: wait)"),
    (
        "gil_max_contention",
        "SHARE",
        "fail tests that hold the GIL for more than this share of their time (0.3, 30%%), unless "
        "they have a max_gil_contention marker",
    ),
    (
        "gil_max_wait",
        "TIME",
        "fail tests in which a thread waits longer than this for the GIL at once (20ms, 1.5s), "
        "unless they have a max_gil_wait marker",
    ),
    ("gil_method", "|".join(METHODS), "how the GIL is measured (default: auto)"),
    (
        "gil_switch_interval",
        "TIME",
        "run the tests under this sys.setswitchinterval (1us to 1min), restored afterwards",
    ),
)
_INI_ONLY: tuple[tuple[str, str], ...] = (
    ("gil_knock_interval", "mean time between two knocks on the GIL (100us to 10s; default: 20ms)"),
    (
        "gil_junit",
        "tests that get JUnit properties: all|limited|none (default: all with --gil-report and "
        "--junit-xml, otherwise those with a limit)",
    ),
)


def declare(parser: pytest.Parser) -> None:
    """Add the options and ini keys. An option not given is ``None``, or its ini key has no say."""
    group = parser.getgroup("gilknock", "GIL contention")
    group.addoption(
        "--gil-report",
        action="store_true",
        default=None,
        help="measure every test and print who made others wait for the GIL",
    )
    parser.addini("gil_report", "see --gil-report: true or false", type="bool", default=None)
    for name, metavar, text in _OPTIONS:
        group.addoption(_flag(name), metavar=metavar, default=None, help=text)
        parser.addini(name, f"see {_flag(name)}", default=None)
    group.addoption(
        "--gil-json", metavar="PATH", default=None, help="write the readings of every test to PATH"
    )
    for name, text in _INI_ONLY:
        parser.addini(name, text, default=None)


def read(config: pytest.Config) -> Settings:
    """Return the settings of this run; raises pytest.UsageError for a value that cannot be used."""
    given = {name: value for name in _names() if (value := _given(config, name)) is not None}
    return _parse(config, given) if given else Settings()


def _parse(config: pytest.Config, given: dict[str, tuple[str, Any]]) -> Settings:
    from pytest_gilknock.limits import Limit, parse_duration, parse_share

    def value(name: str, parse: Callable[[Any], T], default: T) -> T:
        if name not in given:
            return default
        place, raw = given[name]
        try:
            return parse(raw)
        except ValueError as error:
            raise pytest.UsageError(f"{place}: {error}") from None

    def limit(name: str, kind: Kind, parse: Callable[[Any], float]) -> Limit | None:
        bound = value(name, parse, None)
        return None if bound is None else Limit(kind, bound, given[name][0])

    report = value("gil_report", bool, False)
    limits = (
        limit("gil_max_contention", "contention", parse_share),
        limit("gil_max_wait", "max_wait", parse_duration),
    )
    everything = report and bool(config.getoption("xmlpath", None))
    return Settings(
        report=report,
        top=value("gil_top", _parse_count, DEFAULT_TOP),
        sort=value("gil_sort", _one_of(SORTS), "wait"),
        limits=tuple(limit for limit in limits if limit is not None),
        method=cast("AskedMethod", value("gil_method", _one_of(METHODS), "auto")),
        knock_interval=value("gil_knock_interval", _between("100us", "10s"), None),
        switch_interval=value("gil_switch_interval", _between("1us", "1min"), None),
        json=value("gil_json", _parse_path, None),
        junit=value("gil_junit", _one_of(JUNIT), "all" if everything else "limited"),
    )


def _names() -> list[str]:
    declared = [name for name, _, _ in _OPTIONS] + [name for name, _ in _INI_ONLY]
    return ["gil_report", "gil_json", *declared]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _given(config: pytest.Config, name: str) -> tuple[str, Any] | None:
    """Return (place, value) of a setting, command line before ini file; ``None`` if unset."""
    value = getattr(config.option, name, None)
    if value is not None:
        return _flag(name), value
    if name == "gil_json":
        return None
    place = f"ini key {name}"
    try:
        value = config.getini(name)
    except (ValueError, TypeError, pytest.UsageError) as error:
        form = "true or false" if name == "gil_report" else "it as text, in quotes"
        raise pytest.UsageError(f"{place}: {error}; write {form}") from None
    return None if value in (None, "", []) else (place, value)


def _parse_count(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"{value!r} is not a number of rows: 0 for all, or a count such as 10")
    return int(value)


def _parse_path(value: str) -> str:
    if not value:
        raise ValueError("'' is not a path")
    return os.path.abspath(value)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return parse


def _between(low: str, high: str) -> Callable[[Any], float | None]:
    def parse(value: Any) -> float:
        from pytest_gilknock.limits import parse_duration

        number = parse_duration(value)
        if not parse_duration(low) <= number <= parse_duration(high):
            raise ValueError(f"{value!r} is not a time from {low} to {high}")
        return number

    return parse
