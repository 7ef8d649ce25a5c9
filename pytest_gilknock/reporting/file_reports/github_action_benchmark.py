"""A run as github-action-benchmark takes it: ``tool: customSmallerIsBetter``. Pure.

The README of that action has the form: a list of ``{"name", "unit", "value", "extra"}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.render.format import printable
from pytest_gilknock.reporting.calls import entries_of_calls
from pytest_gilknock.reporting.file_report import FileReport
from pytest_gilknock.reporting.results import Results


class GithubActionBenchmark(FileReport):
    """Every metric of every test's call; what was not measured has no place in it."""

    format = "github-action-benchmark"

    def write(self, results: Results) -> list[str]:
        entries = entries_of_calls(results)
        benches = [bench for test in entries.items() for bench in _benches(*test)]
        return [json.dumps(benches, indent=1) + "\n"]


def _benches(nodeid: str, entry: BaselineEntry) -> Iterator[dict[str, object]]:
    for metric in METRICS.values():
        value = entry.metrics[metric.name]
        if value is not None and metric.worse == "higher":
            yield {
                "name": f"{printable(nodeid)} {metric.name}",
                "unit": metric.unit.name,
                "value": value,
                "extra": f"method: {entry.method}",
            }
