"""Functions that keep the GIL, each in its own way, for as long as they are told to.

A culprit holds the GIL for about ``seconds`` at a time, and all of that within the functions it
names. What it does afterwards, without the GIL, is done elsewhere: :func:`rest`.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ctypes
import functools
import gc
import importlib
import io
import json
import logging
import pickle
import re
import sys
import time
import types
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

Work = Callable[[float], object]


@dataclass(frozen=True)
class Culprit:
    """``work`` holds the GIL; the wait belongs to functions of one of these names."""

    name: str
    work: Work
    functions: tuple[str, ...]


CULPRITS: list[Culprit] = []


def culprit(*functions: str) -> Callable[[Work], Work]:
    """List a function as a culprit; further ``functions`` of this file do a part of its work."""

    def listed(work: Work) -> Work:
        name = work.__name__
        CULPRITS.append(Culprit(name.replace("_", " "), work, (name, *functions)))
        return work

    return listed


def rest(seconds: float) -> None:
    """Be without the GIL."""
    time.sleep(seconds)


@culprit()
def loop(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


_TEXT = "ab" * 8 + "c"
_PATTERN = re.compile(r"(?:a|b|ab)*d")
_LONG_PATTERN = re.compile(r"(?:[a-z]+[0-9]?)*!")


@culprit()
def regex(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        _PATTERN.search(_TEXT)


def _key(number: int) -> int:
    return -number


@culprit("_key")
def sort_with_key(seconds: float) -> None:
    numbers = list(range(300))
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sorted(numbers, key=_key)


_TREE = {f"key {i}": [i, str(i), {"x": i / 3, "y": None}] for i in range(60)}
_JSON = json.dumps(_TREE)
_PICKLE = pickle.dumps([types.SimpleNamespace(a=i, b=str(i)) for i in range(150)])


@culprit()
def json_dumps(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        json.dumps(_TREE, indent=1)


@culprit()
def json_loads(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        json.loads(_JSON)


@culprit()
def big_pow(seconds: float) -> None:
    base = 3**1000 + 1
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        base**12


_hold = ctypes.PyDLL(None).usleep


@culprit()
def pydll_call(seconds: float) -> None:
    _hold(int(seconds * 1e6))


@culprit()
def deepcopy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        copy.deepcopy(_TREE["key 1"])


@culprit("comprehension.<locals>.<listcomp>", "<listcomp>")
def comprehension(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        [number * number for number in range(500)]


class _Knot:
    def __init__(self) -> None:
        self.self = self


@culprit("_Knot.__init__", "__init__")
def collecting_garbage(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for _ in range(20):
            _Knot()
        gc.collect(1)


@culprit()
def importing(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sys.modules.pop("this_is_not_there", None)
        with contextlib.suppress(ImportError):
            importlib.import_module("this_is_not_there")


@culprit()
def unpickling(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pickle.loads(_PICKLE)


_WORDS = ["some words"] * 5000


@culprit()
def str_join(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        ", ".join(_WORDS)


@culprit()
def python_before_compress(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    zlib.compress(b"some words" * 2000)


@culprit("_callback")
def asyncio_callback(seconds: float) -> None:
    async def call() -> None:
        asyncio.get_running_loop().call_soon(_callback, seconds)
        await asyncio.sleep(0)

    asyncio.run(call())


def _callback(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _doubled(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        yield 2 * number


@culprit("_numbers", "_doubled")
def generator_chain(seconds: float) -> None:
    until = time.perf_counter() + seconds
    for _ in _doubled(_numbers()):
        if time.perf_counter() >= until:
            break


class _Costly:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __del__(self) -> None:
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            pass


@culprit("_Costly.__del__", "__del__")
def finalizer(seconds: float) -> None:
    _Costly(seconds)


@culprit("_keep_matching")
def regex_in_a_pool(seconds: float) -> None:
    _pool().submit(_keep_matching, seconds).result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="pool")


def _keep_matching(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        _LONG_PATTERN.search("abcdefg")


_logger = logging.Logger("culprit")
_logger.addHandler(logging.StreamHandler(io.StringIO()))


@culprit()
def logged(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        _logger.warning("a line of the log: %d", 1)
    _logger.handlers[0].stream.seek(0)  # type: ignore[attr-defined]


_Compare: Any = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
)


def _compare(left: Any, right: Any) -> int:
    return int(left[0] - right[0])


@culprit("_compare")
def callback_from_c(seconds: float) -> None:
    numbers = (ctypes.c_int * 20)(*range(20, 0, -1))
    sort = ctypes.PyDLL(None).qsort
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        sort(numbers, 20, ctypes.sizeof(ctypes.c_int), _Compare(_compare))


try:
    import numpy
except ImportError:
    pass
else:
    _OBJECTS = numpy.array([1, 2, 3] * 100, dtype=object)

    @culprit()
    def numpy_objects(seconds: float) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            (_OBJECTS * _OBJECTS).sum()
