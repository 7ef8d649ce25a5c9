"""The text of a test that breaks a limit: what was measured, and which lines are to blame. Pure."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.limits import Verdict
from pytest_gilknock.model.reading import machine_was_busy
from pytest_gilknock.render import format as text

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import Blame, GilReading


def breach_text(reading: GilReading, verdicts: Iterable[Verdict], phase: str = "call") -> str:
    """Return why a test fails: each broken limit, where it comes from, and what was measured."""
    breaches = [verdict for verdict in verdicts if verdict.breached]
    during = "" if phase == "call" else f" during {phase}"
    head = [
        f"GIL limit exceeded{during}: {verdict.fact}, set by {verdict.limit.source}"
        for verdict in breaches
    ]
    return "\n".join([*head, *facts(reading)])


def facts(reading: GilReading) -> Iterator[str]:
    """Yield what was measured in indented lines: times, the busiest threads, the blamed lines."""
    yield from _times(reading)
    threads = reading.busiest_threads[:3]
    if threads:
        total = units.count(len(reading.threads), "thread")
        yield f"  threads     {total} took the GIL, busiest first:"
    for thread in threads:
        yield (
            f"              {text.printable(thread.label)}: held {units.seconds(thread.held)},"
            f" waited {units.seconds(thread.wait)}"
        )
    if machine_was_busy(reading.run_delay or 0.0, reading.wall * len(reading.threads)):
        delay = units.seconds(reading.run_delay)
        yield f"  machine     busy: threads stood ready for {delay} without a processor"
    blames = reading.worst_blame[:3]
    if blames:
        yield "  blame       lines that held the GIL while others waited:"
    for blame in blames:
        yield from _blame(blame)


def _times(reading: GilReading) -> Iterator[str]:
    wall = units.seconds(reading.wall)
    if reading.held is None:
        waited = f"{reading.knocks_waited} of {units.count(reading.knocks, 'knock')} waited"
        yield f"  contention  {units.share(reading.contention)} ({waited} in {wall})"
        yield f"  wait        {units.NOT_MEASURED}; longest knock {units.seconds(reading.max_wait)}"
        yield f"  method      {reading.method}: {text.printable(reading.reason or 'asked for')}"
        return
    held = units.seconds(reading.held)
    yield f"  contention  {units.share(reading.contention)} (the GIL was held {held} of {wall})"
    yield (
        f"  wait        {units.seconds(reading.wait)} over all threads;"
        f" longest single wait {units.seconds(reading.max_wait)}"
    )


def _blame(blame: Blame) -> Iterator[str]:
    yield (
        f"              {text.printable(blame.place)} in {text.printable(blame.thread_label)}:"
        f" knocks waited {units.seconds(blame.waited)}"
    )
    source = linecache.getline(blame.file, blame.line).strip()
    if source:
        yield f"                  {text.printable(source)}"
