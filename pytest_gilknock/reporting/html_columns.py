"""The plugin object that adds columns to the table of pytest-html. Only used beside it."""

from __future__ import annotations

from html import escape
from importlib import import_module
from weakref import ref

import pytest

from pytest_gilknock.model import units, wire
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.model.reading import WORTH_A_ROW, GilReading
from pytest_gilknock.render.format import error_text
from pytest_gilknock.render.reading_text import reading_lines

_COLUMNS = (
    ("gil_wait", "GIL wait", METRICS["wait"]),
    ("gil_contention", "contention", METRICS["contention"]),
)
_LAST = "-"
"""What sorts before all digits."""


class HtmlColumns:
    """Lives in the process that prints: the only one, or the controller of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self._root = str(config.rootpath)
        # By id: the reports of subtests have no hash. The reference tells a report from another one
        # that has come to its place.
        self._cells: dict[int, tuple[ref[pytest.TestReport], list[str]]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the cells of a report for its row, and give it what is shown below that."""
        record: wire.PhaseRecord | None = report.__dict__.get(wire.RECORD)
        if record is None or record["phase"] != "call":
            return
        try:
            cells = self._cells_of(report, record)
        except Exception as error:  # it would end the run with an internal error
            cells = _cells_without(f"{units.NOT_MEASURED}: {error_text(error)}")
        self._cells[id(report)] = (ref(report), cells)

    def _cells_of(self, report: pytest.TestReport, record: wire.PhaseRecord) -> list[str]:
        reading = GilReading.from_raw(record["raw"])
        values = [(name, metric, metric.of(reading)) for name, _, metric in _COLUMNS]
        if (METRICS["wait"].of(reading) or 0.0) >= WORTH_A_ROW or record.get("verdicts"):
            lines = "\n".join(reading_lines(reading, self._root))
            extra = import_module("pytest_html.extras").html(f"<pre>GIL\n{escape(lines)}</pre>")
            report.extras = [*getattr(report, "extras", []), extra]  # type: ignore[attr-defined]
        return [_cell(name, value, metric.unit.printed(value)) for name, metric, value in values]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add the heads, before the links."""
        cells[-1:-1] = [
            f'<th class="sortable" data-column-type="{name}">{head}</th>'
            for name, head, _ in _COLUMNS
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Add the cells of a test; of one that was not measured they say so."""
        kept, found = self._cells.pop(id(report), (None, []))
        if kept is None or kept() is not report:
            found = _cells_without(units.NOT_MEASURED)
        if cells:  # without any, somebody leaves the row out
            cells[-1:-1] = found


def _cells_without(shown: str) -> list[str]:
    return [_cell(name, None, shown) for name, *_ in _COLUMNS]


def _cell(name: str, value: float | None, shown: str) -> str:
    """Return a cell; rows are sorted by its text, which begins with hidden digits for that."""
    by = _LAST if value is None else f"{value:016.6f}"
    return f'<td class="col-{name}"><span hidden>{by}</span>{escape(shown)}</td>'
