"""A reading in lines, and the text of a test that breaks a limit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import LEAST_LOOKS, group_label, pools_of
from pytest_gilknock.model.convoy import Convoy, convoy_of
from pytest_gilknock.model.limits import LimitVerdict, lock_text, threads_of
from pytest_gilknock.model.locks import ended_by
from pytest_gilknock.model.reading import machine_was_busy
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.render.format import printable, short_name
from pytest_gilknock.render.lock_lines import lock_lines
from pytest_gilknock.render.place_text import place_text
from pytest_gilknock.render.places import (
    blame_lines,
    hold_lines,
    longest_hold_text,
    longest_wait_text,
    victim_lines,
)

if TYPE_CHECKING:
    from pytest_gilknock.model.limits import Limit
    from pytest_gilknock.model.reading import GilReading, ThreadReading

SHOWN = 3
"""How many threads, blamed places and victims are shown of a reading."""


def breach_text(
    reading: GilReading, verdicts: Sequence[LimitVerdict], phase: str = "call", *, root: str = ""
) -> str:
    """Return why a test fails: each broken limit, where it comes from, and what was measured.

    Paths are printed relative to ``root``.
    """
    limits = [verdict.limit for verdict in verdicts if verdict.breached]
    facts = [_fact(reading, verdict, root) for verdict in verdicts if verdict.breached]
    during = "" if phase == "call" else f" during {phase}"
    head = [
        f"{_limited(limit)} limit exceeded{during}: {fact}, set by {limit.source}"
        for limit, fact in zip(limits, facts, strict=True)
    ]
    longest = reading.longest_wait
    named = longest is not None and any(
        fact.startswith(longest_wait_text(longest, root)) for fact in facts
    )
    return "\n".join([*head, *reading_lines(reading, root, longest=not named)])


def _limited(limit: Limit) -> str:
    """Return what a limit is on, in a word: the short summary begins with it."""
    if limit.kind == "max_stop_the_world":
        return "stop-the-world"
    return "lock" if limit.is_on_locks else "GIL"


def _fact(reading: GilReading, verdict: LimitVerdict, root: str) -> str:
    """Return what was measured, for a limit on waiting or holding beginning with who did."""
    limit = verdict.limit
    if limit.kind == "max_hold":
        return f"{longest_hold_text(reading, root)}; limit {limit.bound_text}"
    if limit.is_on_locks:
        return _lock_fact(reading, verdict, root)
    if limit.kind != "max_wait":
        return printable(verdict.fact)
    longest = reading.longest_wait
    if limit.thread is not None:
        worst = threads_of(reading, limit)[0]
        if longest is None or not worst.is_known_as(longest.native_id, longest.thread_name):
            kept = _mostly_kept_by(reading, worst, root)
            return f"{_thread_waited(reading, worst, root)}{kept}; limit {limit.bound_text}"
    if longest is None:
        return printable(verdict.fact)
    return f"{longest_wait_text(longest, root)}; limit {limit.bound_text}"


def _lock_fact(reading: GilReading, verdict: LimitVerdict, root: str) -> str:
    limit, locks = verdict.limit, reading.locks
    _, kind = locks.longest_of(limit.lock_kinds)
    longest = locks.longest_waits.get(kind)
    if longest is None:
        return printable(verdict.fact)
    what = f" {printable(lock_text(kind, locks))}"
    text = longest_wait_text(longest, root, what=what, ended_by=ended_by(kind))
    return f"{text}; limit {limit.bound_text}"


def _thread_waited(reading: GilReading, thread: ThreadReading, root: str) -> str:
    """Return how long a thread waited at once, and where it waited most over the whole window."""
    at_once = units.seconds(thread.max_wait)
    text = f"{printable(thread.label)} waited {at_once}"
    waits = [
        (part.waited, victim)
        for victim in reading.victims
        for part in victim.threads
        if thread.is_known_as(part.native_id, part.name)
    ]
    if not waits:
        return text
    waited, most = max(waits, key=lambda wait: wait[0])
    place, in_all = place_text(most.place, root), units.seconds(waited)
    if in_all == at_once:
        return f"{text}, most of all in {place}"
    return f"{text} at once, most of all in {place} ({in_all} in all)"


def _mostly_kept_by(reading: GilReading, waiter: ThreadReading, root: str) -> str:
    """Return what kept a thread waiting for more than half of its time in all, after a comma.

    Looks tell for how long a place kept all threads. What is beyond the waits of the others was
    this thread's; it is "" where no place is as sure, too few looks saw it, or there were none.
    """
    if reading.blame_method != "looked" or not reading.blame or reading.wait is None:
        return ""
    kept = reading.blame[0]
    of_others = reading.wait - waiter.wait
    if kept.looks < LEAST_LOOKS or 2 * (kept.waited - of_others) <= waiter.wait:
        return ""
    place, label = place_text(kept.place, root), printable(kept.thread_label)
    return f", mostly kept by {place} in {label}"


def reading_lines(reading: GilReading, root: str = "", *, longest: bool = True) -> Iterator[str]:
    """Yield what was measured, in indented lines with paths relative to ``root``.

    These are times, who waited longest (unless ``longest`` is false), the busiest threads, and the
    places that kept others waiting.
    """
    yield from _times(reading)
    if reading.locks.reason is None:
        yield from _indented(
            "  locks       what threads waited for:",
            lock_lines(reading.locks, root),
        )
    if longest and reading.longest_wait is not None:
        yield f"  longest     {longest_wait_text(reading.longest_wait, root)}"
    if (convoy := convoy_of(reading)) is not None:
        yield f"  convoy      {convoy_text(convoy)}"
    threads = reading.busiest_threads[:SHOWN]
    if threads:
        total = units.count(len(reading.threads) + reading.threads_omitted, "thread")
        yield f"  threads     {total} took the GIL, busiest first:"
    for thread in threads:
        yield f"              {thread_line(thread)}"
    if more := len(reading.threads) - len(threads):
        yield f"              ({units.count(more, 'more thread')})"
    if reading.threads_omitted:
        yield f"              ({reading.threads_omitted} of them ended and made room for others)"
    if machine_was_busy(reading.run_delay or 0.0, reading.wall * len(reading.threads)):
        delay = units.seconds(reading.run_delay)
        yield f"  machine     busy: threads stood ready for {delay} without a processor"
    blame, victims = (lines(reading, root, most=SHOWN) for lines in (blame_lines, victim_lines))
    yield from _indented(_BLAME_HEADS[reading.blame_method], blame)
    yield from _indented("  waited      where threads waited:", victims)
    holds = hold_lines(reading, root, most=SHOWN)
    yield from _indented("  kept        where the GIL was kept although asked for:", holds)


_BLAME_HEADS = {
    "looked": "  blame       where the GIL was held while others waited:",
    "released": "  blame       where the GIL was let go while others waited:",
    "none": "",
}


def convoy_text(convoy: Convoy) -> str:
    """Return who is held up by whom, with the numbers, in one line."""
    interval = units.exact_seconds(round(convoy.switch_interval, 6))
    number = round(convoy.mean_wait / convoy.switch_interval)
    about = "the switch interval" if number < 2 else f"{number} switch intervals"
    return (
        f"{_names(convoy.threads)} waited {units.count(convoy.waits, 'time')} for about {about}"
        f" of {interval} ({units.seconds(convoy.mean_wait)} on average,"
        f" {units.seconds(convoy.wait)} in all) to hold the GIL for"
        f" {units.seconds(convoy.mean_hold)} at a time, beside {_names(convoy.computing)} that"
        f" {'computes' if len(convoy.computing) == 1 else 'compute'}"
    )


def _names(threads: Sequence[ThreadReading]) -> str:
    """Return what threads are called, the largest pool first; those of a pool are counted."""
    pools = sorted(pools_of(printable(thread.label) for thread in threads), key=len, reverse=True)
    shown = ", ".join(map(group_label, pools[:SHOWN]))
    more = sum(map(len, pools[SHOWN:]))
    return f"{shown} and {more} more" if more else shown


def thread_line(thread: ThreadReading) -> str:
    """Return ``worker: held 400 ms, waited 50.0 ms``."""
    return (
        f"{short_name(thread.label)}: held {units.seconds(thread.held)},"
        f" waited {units.seconds(thread.wait)}"
    )


def _indented(head: str, lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is not None:
        yield head
        for line in (first, *lines):
            yield f"              {line}"


def _times(reading: GilReading) -> Iterator[str]:
    wall = units.seconds(reading.wall)
    if reading.method == "disabled":
        waited = units.seconds(reading.interpreter_wait)
        yield f"  GIL         off; threads waited {waited} for the interpreter in {wall}"
        return
    if reading.held is None:
        asked = units.count(reading.knocks, "request")
        waited = f"{reading.knocks_waited} of {asked} of {OWN_THREAD} waited"
        yield f"  contention  {units.share(reading.contention)} ({waited} in {wall})"
        longest = units.seconds(reading.max_wait)
        yield f"  wait        {units.NOT_MEASURED}; {OWN_THREAD} waited {longest} at most"
        yield f"  method      {reading.method}: {printable(reading.reason or 'asked for')}"
        return
    held = units.seconds(reading.held)
    yield f"  contention  {units.share(reading.contention)} (the GIL was held {held} of {wall})"
    yield (
        f"  wait        {units.seconds(reading.wait)} over all threads;"
        f" longest single wait {units.seconds(reading.max_wait)}"
    )
