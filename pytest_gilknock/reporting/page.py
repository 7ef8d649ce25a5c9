"""The text of a page to look at. Pure.

The page is one file that loads nothing: style, scripts and data stand in it. Rows of the table are
data of the page itself; what is shown of a test once it is opened is packed by the hundred, so that
10,000 tests open at once and take some megabytes.

Whatever comes from outside is data: JSON whose ``<``, ``>`` and ``&`` are escaped, or text that
Jinja2 escapes. The scripts put it into text nodes only.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gilknock.model.metrics import METRICS

if TYPE_CHECKING:
    from pytest_gilknock.reporting.changes import Changes

BATCH = 100
"""Tests whose details are packed together."""

MOST_HOLDS = 50
"""Places in a list of native calls that keep the GIL."""

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
    ("limit not judged", "caveat"),
    ("with a convoy", "convoy"),
    ("failed", "failed"),
)
_UNITS = {"s": "s", "share": "share"}

NEEDED = "needs Jinja2: pip install 'pytest-gilknock[html]'"


class Row(NamedTuple):
    """A test in the table: numbers as measured, None for what was not."""

    metrics: list[float | None]
    """The shown metrics, in their order."""

    lock_wait: float | None
    """Time (s) waited for locks; shown in a column where any row has it."""

    threads: int | None
    wall: float
    held_by: str
    """The place most to blame, empty where nobody had to wait."""

    test: str
    flags: str
    """Words that filters look for: breach, caveat, convoy, failed."""


Stacks = Sequence[tuple[list[str], float]]
"""Stacks of a flame graph: texts of the frames, outermost first, and time (s)."""


class Details(NamedTuple):
    """What is shown of a test once it is opened."""

    figures: list[tuple[str, str]]
    longest: str | None = None
    """Who waited longest, where, and who kept it."""

    convoy: str | None = None
    verdicts: Sequence[tuple[str, bool]] = ()
    """What was measured for each limit that was not surely kept, and whether it was broken."""

    threads: Sequence[tuple[str, float, float, float, int, int]] = ()
    """(name, held, wait, max wait, acquisitions, contended), busiest first."""

    holds: Sequence[tuple[str, float, int, float, str]] = ()
    """(place, longest, how many, held, threads) of native calls that kept the GIL."""

    locks: Sequence[str] = ()
    """Lines on waits for locks."""

    by_knocks: bool = False
    """Whether ``blame`` has the time that knocks waited: threads did not."""

    waited_for: str | None = None
    """The kind of locks that ``blame`` and ``victims`` are of; None for the GIL."""

    blame: Stacks = ()
    victims: Stacks = ()
    own: Sequence[str] = ()
    """Texts of those frames that are the program's own."""

    waits: Sequence[tuple[float, int]] = ()
    """:attr:`GilReading.wait_histogram`."""

    timeline: dict[str, Any] | None = None
    """See :func:`.timelines.timelines`."""


class Page(NamedTuple):
    """What a page says, as plain data."""

    title: str
    sentence: str
    figures: list[tuple[str, str]]
    notes: list[tuple[str, str]]
    """(class, text): convoys, caveats, and what the page lacks."""

    how: list[str]
    rows: list[Row]
    tests: int
    """Of how many tests the rows are: each has one for each of its measured phases."""

    batches: list[str]
    """What is shown of a test once it is opened, in the order of the rows; see :func:`pack`."""

    wait: float
    """What the shares of ``holders`` and ``victims`` are of (s)."""

    holders: list[dict[str, Any]]
    victims: list[dict[str, Any]]
    stalls: list[dict[str, Any]]
    changes: Changes | None
    audit: dict[str, Any] | None = None
    """Native calls that keep the GIL: ``holds`` (place, longest, holds, held, tests, threads), how
    many ``more`` places there are, and holds ``unseen``; None where none were audited."""


def page_text(page: Page) -> Iterator[str]:
    """Yield the page's text in pieces. Raises ImportError without Jinja2."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(_HERE, _PARTS),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    parts = resources.files(_HERE).joinpath(_PARTS)
    yield from environment.get_template("page.html.j2").generate(
        version=version("pytest-gilknock"),
        title=page.title,
        page=page,
        run=Markup(_script_json(_run(page))),
        batches=map(Markup, page.batches),
        style=Markup(parts.joinpath("page.css").read_text("utf-8")),
        script=Markup("\n".join(parts.joinpath(name).read_text("utf-8") for name in _SCRIPTS)),
    )


def _run(page: Page) -> dict[str, Any]:
    has_locks = any(row.lock_wait is not None for row in page.rows)
    return {
        "columns": _columns(has_locks=has_locks),
        "rows": [_cells(row, has_locks=has_locks) for row in page.rows],
        "flags": [row.flags for row in page.rows],
        "noun": "test" if page.tests == len(page.rows) else "measured phase",
        "filters": _FILTERS,
        "batch": BATCH,
        "wait": page.wait,
        "holders": page.holders,
        "victims": page.victims,
        "audit": page.audit,
        "stalls": page.stalls,
        "comparison": None if page.changes is None else page.changes._asdict(),
    }


def _columns(*, has_locks: bool) -> list[dict[str, Any]]:
    metrics = [metric for metric in METRICS.values() if metric.shown]
    if has_locks:
        metrics.append(METRICS["lock_wait"])
    numbers = [_column(one.title, _UNITS.get(one.unit.name, "count"), one.name) for one in metrics]
    return [
        _column("test", "text", "the test's id"),
        *numbers,
        _column("threads", "count", "threads that took the GIL or waited for it"),
        _column("time", "s", "how long the test was measured"),
        _column(
            "held by",
            "place",
            "where the GIL was held while others waited; where it is off, who ended their waits",
        ),
    ]


def _column(head: str, unit: str, explains: str) -> dict[str, Any]:
    return {"head": head, "unit": unit, "explains": explains, "first": head == "wait"}


def _cells(row: Row, *, has_locks: bool) -> list[Any]:
    metrics = map(_rounded, [*row.metrics, row.lock_wait] if has_locks else row.metrics)
    return [row.test, *metrics, row.threads, _rounded(row.wall), row.held_by]


def _rounded(value: float | None) -> float | None:
    """Return six digits of a number: the page shows three."""
    return None if value is None else float(f"{value:.6g}")


def pack(details: Iterable[Details]) -> Iterator[str]:
    """Yield what is shown of tests once they are opened, packed by the hundred."""
    left = (one._asdict() for one in details)
    while batch := list(islice(left, BATCH)):
        text = json.dumps(batch, separators=(",", ":"))
        yield base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def _script_json(data: object) -> str:
    """Return JSON that may stand in a script element: no markup can begin or end in it."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
