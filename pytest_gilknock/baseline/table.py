"""A baseline for people: where it comes from, and its tests, those that waited most first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gilknock.baseline.model import Baseline, BaselineEntry, Commit
from pytest_gilknock.model import units
from pytest_gilknock.model.metrics import METRICS
from pytest_gilknock.render.format import printable
from pytest_gilknock.render.markdown import code, prose
from pytest_gilknock.render.tables import Column, markdown_table, text_table


def as_text(name: str, baseline: Baseline) -> str:
    """Return the baseline as aligned lines."""
    lines = [*_origin(name, baseline), *text_table(_columns(baseline))]
    return "\n".join(lines) + "\n"


def as_markdown(name: str, baseline: Baseline) -> str:
    """Return the baseline as a table of GitHub's and GitLab's Markdown."""
    lines = [prose(line) + "\n" for line in _origin(name, baseline)]
    return "\n".join([*lines, *markdown_table(_columns(baseline))]) + "\n"


def _origin(name: str, baseline: Baseline) -> Iterator[str]:
    machine, interpreter = baseline.machine, baseline.interpreter
    tests = units.count(len(baseline.tests), "test")
    yield f"{printable(name)}: {tests}, saved {baseline.created}"
    yield printable(
        f"{machine.kind}, {machine.arch}, {units.count(machine.cpus, 'CPU')},"
        f" release {machine.release}, Python {interpreter.version},"
        f" GIL {'enabled' if interpreter.gil_enabled else 'disabled'},"
        f" switch interval {units.exact_seconds(interpreter.switch_interval)}"
    )
    if baseline.commit is not None:
        yield printable(_commit(baseline.commit))


def _commit(commit: Commit) -> str:
    branch = f" on {commit.branch}" if commit.branch else ""
    changes = ", with uncommitted changes" if commit.dirty else ""
    return f"commit {commit.id}{branch}{changes}"


def _columns(baseline: Baseline) -> list[Column]:
    def most_waiting(test: tuple[str, BaselineEntry]) -> tuple[float, float, str]:
        nodeid, entry = test
        return -(entry.metrics["wait"] or 0.0), -(entry.metrics["max_wait"] or 0.0), nodeid

    tests = sorted(baseline.tests.items(), key=most_waiting)
    return [
        *(
            Column(
                metric.title,
                [metric.unit.printed(entry.metrics[metric.name]) for _, entry in tests],
            )
            for metric in METRICS.values()
            if metric.shown or any(entry.metrics[metric.name] is not None for _, entry in tests)
        ),
        Column("method", [entry.method for _, entry in tests]),
        Column("test", [printable(nodeid) for nodeid, _ in tests], right=False, markdown=code),
    ]
