"""What the page of a run says: its figures, its tests, who held the GIL and who waited. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pytest_gilknock.model import units
from pytest_gilknock.model.convoy import convoy_of
from pytest_gilknock.model.locks import INTERPRETER_KINDS, KIND_NAMES
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import WORTH_A_ROW, shows_locks, thread_count, worst_places
from pytest_gilknock.model.stack import PYTEST, Stack
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lock_lines import lock_lines, worst_text
from pytest_gilknock.render.places import NO_FRAME, frame_text, longest_wait_text, place_text
from pytest_gilknock.render.reading_text import convoy_text
from pytest_gilknock.reporting.page import Page, Row, pack
from pytest_gilknock.reporting.timelines import timelines

if TYPE_CHECKING:
    from pytest_gilknock.model.blame import StackPart
    from pytest_gilknock.model.convoy import Convoy
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.stalls import Stall
    from pytest_gilknock.model.wire import LockKind, RawLockWaits, RawReading
    from pytest_gilknock.reporting.results import PhaseResult, Results, RunSummary
    from pytest_gilknock.reporting.top_holders import (
        Placeless,
        TopHolders,
        TopHolds,
        TopPlace,
        TopPlaces,
    )

MOST_STACKS = 60
"""Stacks in one flame graph of a test; those least waited for are left out."""

MOST_TIMELINES = 100
"""Tests with a timeline: those whose threads waited most."""

MOST_PLACES = 12
"""Places in a list of holders or victims of the whole run."""

MOST_HOLDS = 50
"""Places in a list of native calls that keep the GIL."""

LINES_WIDTH = 120
"""Columns of a line on waits for locks, but for places, which are whole."""

MOST_STALLS = 20
MOST_CONVOYS = 3
"""How many are described above the table; all tests with one are found by its filter."""


def page_of(results: Results, caveats: Iterable[str]) -> Page:
    """Return the page of a run that kept all of its tests.

    ``caveats`` are lines that say why its numbers may be off.
    """
    tests = list(results.everything())
    whole = results.summary()
    top = results.places
    drawn = dict(timelines(results.traces, _worst(tests)))
    rows: list[Row] = []
    convoys: list[tuple[Convoy, str]] = []

    def details() -> Iterator[dict[str, Any]]:
        for test in tests:
            reading = test.reading
            convoy = convoy_of(reading)
            rows.append(_row(test, reading, convoy, results.root))
            if convoy is not None:
                convoys.append((convoy, rows[-1].test))
            timeline = drawn.get(test.nodeid) if test.record["phase"] == "call" else None
            yield _details(test, reading, convoy, timeline, results.root)

    batches = list(pack(details()))  # makes the rows, too
    return Page(
        sentence=sentence(tests, top, results.root),
        figures=_figures(whole, results.measured),
        notes=[*_convoy_notes(convoys), *(("caveat", line) for line in caveats)],
        how=list(_how(whole)),
        rows=rows,
        batches=batches,
        wait=top.wait,
        holders=[*_places(top.holders, top.wait, results.root), *map(_placeless, top.placeless())],
        victims=_places(top.victims, top.wait, results.root),
        stalls=[_stall(stall) for stall in results.stalls[:MOST_STALLS]],
        changes=results.changes,
        audit=_audit(top.holds, results.root),
    )


def sentence(tests: Iterable[PhaseResult], top: TopHolders, root: str = "") -> str:
    """Return the run in a sentence: how many tests kept others waiting, and what did most of it."""
    raws = [test.record["raw"] for test in tests]
    if not raws:
        return "No test was measured."
    if all(raw["method"] == "disabled" for raw in raws):
        return _without_gil(raws)
    waits = [wait for raw in raws if (wait := raw["wait"]) is not None]
    if not waits:
        return _by_knocks(raws)
    text = _who_waited([wait for wait in waits if wait >= WORTH_A_ROW], top, root)
    unknown = sum(raw["wait"] is None and raw["method"] != "disabled" for raw in raws)
    if unknown:
        text += f" In {units.count(unknown, 'more test')} the waits were not measured."
    return text


def _who_waited(waiting: list[float], top: TopHolders, root: str) -> str:
    if not waiting:
        return "No test kept a thread waiting for the GIL for a millisecond or more."
    text = f"{units.count(len(waiting), 'test')} kept threads waiting {units.seconds(sum(waiting))}"
    holders, _ = top.holders.listed(1, top.wait)
    if not holders or top.wait <= 0.0:
        return f"{text}."
    share = round(100 * holders[0].waited / top.wait)
    place = place_text(holders[0].place, root)
    return f"{text}; {place} did {share} % of it." if share >= 10 else f"{text}."


def _without_gil(raws: Iterable[RawReading]) -> str:
    head = "The GIL was off in all tests"
    measured = [
        _in_place_of_gil(raw["locks"]["kinds"]) for raw in raws if not isinstance(raw["locks"], str)
    ]
    if not measured:
        return f"{head}: no thread waits for it."
    waits = [one for one in measured if sum(one.values()) >= WORTH_A_ROW]
    if not waits:
        return f"{head}, and none kept a thread waiting for a millisecond or more."
    total = {kind: sum(one[kind] for one in waits) for kind in INTERPRETER_KINDS}
    return (
        f"{head}; {units.count(len(waits), 'test')} kept threads waiting"
        f" {units.seconds(sum(total.values()))} for what is there in its place, mostly for"
        f" {_mostly(total)}."
    )


def _in_place_of_gil(kinds: dict[str, RawLockWaits]) -> dict[LockKind, float]:
    """Return how long (s) was waited for each kind that is there in the GIL's place."""
    return {kind: kinds[kind][1] for kind in INTERPRETER_KINDS}


def _mostly(waits: dict[LockKind, float]) -> str:
    return KIND_NAMES[max(waits, key=lambda kind: waits[kind])]


def _by_knocks(raws: Iterable[RawReading]) -> str:
    longest = max((raw["max_wait"] or 0.0 for raw in raws), default=0.0)
    return (
        "How long threads waited for the GIL was not measured; of the knocks of this plugin the"
        f" longest waited {units.seconds(longest)}."
    )


def _figures(whole: RunSummary, measured: int) -> list[tuple[str, str]]:
    gil = "enabled" if whole.gil_enabled else "disabled"
    return [
        ("tests measured", f"{measured:,}"),
        *_waits(whole),
        ("held", units.seconds(whole.held)),
        ("contention", units.share(whole.contention)),
        ("time", units.seconds(whole.wall) if whole.processes else units.NOT_MEASURED),
        ("method", "/".join(whole.methods) or units.NOT_MEASURED),
        ("GIL", gil if whole.processes else units.NOT_MEASURED),
    ]


def _waits(whole: RunSummary) -> Iterator[tuple[str, str]]:
    """Yield what was waited for the GIL, or for what is there in its place."""
    if not whole.disabled or whole.locks is None:
        yield "wait", units.seconds(whole.wait)
        return
    waits = _in_place_of_gil(whole.locks)
    yield "wait", units.seconds(sum(waits.values()))
    if any(waits.values()):
        yield "mostly for", _mostly(waits)


def _how(whole: RunSummary) -> Iterator[str]:
    if not whole.processes:
        yield "No process told what it measured as a whole: they crashed, or ran no test."
    elif whole.methods == ["exact"]:
        yield (
            "Method exact: every take and every release of the GIL was seen, so held, wait and the"
            " counts are sums, not samples."
        )
    elif whole.disabled:
        yield (
            "The GIL was disabled: no thread waits for it. Wait is what threads waited for objects"
            " that others used, for the world that others had stopped, and for other locks of the"
            " interpreter; held by is who let these go."
        )
    else:
        yield "Not every process could be measured exactly; there the numbers come from knocks."
    for reason in whole.reasons:
        yield f"Not exact: {printable(reason)}."
    yield (
        "Contention is the share of the time in which some thread held the GIL. A single-threaded"
        " test in pure Python has contention 1 and wait 0: nobody else wanted to run. An event"
        " loop that blocks itself does not wait for the GIL either."
    )
    yield (
        "Who held it: threads that wait look, at random moments, where the holder stands. Blame"
        " with few looks is a rough guess; the number of looks stands beside it."
    )
    if whole.processes and not whole.disabled:
        yield (
            f"Measuring took {units.seconds(whole.windows_cost)}, and its knocks held the GIL for"
            f" {units.seconds(whole.knocks_held)}."
        )


def _convoy_notes(convoys: list[tuple[Convoy, str]]) -> Iterator[tuple[str, str]]:
    convoys.sort(key=lambda one: -one[0].wait)
    for convoy, test in convoys[:MOST_CONVOYS]:
        yield "convoy", f"Convoy in {test}: {printable(convoy_text(convoy))}"
    if more := len(convoys[MOST_CONVOYS:]):
        yield "convoy", f"{units.count(more, 'more test')} with a convoy."


# --- the table ---


def _row(test: PhaseResult, reading: GilReading, convoy: Convoy | None, root: str) -> Row:
    rows = worst_places(reading)
    flags = [
        "breach" if test.breached else "caveat" if test.verdicts else "",
        "convoy" if convoy is not None else "",
        "failed" if test.outcome == "failed" else "",
    ]
    return Row(
        metrics=[metric.of(reading) for metric in METRICS.values() if metric.shown],
        threads=thread_count(reading),
        wall=reading.wall,
        held_by=place_text(rows[0].place, root) if rows else "",
        test=printable(test.name),
        flags=" ".join(filter(None, flags)),
    )


def _places(places: TopPlaces, wait: float, root: str) -> list[dict[str, Any]]:
    return [_place(place, root) for place in places.listed(MOST_PLACES, wait)[0]]


def _place(place: TopPlace, root: str) -> dict[str, Any]:
    return {
        "place": place_text(place.place, root),
        "waited": place.waited,
        "tests": place.tests,
        "threads": printable(place.thread_label),
    }


def _placeless(part: Placeless) -> dict[str, Any]:
    return {"place": part.what, "waited": part.waited, "tests": part.tests, "threads": "no thread"}


def _audit(holds: TopHolds, root: str) -> dict[str, Any] | None:
    if holds.audited == 0:
        return None
    rows = [
        (
            place_text(one.place, root),
            one.longest,
            one.count,
            one.held,
            one.tests,
            printable(one.thread_label),
        )
        for one in holds.most(0)
    ]
    more = len(rows[MOST_HOLDS:])
    return {"holds": rows[:MOST_HOLDS], "more": more, "unseen": holds.unseen}


def _stall(stall: Stall) -> dict[str, Any]:
    return {
        "test": printable(stall.test),
        "lasted": stall.lasted,
        "place": printable(stall.place) if stall.place else None,
        "thread": printable(stall.thread) if stall.thread else None,
        "stacks": "\n".join(map(printable, stall.stacks.splitlines())),
    }


# --- one test ---


def _worst(tests: list[PhaseResult]) -> set[str]:
    """Return the ids of the tests that get a timeline: those whose threads waited most."""
    waits = [
        (test.record["raw"]["wait"] or 0.0, test.nodeid)
        for test in tests
        if test.record["phase"] == "call"
    ]
    return {nodeid for wait, nodeid in heapq.nlargest(MOST_TIMELINES, waits) if wait > 0.0}


def _details(
    test: PhaseResult,
    reading: GilReading,
    convoy: Convoy | None,
    timeline: dict[str, Any] | None,
    root: str,
) -> dict[str, Any]:
    blame = [part for row in reading.blame for part in row.stacks]
    by_knocks = reading.method != "disabled" and not any(part.waited for part in blame)
    if by_knocks:
        blame = [part._replace(waited=part.knock_waited) for part in blame]
    victims = [part for row in reading.victims for part in row.stacks]
    longest = reading.longest_wait
    worst = reading.locks.worst if reading.method == "disabled" else None
    if worst is not None:
        kind = worst[0]
        blame = [part for row in reading.locks.blame.get(kind, ()) for part in row.stacks]
        victims = [part for row in reading.locks.victims.get(kind, ()) for part in row.stacks]
        longest = reading.locks.longest_waits.get(kind)
    own = {frame for part in (*blame, *victims) for frame in part.frames if frame.own}
    return {
        "figures": list(_test_figures(test, reading)),
        "longest": longest_wait_text(longest, root) if longest else None,
        "convoy": printable(convoy_text(convoy)) if convoy else None,
        "verdicts": [(printable(verdict.fact), verdict.breached) for verdict in test.verdicts],
        "threads": [
            (
                printable(thread.label),
                thread.held,
                thread.wait,
                thread.max_wait,
                thread.acquisitions,
                thread.contended,
            )
            for thread in reading.busiest_threads
        ],
        "holds": [
            (
                place_text(hold.place, root),
                hold.longest,
                hold.count,
                hold.held,
                printable(hold.thread_label),
            )
            for hold in reading.holds[:MOST_HOLDS]
        ],
        "locks": list(
            lock_lines(reading.locks, lambda place, _: place_text(place, root), LINES_WIDTH)
        ),
        "by_knocks": by_knocks,
        "waited_for": KIND_NAMES[worst[0]] if worst is not None else None,
        "blame": _stacks(blame, root),
        "victims": _stacks(victims, root),
        "own": sorted({frame_text(frame, root) for frame in own}),
        "waits": reading.wait_histogram or (),
        "timeline": timeline,
    }


def _test_figures(test: PhaseResult, reading: GilReading) -> Iterator[tuple[str, str]]:
    yield "outcome", printable(test.outcome)
    yield "time", units.seconds(reading.wall)
    yield "contention", units.share(reading.contention)
    yield "wait", units.seconds(METRICS["wait"].of(reading))
    yield "longest wait", units.seconds(METRICS["max_wait"].of(reading))
    if shows_locks(reading):
        yield "mostly for", worst_text(reading.locks)
    if reading.hand_over:
        yield "hand-over", units.seconds(reading.hand_over)
    if reading.unlooked:
        yield "nobody looked", units.seconds(reading.unlooked)
    looks = sum(row.looks for row in reading.blame)
    if reading.method == "disabled":
        return
    yield "looks", str(looks) if reading.blame_method != "none" else units.NOT_MEASURED
    if reading.knocks:
        yield "knocks", f"{reading.knocks_waited} of {reading.knocks} waited"


def _stacks(parts: Iterable[StackPart], root: str) -> list[tuple[list[str], float]]:
    """Return (texts of the frames, outermost first; seconds), the most waited for first."""
    most = sorted(parts, key=lambda part: -part.waited)[:MOST_STACKS]
    return [(_frames(part.frames, root), part.waited) for part in most if part.waited > 0.0]


def _frames(stack: Stack, root: str) -> list[str]:
    """Return texts of the frames, outermost first; pytest's own around the test become one."""
    frames = [*reversed(stack)]
    outer = [*takewhile(lambda frame: not frame.own, frames)]
    last = max((at for at, frame in enumerate(outer) if frame.of_pytest), default=-1)
    texts = [frame_text(frame, root) for frame in frames[last + 1 :]]
    if last >= 0:
        texts.insert(0, PYTEST.function)
    texts = texts or [NO_FRAME]
    callee = next((frame.callee for frame in stack if frame.callee), None)
    return texts if callee is None else [*texts, f"({printable(callee)})"]
