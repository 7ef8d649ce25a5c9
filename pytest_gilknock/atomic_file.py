"""Files that are replaced whole or not at all. No pytest."""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from gzip import GzipFile


def check_replaceable(path: str) -> None:
    """Raise OSError if :func:`replace` cannot write ``path``; leaves nothing behind."""
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise IsADirectoryError(f"{path} is a directory")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(f"{path} is not a regular file")
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is not a directory")
    try:
        os.unlink(_make_beside(target, (), compressed=False))
    except OSError as error:
        raise OSError(f"{folder} is not writable: {error.strerror}") from None


def replace(path: str, pieces: Iterable[str], *, compressed: bool = False) -> None:
    """Replace ``path``, or what it links to, with these pieces of text in one step.

    It keeps its permissions. ``compressed`` with gzip; the same text makes the same file.

    Raises OSError, and then leaves the old file as it was and nothing beside it.
    """
    target = os.path.realpath(path)
    made = _make_beside(target, pieces, compressed=compressed)
    try:
        os.replace(made, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(made)
        raise


def _make_beside(target: str, pieces: Iterable[str], *, compressed: bool) -> str:
    """Write a new file in the folder of ``target`` and return its path.

    Its name has nothing of the target's, which may be as long as a name can be.
    """
    made = os.path.join(os.path.dirname(target), f".gilknock-{secrets.token_hex(8)}.tmp")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with open(descriptor, "wb") as file:
            with suppress(OSError):  # there is none yet, or none can be set here
                os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
            if compressed:
                _write_compressed(file, pieces)
            else:
                _write(file, pieces)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            os.unlink(made)
        raise
    return made


def _write(file: IO[bytes] | GzipFile, pieces: Iterable[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    text.writelines(pieces)
    text.detach()


def _write_compressed(file: IO[bytes], pieces: Iterable[str]) -> None:
    from gzip import GzipFile

    with GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        _write(packed, pieces)
