"""A run in the Bencher Metric Format: ``bencher run --adapter json``. Pure.

"Bencher Metric Format (BMF)" of Bencher's documentation has the form: benchmarks by name, each with
measures that have a value, and its lower and upper bound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from pytest_gilknock.baseline.model import BaselineEntry
from pytest_gilknock.model.metrics import METRICS, Metric, Others
from pytest_gilknock.render.format import printable
from pytest_gilknock.reporting.calls import entries_of_calls
from pytest_gilknock.reporting.file_report import FileReport
from pytest_gilknock.reporting.results import Results

MOST_BYTES = 1024
"""Of the name of a benchmark; Bencher refuses a file in which one is longer."""


class Bencher(FileReport):
    """Every metric of every test's call; what was not measured has no place in it.

    The bounds of a sampled contention are those of its 95 % confidence interval. The lower bound of
    other values leaves out what is due to others that used the processors.
    """

    format = "bencher"

    def write(self, results: Results) -> list[str]:
        benchmarks = {
            _name(nodeid): measures
            for nodeid, entry in entries_of_calls(results).items()
            if (measures := dict(_measures(entry)))
        }
        return [json.dumps(benchmarks, indent=1) + "\n"]


def _name(nodeid: str) -> str:
    """Return a test's id as a name that Bencher takes: one that is too long ends in a digest."""
    name = printable(nodeid)
    encoded = name.encode()
    if len(encoded) <= MOST_BYTES:
        return name
    digest = "~" + hashlib.sha256(encoded).hexdigest()[:16]
    return encoded[: MOST_BYTES - len(digest)].decode(errors="ignore") + digest


def _measures(entry: BaselineEntry) -> Iterator[tuple[str, dict[str, float]]]:
    for metric in METRICS.values():
        value = entry.metrics[metric.name]
        if value is not None:
            low, high = _bounds(metric, value, entry)
            yield (
                f"gil-{metric.name.replace('_', '-')}",
                {"value": value, "lower_value": low, "upper_value": high},
            )


def _bounds(metric: Metric, value: float, entry: BaselineEntry) -> tuple[float, float]:
    if metric.is_of_knocks(entry):
        return entry.knock_interval
    return value - metric.delay(value, entry, Others.likely(entry.lost_share)), value
