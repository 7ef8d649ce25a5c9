"""The places of a reading in lines: who held the GIL, who waited, who kept it though asked. Pure.

``root`` is the directory that paths are printed relative to.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import listed, worst_places
from pytest_gilknock.model.stack import OWN_THREAD, place_of
from pytest_gilknock.render.format import display_width, keep_start, printable, short_name
from pytest_gilknock.render.place_text import (
    WIDE,
    fit_place,
    frame_text,
    frames_shown,
    place_text,
    shortest_text,
)

if TYPE_CHECKING:
    from pytest_gilknock.model.blame import Blame
    from pytest_gilknock.model.longest_wait import LongestWait
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.stack import Place, Stack

_NOTABLE = 0.2  # hand-overs from this share of the wait up are shown


def _place_line(
    place: Place, root: str, width: int, *, before: str = "", after: str = "", measured: str
) -> Iterator[str]:
    """Yield a place with the text around it, and what was measured there.

    They stand in one line if that leaves room for file, line and function, else in two.
    """
    around = display_width(before + after)
    room = width - around - display_width(f": {measured}")
    if room >= display_width(shortest_text(place)):
        yield f"{before}{fit_place(place, root, room)}{after}: {measured}"
    else:
        yield f"{before}{fit_place(place, root, width - around - 1)}{after}:"
        yield f"    {measured}"


def worst_place(reading: GilReading, root: str) -> str | None:
    """Return the place that kept others waiting longest; None where nobody had to wait.

    It has at most :data:`WIDE` columns.
    """
    rows = worst_places(reading)
    return fit_place(rows[0].place, root, WIDE) if rows else None


def blame_lines(
    reading: GilReading, root: str, *, most: int, stacks: bool = False, width: int = WIDE
) -> Iterator[str]:
    """Yield the worst ``most`` places that kept others waiting, then how many more there are.

    The hand-over comes last, where it is much of the wait.

    Each has its source line below it, or with ``stacks`` its stack. No line but those of the stack
    is wider than ``width``; line numbers and times are never cut off.
    """
    rows = listed(reading.blame, reading.wait)
    for blame in rows[:most]:
        thread = f" in {short_name(blame.thread_label)}"
        yield from _place_line(blame.place, root, width, after=thread, measured=_weight(blame))
        if stacks:
            yield from _stack_lines(blame.stacks[0].frames, root)
        elif blame.frame is not None:
            source = linecache.getline(blame.file, blame.line).strip()
            if source:
                yield keep_start(f"    {printable(source)}", width)
    left = len(reading.blame) + reading.blame_omitted[0] - len(rows[:most])
    if left and rows:
        yield f"({units.count(left, 'more place')} with less, or fewer than 3 looks)"
    if reading.hand_over and reading.wait and reading.hand_over >= _NOTABLE * reading.wait:
        passed = f"{units.seconds(reading.hand_over)}, {reading.hand_over / reading.wait:.0%}"
        yield f"({passed}, passed while the GIL was free and the next thread woke up)"
    if reading.unlooked and reading.unlooked_reason:
        yield keep_start(
            f"({units.seconds(reading.unlooked)} passed while nobody saw where the GIL was held:"
            f" {reading.unlooked_reason})",
            width,
        )


def victim_lines(
    reading: GilReading, root: str, *, most: int, stacks: bool = False, width: int = WIDE
) -> Iterator[str]:
    """Yield the worst ``most`` places whose threads waited, as :func:`blame_lines` does."""
    for victim in reading.victims[:most]:
        thread = f"{short_name(victim.thread_label)} in "
        times = f"waited {units.seconds(victim.waited)}, longest {units.seconds(victim.longest)}"
        yield from _place_line(victim.place, root, width, before=thread, measured=times)
        if stacks:
            yield from _stack_lines(victim.stacks[0].frames, root)


def hold_lines(
    reading: GilReading, root: str, *, most: int, stacks: bool = False, width: int = WIDE
) -> Iterator[str]:
    """Yield the ``most`` places of the longest holds that went on although the GIL was asked for.

    The lines are as those of :func:`blame_lines`.
    """
    for hold in reading.holds[:most]:
        thread = f" in {short_name(hold.thread_label)}"
        holds = f"{units.count(hold.count, 'hold')}, {units.seconds(hold.held)}"
        times = f"longest {units.seconds(hold.longest)} ({holds})"
        yield from _place_line(hold.place, root, width, after=thread, measured=times)
        if stacks:
            yield from _stack_lines(hold.stacks[0].frames, root)
    left = len(reading.holds[most:])
    if left:
        yield f"({units.count(left, 'more place')} with shorter ones)"
    if reading.holds_unseen:
        yield f"({units.count(reading.holds_unseen, 'more hold')} whose place is not known)"


def longest_hold_text(reading: GilReading, root: str) -> str:
    """Return what kept the GIL longest, where that is known: a sentence without its full stop."""
    held = f"held for {units.seconds(reading.max_hold)} at once"
    longest = next((hold for hold in reading.holds if hold.longest == reading.max_hold), None)
    if longest is not None:
        held += f" by {place_text(longest.place, root)} in {printable(longest.thread_label)}"
    return f"{held}, although asked for"


def longest_wait_text(
    longest: LongestWait, root: str, *, what: str = "", ended_by: str = "kept by"
) -> str:
    """Return who waited longest (``what`` for), where, and by whom it was kept or ended.

    It is one sentence without its full stop.
    """
    text = f"{printable(longest.thread_label)} waited {units.seconds(longest.waited)}{what}"
    if longest.stack:
        text += f" in {place_text(place_of(longest.stack), root)}"
    if longest.holder_stack:
        holder = place_text(place_of(longest.holder_stack), root)
        text += f", {ended_by} {holder} in {printable(longest.holder_label)}"
    elif longest.holder_native_id:
        text += f", {ended_by} {printable(longest.holder_label)}"
    return text


def longest_wait_lines(longest: LongestWait, root: str, width: int) -> Iterator[str]:
    """Yield who waited longest, where, and who kept the GIL, in at most ``width`` columns.

    ``width`` is from some 60 up. Where one line has no room for both, the second has who kept it.
    """
    text = longest_wait_text(longest, root)
    if display_width(text) <= width:
        yield text
        return
    waited = f"{short_name(longest.thread_label)} waited {units.seconds(longest.waited)}"
    holder = short_name(longest.holder_label)
    is_kept = bool(longest.holder_stack or longest.holder_native_id)
    comma = "," if is_kept else ""
    yield _with_place(f"{waited} in ", longest.stack, comma, root, width) or waited + comma
    if is_kept:
        kept = _with_place("kept by ", longest.holder_stack, f" in {holder}", root, width)
        yield kept or f"kept by {holder}"


def _with_place(before: str, stack: Stack, after: str, root: str, width: int) -> str:
    """Return the place of a stack between two texts, in ``width`` columns; "" without a stack."""
    if not stack:
        return ""
    room = width - display_width(before + after)
    return f"{before}{fit_place(place_of(stack), root, room)}{after}"


def _weight(blame: Blame) -> str:
    """Return how long others waited for it, and how well that is known."""
    if blame.waited:
        looks = units.count(blame.looks, "look")
        return f"threads waited {units.seconds(blame.waited)} ({looks})"
    looks = units.count(blame.knock_looks, "look")
    return f"{OWN_THREAD} waited {units.seconds(blame.knock_waited)} ({looks})"


def _stack_lines(stack: Stack, root: str) -> Iterator[str]:
    for frame in frames_shown(stack):
        calls = f" > {printable(frame.callee)}" if frame.callee else ""
        yield f"    {frame_text(frame, root)}{calls}"
