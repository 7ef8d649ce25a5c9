"""The section "GIL contention" of the terminal: the worst tests, and the run as a summary. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import worst_places
from pytest_gilknock.model.convoy import convoy_of
from pytest_gilknock.model.locks import INTERPRETER_KINDS, LIMITED_KINDS
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import WORTH_A_ROW, shows_locks, thread_count
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.render.format import display_width, keep_start, printable
from pytest_gilknock.render.lines import Line, rows_left_out
from pytest_gilknock.render.lock_lines import lock_lines, worst_text
from pytest_gilknock.render.markdown import code, prose
from pytest_gilknock.render.place_text import fit_place, place_text
from pytest_gilknock.render.places import (
    blame_lines,
    hold_lines,
    longest_wait_lines,
    victim_lines,
)
from pytest_gilknock.render.reading_text import SHOWN, convoy_text, thread_line
from pytest_gilknock.render.tables import (
    Column,
    cut_test,
    markdown_table,
    table_width,
    text_table,
)
from pytest_gilknock.reporting.results import PhaseResult, Results
from pytest_gilknock.reporting.run_lines import notes

if TYPE_CHECKING:
    from pytest_gilknock.model.blame import Blame, Victim
    from pytest_gilknock.model.metrics import Metric
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.stack import Place
    from pytest_gilknock.model.wire import LockKind
    from pytest_gilknock.reporting.top_holders import Placeless, TopHold, TopPlace, TopPlaces

BY_LOCKS = "--gil-sort=lock_wait"
_BELOW = " " * 8 + "held by "
_LET_GO_BELOW = " " * 8 + "let go by "
_WAITED_BELOW = " " * 8 + "waited at "
_LEAST_OF_THREADS = 18
_NO_PLACE = "-"
LEGEND = (
    "contention: share of the time in which the GIL was held; wait: time threads waited for it, all"
    " together; max wait: the longest single wait; blame: where it was held while others waited"
)


def section(results: Results, *, width: int, verbosity: int, audit: bool = False) -> list[Line]:
    """Return the lines of the section; the table is at most ``width`` wide, from 80 up.

    A negative ``verbosity`` leaves only breaches, the sums of the run, and how to see the rest; 1
    adds the threads and the blamed places of each row, 2 whole stacks.
    ``audit`` adds the native calls that keep the GIL.
    """
    quiet = verbosity < 0
    entries = results.breaches if quiet else results.rows()
    lines = list(_table(entries, width, results, verbosity))
    if not quiet:
        lines += _left_out(results, len(entries))
        lines += top_places(results, width)
        lines += audit_lines(results, width) if audit else ()
        lines += _convoys(entries)
    lines += notes(results, quiet=quiet)
    if quiet:
        lines += _hidden(-verbosity, table=results.with_row > len(entries), audit=audit)
    return lines


def _hidden(quietness: int, *, table: bool, audit: bool) -> Iterator[Line]:
    """Yield what is left out under -q, and what to add to see it."""
    hidden = [name for name, is_hidden in (("table", table), ("audit", audit)) if is_hidden]
    if hidden:
        what = " and the ".join(hidden)
        verb, them = ("is", "it") if len(hidden) == 1 else ("are", "them")
        minus, plus = "q" * quietness, "v" * quietness
        yield Line(f"(The {what} {verb} hidden by -{minus}. Add -{plus} to show {them}.)")


def _table(
    entries: list[PhaseResult], width: int, results: Results, verbosity: int
) -> Iterator[Line]:
    if not entries:
        return
    root = results.root
    readings = [entry.reading for entry in entries]
    columns = _columns(entries, readings, results)
    blame_below = table_width(columns) > width
    if blame_below:
        *numbers, _, tests = columns
        columns = [*numbers, tests]
    head, *rows = text_table(columns, width)
    yield Line(head, bold=True)
    for row, entry, reading in zip(rows, entries, readings, strict=True):
        yield Line(row, red=entry.breached)
        if verbosity > 0:
            for line in _details(reading, root, width, stacks=verbosity > 1):
                yield Line(line)
        elif blame_below:
            yield from map(Line, _held_by(reading, results, width))


def _held_by(reading: GilReading, results: Results, width: int) -> Iterator[str]:
    """Yield the blame of a row that has no room for it."""
    root = results.root
    head = _BELOW
    on_locks = _is_by_locks(reading, results) or reading.method == "disabled"
    if on_locks:
        let_go = reading.locks.is_let_go_known_of(_kinds(results))
        head = _LET_GO_BELOW if let_go else _WAITED_BELOW
    for blame in _worst_places(reading, results)[:1]:
        share = ""
        if blame.waited and reading.wait and not on_locks:
            share = f" ({_percent(blame.waited, reading.wait)})"
        threads = f" in {printable(blame.thread_label)}"
        room = width - len(head) - len(share)
        of_threads = min(display_width(threads), _LEAST_OF_THREADS)
        place = fit_place(blame.place, root, room - of_threads)
        yield f"{head}{place}{keep_start(threads, room - display_width(place))}{share}"


def _worst_places(reading: GilReading, results: Results) -> Sequence[Blame | Victim]:
    """Return what is blamed, the worst first, for what the table is sorted by."""
    if _is_by_locks(reading, results):
        return reading.locks.blamed_of(_kinds(results))
    return worst_places(reading)


def _is_by_locks(reading: GilReading, results: Results) -> bool:
    return results.by_locks and reading.locks.reason is None


def _kinds(results: Results) -> Sequence[LockKind]:
    """Return the kinds of waits of which a row names the worst."""
    return LIMITED_KINDS if results.by_locks else INTERPRETER_KINDS


def _columns(
    entries: list[PhaseResult], readings: list[GilReading], results: Results
) -> list[Column]:
    columns = [
        Column(metric.title, [metric.unit.printed(metric.of(reading)) for reading in readings])
        for metric in METRICS.values()
        if _has_column(metric, readings, results)
    ]
    columns.append(Column("threads", [_threads(reading) for reading in readings]))
    if any(entry.limits for entry in entries):
        columns.append(Column("limit", [_limits(entry) for entry in entries]))
    if results.by_locks or any(shows_locks(reading) for reading in readings):
        waited_for = [_waited_for(reading, results) for reading in readings]
        columns.append(Column("mostly for", waited_for, right=False))
    columns.append(_blames(readings, results))
    names = [printable(entry.name) for entry in entries]
    columns.append(Column("test", names, right=False, cut=cut_test, markdown=code))
    return columns


def _has_column(metric: Metric, readings: list[GilReading], results: Results) -> bool:
    if metric.name == "contention" and all(reading.method == "disabled" for reading in readings):
        return results.sort == "contention"
    return metric.shown or metric.name == results.sort


def _waited_for(reading: GilReading, results: Results) -> str:
    if results.by_locks or reading.method == "disabled":
        return worst_text(reading.locks, _kinds(results))
    return "GIL"


def as_markdown(results: Results) -> str:
    """Return the worst tests as a table of GitHub's and GitLab's Markdown, and the whole run."""
    entries = results.rows()
    lines = ["### GIL contention", ""]
    if entries:
        readings = [entry.reading for entry in entries]
        *numbers, blame, tests = _columns(entries, readings, results)
        blame = blame._replace(cells=["" if cell == _NO_PLACE else cell for cell in blame.cells])
        lines += [*markdown_table([*numbers, blame, tests]), ""]
        lines += [prose(LEGEND), ""]
    for line in [*_left_out(results, len(entries)), *notes(results, quiet=False)]:
        lines += [prose(line.text), ""]
    return "\n".join(lines)


def _blames(readings: list[GilReading], results: Results) -> Column:
    rows = [_worst_places(reading, results) for reading in readings]
    places = [blamed[0].place if blamed else None for blamed in rows]
    return _places("blame", places, results.root)


def _places(
    head: str, places: Sequence[Place | None], root: str, below: Sequence[str] = ()
) -> Column:
    """Return a column of places; ``below`` them other texts."""

    def cut(row: int, cell: str, width: int) -> str:
        place = places[row] if row < len(places) else None
        return keep_start(cell, width) if place is None else fit_place(place, root, width)

    cells = [_NO_PLACE if place is None else place_text(place, root) for place in places]
    return Column(head, [*cells, *below], right=False, cut=cut, markdown=code)


def _thread_labels(places: Sequence[TopPlace | TopHold], without: int = 0) -> Column:
    """Return the threads of each; the last ``without`` rows have none."""
    labels = [*(printable(place.thread_label) for place in places), *["-"] * without]
    return Column("thread", labels, right=False, cut=_cut_threads)


def _cut_threads(row: int, label: str, width: int) -> str:
    """Cut the first name of ``pool-0 and 4 more``."""
    name, joint, others = label.partition(" and ")
    return keep_start(name, width - len(joint + others)) + joint + others


def _threads(reading: GilReading) -> str:
    count = thread_count(reading)
    return units.NOT_MEASURED if count is None else str(count)


def _limits(entry: PhaseResult) -> str:
    return ", ".join(printable(limit.text) for limit in entry.limits) or "-"


def _details(reading: GilReading, root: str, width: int, *, stacks: bool) -> Iterator[str]:
    if reading.longest_wait is not None:
        head = "    longest: "
        for line in longest_wait_lines(reading.longest_wait, root, width - len(head)):
            yield head + line
            head = " " * len(head)
    for thread in reading.busiest_threads[:SHOWN]:
        yield f"    thread {thread_line(thread)}"
    for line in lock_lines(reading.locks, root, width=width - 4):
        yield f"    {line}"
    room = width - len("    victim ")
    for line in blame_lines(reading, root, most=SHOWN, stacks=stacks, width=room):
        yield f"    {line}" if line.startswith(("(", " ")) else f"    blame {line}"
    for line in victim_lines(reading, root, most=SHOWN, stacks=stacks, width=room):
        yield f"    {line}" if line.startswith(" ") else f"    victim {line}"
    for line in hold_lines(reading, root, most=SHOWN, stacks=stacks, width=room):
        yield f"    {line}" if line.startswith(("(", " ")) else f"    kept {line}"


def _left_out(results: Results, shown: int) -> Iterator[Line]:
    summary = results.summary()
    below = len(results.tests) - len(results.tests_with_row)
    yield from rows_left_out(results.with_row - shown)
    if below and (summary.locks is not None or not summary.disabled):
        least = units.exact_seconds(results.threshold)
        has_waits = summary.held is not None or summary.disabled
        if results.by_locks:
            has_waits = summary.locks is not None
        measure = results.row_measure if has_waits else "max_wait"
        measure = measure.replace("_", " ")
        yield Line(
            f"({units.count(below, 'test')} below {least} {measure} hidden. Use -vv to show.)"
        )
    if not results.by_locks and summary.locks and summary.locks["program"][1] >= WORTH_A_ROW:
        yield Line(f"(Use {BY_LOCKS} to list the tests by their waits for locks.)")


def top_places(results: Results, width: int) -> Iterator[Line]:
    """Yield who held the GIL while others waited, and who waited, over all tests."""
    top = results.places
    if top.wait < WORTH_A_ROW:
        return
    yield from _top_table(
        "held by, over all tests", results, top.holders, top.placeless(), width, sums_up=True
    )
    yield from _top_table("waited in, over all tests", results, top.victims, [], width)


def _top_table(
    head: str,
    results: Results,
    places: TopPlaces,
    placeless: list[Placeless],
    width: int,
    *,
    sums_up: bool = False,
) -> Iterator[Line]:
    """Yield the places worth a line, what has no place, and how many more places there are.

    With ``sums_up`` the last line says how much is left for these: then all lines sum up to the
    wait, less what has no place and is below 1 %.
    """
    wait = results.places.wait
    most, more = places.listed(results.top, wait)
    parts: list[TopPlace | Placeless] = [*most, *placeless]
    if not parts:
        return
    stands = _places(
        head, [part.place for part in most], results.root, [part.what for part in placeless]
    )
    columns = [
        Column("wait", [units.seconds(part.waited) for part in parts]),
        Column("share", [_percent(part.waited, wait) for part in parts]),
        Column("tests", [str(part.tests) for part in parts]),
        stands,
        _thread_labels(most, len(placeless)),
    ]
    heads, *rows = text_table(columns, width)
    yield Line(heads, bold=True)
    yield from map(Line, rows)
    if more:
        left = results.places.waited_elsewhere(most)
        share = f"{units.seconds(left)}, {_percent(left, wait)}, at " if sums_up else ""
        yield Line(
            f"({share}{units.count(more, 'more place')} with less, or seen fewer than 3 times)"
        )


def audit_lines(results: Results, width: int) -> Iterator[Line]:
    """Yield the native calls that kept the GIL, over all tests, and what finding them took."""
    holds = results.places.holds
    if holds.audited == 0:
        why = f": {printable(holds.why_not)}" if holds.why_not else ": no test was long enough"
        yield Line(f"No holds of the GIL were audited{why}", yellow=True)
        return
    most = holds.most(results.top)
    columns = [
        Column("longest", [units.seconds(hold.longest) for hold in most]),
        Column("holds", [str(hold.count) for hold in most]),
        Column("held", [units.seconds(hold.held) for hold in most]),
        Column("tests", [str(hold.tests) for hold in most]),
        _places("native calls that keep the GIL", [hold.place for hold in most], results.root),
        _thread_labels(most),
    ]
    if most:
        head, *rows = text_table(columns, width)
        yield Line(head, bold=True)
        yield from map(Line, rows)
        if more := len(holds.most(0)) - len(most):
            yield Line(f"({units.count(more, 'more place')}. Use --gil-top=0 to show all.)")
    if holds.unseen:
        yield Line(f"({units.count(holds.unseen, 'more hold')} whose place is not known)")
    if not most and not holds.unseen:
        yield Line("No native call kept the GIL: each hold ended when a thread asked for it.")
    held = units.seconds(results.summary().knocks_held)
    yield Line(
        f"Audit: {OWN_THREAD} held the GIL for {held}; each time it asks, a thread that computes"
        " lets go once"
    )


def _convoys(entries: list[PhaseResult]) -> Iterator[Line]:
    """Yield where short work was held up by threads that compute, the worst first."""
    found = [(convoy, entry) for entry in entries if (convoy := convoy_of(entry.reading))]
    found.sort(key=lambda one: -one[0].wait)
    for convoy, entry in found[:SHOWN]:
        yield Line(f"Convoy in {printable(entry.name)}: {convoy_text(convoy)}")
    shown, rest = ({entry.nodeid for _, entry in part} for part in (found[:SHOWN], found[SHOWN:]))
    if more := len(rest - shown):
        yield Line(f"({units.count(more, 'more test')} with a convoy)")


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total:.0f} %"
