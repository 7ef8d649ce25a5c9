"""What is printed of a run as a whole: its sums, how it was measured, how good that is. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gilknock.model import units
from pytest_gilknock.model.locks import LOCK_KINDS, LockWaits
from pytest_gilknock.model.reading import WORTH_A_ROW, machine_was_busy
from pytest_gilknock.model.stack import OWN_THREAD, place_of
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.lines import Line
from pytest_gilknock.render.lock_lines import kind_texts
from pytest_gilknock.render.place_text import place_text
from pytest_gilknock.reporting.results import Results, RunSummary

STALLS_SHOWN = 10
BUSY_ALONE = "High contention with no wait: one thread was busy, and no other wanted the GIL."


def notes(results: Results, *, quiet: bool) -> Iterator[Line]:
    """Yield what is said below the table: the sums of the run, how it was measured, and caveats.

    ``quiet`` has the sums in one line, and no caveats but a busy machine beside a stall.
    """
    summary = results.summary()
    contention, wait = summary.contention, summary.wait
    numbers = (
        f"Whole run: contention {units.share(contention)}, wait {units.seconds(wait)}"
        f" in {units.seconds(summary.wall)}"
    )
    if summary.disabled:
        numbers = "Whole run: the GIL is disabled, so no thread waits for it"
    numbers += _locks(summary)
    how = f"{units.count(len(results.tests), 'test')} measured, {_method(summary)}"
    if quiet:
        yield Line(f"{numbers}; {how}")
        yield from urgent_notes(results)
        return
    yield Line(numbers)
    if (contention or 0.0) > 0.5 and wait is not None and wait < WORTH_A_ROW:
        yield Line(BUSY_ALONE)
    yield Line(how)
    if not summary.disabled:
        for reason in summary.reasons:
            yield Line(f"Not exact: {printable(reason)}")
        cost, held = units.seconds(summary.windows_cost), units.seconds(summary.knocks_held)
        yield Line(f"Measuring took {cost}, and {OWN_THREAD} held the GIL for {held}")
    if summary.locks is None and (summary.disabled or results.locks):
        what = "The locks of the whole run" if results.locks_of_tests else "Locks"
        for reason in summary.locks_reasons:
            yield Line(f"{what} are not measured: {printable(reason)}")
    yield from _urgent(results)
    yield from caveats(results)


def _locks(summary: RunSummary) -> str:
    """Return what threads of the whole run waited for besides the GIL; "" where nobody looked."""
    if summary.locks is None:
        return ""
    kinds = {kind: LockWaits(*summary.locks[kind]) for kind in LOCK_KINDS}
    waited = ", ".join(kind_texts(kinds)) or "nothing"
    return f"; waited for {waited}" + (
        f" in {units.seconds(summary.wall)}" if summary.disabled else ""
    )


def _method(summary: RunSummary) -> str:
    if not summary.processes:
        return "but no process reported its method"
    state = "enabled" if summary.gil_enabled else "disabled"
    method = f"method {'/'.join(summary.methods)}, GIL {state}"
    return method if summary.processes == 1 else f"{method}, {summary.processes} processes"


def urgent_notes(results: Results) -> Iterator[Line]:
    """Yield what is said even where no table was asked for."""
    yield from _urgent(results)
    if results.stalls:
        yield from _busy(results)


def _urgent(results: Results) -> Iterator[Line]:
    yield from _unmeasured(results)
    for words in dict.fromkeys(results.errors):
        yield Line(printable(words), yellow=True)
    yield from _inconclusive(results)
    yield from _stalled(results)


def _stalled(results: Results) -> Iterator[Line]:
    """Yield where no thread could get the GIL for long; the stacks are on stderr."""
    for stall in results.stalls[:STALLS_SHOWN]:
        test = f" in {printable(stall.test)}" if stall.test else ""
        holder = stall.holder
        held = f", held at {place_text(place_of(holder), results.root)}" if holder else ""
        by = f" by {printable(stall.thread)}" if held and stall.thread else ""
        yield Line(
            f"Stall: no thread could get the GIL for {units.seconds(stall.lasted)}{test}{held}{by}",
            yellow=True,
        )
    more = len(results.stalls[STALLS_SHOWN:]) + results.stalls_omitted
    if more:
        yield Line(f"({units.count(more, 'more stall')})", yellow=True)


def _unmeasured(results: Results) -> Iterator[Line]:
    """Yield what was to be measured and was not."""
    for reason in results.unmeasured_runs:
        yield Line(f"The run as a whole was not measured: {printable(reason)}", yellow=True)
    if results.unmeasured:
        name, (reason, _) = next(iter(results.unmeasured.items()))
        tests = units.count(len(results.unmeasured), "test")
        limited = sum(limited for _, limited in results.unmeasured.values())
        unjudged = f"; limits of {units.count(limited, 'test')} were not judged" if limited else ""
        words = f"not measured, such as {printable(name)}: {printable(reason)}{unjudged}"
        yield Line(f"{tests} {words}", yellow=True)


def _inconclusive(results: Results) -> Iterator[Line]:
    """Yield which tests have limits that could not be judged, if any do."""
    if results.first_inconclusive is not None:
        entry = results.first_inconclusive
        tests = units.count(len(results.inconclusive), "test")
        yield Line(
            f"Limits of {tests} could not be judged, such as of {printable(entry.name)}:"
            f" {printable(entry.unjudged[0].fact)}",
            yellow=True,
        )


def caveats(results: Results) -> Iterator[Line]:
    """Yield why numbers of the run may be off."""
    if results.crashed:
        number = "1 process" if results.crashed == 1 else f"{results.crashed} processes"
        yield Line(f"{number} crashed, whose totals are not in the whole run.", yellow=True)
    if results.forked:
        tests = units.count(len(results.forked), "test")
        yield Line(
            f"{tests} ran in forked processes: what they did there is not in the whole run.",
            yellow=True,
        )
    yield from _busy(results)
    if any(totals["gil_turned_on"] for totals in results.totals):
        yield Line("The GIL was turned on before the tests, by an import.", yellow=True)
    for nodeid in results.gil_turned_on_by:
        yield Line(f"The GIL was turned on during {printable(nodeid)}.", yellow=True)


def _busy(results: Results) -> Iterator[Line]:
    """Yield that threads lacked processors, if they did."""
    if machine_was_busy(results.run_delay, results.thread_time):
        yield Line(
            f"The machine was busy: threads stood ready for {units.seconds(results.run_delay)}"
            " without a processor. Waits may be longer than on an idle one.",
            yellow=True,
        )
