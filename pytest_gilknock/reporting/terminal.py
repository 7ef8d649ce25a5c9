"""The section "GIL contention" of the terminal: the worst tests, and the run as a whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilknock.model import units
from pytest_gilknock.model.blame import listed
from pytest_gilknock.model.reading import machine_was_busy
from pytest_gilknock.render import format as text
from pytest_gilknock.render.places import (
    blame_lines,
    fit_place,
    longest_wait_text,
    place_text,
    victim_lines,
)
from pytest_gilknock.reporting.results import WORTH_A_ROW, Entry, Results, Whole

if TYPE_CHECKING:
    from pytest_gilknock.model.reading import GilReading

STALLS_SHOWN = 10
BUSY_ALONE = "High contention with no wait: one thread was busy, and no other wanted the GIL."


class Line(NamedTuple):
    """One line of the section; the markup is that of pytest's terminal writer."""

    text: str
    red: bool = False
    yellow: bool = False
    bold: bool = False


class _Column(NamedTuple):
    head: str
    cells: list[str]
    right: bool = True

    @property
    def width(self) -> int:
        return max(map(len, (self.head, *self.cells)))


def section(results: Results, *, width: int, verbosity: int, root: str = "") -> list[Line]:
    """Return the lines of the section; the table is at most ``width`` wide, from 80 up.

    A negative ``verbosity`` leaves only breaches and the closing line; 1 adds the threads and the
    blamed places of each row, 2 whole stacks. Paths are printed relative to ``root``.
    """
    quiet = verbosity < 0
    entries = results.breaches if quiet else results.rows()
    lines = list(_table(entries, width, root, verbosity))
    if not quiet:
        lines += _left_out(results, len(entries))
    lines += _closing(results, quiet=quiet)
    return lines


def _table(entries: list[Entry], width: int, root: str, verbosity: int) -> Iterator[Line]:
    if not entries:
        return
    readings = [entry.reading for entry in entries]
    columns = [
        _Column("contention", [units.share(reading.contention) for reading in readings]),
        _Column("wait", [units.seconds(reading.wait) for reading in readings]),
        _Column("max wait", [units.seconds(reading.max_wait) for reading in readings]),
        _Column("threads", [_threads(reading) for reading in readings]),
    ]
    if any(entry.limits for entry in entries):
        columns.append(_Column("limit", [_limits(entry) for entry in entries]))
    room = width - sum(column.width + 2 for column in columns)
    columns += _names(entries, readings, room, root)
    yield Line(_row(columns, [column.head for column in columns]), bold=True)
    for entry, reading, *cells in zip(entries, readings, *(c.cells for c in columns), strict=True):
        yield Line(_row(columns, cells), red=entry.breached)
        if verbosity > 0:
            for line in _details(reading, root, width, stacks=verbosity > 1):
                yield Line(line)


def _row(columns: list[_Column], cells: Iterable[str]) -> str:
    padded = (
        cell.rjust(column.width) if column.right else cell.ljust(column.width)
        for column, cell in zip(columns, cells, strict=True)
    )
    return "  ".join(padded).rstrip()


def _names(entries: list[Entry], readings: list[GilReading], room: int, root: str) -> list[_Column]:
    """Return the columns blame and test, shortened where they do not fit into ``room``."""
    ids = [text.printable(entry.name) for entry in entries]
    rows = [listed(reading.blame, reading.wait) for reading in readings]
    places = [blame[0].place if blame else None for blame in rows]
    blames = ["-" if place is None else place_text(place, root) for place in places]
    id_width = max(map(len, ids))
    blame_width = max(map(len, ("blame", *blames)))
    room -= 2
    if id_width + blame_width > room:
        blame_width = min(blame_width, max(room // 2, room - id_width))
        blames = ["-" if place is None else fit_place(place, root, blame_width) for place in places]
        id_width = room - max(map(len, ("blame", *blames)))
    return [
        _Column("blame", blames, right=False),
        _Column("test", [text.keep_end(name, id_width) for name in ids], right=False),
    ]


def _threads(reading: GilReading) -> str:
    return str(len(reading.threads)) if reading.method == "exact" else units.NOT_MEASURED


def _limits(entry: Entry) -> str:
    return ", ".join(limit.bound_text for limit in entry.limits) or "-"


def _details(reading: GilReading, root: str, width: int, *, stacks: bool) -> Iterator[str]:
    if reading.longest_wait is not None:
        yield f"    longest: {longest_wait_text(reading.longest_wait, root)}"
    for thread in reading.busiest_threads[:3]:
        yield (
            f"    thread {text.printable(thread.label)}: held {units.seconds(thread.held)},"
            f" waited {units.seconds(thread.wait)}"
        )
    room = width - len("    victim ")
    for line in blame_lines(reading, root, most=3, stacks=stacks, width=room):
        yield f"    {line}" if line.startswith(("(", " ")) else f"    blame {line}"
    for line in victim_lines(reading, root, most=3, stacks=stacks, width=room):
        yield f"    {line}" if line.startswith(" ") else f"    victim {line}"


def _left_out(results: Results, shown: int) -> Iterator[Line]:
    whole = results.whole()
    below = results.measured - results.with_row
    beyond = results.with_row - shown
    if beyond:
        yield Line(f"({units.count(beyond, 'more test')} left out. Use --gil-top=0 to show all.)")
    if below and not whole.disabled:
        least = units.exact_seconds(results.threshold)
        measure = results.extent_measure if whole.held is not None else "max_wait"
        measure = measure.replace("_", " ")
        yield Line(
            f"({units.count(below, 'test')} below {least} {measure} hidden. Use -vv to show.)"
        )


def _closing(results: Results, *, quiet: bool) -> Iterator[Line]:
    whole = results.whole()
    numbers = (
        f"Whole run: contention {units.share(whole.contention)}, wait {units.seconds(whole.wait)}"
        f" in {units.seconds(whole.wall)}"
    )
    if whole.disabled:
        numbers = "Whole run: the GIL is disabled, so no thread waits for it"
    how = f"{units.count(results.measured, 'test')} measured, {_method(whole)}"
    if quiet:
        yield Line(f"{numbers}; {how}")
        return
    yield Line(numbers)
    if (whole.contention or 0.0) > 0.5 and whole.wait is not None and whole.wait < WORTH_A_ROW:
        yield Line(BUSY_ALONE)
    yield Line(how)
    if not whole.disabled:
        for reason in whole.reasons:
            yield Line(f"Not exact: {text.printable(reason)}")
        cost, held = units.seconds(whole.windows_cost), units.seconds(whole.knocks_held)
        yield Line(f"Measuring took {cost}, and its knocks held the GIL for {held}")
    yield from warnings(results)
    yield from _doubts(results)


def _method(whole: Whole) -> str:
    if not whole.processes:
        return "but no process told its method"
    state = "enabled" if whole.gil_enabled else "disabled"
    method = f"method {'/'.join(whole.methods)}, GIL {state}"
    return method if whole.processes == 1 else f"{method}, {whole.processes} processes"


def warnings(results: Results) -> Iterator[Line]:
    """Yield what must be known even where no table was asked for."""
    yield from _unjudged(results)
    yield from _stalled(results)


def _stalled(results: Results) -> Iterator[Line]:
    """Yield where the GIL was not to be had for long; the stacks are on stderr."""
    for stall in results.stalls[:STALLS_SHOWN]:
        test = f" in {stall.test}" if stall.test else ""
        held = f", held at {text.printable(stall.place)}" if stall.place else ""
        by = f" by {text.printable(stall.thread)}" if held and stall.thread else ""
        yield Line(
            f"Stall: no thread could get the GIL for {units.seconds(stall.lasted)}{test}{held}{by}",
            yellow=True,
        )
    more = len(results.stalls[STALLS_SHOWN:]) + results.stalls_omitted
    if more:
        yield Line(f"({units.count(more, 'more stall')})", yellow=True)


def _unjudged(results: Results) -> Iterator[Line]:
    """Yield that tests passed because their limits could not be judged, if any did."""
    if results.first_unjudged is not None:
        entry = results.first_unjudged
        yield Line(
            f"{units.count(results.unjudged, 'test')} passed with a GIL limit that could not be"
            f" judged, such as {text.printable(entry.name)}: {entry.verdicts[0].fact}",
            yellow=True,
        )


def _doubts(results: Results) -> Iterator[Line]:
    """Yield what makes the numbers less than they seem."""
    if results.crashed:
        number = "1 process" if results.crashed == 1 else f"{results.crashed} processes"
        yield Line(f"{number} crashed, whose totals are not in the whole run.", yellow=True)
    if results.forked:
        tests = units.count(results.forked, "test")
        yield Line(
            f"{tests} ran in forked processes: what they did there is not in the whole run.",
            yellow=True,
        )
    if machine_was_busy(results.run_delay, results.thread_time):
        yield Line(
            f"The machine was busy: threads stood ready for {units.seconds(results.run_delay)}"
            " without a processor. Waits may be longer than on an idle one.",
            yellow=True,
        )
    if any(totals["gil_turned_on"] for totals in results.totals):
        yield Line("The GIL was turned on before the tests, by an import.", yellow=True)
    for nodeid in results.gil_turned_on_by:
        yield Line(f"The GIL was turned on during {text.printable(nodeid)}.", yellow=True)
