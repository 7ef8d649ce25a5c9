"""Options and ini keys: their declaration and precedence.

Imported with the plugin in every run, so it imports nothing that is not needed for that.
"""

from __future__ import annotations

import argparse
from typing import Any

import pytest

# What an ini key may be in pytest's native TOML, where this pytest can be told so.
_TEXT_OR_NUMBER: Any = str | int | float if pytest.version_tuple >= (9, 2) else None

METHODS = ("auto", "exact", "sampled")
SORTS = ("wait", "max_wait", "held", "contention")
JUNIT = ("all", "limited", "none")

DEFAULT_TOP = 10


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
    (
        "gil_knock_interval",
        "mean time between two knocks on the GIL, 100us to 10s (default: 50ms; 20ms where there "
        "are only knocks)",
    ),
    (
        "gil_trace_events",
        "how many holds of the GIL and waits for it a trace keeps of each process, the latest "
        "ones, 24 bytes each (default: 1000000)",
    ),
    (
        "gil_stall_timeout",
        "when no thread can get the GIL for so long, print all stacks to stderr and tell of it: "
        "10ms to 60min, or 0 for never (default: 1s)",
    ),
    (
        "gil_junit",
        "tests that get properties, in JUnit files and other reports: all|limited|none (default: "
        "all with --gil-report, otherwise those with a limit)",
    ),
)


SHORT_FORMS = {"gil_json": "json", "gil_html": "html"}
"""Options with a path, short for ``--gil-export`` with this format."""

_OPTIONS_ONLY = (*SHORT_FORMS, "gil_json_format")


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
        parser.addini(name, f"see {_flag(name)}", type=_TEXT_OR_NUMBER, default=None)
    group.addoption(
        "--gil-export",
        metavar="FORMAT:PATH",
        action="append",
        default=None,
        help="write the readings of every test to PATH as json, or in another FORMAT (repeatable)",
    )
    parser.addini(
        "gil_export",
        "see --gil-export, one in a line; relative to the root directory",
        type="linelist",
        default=None,
    )
    for name, form in SHORT_FORMS.items():
        text = f"short for --gil-export={form}:PATH"
        group.addoption(_flag(name), metavar="PATH", default=None, help=text)
    group.addoption("--gil-json-format", default=None, help=argparse.SUPPRESS)
    for name, text in _INI_ONLY:
        parser.addini(name, text, type=_TEXT_OR_NUMBER, default=None)


def given(config: pytest.Config) -> dict[str, tuple[str, Any]]:
    """Return (place, value) of each setting that someone made, by its name.

    Raises pytest.UsageError for an ini value that pytest itself cannot read.
    """
    found = {name: _given(config, name) for name in _names()}
    return {name: value for name, value in found.items() if value is not None}


def _names() -> list[str]:
    declared = [name for name, _, _ in _OPTIONS] + [name for name, _ in _INI_ONLY]
    return ["gil_report", "gil_export", *_OPTIONS_ONLY, *declared]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _given(config: pytest.Config, name: str) -> tuple[str, Any] | None:
    """Return (place, value) of a setting, command line before ini file; ``None`` if unset."""
    value = getattr(config.option, name, None)
    if value is not None:
        return _flag(name), value
    if name in _OPTIONS_ONLY:
        return None
    place = f"ini key {name}"
    try:
        value = _ini_value(config, name)
    except (ValueError, TypeError, pytest.UsageError) as error:
        form = "true or false" if name == "gil_report" else "it as text, in quotes"
        raise pytest.UsageError(f"{place}: {error}; write {form}") from None
    return None if value in (None, "", []) else (place, value)


def _ini_value(config: pytest.Config, name: str) -> Any:
    """Return an ini key's value; pytest 9.0 and 9.1 take numbers in native TOML for a mistake."""
    try:
        return config.getini(name)
    except TypeError:
        written = getattr(config, "_inicfg", {}).get(name)
        value = getattr(written, "value", None)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise
        return value
