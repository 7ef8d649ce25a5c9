"""All that changes frames and code under a look, at once: nothing crashes, and no name is false.

Functions of made code say in their names where they are (see ``names_of_dying_code``); every other
name must be one of code that has been there. The count is that of seconds.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import scripting
from forks import ends_well, in_child
from names_of_dying_code import MADE, NAME, check_names, made_code
from scripting import METHOD, case, checked, not_here, opened

from pytest_gilknock import _core

ROUND = 0.1  # s, for which a window is open
INTERPRETERS = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"

not_while_forking = threading.Lock()
"""A child of 3.11 waits for ever for the locks of interpreters whose threads it has not
(_PyInterpreterState_DeleteExceptMain)."""

OTHERS_WORK = """
import threading
def recurse_elsewhere(depth):
    return recurse_elsewhere(depth - 1) if depth else sum(range(500))
threads = [threading.Thread(target=recurse_elsewhere, args=(n,)) for n in range(0, 60, 20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def recurse(depth: int) -> int:
    return recurse(depth - 1) if depth else sum(range(200))


def dive() -> None:
    recurse(random.choice((3, 50, 127, 128, 129, 600)))


def counted(depth: int) -> Iterator[int]:
    """Generators in generators, some of which are never finished."""
    yield sum(range(50))
    if depth:
        yield from counted(depth - 1)


def generate() -> None:
    for depth in (0, 5, 40):
        for i, _ in enumerate(counted(depth)):
            if i > 30:
                break


async def awaited(depth: int) -> int:
    return await awaited(depth - 1) if depth else sum(range(200))


def await_coroutine() -> None:
    coroutine = awaited(random.randrange(40))
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def sort_by_key() -> None:
    """Python called by C, which Python called."""
    sorted(range(60), key=lambda i: recurse(i % 7))


class Kept:
    def __init__(self) -> None:
        self.itself = self
        self.numbers = [i * i for i in range(20)]

    def __del__(self) -> None:
        recurse(5)


def collect() -> None:
    for _ in range(5):
        Kept()
    gc.collect(0)


def begin_threads() -> None:
    threads = [threading.Thread(target=work) for work in (dive, generate, time.time)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def switch_greenlets(greenlet: Any) -> Callable[[], None]:
    def wander(depth: int) -> int:
        if depth:
            return wander(depth - 1)
        greenlet.getcurrent().parent.switch()
        return sum(range(200))

    def switch() -> None:
        there = [greenlet.greenlet(wander) for _ in range(5)]
        for each in there:
            each.switch(random.randrange(40))
        for each in there[1:]:  # the last one of the others is dropped where it stands
            each.switch()

    return switch


def run_elsewhere(interpreters: Any) -> Callable[[], None]:
    def run() -> None:
        with not_while_forking:
            name = (
                interpreters.create("legacy")
                if sys.version_info >= (3, 13)
                else interpreters.create(isolated=False)
            )
            interpreters.run_string(name, OTHERS_WORK)
            interpreters.destroy(name)
        time.sleep(0.02)

    return run


def fork() -> None:
    with not_while_forking:
        ends_well(in_child(lambda: [dive() for _ in range(20)]))
    time.sleep(0.05)


def optional(module: str, work: Callable[[Any], Callable[[], None]]) -> list[Callable[[], None]]:
    """That work, if there is such a module."""
    try:
        return [work(importlib.import_module(module))]
    except ImportError:
        print(f"without {module}")
        return []


def names_in(code: CodeType) -> Iterator[str]:
    yield code.co_name
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def names_of_loaded_code() -> set[str]:
    """The last part of the name of each function that there is."""
    found = {"run_string", "recurse_elsewhere", "<module>", "<GC>", "<more>"}
    for thing in gc.get_objects():
        code = getattr(thing, "__code__", None) if callable(thing) else None
        if isinstance(code, CodeType):
            found.update(names_in(code))
    for module in list(sys.modules.values()):
        try:
            with open(module.__file__ or "", "rb") as file:
                found.update(names_in(compile(file.read(), "", "exec")))
        except (OSError, AttributeError, TypeError, SyntaxError, ValueError):
            continue
    return found


def check_all_names(raw: Any, known: set[str]) -> int:
    """Return how many frames there are in a reading; each has a name that there is.

    ``known`` is filled anew where one is missing: modules are imported meanwhile.
    """
    frames = 0
    for row in (*raw["blame"], *raw["victims"]):
        for file, _, function, _ in row[0]:
            frames += 1
            if MADE.fullmatch(file) is None or NAME.fullmatch(function) is None:
                last = function.rsplit(".", 1)[-1]
                if last not in known:
                    known.update(names_of_loaded_code())
                assert last in known, (file, function)
    return frames


@case(usual=3, nightly=3600)
def everything(count: int) -> None:
    if METHOD != "exact":
        not_here("nobody looks here")
    warnings.simplefilter("ignore")  # of forks beside threads
    work = [dive, generate, await_coroutine, sort_by_key, collect, begin_threads, fork]
    work += [lambda: made_code(random.randrange(10**9))] * 2
    work += optional("greenlet", switch_greenlets)
    work += optional(INTERPRETERS, run_elsewhere)
    known = names_of_loaded_code()
    end = time.monotonic() + count
    failures: list[BaseException] = []

    def repeat(each: Callable[[], object]) -> None:
        try:
            while time.monotonic() < end and not failures:
                each()
        except BaseException as failure:
            failures.append(failure)
            raise

    _core.set_knock_interval(5e-3)
    threads = [threading.Thread(target=repeat, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    looks = frames = made = windows = 0
    wait = unlooked = 0.0
    while (windows == 0 or time.monotonic() < end) and not failures:
        sys.setswitchinterval(random.choice((1e-6, 1e-4, 5e-3)))
        window = opened()
        time.sleep(ROUND)
        raw = checked(window.end())
        made += check_names(raw)
        frames += check_all_names(raw, known)
        looks += sum(row[4] + row[6] for row in raw["blame"])
        wait += raw["wait"]
        unlooked += raw["unlooked"]
        windows += 1
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    print(
        f"{windows} windows, {looks} looks, {frames} frames, {made} of made code, "
        f"{unlooked:.5f} s of {wait:.5f} s of wait unlooked"
    )


if __name__ == "__main__":
    scripting.main()
