"""What a file report is, and how it is found by its format's name. Pure."""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from pytest_gilknock.reporting import file_reports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilknock.reporting.results import Results


class FileReport(ABC):
    """A run as the text of a file. A subclass is made without arguments, before the tests run."""

    format: ClassVar[str]
    """The name of the format in ``--gil-export=FORMAT:PATH``."""

    needs_trace: ClassVar[bool] = False
    """Whether every hold and wait is to be recorded for it: ``results.traces``."""

    shows_changes: ClassVar[bool] = False
    """Whether it shows a comparison with saved runs: ``results.changes``."""

    def check(self) -> None:  # noqa: B027 (most formats lack nothing)
        """Raise ValueError, with the way to mend it, if this report cannot be written here.

        It lacks a package, for example. Called once, before the tests run.
        """

    @abstractmethod
    def write(self, results: Results) -> Iterable[str]:
        """Return the file's text in pieces, when the run is over.

        ``results.everything()`` has every measured test. The file is replaced in one step after the
        last piece, and stays as it was if this raises OSError.
        """

    def caveats(self, results: Results) -> Iterable[str]:
        """Return what the file lacks, as lines for the terminal."""
        return ()


def formats() -> list[str]:
    """Return the names of the formats there are, sorted; imports none of them."""
    modules = pkgutil.iter_modules(file_reports.__path__)
    return sorted(module.name.replace("_", "-") for module in modules)


def find(name: str) -> FileReport:
    """Return a report of the format ``name``. Raises ValueError, which lists those there are."""
    known = formats()
    if name not in known:
        raise ValueError(f"{name!r} is no format; there are {', '.join(known)}")
    module = import_module(f"{file_reports.__name__}.{name.replace('-', '_')}")
    kinds = vars(module).values()
    kind: type[FileReport] = next(one for one in kinds if getattr(one, "format", None) == name)
    return kind()
