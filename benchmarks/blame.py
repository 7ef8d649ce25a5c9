"""Does blame name the function that keeps the GIL?

Question: a thread keeps the GIL in a known function, then rests without it; another one wants the
GIL all the time. What part of the wait is that function blamed for?

Method: each culprit is the main thread's doing once, and another thread's once; below the switch
interval, where it lets the GIL go by itself, and above it, where it is asked to. The wait that is
blamed on the thread of the culprit counts: the thread that waits holds the GIL, too, for
microseconds, and that is nobody's fault. Beside it, of the same run where they are here: py-spy
(``record --gil``) and CPython 3.15's sampling profiler, as shares of the samples that they took
of that thread.

Truth: nothing is done with the GIL but what the culprit does. The row counts a stack by its first
frame in the file of the culprits, as reports do.

The second table has the bias: threads that the holder itself wakes at one line wait while it works
on, for a fixed time, at another. Truth: what of the waits that are recorded lies in each part.

Run: ``python benchmarks/blame.py``; with ``--lasting 5`` the figures scatter less.

Expect: 0.99 and more in most rows of the first table, and no line of another function among the
wrong ones but the one that lets the GIL go and takes it back; blame within 0.1 of the truth in the
second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import instruments
from harness import Table, figure

if TYPE_CHECKING:
    from pytest_gilknock.model.trace import Trace

SIZES = {"below": 0.001, "above": 0.015}
REST = 0.002
LIMIT = 60.0


def _culprits() -> Any:
    from loads import culprits

    return culprits


# --- in the process that is measured ---


@contextmanager
def victim() -> Iterator[None]:
    """A thread that wants the GIL some thousand times a second."""
    stopping = threading.Event()

    def want() -> None:
        while not stopping.is_set():
            time.sleep(0.0002)

    thread = threading.Thread(target=want, name="victim")
    thread.start()
    yield
    stopping.set()
    thread.join()


def keep_at(work: Callable[[float], object], seconds: float, lasting: float) -> None:
    """Do the culprit's work again and again, with a rest after each time."""
    rest = _culprits().rest
    until = time.monotonic() + lasting
    while time.monotonic() < until:
        work(seconds)
        rest(REST)


def frame_of(stack: Any) -> str:
    """The function of the first frame that lies in the file of the culprits."""
    file = _culprits().__file__
    return next((function for path, _, function, _ in stack if path == file), "")


def shares(rows: list[tuple[str, float]], functions: tuple[str, ...]) -> float | None:
    """What part of what is charged to functions of the file is charged to these."""
    total = sum(charged for name, charged in rows if name)
    right = sum(charged for name, charged in rows if name in functions)
    return right / total if total else None


@contextmanager
def spied(tool: str, lasting: float, collapsed: Path) -> Iterator[None]:
    """Have py-spy or the profiler look at this process meanwhile."""
    if not tool:
        yield
        return
    command = instruments.PROFILERS[tool](str(collapsed), str(os.getpid()))
    with harness.child(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(0.5)  # until it looks
        yield
        process.wait(timeout=20)


def collapsed_rows(path: Path) -> list[tuple[str, float]]:
    """(first function in the file of the culprits, samples) of each collapsed stack."""
    rows = []
    for line in path.read_text("utf-8", "replace").splitlines():
        frames, _, count = line.rpartition(" ")
        inner_first = [frame.strip() for frame in frames.split(";")][::-1]
        name = next((frame.split(" ")[0] for frame in inner_first if "culprits.py" in frame), "")
        name = name.split(":")[1] if name.startswith("culprits.py:") else name
        rows.append((name, float(count)))
    return rows


def measure(name: str, role: str, seconds: float, lasting: float, tool: str) -> None:
    """Answer what is blamed for the wait beside one culprit."""
    from pytest_gilknock import _core

    culprit = next(one for one in _culprits().CULPRITS if one.name == name)
    window = _core.Window()
    with tempfile.TemporaryDirectory() as directory, victim():
        collapsed = Path(directory, "stacks")
        culprit.work(seconds)
        lasting = 2.5 if tool else lasting

        def work() -> None:
            keep_at(culprit.work, seconds, lasting)

        with spied(tool, lasting, collapsed):
            window.begin()
            if role == "main":
                work()
            else:
                thread = threading.Thread(target=work, name="culprit")
                thread.start()
                thread.join()
            raw = window.end()
        rows = [(frame_of(row[0]), row[3]) for row in raw["blame"]]
        seen = collapsed_rows(collapsed) if collapsed.exists() else []
    callees = {row[0][0][3] for row in raw["blame"] if row[0] and row[0][0][3]}
    harness.reply(
        {
            "share": shares(rows, culprit.functions),
            "wrong": sorted({name for name, _ in rows if name and name not in culprit.functions}),
            "wait": raw["wait"],
            "hand_over": raw["hand_over"],
            "unlooked": raw["unlooked"],
            "looks": sum(row[4] for row in raw["blame"]),
            "method": raw["blame_method"],
            "other": shares(seen, culprit.functions) if seen else None,
            "callees": sorted(callees),
        }
    )


def wake(line_up: queue.SimpleQueue[None]) -> None:
    """Let a waiting thread go on: it wants the GIL at this very moment."""
    line_up.put(None)


def spin(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def first_part(seconds: float) -> None:
    spin(seconds)


def second_part(seconds: float) -> None:
    spin(seconds)


def measure_bias(turn: float, lasting: float) -> None:
    """Answer what is blamed, and what is true, where a thread is woken as a turn begins, which has
    a first part of a quarter."""
    from pytest_gilknock import _core
    from pytest_gilknock.model.trace import Trace

    line_up: queue.SimpleQueue[None] = queue.SimpleQueue()
    stopping = False

    def woken() -> None:
        while not stopping:
            line_up.get()

    thread = threading.Thread(target=woken)
    thread.start()
    window = _core.Window(trace=1_000_000)
    window.begin()
    until = time.monotonic() + lasting
    turns: list[tuple[int, ...]] = []
    while time.monotonic() < until:
        begun = _core.ticks()
        wake(line_up)
        woken_at = _core.ticks()
        first_part(turn / 4)
        half_way = _core.ticks()
        second_part(turn * 3 / 4)
        turns.append((begun, woken_at, half_way, _core.ticks()))
        time.sleep(0.0005)
    raw = window.end()
    recorded = window.take_trace()
    stopping = True
    line_up.put(None)
    thread.join()
    parts = dict.fromkeys(("wake", "first_part", "second_part"), 0.0)
    for stack, _, _, waited, *_ in raw["blame"]:
        name = next((frame[2] for frame in stack if frame[2] in parts), None)
        if name:
            parts[name] += waited
    total = sum(parts.values()) or 1.0
    blamed = {name: part / total for name, part in parts.items()}
    true = waited_in(turns, Trace(recorded)) if recorded else []
    harness.reply(blamed | {"true": true, "wait": raw["wait"]})


def waited_in(turns: list[tuple[int, ...]], trace: Trace) -> list[float]:
    """What part of the waits of the program's threads lies in each part of the turns."""
    sums = [0] * (len(turns[0]) - 1)
    for interval in trace.intervals():
        if not interval.is_wait or interval.is_by_knocker:
            continue
        for turn in turns[max(0, bisect_right(turns, (interval.start,)) - 1) :]:
            if turn[0] >= interval.end:
                break
            for part, (since, until) in enumerate(itertools.pairwise(turn)):
                sums[part] += max(0, min(until, interval.end) - max(since, interval.start))
    total = sum(sums) or 1
    return [part / total for part in sums]


# --- the table ---


def ask(*arguments: object) -> Any:
    command = [sys.executable, __file__, "--child", json.dumps(arguments)]
    return harness.ask(command, LIMIT)


def main() -> None:
    made = harness.parser(__doc__, rounds=False)
    made.add_argument("--child", help=argparse.SUPPRESS)
    made.add_argument("--lasting", type=float, default=1.0, help="seconds of each measurement")
    options = harness.start(made)
    if options.child:
        what, *arguments = json.loads(options.child)
        {"culprit": measure, "bias": measure_bias}[what](*arguments)
        return
    names = [one.name for one in _culprits().CULPRITS]
    names = names[:2] if options.quick else names
    lasting = 0.3 if options.quick else options.lasting
    others = [] if options.quick else [one.name for one in instruments.here() if one.outside]
    results: dict[str, Any] = {}
    rows = []
    for name in names:
        for role in ("main", "other"):
            for size, seconds in SIZES.items():
                label = f"{name}, {role}, {size}"
                harness.progress(label)
                found = ask("culprit", name, role, seconds, lasting, "")
                cells = [figure(ask_other(name, role, seconds, tool)) for tool in others]
                results[label] = found
                rows.append(
                    [
                        label,
                        figure(found["share"]),
                        str(found["looks"]),
                        figure(found["wait"]),
                        figure((found["unlooked"] or 0.0) / (found["wait"] or 1.0)),
                        *cells,
                        " ".join(found["wrong"] or found["callees"])[:40],
                    ]
                )
    head = ["culprit", "right", "looks", "wait s", "unlooked", *others, "wrong, or callees"]
    harness.show(harness.machine_line(), Table("Part of the wait that is blamed right", head, rows))
    biases = []
    for turn in (0.0004, 0.004) if options.quick else (0.0004, 0.001, 0.004, 0.02):
        found = ask("bias", turn, lasting)
        results[f"bias {turn}"] = found
        biases.append(
            [harness.span(turn)]
            + [
                f"{figure(found[name])} ({figure(true)})"
                for name, true in zip(
                    ("wake", "first_part", "second_part"), found["true"] or [None] * 3, strict=True
                )
            ]
        )
    head = ["turn", "where it wakes (true)", "first part", "second part"]
    harness.show(Table("A thread that is woken as a turn begins", head, biases))
    harness.write_json(options.json, results)


def ask_other(name: str, role: str, seconds: float, tool: str) -> float | None:
    try:
        share: float | None = ask("culprit", name, role, seconds, 2.5, tool)["other"]
    except RuntimeError:
        return None
    return share


if __name__ == "__main__":
    main()
