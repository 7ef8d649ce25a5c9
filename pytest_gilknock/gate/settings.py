"""The options of saving, comparing and gating: their declaration, checks, and one frozen result.

Imported with the plugin in every run, so it imports nothing that is not needed to declare them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest

if TYPE_CHECKING:
    from pytest_gilknock.gate.expression import Gate

T = TypeVar("T")

DEFAULT_STORAGE = ".gilknock"
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


def declare(parser: pytest.Parser) -> None:
    """Add the options and ini keys. An option not given is ``None``."""
    group = parser.getgroup("gilknock", "GIL contention")
    group.addoption(
        "--gil-save",
        metavar="NAME",
        help="save the readings as a baseline: a numbered run NAME in the storage, or one file if "
        "NAME is a path ending in .json (tests that did not run keep their entries there)",
    )
    group.addoption(
        "--gil-autosave",
        action="store_true",
        default=None,
        help="save the readings as a numbered run named by commit and time",
    )
    group.addoption(
        "--gil-compare",
        metavar="REF",
        help="compare with saved runs: a name, a number, a path ending in .json, or 'latest'",
    )
    group.addoption(
        "--gil-compare-fail",
        metavar="METRIC:EXPR",
        action="append",
        help="with --gil-compare, fail each test that is worse by more than this, such as "
        "wait:20ms&25%% (repeatable; metrics: contention, wait, max_wait, contended)",
    )
    group.addoption(
        "--gil-compare-strict",
        action="store_true",
        default=None,
        help="make it an error when the baseline is missing, unreadable, or from another kind of "
        "machine, interpreter or method",
    )
    group.addoption(
        "--gil-compare-retries",
        metavar="N",
        help="run a test that is over a gate up to N times more and take the best (default: 0)",
    )
    group.addoption(
        "--gil-storage",
        metavar="DIR",
        help=f"where numbered runs are saved (default: {DEFAULT_STORAGE} in the root directory)",
    )
    parser.addini("gil_storage", "see --gil-storage; relative to the root directory", default=None)
    parser.addini(
        "gil_compare_fail",
        "see --gil-compare-fail: gates for every run with --gil-compare, one in a line",
        type="linelist",
        default=None,
    )


def read(config: pytest.Config) -> GateSettings | None:
    """Return what is asked for, None if nothing is; raises pytest.UsageError for bad values."""
    option = config.option
    _check_combination(option)
    if option.gil_save is None and not option.gil_autosave and option.gil_compare is None:
        return None
    from pytest_gilknock.baseline.storage import check_target
    from pytest_gilknock.gate.expression import parse_gates

    save = "" if option.gil_autosave else option.gil_save
    if option.gil_save is not None:
        _checked("--gil-save", check_target, save)
    if option.gil_compare == "":
        raise pytest.UsageError("--gil-compare: '' is no name, number or path of a saved run")
    gates = option.gil_compare_fail
    place = "--gil-compare-fail" if gates else "ini key gil_compare_fail"
    return GateSettings(
        storage=_storage(config),
        save=_absolute(save),
        compare=_absolute(option.gil_compare),
        gates=_checked(place, parse_gates, gates or config.getini("gil_compare_fail") or []),
        strict=bool(option.gil_compare_strict),
        retries=_checked("--gil-compare-retries", _parse_retries, option.gil_compare_retries),
    )


def _check_combination(option: Any) -> None:
    if option.gil_save is not None and option.gil_autosave:
        raise pytest.UsageError("--gil-autosave names the run itself: give it or --gil-save")
    if option.gil_compare is None:
        for name in ("gil_compare_fail", "gil_compare_strict", "gil_compare_retries"):
            if getattr(option, name) is not None:
                flag = "--" + name.replace("_", "-")
                raise pytest.UsageError(f"{flag} has no effect without --gil-compare=REF")


def _checked(place: str, check: Callable[[Any], T], value: Any) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise pytest.UsageError(f"{place}: {error}") from None


def _parse_retries(written: str | None) -> int:
    if written is None:
        return 0
    number = int(written) if written.isascii() and written.isdigit() and len(written) < 9 else -1
    if not 0 <= number <= MOST_RETRIES:
        raise ValueError(f"{written!r} is not a number of retries from 0 to {MOST_RETRIES}")
    return number


def _absolute(value: str | None) -> str | None:
    from pytest_gilknock.baseline.storage import is_path

    return os.path.abspath(value) if value and is_path(value) else value


def _storage(config: pytest.Config) -> str:
    option: str | None = config.option.gil_storage
    if option is not None:
        if not option or "\0" in option:
            raise pytest.UsageError(f"--gil-storage: {option!r} is not the path of a folder")
        return os.path.abspath(option)
    folder: str = config.getini("gil_storage") or DEFAULT_STORAGE
    return str(config.rootpath / folder)
