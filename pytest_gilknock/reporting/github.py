"""What GitHub Actions reads from a run: annotations and the step summary. No pytest.

"Workflow commands for GitHub Actions" in GitHub's documentation has the forms and their escapes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

MOST_ANNOTATIONS = 10
"""GitHub shows as many errors of a step, and as many warnings, and drops the rest silently."""


class Annotation(NamedTuple):
    """A message at a line of a file; ``line`` is 1 for the first, None where unknown."""

    file: str
    line: int | None
    title: str
    message: str
    level: Literal["error", "warning"] = "error"


def is_running(environ: Mapping[str, str]) -> bool:
    """Return whether this is a step of a GitHub Actions workflow."""
    return environ.get("GITHUB_ACTIONS") == "true"


def workflow_commands(
    annotations: Sequence[Annotation], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line for each annotation, no more than GitHub shows; the last lists the rest."""
    most = MOST_ANNOTATIONS if len(annotations) <= MOST_ANNOTATIONS else MOST_ANNOTATIONS - 1
    for one in annotations[:most]:
        place = [f"file={_property(_in_workspace(one.file, environ))}"]
        if one.line is not None:
            place.append(f"line={one.line}")
        properties = f"{','.join(place)},title={_property(one.title)}"
        yield f"::{one.level} {properties}::{_data(one.message)}"
    if rest := annotations[most:]:
        titles = "\n".join(f"{one.file}: {one.title}" for one in rest)
        title = _property(f"{len(rest)} more GIL regressions")
        yield f"::{rest[0].level} title={title}::{_data(titles)}"


def is_in_repository(file: str, root: str, environ: Mapping[str, str]) -> bool:
    """Return whether a file lies where the repository is checked out, or else below ``root``."""
    folder = os.path.realpath(environ.get("GITHUB_WORKSPACE") or root)
    path = os.path.realpath(os.path.join(root, file))
    return path.startswith(os.path.join(folder, ""))


def _in_workspace(file: str, environ: Mapping[str, str]) -> str:
    workspace = environ.get("GITHUB_WORKSPACE")
    if not workspace:
        return file
    # The workspace may be reached through a link, and pytest's root directory without it.
    inside = os.path.relpath(os.path.realpath(file), os.path.realpath(workspace))
    return file if inside.startswith(os.pardir) else inside.replace(os.sep, "/")


def _data(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")


def append_summary(markdown: str, environ: Mapping[str, str]) -> None:
    """Append to the step summary, if there is one. Raises OSError."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(markdown + "\n")
