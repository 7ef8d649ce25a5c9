"""Things to do with and without the GIL, and threads that do them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.loads import hold, let_go, spin

__all__ = [
    "forever",
    "hold",
    "in_background",
    "in_threads",
    "let_go",
    "mix",
    "spin",
    "use_smallest_stacks",
]


def mix() -> None:
    """A little of everything."""
    spin(2e-4)
    let_go(2e-4)
    hold(2e-4)


def forever(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        while True:
            work()

    return run


def in_background(count: int, work: Callable[[], object]) -> None:
    """Have that many daemon threads do something for ever."""
    for _ in range(count):
        threading.Thread(target=forever(work), daemon=True).start()


def use_smallest_stacks() -> None:
    """Have threads from here on the smallest stacks that Python gives: larger ones from 3.14 on."""
    for size in range(32 * 1024, 256 * 1024, 4096):
        try:
            threading.stack_size(size)
        except ValueError:
            continue
        return


def in_threads(count: int, work: Callable[[], object]) -> None:
    """Have that many threads do something once; raise what the first failing one raises."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
