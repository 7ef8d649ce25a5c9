"""A baseline as text: JSON with sorted keys and one test per line, and the checks on the way back.

``baseline.schema.json`` beside this file publishes the same format for other tools.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, NoReturn

from pytest_gilknock.baseline.model import (
    Baseline,
    BaselineEntry,
    BaselineError,
    Commit,
    Interpreter,
    Machine,
)
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.units import COUNT, SECONDS, SHARE
from pytest_gilknock.render.format import shown_path
from pytest_gilknock.render.json_lines import one_per_line

SCHEMA_VERSION = max(2, *(metric.since for metric in METRICS.values()))
"""Raised when a field is added, removed or changes its meaning."""

KIND = "pytest-gilknock baseline"

MAX_BYTES = 64 * 1024 * 1024
_TOO_LARGE = f"larger than {MAX_BYTES // 1024**2} MiB, the most a baseline may have"
MAX_SECONDS = 1e9
MAX_COUNT = 2**63 - 1
MAX_PROCESSORS = 1e6
MAX_TEXT = 1000

METHODS = ("exact", "sampled", "disabled")


def dumps(baseline: Baseline) -> str:
    """Return the file's text. Pure ASCII: any other character is escaped, so that none hides.

    Raises BaselineError for more than could be read back.
    """
    document = {
        "commit": _members(baseline.commit),
        "created": baseline.created,
        "interpreter": _members(baseline.interpreter),
        "kind": KIND,
        "machine": _members(baseline.machine),
        "schema": SCHEMA_VERSION,
    }
    head = [f'  "{key}": {_text(document[key])}' for key in sorted(document)]
    tests = (
        f"{_text(nodeid)}: {_text(_entry_members(entry))}"
        for nodeid, entry in sorted(baseline.tests.items())
    )
    opened = "{\n" + ",\n".join(head)
    text = "".join(one_per_line(opened, "tests", tests, brackets="{}", indent=2))
    if len(text) > MAX_BYTES:
        raise BaselineError(f"with {len(baseline.tests)} tests {_TOO_LARGE}")
    return text


def _members(value: Commit | Interpreter | Machine | BaselineEntry | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _entry_members(entry: BaselineEntry) -> dict[str, Any]:
    conditions = _members(entry) or {}
    metrics = conditions.pop("metrics")
    return {**{name: metrics.get(name) for name in METRICS}, **conditions}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{_text(key)}: {_text(value[key])}" for key in sorted(value))
        return "{" + ", ".join(members) + "}"
    if isinstance(value, float):
        fixed = f"{value:.{SECONDS.digits}f}".rstrip("0")
        return fixed + "0" if fixed.endswith(".") else fixed
    return json.dumps(value)


def loads(data: bytes, place: str) -> Baseline:
    """Read a baseline from the bytes of a file; ``place`` names it in errors.

    Raises :class:`BaselineError`, and nothing else, for anything but a baseline of this schema.
    """
    try:
        return _baseline(_json(data))
    except _Fault as fault:
        raise BaselineError(f"{place}: {fault}") from None


def load(path: str) -> Baseline:
    """Read the baseline in a file. Raises BaselineError, which names the file and the reason."""
    try:
        # Opening a pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BaselineError(f"{shown_path(path)}: not a regular file")
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BaselineError(f"{shown_path(path)}: {reason}") from None
    return loads(data, shown_path(path))


class _Fault(Exception):
    """Why the data is no baseline, without the file's name."""


def _json(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise _Fault(_TOO_LARGE)
    if not data.strip():
        raise _Fault("the file is empty")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Fault(f"not UTF-8: byte {error.start} is {data[error.start]:#04x}") from None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _Fault(
            f"not JSON, or cut off: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise _Fault("nested too deeply to be a baseline") from None
    except ValueError:
        raise _Fault("a number has too many digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise _Fault(f"the key {_shown(key)} stands twice in one object")
        members[key] = value
    return members


def _no_constant(name: str) -> NoReturn:
    raise _Fault(f"{name} is no measured number")


Check = Callable[[Any, str], Any]


def _baseline(document: Any) -> Baseline:
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise _Fault(f'not a baseline: it has no "kind": "{KIND}"')
    version: Any = document.get("schema")
    if version not in range(1, SCHEMA_VERSION + 1) or isinstance(version, bool):
        known = "schema 1" if SCHEMA_VERSION == 1 else f"schemas 1 to {SCHEMA_VERSION}"
        raise _Fault(
            f"has schema {_shown(version)}, this pytest-gilknock reads {known}: "
            "another version of pytest-gilknock made it"
        )
    checked = _object(
        document,
        "the document",
        {
            "schema": lambda value, place: value,
            "kind": lambda value, place: value,
            "created": _time_stamp,
            "machine": lambda value, place: Machine(**_object(value, place, _MACHINE)),
            "interpreter": lambda value, place: Interpreter(**_object(value, place, _INTERPRETER)),
            "commit": _optional(lambda value, place: Commit(**_object(value, place, _COMMIT))),
            "tests": lambda value, place: _tests(value, place, version),
        },
    )
    del checked["schema"], checked["kind"]
    return Baseline(**checked)


def _tests(value: Any, place: str, version: int) -> dict[str, BaselineEntry]:
    if not isinstance(value, dict):
        raise _wrong(value, place, "an object")
    if "" in value:
        raise _Fault(f'{place} has a test without a name, ""')
    return {
        nodeid: _entry(entry, f"the test {_shown(nodeid)}", version)
        for nodeid, entry in value.items()
    }


def _entry(value: Any, place: str, version: int) -> BaselineEntry:
    metrics = {metric.name: _OF_UNIT[metric.unit.name] for metric in METRICS.values()}
    there = {name: metrics[name] for name in metrics if METRICS[name].since <= version}
    conditions = _CONDITIONS if version == 1 else {**_CONDITIONS, **_CONDITIONS_SINCE_2}
    members = _object(value, place, {**there, **conditions}, version)
    return BaselineEntry(metrics={name: members.pop(name, None) for name in metrics}, **members)


def _object(
    value: Any, place: str, members: dict[str, Check], version: int = SCHEMA_VERSION
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, place, "an object")
    if missing := sorted(members.keys() - value.keys()):
        raise _Fault(f"{place} has no {_listed(missing)}")
    if foreign := sorted(value.keys() - members.keys()):
        raise _Fault(f"{place} has {_listed(foreign)}, which schema {version} does not know")
    return {
        name: check(value[name], f"{_shown(name)} of {place}") for name, check in members.items()
    }


def _optional(check: Check) -> Check:
    return lambda value, place: None if value is None else check(value, place)


def _number(most: float, accepted: str) -> Check:
    def check(value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise _wrong(value, place, accepted)
        return float(value)

    return check


def _count(value: Any, place: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 1.0 is a count, too
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise _wrong(value, place, "a whole number from 0")
    return value


def _bool(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, place, "true or false")
    return value


def _string(value: Any, place: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise _wrong(value, place, f"a text of 1 to {MAX_TEXT} characters")
    return value


def _time_stamp(value: Any, place: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(TIME_STAMP, value):
        raise _wrong(value, place, "a time in UTC like 2025-01-31T12:00:00Z")
    return value


TIME_STAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"


def _method(value: Any, place: str) -> str:
    if not isinstance(value, str) or value not in METHODS:
        raise _wrong(value, place, f"one of {', '.join(METHODS)}")
    return value


_share = _number(1.0, "a share from 0 to 1")
_seconds = _number(MAX_SECONDS, f"seconds from 0 to {MAX_SECONDS:g}")

_MACHINE: dict[str, Check] = {
    "kind": _string,
    "release": _string,
    "arch": _string,
    "cpus": _count,
}
_INTERPRETER: dict[str, Check] = {
    "version": _string,
    "gil_enabled": _bool,
    "switch_interval": _seconds,
}
_COMMIT: dict[str, Check] = {
    "id": _string,
    "branch": _optional(_string),
    "dirty": _optional(_bool),
}
_OF_UNIT: dict[str, Check] = {
    SHARE.name: _optional(_share),
    SECONDS.name: _optional(_seconds),
    COUNT.name: _optional(_count),
}
_CONDITIONS: dict[str, Check] = {
    "method": _method,
    "held": _optional(_seconds),
    "wall": _seconds,
    "knocks": _count,
    "knocks_waited": _count,
    "threads": _count,
    "run_delay": _optional(_seconds),
}
_CONDITIONS_SINCE_2: dict[str, Check] = {
    "used": _optional(_seconds),
    "others": _optional(_seconds),
    "throttled": _optional(_seconds),
    "lost": _optional(_seconds),
    "processors": _optional(_number(MAX_PROCESSORS, f"a number from 0 to {MAX_PROCESSORS:g}")),
    "blame": _optional(_string),
}


def _wrong(value: Any, place: str, accepted: str) -> _Fault:
    return _Fault(f"{place} is {_shown(value)}, expected {accepted}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_shown(name) for name in names)


def _shown(value: Any) -> str:
    """Name a value from outside, short and printable."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and abs(value) > MAX_COUNT:
        return "a huge number"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + '..."'
