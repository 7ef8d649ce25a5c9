"""Blame while code comes and goes: no name is ever one that is not there.

Every function that runs in these threads says in its name in which file it is and on which line it
begins, so that a mixture of two of them is seen.
"""

from __future__ import annotations

import random
import re
import threading
import time

import scripting
from scripting import METHOD, case, checked, not_here, opened

from pytest_gilknock import _core

MADE = re.compile(r"<made (\d+)>")
NAME = re.compile(r"(?:.*\.)?([a-zäß第]+)_(\d+)_(\d+)(?:\.<locals>\..*)?")

SHAPES = {
    "spin": "    end = now() + 2e-4\n    while now() < end:\n        pass\n",
    "deepß": "    deep(depth, here)\n",
    "第yield": "    for _ in numbers(here):\n        pass\n",
}


def deep(depth: int, here: object) -> None:
    """Recurse, then run something."""
    if depth:
        deep(depth - 1, here)
    else:
        sum(i * i for i in range(300))


def numbers(here: object) -> object:
    """Be a generator that takes its time."""
    for i in range(3):
        sum(range(2000))
        yield i


def made_code(number: int) -> None:
    """Compile a function of a new name in a file of a new name, run it, and forget it."""
    shape = random.choice(list(SHAPES))
    line = random.randrange(1, 40)
    name = f"{shape}_{number}_{line}"
    source = "\n" * (line - 1) + f"def {name}(depth, here):\n{SHAPES[shape]}"
    space = {"now": time.perf_counter, "deep": deep, "numbers": numbers}
    exec(compile(source, f"<made {number}>", "exec"), space)
    space[name](random.randrange(60), number)


def check_names(raw: _core.RawReading) -> int:
    """Return how many frames of made code there are; each is what it says."""
    found = 0
    stacks = [row[0] for row in raw["blame"]] + [row[0] for row in raw["victims"]]
    for file, line, function, _ in (frame for stack in stacks for frame in stack):
        made = MADE.fullmatch(file)
        if made is None:
            assert "_" in function or not NAME.fullmatch(function), (file, line, function)
        elif function != "<module>":
            named = NAME.fullmatch(function)
            assert named, (file, line, function)
            assert named[2] == made[1], (file, line, function)
            assert 0 <= line - int(named[3]) <= 3, (file, line, function)
            found += 1
    return found


@case(usual=40, nightly=20_000)
def dying_code_in_many_threads(count: int) -> None:
    if METHOD != "exact":
        not_here("nobody looks here")
    stopping = threading.Event()

    def work(first: int) -> None:
        number = first
        while not stopping.is_set():
            made_code(number)
            number += 8
            if random.random() < 0.1:
                time.sleep(1e-4)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    found = looks = unlooked = wait = 0.0
    around = opened()  # else nobody looks where threads waited already at an opening
    for _ in range(count):
        window = opened()
        time.sleep(0.03)
        raw = checked(window.end())
        found += check_names(raw)
        looks += sum(row[4] for row in raw["blame"])
        unlooked += raw["unlooked"] or 0.0
        wait += raw["wait"] or 0.0
    around.end()
    stopping.set()
    for thread in threads:
        thread.join()
    print(f"{looks} looks, {found} frames of made code, {unlooked / wait:.5f} of the wait unlooked")
    assert found > count
    assert unlooked < 0.02 * wait, (unlooked, wait)


if __name__ == "__main__":
    scripting.main()
