"""What every benchmark shares: the command line, children bounded in time, the table, the JSON.

A benchmark is run from a checkout, by an interpreter that has the package installed, on a machine
that has nothing else to do: ``python benchmarks/NAME.py``. ``--help`` prints what its file begins
with, and its options; ``--quick`` only tries whether it works.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import median
from typing import IO, Any

ROOT = Path(__file__).parent.parent

HOG = """
import os, sys, time
end, parent = time.monotonic() + 3600, os.getppid()
while time.monotonic() < end and os.getppid() == parent:
    sum(range(100_000))
"""


def parser(doc: str | None, *, rounds: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks; ``doc`` describes the program."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if rounds:
        made.add_argument("--rounds", type=int, metavar="N", help="rounds whose median is shown")
    made.add_argument("--quick", action="store_true", help="a smoke run of less than 30 s")
    made.add_argument("--json", type=Path, metavar="PATH", help="write the figures, too")
    return made


def start(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Return what the command line says; ends the program if there is nothing to measure.

    From here on SIGTERM ends it as Ctrl-C does, so that no child is left behind.
    """
    options = made.parse_args()
    if importlib.util.find_spec("pytest_gilknock") is None:
        sys.exit(f"{sys.executable} has no pytest_gilknock to measure; install it first")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return options


@contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run ``command`` in a process group of its own, which does not outlive the block."""
    process: subprocess.Popen[str] = subprocess.Popen(
        command, text=True, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(command: Sequence[str], limit: float) -> Any:
    """Run ``command`` and return the JSON in its last line of output.

    Raises :class:`RuntimeError` when it fails or takes longer than ``limit`` seconds.
    """
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done after {limit:.0f} s") from None
    if process.returncode != 0:
        last_words = (err.strip() or "no word").splitlines()[-1]
        raise RuntimeError(f"exit {process.returncode}: {last_words}")
    return json.loads(out.splitlines()[-1])


def reply(data: object) -> None:
    """Answer :func:`ask`, from within the child."""
    print(json.dumps(data), flush=True)


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Keep ``count`` other processes busy with nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(child([sys.executable, "-c", HOG]))
        yield


def progress(text: str) -> None:
    """Tell whoever watches what is being measured; nothing when nobody does."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """The kind of machine and interpreter the figures come from."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def machine_line() -> str:
    """:func:`machine` in one line."""
    of = machine()
    where = f"{of['cpu']}, {of['cores']} cores, {of['kernel']}"
    return f"{of['python']}; {where}; load before: {of['load']}"


@dataclass(frozen=True)
class Table:
    """Aligned text: the first column to the left, the others to the right."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = ["-" * width for width in widths]
        text = [f"\n{self.title}"]
        for line in (self.head, rule, *self.rows):
            first, *rest = (
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            text.append("  ".join((first, *rest)).rstrip())
        return "\n".join(text)


def show(*parts: object) -> None:
    """Print tables and lines, the progress note wiped away."""
    progress("")
    for part in parts:
        print(part, flush=True)


def figure(value: float | None, digits: int = 3) -> str:
    """``value`` as a cell; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def median_within(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and from which to which value that of all possible ones lies with 95 %.

    The sign test's interval, whatever the values are distributed like; of fewer than six values it
    is from the least to the largest, and less certain.
    """
    ranked = sorted(values)
    outside, rank = 0.0, 0
    while 2 * (outside := outside + comb(len(ranked), rank) / 2 ** len(ranked)) <= 0.05:
        rank += 1
    least = max(rank - 1, 0)
    return median(ranked), ranked[least], ranked[-1 - least]


def span(seconds: float) -> str:
    """A length of time in the unit that fits it: ``20 us``, ``1.5 ms``, ``2 s``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(seconds) >= size * 0.9995:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def write_json(path: Path | None, results: object) -> None:
    """Write ``results`` and the machine to ``path``, whole or not at all; nothing without one."""
    if path is None:
        return
    file: IO[str]
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as file:
        json.dump({"machine": machine(), "results": results}, file, indent=1)
        file.write("\n")
    os.replace(file.name, path)
