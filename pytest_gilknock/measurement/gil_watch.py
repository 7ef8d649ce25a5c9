"""Notes which import turns the GIL on, in an interpreter that runs without it.

A free-threaded CPython turns its GIL on for good when it loads an extension module that does not
say it can do without (PEP 703; "Py_mod_gil" in the C API's documentation). That happens in
``_imp.create_dynamic``, through which the import system loads every extension module: it is wrapped
while the GIL is off. The interpreter's own warning names the module as well, but not who imports it
nor the package it is from, and it is often filtered.
"""

from __future__ import annotations

import _imp
import sys
from collections.abc import Callable
from importlib import metadata
from types import FrameType
from typing import Any, NamedTuple

from pytest_gilknock.model.stack import Frame, shorten

MOST_IMPORTERS = 5


class GilEnabler(NamedTuple):
    """A module whose import turned the GIL on."""

    module: str
    distribution: str | None
    """The installed package it is from, with its version; None where that is not known."""

    importers: tuple[Frame, ...]
    """Where the code stands that imports it, innermost first; empty where not known."""

    def places(self, root: str) -> list[str]:
        """Return ``file:line`` of the importers, those of the project relative to ``root``."""
        return [f"{shorten(frame.file, root)}:{frame.line}" for frame in self.importers]

    def text(self, root: str) -> str:
        """``module 'x' of x 1.0, imported by app.py:3, imported by ...``."""
        package = f" of {self.distribution}" if self.distribution else ""
        chain = "".join(f", imported by {place}" for place in self.places(root))
        return f"module {self.module!r}{package}{chain}"


class _Watch:
    found: GilEnabler | None = None
    original: Callable[..., Any] | None = None


def gil_enabled() -> bool:
    """Return whether this process has a GIL at this moment."""
    is_enabled: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return is_enabled is None or is_enabled()


def found() -> GilEnabler | None:
    """Return which import turned the GIL on; None if none did since :func:`start`."""
    return _Watch.found


def start() -> None:
    """Watch the imports from now on, unless the GIL is on."""
    if gil_enabled() or _Watch.original is not None:
        return
    _Watch.original = _imp.create_dynamic
    _imp.create_dynamic = _create_dynamic


def _create_dynamic(spec: Any, *arguments: Any) -> Any:
    assert _Watch.original is not None
    was_enabled = gil_enabled()
    try:
        return _Watch.original(spec, *arguments)
    finally:
        if not was_enabled and gil_enabled():
            _imp.create_dynamic, _Watch.original = _Watch.original, None
            _Watch.found = GilEnabler(spec.name, _distribution(spec.name), _importers())


def _distribution(module: str) -> str | None:
    """Return the installed package that a module is from, with its version."""
    try:
        names = metadata.packages_distributions().get(module.partition(".")[0], [])
        return f"{names[0]} {metadata.version(names[0])}" if names else None
    except Exception:  # what is installed may be damaged, and a name is no reason to fail
        return None


def _importers() -> tuple[Frame, ...]:
    """Return the frames that import one another, innermost first.

    Beyond the first, those of the standard library and of installed packages are left out.
    """
    importers: list[Frame] = []
    frame: FrameType | None = sys._getframe(2)
    imports = True  # whether the next frame is that of an import statement
    while frame is not None and len(importers) < MOST_IMPORTERS:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            imports = True
        elif imports:
            imports = False
            importer = Frame(file, frame.f_lineno, frame.f_code.co_name)
            if not importers or importer.own:
                importers.append(importer)
        frame = frame.f_back
    return tuple(importers)
