"""Where baselines are kept: numbered runs in a folder per machine kind, or single files. No pytest.

``STORAGE/Linux-CPython-3.13-64bit/0007_main.json`` is run 7, saved as ``main``. A run is never
overwritten: two that save at once get different numbers. A single file, one that a name ending in
``.json`` stands for, is replaced in one step.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import NamedTuple

from pytest_gilknock import atomic_file
from pytest_gilknock.baseline.model import BaselineError
from pytest_gilknock.render.format import keep_start, printable

SPREAD_RUNS = 10
"""How many of the latest runs of a name make its spread: older ones describe older sources."""

LATEST = "latest"

NAME_FORM = (
    "a name of up to 80 letters, digits, '.', '_' and '-' that begins with a letter or digit, is "
    f"not a mere number and not {LATEST!r}; or the path of a file ending in '.json'"
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)
_RUN = re.compile(rf"([0-9]{{4,9}})_({_NAME.pattern})\.json", re.ASCII)


class Run(NamedTuple):
    """A saved run in its machine kind's folder."""

    number: int
    name: str
    path: str


def is_path(value: str) -> bool:
    """Return whether a name or reference means a single file."""
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    return value.endswith(".json") or any(separator in value for separator in separators)


def check_target(value: str) -> None:
    """Raise ValueError, with the value and the accepted form, for what no run can be saved as."""
    if is_path(value):
        good = value.endswith(".json") and value.isprintable()
    else:
        good = bool(_NAME.fullmatch(value)) and not value.isdigit() and value != LATEST
    if not good:
        raise ValueError(f"{_quoted(value)} is not {NAME_FORM}")


RUN_FILE_FORM = "NUMBER_NAME.json"
"""How the file of a numbered run is called."""


def names_run(path: str, folder: str) -> bool:
    """Return whether a file of this path is a numbered run of those kept under ``folder``.

    It need not exist: one of any content would be found as such a run.
    """
    storage = os.path.realpath(folder)
    as_written = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    return any(
        _RUN.fullmatch(os.path.basename(one)) and storage == os.path.dirname(os.path.dirname(one))
        for one in (as_written, os.path.realpath(path))
    )


def _quoted(value: str) -> str:
    return repr(keep_start(value, 100))


class Storage:
    """The numbered runs of one machine kind under a folder, which need not exist yet."""

    def __init__(self, folder: str, kind: str) -> None:
        self._root = folder
        self._kind = kind
        self._folder = os.path.join(folder, kind)

    def runs(self) -> list[Run]:
        """Return the saved runs by number. Raises BaselineError where the folder cannot be read."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BaselineError(f"{printable(self._folder)}: {error.strerror}") from None
        return sorted(
            Run(int(match[1]), match[2], os.path.join(self._folder, name))
            for name in names
            if (match := _RUN.fullmatch(name))
        )

    def find(self, reference: str) -> list[str]:
        """Return the files that ``reference`` means, oldest first.

        ``latest``, a number, or a name (its latest :data:`SPREAD_RUNS` runs); anything that
        :func:`is_path` is that file. Raises BaselineError where there is none.
        """
        if is_path(reference):
            return [reference]
        runs = self.runs()
        if reference == LATEST:
            found = runs[-1:]
        elif reference.isascii() and reference.isdigit() and len(reference) <= 9:
            found = [run for run in runs if run.number == int(reference)]
        else:
            found = [run for run in runs if run.name == reference][-SPREAD_RUNS:]
        if not found:
            raise BaselineError(self._no_such(reference, runs))
        return [run.path for run in found]

    def last(self, reference: str) -> str | None:
        """Return the last of the files that ``reference`` means, None where there is none."""
        try:
            return self.find(reference)[-1]
        except BaselineError:
            return None

    def _no_such(self, reference: str, runs: list[Run]) -> str:
        there = f"no saved run {_quoted(reference)} in {printable(self._folder)}"
        names = sorted({run.name for run in runs})
        if names:
            listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            return f"{there}; there are {listed}"
        others = self._other_kinds()
        if others:
            return f"{there}; there are runs of {', '.join(others)}: compare with one by its path"
        return f"{there}: nothing is saved there yet"

    def _other_kinds(self) -> list[str]:
        try:
            kinds = sorted(os.listdir(self._root))
        except OSError:
            return []
        return [
            printable(kind)
            for kind in kinds
            if kind != self._kind and os.path.isdir(os.path.join(self._root, kind))
        ]

    def check_writable(self) -> None:
        """Raise OSError if :meth:`save` cannot work; makes nothing."""
        existing = self._folder
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing) or os.curdir
        if not os.path.isdir(existing):
            raise NotADirectoryError(f"{existing} is not a folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(f"{existing} is not writable")

    def save(self, name: str, content: str) -> str:
        """Write a new run with the next free number and return its path. Raises OSError."""
        os.makedirs(self._folder, exist_ok=True)
        number = max((run.number for run in self.runs()), default=0) + 1
        while True:
            claim = os.path.join(self._folder, f".{number:04}.claim")
            try:
                os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                number += 1
                continue
            try:
                # Whoever had this number before released it only with the run in its place.
                if all(run.number != number for run in self.runs()):
                    path = os.path.join(self._folder, f"{number:04}_{name}.json")
                    atomic_file.replace(path, [content])
                    return path
            finally:
                with suppress(OSError):
                    os.unlink(claim)
            number += 1
