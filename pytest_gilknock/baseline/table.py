"""A baseline for people: where it comes from, and its tests, those that waited most first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gilknock.baseline.model import Baseline, Commit, Entry
from pytest_gilknock.gate.formats import code, prose
from pytest_gilknock.model import units
from pytest_gilknock.render import format as text

HEADS = ("contention", "wait", "max wait", "contended", "method", "test")


def as_text(name: str, baseline: Baseline) -> str:
    """Return the baseline as aligned lines."""
    rows = [HEADS, *_rows(baseline)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = list(_origin(name, baseline))
    for *cells, nodeid in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[:-1], strict=True)]
        lines.append("  ".join([*padded, nodeid]))
    return "\n".join(lines) + "\n"


def as_markdown(name: str, baseline: Baseline) -> str:
    """Return the baseline as a table of GitHub's and GitLab's Markdown."""
    lines = [prose(line) + "\n" for line in _origin(name, baseline)]
    lines += ["| " + " | ".join(HEADS) + " |", "|-:|-:|-:|-:|-|-|"]
    for *cells, nodeid in _rows(baseline):
        lines.append("| " + " | ".join([*cells, code(nodeid)]) + " |")
    return "\n".join(lines) + "\n"


def _origin(name: str, baseline: Baseline) -> Iterator[str]:
    machine, interpreter = baseline.machine, baseline.interpreter
    tests = units.count(len(baseline.tests), "test")
    yield f"{text.printable(name)}: {tests}, saved {baseline.created}"
    yield text.printable(
        f"{machine.kind}, {machine.arch}, {units.count(machine.cpus, 'CPU')},"
        f" release {machine.release}, Python {interpreter.version},"
        f" GIL {'enabled' if interpreter.gil_enabled else 'disabled'},"
        f" switch interval {units.exact_seconds(interpreter.switch_interval)}"
    )
    if baseline.commit is not None:
        yield text.printable(_commit(baseline.commit))


def _commit(commit: Commit) -> str:
    branch = f" on {commit.branch}" if commit.branch else ""
    changes = ", with uncommitted changes" if commit.dirty else ""
    return f"commit {commit.id}{branch}{changes}"


def _rows(baseline: Baseline) -> Iterator[tuple[str, ...]]:
    def most_waiting(test: tuple[str, Entry]) -> tuple[float, float, str]:
        nodeid, entry = test
        return -(entry.wait or 0.0), -(entry.max_wait or 0.0), nodeid

    for nodeid, entry in sorted(baseline.tests.items(), key=most_waiting):
        contended = units.NOT_MEASURED if entry.contended is None else str(entry.contended)
        yield (
            units.share(entry.contention),
            units.seconds(entry.wait),
            units.seconds(entry.max_wait),
            contended,
            entry.method,
            text.printable(nodeid),
        )
