"""The section of the terminal: the worst tests, and the run as a summary. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import worst_places
from pytest_gilknock.model.convoy import convoy_of
from pytest_gilknock.model.limits import LOCK_TEXTS, longest_lock_wait
from pytest_gilknock.model.locks import INTERPRETER_KINDS, LIMITED_KINDS, ended_by
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import WORTH_A_ROW, shows_locks, thread_count
from pytest_gilknock.model.stack import OWN_THREAD
from pytest_gilknock.render.format import display_width, keep_start, printable
from pytest_gilknock.render.lines import Line, heading, rows_left_out
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
    from pytest_gilknock.model.limits import Limit
    from pytest_gilknock.model.metrics import Metric
    from pytest_gilknock.model.reading import GilReading
    from pytest_gilknock.model.stack import Place
    from pytest_gilknock.model.wire import LockKind
    from pytest_gilknock.reporting.top_holders import Placeless, TopHold, TopPlace, TopPlaces

BY_LOCKS = "--gil-sort=lock_wait"
_BELOW = " " * 8
_LEAST_OF_THREADS = 18
_NO_PLACE = "-"
LEGEND = (
    "contention: share of the time in which the GIL was held; wait: time threads waited for it, all"
    " together; max wait: the longest single wait; blame: where it was held while others waited"
)

LEGEND_WITHOUT_GIL = (
    "wait: time threads waited for the interpreter, all together; max wait: the longest single"
    " wait; mostly for: what they waited for most; blame: who let that go, or stopped the world"
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
        *numbers, _, tests = _columns(entries, readings, results, narrow=True)
        columns = [*numbers, tests]
    head, *rows = text_table(columns, width)
    yield Line(head, bold=True)
    for row, entry, reading in zip(rows, entries, readings, strict=True):
        yield Line(row, red=entry.breached)
        if verbosity > 0:
            for line in _details(reading, root, width, stacks=verbosity > 1):
                yield Line(line)
        elif blame_below:
            yield from map(Line, _held_by(entry, reading, results, width))


def _held_by(
    entry: PhaseResult, reading: GilReading, results: Results, width: int
) -> Iterator[str]:
    """Yield the blame of a row that has no room for it, after the wait that broke a limit on locks.

    Where one line has no room for both, the second has the blame.
    """
    kinds = _kinds(entry, reading, results)
    places = _worst_places(entry, reading, results)
    over = _over_limit(entry, reading)
    if not places:
        yield from [_BELOW + over] if over else []
        return
    blame = places[0]
    head = _BELOW + _blames_what(reading, kinds)
    place, threads = place_text(blame.place, results.root), f" in {printable(blame.thread_label)}"
    if over:
        one_line = f"{_BELOW}{over}, {_blames_what(reading, kinds)}"
        if display_width(one_line + place + threads) <= width:
            head = one_line
        else:
            yield f"{_BELOW}{over},"
    share = ""
    if blame.waited and reading.wait and not kinds:
        share = f" ({_percent(blame.waited, reading.wait)})"
    room = width - len(head) - len(share)
    of_threads = min(display_width(threads), _LEAST_OF_THREADS)
    place = fit_place(blame.place, results.root, room - of_threads)
    yield f"{head}{place}{keep_start(threads, room - display_width(place))}{share}"


def _blames_what(reading: GilReading, kinds: Sequence[LockKind]) -> str:
    """Return what stands before a blamed place."""
    worst = reading.locks.worst_of(kinds) if kinds else None
    if worst is None:
        return "waited at " if kinds else "held by "
    is_known = reading.locks.is_let_go_known_of(kinds)
    return f"{ended_by(worst[0])} " if is_known else "waited at "


def _over_limit(entry: PhaseResult, reading: GilReading) -> str:
    """Return the longest wait that breaks a limit on locks, which has no column; "" without any."""
    if not (broken := _broken_on_locks(entry)):
        return ""
    longest, kind = longest_lock_wait(reading, broken)
    return f"waited {units.seconds(longest)} {LOCK_TEXTS[kind]}"


def _broken_on_locks(entry: PhaseResult) -> list[Limit]:
    """Return the limits on locks by which a test failed."""
    return [one.limit for one in entry.verdicts if one.breached and one.limit.is_on_locks]


def _worst_places(
    entry: PhaseResult, reading: GilReading, results: Results
) -> Sequence[Blame | Victim]:
    """Return what a row blames, the worst first."""
    kinds = _kinds(entry, reading, results)
    return reading.locks.blamed_of(kinds) if kinds else worst_places(reading)


def _kinds(entry: PhaseResult, reading: GilReading, results: Results) -> Sequence[LockKind]:
    """Return the kinds of waits for locks of which a row names the worst: of the one that broke a
    limit, else as the table is sorted; none where it names who held the GIL."""
    if broken := _broken_on_locks(entry):
        return [longest_lock_wait(reading, broken)[1]]
    return _kinds_by_sort(reading, results)


def _kinds_by_sort(reading: GilReading, results: Results) -> Sequence[LockKind]:
    if results.by_locks and reading.locks.reason is None:
        return LIMITED_KINDS
    return INTERPRETER_KINDS if reading.method == "disabled" else ()


def _columns(
    entries: list[PhaseResult],
    readings: list[GilReading],
    results: Results,
    *,
    narrow: bool = False,
) -> list[Column]:
    """Return the columns; ``narrow`` leaves what breaks a limit on locks to the line below."""
    pairs = list(zip(entries, readings, strict=True))
    columns = [
        Column(metric.title, [metric.unit.printed(metric.of(reading)) for reading in readings])
        for metric in METRICS.values()
        if _has_column(metric, readings, results)
    ]
    columns.append(Column("threads", [_threads(reading) for reading in readings]))
    if any(entry.limits for entry in entries):
        cells = [_limits(entry, reading, narrow=narrow) for entry, reading in pairs]
        columns.append(Column("limit", cells))
    if results.by_locks or any(shows_locks(reading) for reading in readings):
        waited_for = [
            _waited_for(entry, reading, results, narrow=narrow) for entry, reading in pairs
        ]
        columns.append(Column("mostly for", waited_for, right=False))
    blamed = [_worst_places(entry, reading, results) for entry, reading in pairs]
    places = [rows[0].place if rows else None for rows in blamed]
    columns.append(_places("blame", places, results.root))
    names = [printable(entry.name) for entry in entries]
    columns.append(Column("test", names, right=False, cut=cut_test, markdown=code))
    return columns


def _has_column(metric: Metric, readings: list[GilReading], results: Results) -> bool:
    if metric.name == "contention" and all(reading.method == "disabled" for reading in readings):
        return results.sort == "contention"
    return metric.shown or metric.name == results.sort


def _waited_for(entry: PhaseResult, reading: GilReading, results: Results, *, narrow: bool) -> str:
    kinds = _kinds_by_sort(reading, results) if narrow else _kinds(entry, reading, results)
    if kinds or results.by_locks:
        return worst_text(reading.locks, kinds or LIMITED_KINDS)
    return "GIL"


def as_markdown(results: Results) -> str:
    """Return the worst tests as a table of GitHub's and GitLab's Markdown, and the whole run."""
    entries = results.rows()
    lines = [f"### {heading(without_gil=results.summary().disabled)}", ""]
    if entries:
        readings = [entry.reading for entry in entries]
        *numbers, blame, tests = _columns(entries, readings, results)
        blame = blame._replace(cells=["" if cell == _NO_PLACE else cell for cell in blame.cells])
        lines += [*markdown_table([*numbers, blame, tests]), ""]
        has_gil = any(reading.method != "disabled" for reading in readings)
        lines += [prose(LEGEND if has_gil else LEGEND_WITHOUT_GIL), ""]
    for line in [*_left_out(results, len(entries)), *notes(results, quiet=False)]:
        lines += [prose(line.text), ""]
    return "\n".join(lines)


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


def _limits(entry: PhaseResult, reading: GilReading, *, narrow: bool) -> str:
    """Return the limits, unless ``narrow`` broken ones on locks as ``52.0 ms > 20 ms@program``."""
    broken = [] if narrow else _broken_on_locks(entry)
    texts = []
    for limit in entry.limits:
        text = printable(limit.text)
        if limit in broken:
            longest, _ = longest_lock_wait(reading, [limit])
            text = f"{units.seconds(longest)} > {text}"
        texts.append(text)
    return ", ".join(texts) or "-"


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
