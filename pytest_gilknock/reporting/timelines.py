"""The timelines of single tests, cut out of the traces of the processes that ran them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gilknock.model.trace import Interval, Trace, ends_forced
from pytest_gilknock.render.format import printable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from pytest_gilknock.model.wire import ProcessTrace

MOST_SLICES = 3_000
"""Holds and waits in one timeline, the longest ones; without the others the whole test is seen."""

MOST_THREADS = 24
"""Tracks in one timeline: those of the threads that held the GIL or waited longest."""

WAITS, HOLDS, HOLDS_UNTIL_FORCED = range(3)


class Slice(NamedTuple):
    """One hold or wait, in microseconds since its test began."""

    start: float
    end: float
    kind: int


def timelines(
    traces: Iterable[ProcessTrace], wanted: Container[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (test id, timeline) for the calls of the wanted tests whose events are there.

    A timeline has its ``length`` (us), how much of its beginning is ``unknown`` (us) as the trace
    had no room for it, and for each of its ``threads`` the ``name`` and the ``slices`` in one flat
    list: start, end, kind, start, end, kind and so on. ``left_out`` slices are not there, which are
    no longer than ``shortest`` (us), nor are ``threads_left_out``.
    """
    for process in traces:
        raw = process["raw"]
        if raw is None:
            continue
        trace = Trace(raw)
        per_tick = raw["clock"][2] * 1e-3  # us
        tracks = _tracks(trace)
        forced = trace.forced_out()
        recorded = trace.recorded_from
        for nodeid, phase, start, end in process["spans"]:
            if phase != "call" or nodeid not in wanted:
                continue
            if found := _cut(tracks, forced, start, end, per_tick):
                unknown = max(0.0, (recorded - start) * per_tick)
                yield nodeid, _timeline(trace, found, (end - start) * per_tick, unknown)


def _tracks(trace: Trace) -> dict[int, list[Interval]]:
    """Return the events of each thread of the program, which do not overlap, oldest first."""
    tracks: dict[int, list[Interval]] = {}
    for interval in trace.intervals():
        if not interval.is_by_knocker:
            tracks.setdefault(interval.serial, []).append(interval)
    for track in tracks.values():
        track.sort()
    return tracks


def _cut(
    tracks: dict[int, list[Interval]],
    forced: set[tuple[int, int]],
    start: int,
    end: int,
    per_tick: float,
) -> dict[int, list[Slice]]:
    """Return the slices of each thread between two moments (ticks); no thread without any."""
    found: dict[int, list[Slice]] = {}
    for serial, track in tracks.items():
        slices = []
        for place in range(bisect_right(track, start, key=attrgetter("end")), len(track)):
            interval = track[place]
            if interval.start >= end:
                break
            kind = WAITS if interval.is_wait else HOLDS
            if ends_forced(interval, forced) and interval.end <= end:
                kind = HOLDS_UNTIL_FORCED
            first, last = max(interval.start, start), min(interval.end, end)
            slices.append(Slice((first - start) * per_tick, (last - start) * per_tick, kind))
        if slices:
            found[serial] = slices
    return found


def _timeline(
    trace: Trace, found: dict[int, list[Slice]], length: float, unknown: float
) -> dict[str, Any]:
    busiest = sorted(found.items(), key=lambda item: -sum(map(_lasted, item[1])))[:MOST_THREADS]
    lasted = sorted((_lasted(one) for _, slices in busiest for one in slices), reverse=True)
    # Of the slices that last as long as the shortest one for which there is room, the first ones
    # take what the longer ones leave of it.
    shortest = lasted[MOST_SLICES - 1] if len(lasted) > MOST_SLICES else 0.0
    room = MOST_SLICES - sum(one > shortest for one in lasted)
    threads = []
    for serial, slices in sorted(busiest):
        flat: list[float] = []
        for start, end, kind in slices:
            if end - start < shortest or (end - start == shortest and shortest and room <= 0):
                continue
            room -= end - start == shortest
            flat += (round(start, 1), round(end, 1), kind)
        threads.append({"name": printable(trace.thread(serial).label), "slices": flat})
    shown = sum(len(thread["slices"]) // 3 for thread in threads)
    return {
        "length": round(length, 1),
        "unknown": round(unknown, 1),
        "left_out": len(lasted) - shown,
        "shortest": round(shortest, 1),
        "threads_left_out": len(found) - len(busiest),
        "threads": threads,
    }


def _lasted(one: Slice) -> float:
    return one.end - one.start
