"""What threads waited for besides the GIL, in words and lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.locks import INTERPRETER_KINDS, KIND_NAMES, LOCK_KINDS
from pytest_gilknock.render.format import display_width, short_name
from pytest_gilknock.render.place_text import WIDE, fit_place

if TYPE_CHECKING:
    from pytest_gilknock.model.locks import LockReading, LockWaits, ThreadLockWaits
    from pytest_gilknock.model.wire import LockKind

PLACES_SHOWN = 1
"""How many places are shown of each kind, where threads waited and where others let go."""

SHOWN = 3
"""How many types and threads are shown of a reading."""

NOTHING = "-"


def worst_text(locks: LockReading, kinds: Sequence[LockKind] = INTERPRETER_KINDS) -> str:
    """Return the one of some kinds that was waited for most: ``objects (dict)``."""
    worst = locks.worst_of(kinds)
    if locks.reason is not None:
        return units.NOT_MEASURED
    if worst is None:
        return NOTHING
    kind, _ = worst
    name = locks.types[0].type_name if kind == "objects" and locks.types else None
    return KIND_NAMES[kind] + (f" ({short_name(name)})" if name else "")


def kind_texts(kinds: dict[LockKind, LockWaits]) -> list[str]:
    """Return ``objects 200 ms``, ``stopped world 60.0 ms`` and so on, of the kinds waited for."""
    return [
        f"{KIND_NAMES[kind]} {units.seconds(waits.waited)}"
        for kind, waits in kinds.items()
        if waits.count
    ]


def lock_lines(locks: LockReading, root: str, *, width: int = WIDE) -> Iterator[str]:
    """Yield what was waited for, a line for each kind, and who waited longest.

    Below each kind stand the places where most of it was, with paths relative to ``root``. What is
    not shown is counted. No line is wider than ``width``, from 76 up: a longer one goes on below.
    """
    for kind in LOCK_KINDS:
        waits = locks.of(kind)
        if waits is None or not waits.count:
            continue
        types = f" ({_types(locks)})" if kind == "objects" and locks.types else ""
        yield from _folded(
            f"{KIND_NAMES[kind]}: {units.seconds(waits.waited)} in"
            f" {units.count(waits.count, 'wait')}, the longest"
            f" {units.seconds(waits.longest)}{types}",
            width,
        )
        yield from _places(locks, kind, root, width)
    if locks.unproven is not None and locks.unproven.count:
        yield f"not told apart: {units.seconds(locks.unproven.waited)}"
    for head, omitted in (("waited", locks.victims_omitted), ("let go", locks.blame_omitted)):
        if omitted:
            yield f"{head} at places for which there was no room: {units.seconds(omitted)}"
    ranked = sorted(locks.threads, key=_waited, reverse=True)
    for thread in ranked[:SHOWN]:
        kinds = {kind: thread.of(kind) for kind in LOCK_KINDS}
        waited = ", ".join(kind_texts(kinds)) or NOTHING
        yield from _folded(f"thread {short_name(thread.label)}: {waited}", width)
    if (more := len(ranked) - SHOWN) > 0:
        yield f"({units.count(more, 'more thread')} with less)"
    if locks.threads_omitted:
        yield f"({units.count(locks.threads_omitted, 'more thread')} that ended and made room)"


def _folded(line: str, width: int) -> Iterator[str]:
    """Yield a line of parts with commas between them, in lines of at most ``width`` columns."""
    if display_width(line) <= width:
        yield line
        return
    begun, *parts = line.split(", ")
    for part in parts:
        if display_width(f"{begun}, {part},") > width:
            yield f"{begun},"
            begun = f"  {part}"
        else:
            begun += f", {part}"
    yield begun


def _places(locks: LockReading, kind: LockKind, root: str, width: int) -> Iterator[str]:
    ended = "stopped by" if kind == "stop_the_world" else "let go"
    for head, rows in (("waited", locks.victims), (ended, locks.blame)):
        for row in rows.get(kind, ())[:PLACES_SHOWN]:
            start = f"  {head} "
            end = f" in {short_name(row.thread_label)}: {units.seconds(row.waited)}"
            yield start + fit_place(row.place, root, width - display_width(start + end)) + end
        if (more := len(rows.get(kind, ())) - PLACES_SHOWN) > 0:
            yield f"  ({units.count(more, 'more place')} with less)"


def _waited(thread: ThreadLockWaits) -> float:
    return sum(thread.of(kind).waited for kind in LOCK_KINDS)


def _types(locks: LockReading) -> str:
    shown = [
        f"{short_name(one.type_name or 'other types')} {units.seconds(one.waits.waited)}"
        for one in locks.types[:SHOWN]
    ]
    more = len(locks.types) - SHOWN
    return ", ".join(shown) + (f", {units.count(more, 'more type')}" if more > 0 else "")
