"""Checks on data that comes from a JSON file: what is wrong, where, and what is accepted. Pure."""

from __future__ import annotations

import gzip
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

MAX_SECONDS = 1e9
MAX_COUNT = 2**63 - 1
MAX_TEXT = 1000

Check = Callable[[Any, str], Any]
"""``(value, place)``: returns the value; raises :class:`Fault` if it is not what it should be."""


class Fault(Exception):
    """Why the data is not what it should be, without the file's name."""


def read(path: str, most: int) -> bytes:
    """Return the bytes of a file, unpacked if it is compressed with gzip.

    There may be one more than ``most``: the file is too large then. Raises Fault.
    """
    try:
        # Opening a pipe without a writer would block.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Fault("not a regular file")
            data = file.read(most + 1)
            if data[:2] != b"\x1f\x8b":
                return data
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(most + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Fault(reason) from None


def is_readings(document: Any) -> bool:
    """Return whether a JSON document looks like a file of ``--gil-json``."""
    return isinstance(document, dict) and {"pytest_gilknock", "run", "tests"} <= document.keys()


def parse(data: bytes, most: int, too_large: str) -> Any:
    """Return the JSON document in these bytes."""
    if len(data) > most:
        raise Fault(too_large)
    if not data.strip():
        raise Fault("the file is empty")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Fault(f"not UTF-8: byte {error.start} is {data[error.start]:#04x}") from None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Fault(
            f"not JSON, or cut off: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise Fault("nested too deeply") from None
    except ValueError:
        raise Fault("a number has too many digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise Fault(f"the key {shown(key)} stands twice in one object")
        members[key] = value
    return members


def _no_constant(name: str) -> NoReturn:
    raise Fault(f"{name} is no measured number")


def members_of(value: Any, place: str, members: dict[str, Check]) -> dict[str, Any]:
    """Return the checked members of an object, which may have others, too."""
    if not isinstance(value, dict):
        raise wrong(value, place, "an object")
    if missing := sorted(members.keys() - value.keys()):
        raise Fault(f"{place} has no {listed(missing)}")
    return {
        name: check(value[name], f"{shown(name)} of {place}") for name, check in members.items()
    }


def tuple_of(members: dict[str, Check]) -> Check:
    """Return a check of an object, which makes a tuple of its members in their order."""
    return lambda value, place: tuple(members_of(value, place, members).values())


def row_of(*checks: Check) -> Check:
    """Return a check of a list with one element for each check, which makes a tuple."""

    def check(value: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(checks):
            raise wrong(value, place, f"a list of {len(checks)}")
        return tuple(one(part, place) for one, part in zip(checks, value, strict=True))

    return check


def optional(check: Check) -> Check:
    """Return a check that takes null as well."""
    return lambda value, place: None if value is None else check(value, place)


def list_of(check: Check, most: int = 10**7) -> Check:
    """Return a check of a list and of each of its elements, which makes a list."""

    def check_list(value: Any, place: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise wrong(value, place, "a list")
        return [check(one, f"element {at} of {place}") for at, one in enumerate(value)]

    return check_list


def number(most: float, accepted: str) -> Check:
    """Return a check of a number from 0 to ``most``."""

    def check(value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise wrong(value, place, accepted)
        return float(value)

    return check


def count(value: Any, place: str) -> int:
    """Check a whole number from 0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 1.0 is a count, too
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise wrong(value, place, "a whole number from 0")
    return value


def boolean(value: Any, place: str) -> bool:
    """Check true or false."""
    if not isinstance(value, bool):
        raise wrong(value, place, "true or false")
    return value


def short_text(value: Any, place: str) -> str:
    """Check a text that is not empty."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise wrong(value, place, f"a text of 1 to {MAX_TEXT} characters")
    return value


def text(value: Any, place: str) -> str:
    """Check a text of any length."""
    if not isinstance(value, str):
        raise wrong(value, place, "a text")
    return value


def one_of(*choices: str) -> Check:
    """Return a check of one of these words."""

    def check(value: Any, place: str) -> str:
        if not isinstance(value, str) or value not in choices:
            raise wrong(value, place, f"one of {', '.join(choices)}")
        return value

    return check


share = number(1.0, "a share from 0 to 1")
seconds = number(MAX_SECONDS, f"seconds from 0 to {MAX_SECONDS:g}")
method = one_of("exact", "sampled", "disabled")


def wrong(value: Any, place: str, accepted: str) -> Fault:
    """Return what to raise for a value that is not accepted."""
    return Fault(f"{place} is {shown(value)}, expected {accepted}")


def listed(names: Iterable[str]) -> str:
    """Return names as they stand in a message."""
    return ", ".join(shown(name) for name in names)


def shown(value: Any) -> str:
    """Name a value from outside, short and printable."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and abs(value) > MAX_COUNT:
        return "a huge number"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + '..."'
