"""Files that a run is asked to write: ``--gil-export=FORMAT:PATH``. No pytest."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.atomic_file import check_replaceable, replace
from pytest_gilknock.baseline.codec import is_saved_run
from pytest_gilknock.render.format import shown_path
from pytest_gilknock.reporting.file_report import FileReport, find, formats

if TYPE_CHECKING:
    from pytest_gilknock.reporting.results import Results


class Export(NamedTuple):
    """A report and the absolute path of its file. ``source`` names where the user asked for it."""

    report: FileReport
    path: str
    source: str

    def check(self) -> None:
        """Raise ValueError if the file cannot be written, or is a saved run; makes nothing."""
        self.report.check()
        try:
            check_replaceable(self.path)
            self._spare_saved_run()
        except OSError as error:
            raise ValueError(f"{error}; give the path of a file to write") from None

    def write(self, results: Results) -> None:
        """Replace the file, compressed if its name ends in ``.gz``.

        Raises OSError, and then leaves it as it was; also where a run was saved there meanwhile.
        """
        self._spare_saved_run()
        replace(self.path, self.report.write(results), compressed=self.path.endswith(".gz"))

    def _spare_saved_run(self) -> None:
        if is_saved_run(self.path):
            raise FileExistsError(f"{shown_path(self.path)} is a saved run")


def parse_export(written: str, source: str, folder: str) -> Export:
    """Read ``FORMAT:PATH``, with a path relative to ``folder``.

    Raises ValueError with the value, the reason and the accepted form.
    """
    name, colon, path = written.partition(":")
    if not colon or not path:
        known = ", ".join(formats())
        raise ValueError(
            f"{written!r} is not FORMAT:PATH, such as json:gil.json; the formats are {known}"
        )
    return Export(find(name), _absolute(path, folder), source)


def short_export(name: str, path: str, source: str, folder: str) -> Export:
    """Return the export that an option of its own is short for. Raises ValueError."""
    return Export(find(name), _absolute(path, folder), source)


def _absolute(path: str, folder: str) -> str:
    if not path or "\0" in path:
        raise ValueError(f"{path!r} is not a path")
    return os.path.abspath(os.path.join(folder, path))


def check_distinct(exports: Iterable[Export]) -> None:
    """Raise ValueError if two exports are to be written to one file."""
    taken: dict[str, Export] = {}
    for export in exports:
        other = taken.setdefault(os.path.realpath(export.path), export)
        if other is not export:
            raise ValueError(
                f"{export.path!r} is asked for twice, as {other.report.format} by {other.source}"
                f" and as {export.report.format} by {export.source}; give each a path of its own"
            )
