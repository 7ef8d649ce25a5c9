"""A baseline as text: JSON with sorted keys and one test per line, and the checks on the way back.

``baseline.schema.json`` beside this file publishes the same format for other tools.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from pytest_gilknock.baseline import checks
from pytest_gilknock.baseline.checks import (
    Check,
    Fault,
    boolean,
    count,
    listed,
    members_of,
    method,
    number,
    optional,
    seconds,
    share,
    short_text,
    shown,
    wrong,
)
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
MAX_PROCESSORS = 1e6

_BEGINNING = 64 * 1024
_KIND_MEMBER = re.compile(rf'"kind"\s*:\s*"{KIND}"'.encode())


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
        document = checks.parse(data, MAX_BYTES, _TOO_LARGE)
    except Fault as fault:
        raise BaselineError(f"{place}: {fault}") from None
    return from_document(document, place)


def from_document(document: Any, place: str) -> Baseline:
    """Read a baseline from the JSON document in a file; as :func:`loads`."""
    try:
        return _baseline(document)
    except Fault as fault:
        raise BaselineError(f"{place}: {fault}") from None


def load(path: str) -> Baseline:
    """Read the baseline in a file. Raises BaselineError, which names the file and the reason."""
    try:
        data = checks.read(path, MAX_BYTES)
    except Fault as fault:
        raise BaselineError(f"{shown_path(path)}: {fault}") from None
    return loads(data, shown_path(path))


def is_saved_run(path: str) -> bool:
    """Return whether a file begins as a baseline does, whatever is wrong with the rest of it."""
    try:
        beginning = checks.read(path, _BEGINNING)
    except Fault:
        return False
    return _KIND_MEMBER.search(beginning) is not None


def _baseline(document: Any) -> Baseline:
    if checks.is_readings(document):
        raise Fault(
            "not a baseline, which --gil-save writes, but readings of --gil-json:"
            " `python -m pytest_gilknock report --html OUT` makes a page of them"
        )
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise Fault(f'not a baseline: it has no "kind": "{KIND}"')
    version: Any = document.get("schema")
    if version not in range(1, SCHEMA_VERSION + 1) or isinstance(version, bool):
        known = "schema 1" if SCHEMA_VERSION == 1 else f"schemas 1 to {SCHEMA_VERSION}"
        raise Fault(
            f"has schema {shown(version)}, this pytest-gilknock reads {known}: "
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
            "commit": optional(lambda value, place: Commit(**_object(value, place, _COMMIT))),
            "tests": lambda value, place: _tests(value, place, version),
        },
    )
    del checked["schema"], checked["kind"]
    return Baseline(**checked)


def _tests(value: Any, place: str, version: int) -> dict[str, BaselineEntry]:
    if not isinstance(value, dict):
        raise wrong(value, place, "an object")
    if "" in value:
        raise Fault(f'{place} has a test without a name, ""')
    return {
        nodeid: _entry(entry, f"the test {shown(nodeid)}", version)
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
        raise wrong(value, place, "an object")
    checked = members_of(value, place, members)
    if foreign := sorted(value.keys() - members.keys()):
        raise Fault(f"{place} has {listed(foreign)}, which schema {version} does not know")
    return checked


def _time_stamp(value: Any, place: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(TIME_STAMP, value):
        raise wrong(value, place, "a time in UTC like 2025-01-31T12:00:00Z")
    return value


TIME_STAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"


_MACHINE: dict[str, Check] = {
    "kind": short_text,
    "release": short_text,
    "arch": short_text,
    "cpus": count,
}
_INTERPRETER: dict[str, Check] = {
    "version": short_text,
    "gil_enabled": boolean,
    "switch_interval": seconds,
}
_COMMIT: dict[str, Check] = {
    "id": short_text,
    "branch": optional(short_text),
    "dirty": optional(boolean),
}
_OF_UNIT: dict[str, Check] = {
    SHARE.name: optional(share),
    SECONDS.name: optional(seconds),
    COUNT.name: optional(count),
}
_CONDITIONS: dict[str, Check] = {
    "method": method,
    "held": optional(seconds),
    "wall": seconds,
    "knocks": count,
    "knocks_waited": count,
    "threads": count,
    "run_delay": optional(seconds),
}
_CONDITIONS_SINCE_2: dict[str, Check] = {
    "used": optional(seconds),
    "others": optional(seconds),
    "throttled": optional(seconds),
    "lost": optional(seconds),
    "processors": optional(number(MAX_PROCESSORS, f"a number from 0 to {MAX_PROCESSORS:g}")),
    "blame": optional(short_text),
}
