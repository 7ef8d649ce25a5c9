"""What the page of a run says: its figures, its tests, who held the GIL and who waited. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_gilknock.model import units
from pytest_gilknock.model.convoy import convoy_of
from pytest_gilknock.model.locks import INTERPRETER_KINDS, KIND_NAMES
from pytest_gilknock.model.reading import WORTH_A_ROW
from pytest_gilknock.model.stack import OWN_THREAD, place_of
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lines import heading
from pytest_gilknock.render.place_text import place_text
from pytest_gilknock.render.reading_text import convoy_text
from pytest_gilknock.reporting.page import MOST_HOLDS, Details, Page, Row, pack
from pytest_gilknock.reporting.page_of_test import details_of, row_of
from pytest_gilknock.reporting.timelines import timelines

if TYPE_CHECKING:
    from pytest_gilknock.model.convoy import Convoy
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

MOST_TIMELINES = 100
"""Tests with a timeline: those whose threads waited most."""

MOST_PLACES = 12
"""Places in a list of holders or victims of the whole run."""

MOST_STALLS = 20
MOST_CONVOYS = 3
"""How many are described above the table; all tests with one are found by its filter."""


def page_of(results: Results, caveats: Iterable[str]) -> Page:
    """Return the page of a run that kept all of its tests.

    ``caveats`` are lines that say why its numbers may be off.
    """
    tests = list(results.everything())
    summary = results.summary()
    top = results.places
    drawn = dict(timelines(results.traces, _worst(tests)))
    rows: list[Row] = []
    convoys: list[tuple[Convoy, PhaseResult]] = []

    def details() -> Iterator[Details]:
        for test in tests:
            reading = test.reading
            convoy = convoy_of(reading)
            rows.append(row_of(test, reading, convoy, results.root))
            if convoy is not None:
                convoys.append((convoy, test))
            timeline = drawn.get(test.nodeid) if test.record["phase"] == "call" else None
            yield details_of(test, reading, convoy, timeline, results.root)

    batches = list(pack(details()))  # makes the rows, too
    return Page(
        title=heading(without_gil=summary.disabled),
        sentence=sentence(tests, top, results.root),
        figures=_figures(summary, len(results.tests)),
        notes=[*_convoy_notes(convoys), *(("caveat", line) for line in caveats)],
        how=list(_how(summary)),
        rows=rows,
        tests=len({test.nodeid for test in tests}),
        batches=batches,
        wait=top.wait,
        holders=[*_places(top.holders, top.wait, results.root), *map(_placeless, top.placeless())],
        victims=_places(top.victims, top.wait, results.root),
        stalls=[_stall(stall, results.root) for stall in results.stalls[:MOST_STALLS]],
        changes=results.changes,
        audit=_audit(top.holds, results.root),
    )


def sentence(tests: Iterable[PhaseResult], top: TopHolders, root: str = "") -> str:
    """Return the run in a sentence: how many tests kept others waiting, and what did most of it."""
    phases = [(test.nodeid, test.record["raw"]) for test in tests]
    raws = [raw for _, raw in phases]
    if not raws:
        return "No test was measured."
    if all(raw["method"] == "disabled" for raw in raws):
        return _without_gil(phases)
    waits: dict[str, float] = {}
    for nodeid, raw in phases:
        if raw["wait"] is not None:
            waits[nodeid] = waits.get(nodeid, 0.0) + raw["wait"]
    if not waits:
        return _by_knocks(raws)
    text = _who_waited([wait for wait in waits.values() if wait >= WORTH_A_ROW], top, root)
    with_gil = {nodeid for nodeid, raw in phases if raw["method"] != "disabled"}
    if more := len(with_gil - waits.keys()):
        text += f" In {units.count(more, 'more test')} the waits were not measured."
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


def _without_gil(phases: Iterable[tuple[str, RawReading]]) -> str:
    head = "The GIL was off in all tests"
    measured: dict[str, dict[LockKind, float]] = {}
    for nodeid, raw in phases:
        if not isinstance(raw["locks"], str):
            of_test = measured.setdefault(nodeid, dict.fromkeys(INTERPRETER_KINDS, 0.0))
            for kind, waited in _in_place_of_gil(raw["locks"]["kinds"]).items():
                of_test[kind] += waited
    if not measured:
        return f"{head}: no thread waits for it."
    waits = [one for one in measured.values() if sum(one.values()) >= WORTH_A_ROW]
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
        "How long threads waited for the GIL was not measured;"
        f" {OWN_THREAD} waited {units.seconds(longest)} at most."
    )


def _figures(summary: RunSummary, measured: int) -> list[tuple[str, str]]:
    gil = "enabled" if summary.gil_enabled else "disabled"
    return [
        ("tests measured", f"{measured:,}"),
        *_waits(summary),
        ("held", units.seconds(summary.held)),
        ("contention", units.share(summary.contention)),
        ("time", units.seconds(summary.wall) if summary.processes else units.NOT_MEASURED),
        ("method", "/".join(summary.methods) or units.NOT_MEASURED),
        ("GIL", gil if summary.processes else units.NOT_MEASURED),
    ]


def _waits(summary: RunSummary) -> Iterator[tuple[str, str]]:
    """Yield what was waited for the GIL, or for what is there in its place."""
    if not summary.disabled or summary.locks is None:
        yield "wait", units.seconds(summary.wait)
        return
    waits = _in_place_of_gil(summary.locks)
    yield "wait", units.seconds(sum(waits.values()))
    if any(waits.values()):
        yield "mostly for", _mostly(waits)


def _how(summary: RunSummary) -> Iterator[str]:
    if not summary.processes:
        yield "No process told what it measured as a whole: they crashed, or ran no test."
    elif summary.methods == ["exact"]:
        yield (
            "Method exact: every take and every release of the GIL was seen, so held, wait and the"
            " counts are sums, not samples."
        )
    elif summary.disabled:
        yield (
            "The GIL was disabled: no thread waits for it. Wait is what threads waited for objects"
            " that others used, for the world that others had stopped, and for other locks of the"
            " interpreter; held by is who let these go."
        )
    else:
        yield (
            "Not every process could be measured exactly; there the numbers come from the requests"
            f" of {OWN_THREAD}."
        )
    if summary.disabled:
        return
    for reason in summary.reasons:
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
    if summary.processes:
        yield (
            f"Measuring took {units.seconds(summary.windows_cost)}, and {OWN_THREAD} held the GIL"
            f" for {units.seconds(summary.knocks_held)}."
        )


def _convoy_notes(convoys: list[tuple[Convoy, PhaseResult]]) -> Iterator[tuple[str, str]]:
    convoys.sort(key=lambda one: -one[0].wait)
    shown = convoys[:MOST_CONVOYS]
    for convoy, test in shown:
        yield "convoy", f"Convoy in {printable(test.name)}: {printable(convoy_text(convoy))}"
    rest = {test.nodeid for _, test in convoys[MOST_CONVOYS:]}
    if more := len(rest - {test.nodeid for _, test in shown}):
        yield "convoy", f"{units.count(more, 'more test')} with a convoy."


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


def _stall(stall: Stall, root: str) -> dict[str, Any]:
    holder = stall.holder
    return {
        "test": printable(stall.test),
        "lasted": stall.lasted,
        "place": place_text(place_of(holder), root) if holder else None,
        "thread": printable(stall.thread) if stall.thread else None,
        "stacks": "\n".join(map(printable, stall.stacks.splitlines())),
    }


def _worst(tests: list[PhaseResult]) -> set[str]:
    """Return the ids of the tests that get a timeline: those whose threads waited most."""
    waits = [
        (test.record["raw"]["wait"] or 0.0, test.nodeid)
        for test in tests
        if test.record["phase"] == "call"
    ]
    return {nodeid for wait, nodeid in heapq.nlargest(MOST_TIMELINES, waits) if wait > 0.0}
