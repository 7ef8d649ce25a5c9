"""A run as OpenMetrics text, which GitLab's metrics reports and Prometheus read. Pure.

The OpenMetrics specification 1.0 has the format: families of samples with a label for each test,
and a last line that says that nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gilknock.model.metrics import METRICS, Metric
from pytest_gilknock.model.units import COUNT, SECONDS, SHARE
from pytest_gilknock.render.format import printable
from pytest_gilknock.reporting.calls import entries_of_calls
from pytest_gilknock.reporting.file_report import FileReport
from pytest_gilknock.reporting.results import Results

UNITS = {SECONDS.name: "seconds", SHARE.name: "ratio", COUNT.name: ""}
"""The base units that Prometheus names metrics by; a count has none."""


class OpenMetrics(FileReport):
    """Every metric of every test's call, as gauges; what was not measured has no sample."""

    format = "openmetrics"

    def write(self, results: Results) -> Iterator[str]:
        entries = entries_of_calls(results)
        for metric in METRICS.values():
            family, head = _head(metric)
            yield head
            for nodeid, entry in entries.items():
                value = entry.metrics[metric.name]
                if value is not None:
                    yield f'{family}{{test="{_label(nodeid)}",method="{entry.method}"}} {value!r}\n'
        yield "# EOF\n"


def _head(metric: Metric) -> tuple[str, str]:
    unit = UNITS[metric.unit.name]
    family = "_".join(filter(None, ["gilknock", metric.name, unit]))
    lines = [f"# TYPE {family} gauge"]
    if unit:
        lines.append(f"# UNIT {family} {unit}")
    lines.append(f"# HELP {family} {metric.title.capitalize()} of a test, by pytest-gilknock.")
    return family, "\n".join(lines) + "\n"


def _label(nodeid: str) -> str:
    return printable(nodeid).replace("\\", "\\\\").replace('"', '\\"')
