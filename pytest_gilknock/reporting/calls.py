"""The calls of a run's tests as a saved run has them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilknock.baseline.model import BaselineEntry

if TYPE_CHECKING:
    from pytest_gilknock.reporting.results import Results


def entries_of_calls(results: Results) -> dict[str, BaselineEntry]:
    """Return the entry of each test by its node id, sorted; setup and teardown are left out."""
    return {
        test.nodeid: BaselineEntry.from_reading(test.reading)
        for test in results.everything()
        if test.record["phase"] == "call"
    }
