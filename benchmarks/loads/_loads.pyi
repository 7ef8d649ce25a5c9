"""Loads that know their own truth. Times are ns, stamps are those of CLOCK_MONOTONIC."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# before begin, opened, let go, wanted, took, closed, after end
Stamps = tuple[int, int, int, int, int, int, int]
# native id, held, waited, takes, since when it wants the GIL or 0
Account = tuple[int, int, int, int, int]

def hold_release(hold_ns: int, free_ns: int, sleeps: bool, random: bool, seed: int, /) -> None: ...
def enter() -> tuple[int, int]: ...
def run(
    threads: int, duration_ns: int, begin: Callable[[], object], end: Callable[[], T], /
) -> tuple[T, Stamps, tuple[int, int], list[Account]]: ...
def reset() -> None: ...
def pairs(count: int, /) -> int: ...
def volley(side: int, count: int, line_up_ns: int, /) -> None: ...
