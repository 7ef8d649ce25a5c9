"""A run as a page to look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_gilknock.reporting.file_report import FileReport
from pytest_gilknock.reporting.page import NEEDED, page_text
from pytest_gilknock.reporting.page_of_results import page_of
from pytest_gilknock.reporting.run_lines import caveats

if TYPE_CHECKING:
    from pytest_gilknock.reporting.results import Results


class HtmlReport(FileReport):
    """One self-contained file: the run in figures, its tests, who held the GIL and who waited."""

    format = "html"
    needs_trace = True
    shows_changes = True

    def check(self) -> None:
        if find_spec("jinja2") is None:
            raise ValueError(f"the page {NEEDED}")

    def write(self, results: Results) -> Iterator[str]:
        return page_text(page_of(results, [line.text for line in caveats(results)]))
