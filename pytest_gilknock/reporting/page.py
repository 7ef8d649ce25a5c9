"""The page of ``--gil-export=html:PATH``: what it says, as plain data, and its text. Pure.

The page is one file that loads nothing: style, scripts and data stand in it. Rows of the table are
data of the page itself; what is shown of a test once it is opened is packed by the hundred, so that
10,000 tests open at once and take some megabytes.

Whatever comes from outside is data: JSON whose ``<``, ``>`` and ``&`` are escaped, or text that
Jinja2 escapes. The scripts put it into text nodes only.
"""

from __future__ import annotations

import base64
import heapq
import json
import zlib
from collections.abc import Iterable, Iterator
from importlib import resources
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import listed
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.stack import Stack
from pytest_gilknock.render.places import frame_text, longest_wait_text, place_text
from pytest_gilknock.reporting.terminal import doubts
from pytest_gilknock.reporting.timelines import timelines

if TYPE_CHECKING:
    from pytest_gilknock.model.blame import StackPart
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.reporting.results import PhaseResult, Results, RunSummary
    from pytest_gilknock.reporting.top_holders import TopHolders, TopPlace, TopPlaces

TITLE = "GIL contention"
BATCH = 100
"""Tests whose details are packed together."""

MOST_STACKS = 60
"""Stacks in one flame graph of a test; those least waited for are left out."""

MOST_TIMELINES = 100
"""Tests with a timeline: those whose threads waited most."""

MOST_PLACES = 12
"""Places in a list of holders or victims of the whole run."""

_HERE = "pytest_gilknock.reporting"
_PARTS = "page_parts"
_SCRIPTS = (
    "dom.js",
    "details.js",
    "flame.js",
    "histogram.js",
    "timeline.js",
    "tests_table.js",
    "page.js",
)
_FILTERS = (
    ("all tests", ""),
    ("over a limit", "breach"),
    ("limit not judged", "doubt"),
    ("failed", "failed"),
)


def page_text(results: Results) -> Iterator[str]:
    """Yield the page's text in pieces. Raises ImportError without Jinja2."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    tests = list(results.everything())
    whole = results.summary()
    top = results.places
    drawn = dict(timelines(results.traces, _worst(tests)))
    environment = Environment(
        loader=PackageLoader(_HERE, _PARTS),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    parts = resources.files(_HERE).joinpath(_PARTS)
    yield from environment.get_template("page.html.j2").generate(
        version=version("pytest-gilknock"),
        title=TITLE,
        sentence=sentence(tests, top),
        figures=_figures(whole, results.measured),
        doubts=[line.text for line in doubts(results)],
        how=list(_how(whole)),
        run=Markup(_script_json(_run(tests, top, results.root))),
        batches=(Markup(packed) for packed in _batches(tests, drawn, results.root)),
        style=Markup(parts.joinpath("page.css").read_text("utf-8")),
        script=Markup("\n".join(parts.joinpath(name).read_text("utf-8") for name in _SCRIPTS)),
    )


def sentence(tests: Iterable[PhaseResult], top: TopHolders) -> str:
    """Return the run in a sentence: how many tests kept others waiting, and what did most of it."""
    waits = [raw["wait"] or 0.0 for raw in (test.measured["raw"] for test in tests)]
    waiting = [wait for wait in waits if wait >= 1e-3]
    if not waiting:
        return "No test kept a thread waiting for the GIL for a millisecond or more."
    text = f"{units.count(len(waiting), 'test')} kept threads waiting {units.seconds(sum(waiting))}"
    holders = top.holders.most(1)
    if not holders or top.wait <= 0.0:
        return f"{text}."
    share = round(100 * holders[0].waited / top.wait)
    return f"{text}; one place did {share} % of it." if share >= 10 else f"{text}."


def _figures(whole: RunSummary, measured: int) -> list[tuple[str, str]]:
    return [
        ("tests measured", f"{measured:,}"),
        ("wait", units.seconds(whole.wait)),
        ("held", units.seconds(whole.held)),
        ("contention", units.share(whole.contention)),
        ("time", units.seconds(whole.wall)),
        ("method", "/".join(whole.methods) or units.NOT_MEASURED),
        ("GIL", "enabled" if whole.gil_enabled else "disabled"),
    ]


def _how(whole: RunSummary) -> Iterator[str]:
    if whole.methods == ["exact"]:
        yield (
            "Method exact: every take and every release of the GIL was seen, so held, wait and the"
            " counts are sums, not samples."
        )
    elif whole.disabled:
        yield "The GIL was disabled: no thread waits for it, and there is nothing to measure."
    else:
        yield "Not every process could be measured exactly; there the numbers come from knocks."
    for reason in whole.reasons:
        yield f"Not exact: {reason}."
    yield (
        "Contention is the share of the time in which some thread held the GIL. A single-threaded"
        " test in pure Python has contention 1 and wait 0: nobody else wanted to run. An event"
        " loop that blocks itself does not wait for the GIL either."
    )
    yield (
        "Who held it: threads that wait look, at random moments, where the holder stands. Blame"
        " with few looks is a rough guess; the number of looks stands beside it."
    )
    yield (
        f"Measuring took {units.seconds(whole.windows_cost)}, and its knocks held the GIL for"
        f" {units.seconds(whole.knocks_held)}."
    )


# --- the table ---


def _columns() -> list[dict[str, Any]]:
    metrics = [metric for metric in METRICS.values() if metric.shown]
    numbers = [_column(one.title, _UNITS.get(one.unit.name, "count"), one.name) for one in metrics]
    return [
        *numbers,
        _column("threads", "count", "threads that took the GIL or waited for it"),
        _column("time", "s", "how long the test was measured"),
        _column("held by", "text", "where the GIL was held while others waited"),
        _column("test", "text", "the test's id"),
    ]


_UNITS = {"s": "s", "share": "share"}


def _column(head: str, unit: str, explains: str) -> dict[str, Any]:
    return {"head": head, "unit": unit, "explains": explains, "first": head == "wait"}


def _row(test: PhaseResult, reading: GilReading, root: str) -> list[Any]:
    rows = listed(reading.blame, reading.wait)
    numbers = [metric.of(reading) for metric in METRICS.values() if metric.shown]
    return [
        *map(_rounded, numbers),
        len(reading.threads) if reading.method == "exact" else None,
        _rounded(reading.wall),
        place_text(rows[0].place, root) if rows else "",
        test.name,
    ]


def _rounded(value: float | None) -> float | None:
    """Return six digits of a number: the page shows three."""
    return None if value is None else float(f"{value:.6g}")


def _flags(test: PhaseResult) -> str:
    flags = [
        "breach" if test.breached else "doubt" if test.verdicts else "",
        "failed" if test.outcome == "failed" else "",
    ]
    return " ".join(filter(None, flags))


def _run(tests: list[PhaseResult], top: TopHolders, root: str) -> dict[str, Any]:
    return {
        "columns": _columns(),
        "rows": [_row(test, test.reading, root) for test in tests],
        "flags": [_flags(test) for test in tests],
        "filters": _FILTERS,
        "batch": BATCH,
        "wait": top.wait,
        "holders": _places(top.holders, top.wait, root),
        "victims": _places(top.victims, top.wait, root),
        "comparison": None,
    }


def _places(places: TopPlaces, wait: float, root: str) -> list[dict[str, Any]]:
    return [_place(place, root) for place in places.listed(MOST_PLACES, wait)[0]]


def _place(place: TopPlace, root: str) -> dict[str, Any]:
    return {
        "place": place_text(place.place, root),
        "waited": place.waited,
        "tests": place.tests,
        "threads": place.thread_label,
    }


# --- one test ---


def _worst(tests: list[PhaseResult]) -> set[str]:
    """Return the ids of the tests that get a timeline: those whose threads waited most."""
    waits = [(test.measured["raw"]["wait"] or 0.0, test.name) for test in tests]
    return {name for wait, name in heapq.nlargest(MOST_TIMELINES, waits) if wait > 0.0}


def _details(test: PhaseResult, timeline: dict[str, Any] | None, root: str) -> dict[str, Any]:
    reading = test.reading
    blame = [part for row in reading.blame for part in row.stacks]
    victims = [part for row in reading.victims for part in row.stacks]
    own = {frame for part in (*blame, *victims) for frame in part.frames if frame.own}
    return {
        "figures": list(_test_figures(test, reading)),
        "longest": longest_wait_text(reading.longest_wait, root) if reading.longest_wait else None,
        "verdicts": [(verdict.fact, verdict.breached) for verdict in test.verdicts],
        "threads": [
            (
                thread.label,
                thread.held,
                thread.wait,
                thread.max_wait,
                thread.acquisitions,
                thread.contended,
            )
            for thread in reading.busiest_threads
        ],
        "blame": _stacks(blame, root),
        "victims": _stacks(victims, root),
        "own": sorted({frame_text(frame, root) for frame in own}),
        "waits": [],
        "timeline": timeline,
    }


def _test_figures(test: PhaseResult, reading: GilReading) -> Iterator[tuple[str, str]]:
    yield "outcome", test.outcome
    yield "time", units.seconds(reading.wall)
    yield "contention", units.share(reading.contention)
    yield "wait", units.seconds(reading.wait)
    yield "longest wait", units.seconds(reading.max_wait)
    if reading.hand_over:
        yield "hand-over", units.seconds(reading.hand_over)
    if reading.unlooked:
        yield "nobody looked", units.seconds(reading.unlooked)
    looks = sum(row.looks for row in reading.blame)
    yield "looks", str(looks) if reading.blame_method != "none" else units.NOT_MEASURED
    yield "knocks", f"{reading.knocks_waited} of {reading.knocks} waited"


def _stacks(parts: Iterable[StackPart], root: str) -> list[tuple[list[str], float]]:
    """Return (texts of the frames, outermost first; seconds), the most waited for first."""
    most = sorted(parts, key=lambda part: -part.waited)[:MOST_STACKS]
    return [(_frames(part.frames, root), part.waited) for part in most if part.waited > 0.0]


def _frames(stack: Stack, root: str) -> list[str]:
    texts = [frame_text(frame, root) for frame in reversed(stack)] or ["(no Python frame)"]
    callee = next((frame.callee for frame in stack if frame.callee), None)
    return texts if callee is None else [*texts, f"({callee})"]


def _batches(
    tests: list[PhaseResult], drawn: dict[str, dict[str, Any]], root: str
) -> Iterator[str]:
    left = iter(tests)
    while batch := list(islice(left, BATCH)):
        text = json.dumps(
            [_details(test, drawn.get(test.name), root) for test in batch], separators=(",", ":")
        )
        yield base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def _script_json(data: object) -> str:
    """Return JSON that may stand in a script element: no markup can begin or end in it."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
