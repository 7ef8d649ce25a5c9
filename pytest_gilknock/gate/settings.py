"""What is asked for of saving, comparing and gating, checked, in one frozen result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_gilknock.options import DEFAULT_STORAGE, flag

if TYPE_CHECKING:
    from pytest_gilknock.gate.expression import Gate
    from pytest_gilknock.options import Asked

MOST_RETRIES = 20


class GateSettings(NamedTuple):
    """What to save, and what to compare with. Paths are absolute, as tests may change directory.

    ``save`` is a name or a path, ``""`` for a name made of the commit and the time.
    """

    storage: str
    save: str | None
    compare: str | None
    gates: tuple[Gate, ...]
    strict: bool
    retries: int
    gates_set_by: str = "--gil-compare-fail"
    """Where the gates stand: the option or its ini key."""


def read(config: pytest.Config, asked: Asked) -> GateSettings | None:
    """Return None if nothing is asked for. Raises pytest.UsageError for a value of no use."""
    _check_combination(asked)
    if not any(name in asked for name in ("gil_save", "gil_autosave", "gil_compare")):
        return None
    from pytest_gilknock.gate.expression import parse_gates

    save = asked.value("gil_save", _parse_target, "" if "gil_autosave" in asked else None)
    compare = asked.value("gil_compare", _parse_reference, None)
    return GateSettings(
        storage=storage_folder(config, asked),
        save=save,
        compare=compare,
        gates=asked.value("gil_compare_fail", parse_gates, ()),
        strict="gil_compare_strict" in asked,
        retries=asked.value("gil_compare_retries", _parse_retries, 0),
        gates_set_by=asked.place("gil_compare_fail"),
    )


def _check_combination(asked: Asked) -> None:
    if "gil_save" in asked and "gil_autosave" in asked:
        raise pytest.UsageError("--gil-autosave names the run itself: give it or --gil-save")
    if "gil_compare" not in asked:
        for name in ("gil_compare_fail", "gil_compare_strict", "gil_compare_retries"):
            if name in asked.of_command_line:
                raise pytest.UsageError(f"{flag(name)} has no effect without --gil-compare=REF")


def _parse_target(written: str) -> str:
    from pytest_gilknock.baseline.storage import check_target

    check_target(written)
    return _absolute(written)


def _parse_reference(written: str) -> str:
    if not written:
        raise ValueError("'' is no name, number or path of a saved run")
    return _absolute(written)


def _parse_retries(written: str) -> int:
    number = int(written) if written.isascii() and written.isdigit() and len(written) < 9 else -1
    if not 0 <= number <= MOST_RETRIES:
        raise ValueError(f"{written!r} is not a number of retries from 0 to {MOST_RETRIES}")
    return number


def _absolute(value: str) -> str:
    from pytest_gilknock.baseline.storage import is_path

    return os.path.abspath(value) if is_path(value) else value


def storage_folder(config: pytest.Config, asked: Asked) -> str:
    """Return the folder of the saved runs. The ini file's is relative to the root directory."""
    folder = str(config.rootpath) if "gil_storage" not in asked.of_command_line else os.getcwd()

    def parse(written: str) -> str:
        if not written or "\0" in written:
            raise ValueError(f"{written!r} is not the path of a folder")
        return os.path.abspath(os.path.join(folder, written))

    return asked.value("gil_storage", parse, os.path.join(folder, DEFAULT_STORAGE))
