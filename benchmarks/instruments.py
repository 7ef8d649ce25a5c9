"""The instruments that are compared, each as a pair of calls around a window.

- ``exact``, ``sampled``: this project's core.
- ``gilknocker``: with the intervals of its README (knock every 1 ms for 10 ms, then sleep 100
  ms).
- ``py-spy``: ``record --gil`` as a second process for one second; its share is the samples that
  saw a holder of the GIL, of those it was told to take.
- ``profiler``: CPython 3.15's ``profiling.sampling --mode gil``, in the same way, of those it
  took.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROFILER_LIMIT = 20.0
"""Seconds that an outside profiler may take for its one second of samples."""
PROFILER_RATE = 500


@dataclass(frozen=True)
class Seen:
    """What an instrument said; ``None`` where it says nothing."""

    contention: float | None
    wall: float | None = None
    wait: float | None = None
    max_wait: float | None = None
    method: str | None = None


@dataclass(frozen=True)
class Probe:
    """One use of an instrument: ``read`` makes sense of what ``end`` returned."""

    begin: Callable[[], object]
    end: Callable[[], Any]
    read: Callable[[Any], Seen]


@dataclass(frozen=True)
class Instrument:
    """``make`` sets up a fresh probe; ``outside`` ones need a second and a core of their own."""

    name: str
    make: Callable[[], Probe]
    is_here: Callable[[], bool]
    outside: bool = False


def _core(method: Any) -> Probe:
    from pytest_gilknock._core import Window
    from pytest_gilknock.model.reading import GilReading

    def read(raw: Any) -> Seen:
        reading = GilReading.from_raw(raw)
        return Seen(
            reading.contention, reading.wall, reading.wait, reading.max_wait, reading.method
        )

    window = Window(method=method)
    return Probe(window.begin, window.end, read)


def traced() -> Probe:
    """Our core, when it records every hold of the GIL and every wait for it."""
    from pytest_gilknock._core import Window
    from pytest_gilknock.model.trace import DEFAULT_EVENTS

    window = Window(method="exact", trace=DEFAULT_EVENTS)
    return Probe(window.begin, window.end, lambda raw: Seen(raw["held"] / raw["wall"]))


def looking(on: bool) -> Probe:
    """Our core, with blame or with the accounting alone."""
    core: Any = importlib.import_module("pytest_gilknock._core")
    core.status()
    core._look(on)
    return _core("exact")


def audited() -> Probe:
    """Our core, when it audits holds."""
    core: Any = importlib.import_module("pytest_gilknock._core")
    looking(on=True)
    window = core.Window(method="exact", audit=True)
    return Probe(window.begin, window.end, lambda raw: Seen(raw["held"] / raw["wall"]))


def _gilknocker() -> Probe:
    knocker = importlib.import_module("gilknocker").KnockKnock(
        polling_interval_micros=1_000,
        sampling_interval_micros=10_000,
        sleeping_interval_micros=100_000,
    )

    def end() -> float:
        contention: float = knocker.contention_metric
        knocker.stop()
        return contention

    return Probe(knocker.start, end, Seen)


def _outside(command: Callable[[str, str], list[str]], share: Callable[[str, int], float]) -> Probe:
    """Watch this process with ``command(output file, process id)``.

    ``share`` makes the GIL's share of what the command said and of how many samples are in the
    file.
    """
    spies: list[subprocess.Popen[str]] = []
    file = tempfile.NamedTemporaryFile(suffix=".collapsed")  # noqa: SIM115 - closed by end

    def begin() -> None:
        spies.append(
            subprocess.Popen(
                command(file.name, str(os.getpid())),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )

    def end() -> Seen:
        (spy,) = spies
        with file:
            try:
                said, _ = spy.communicate(timeout=PROFILER_LIMIT)
            except subprocess.TimeoutExpired:
                spy.kill()
                spy.communicate()
                return Seen(None)
            stacks = Path(file.name).read_text().splitlines()
        return Seen(share(said, sum(int(line.rsplit(" ", 1)[1]) for line in stacks)))

    return Probe(begin, end, lambda seen: seen)


def _py_spy_command(file: str, pid: str) -> list[str]:
    options = f"--gil --format raw --rate {PROFILER_RATE} --duration 1"
    return ["py-spy", "record", *options.split(), "--output", file, "--pid", pid]


def _profiler_command(file: str, pid: str) -> list[str]:
    options = f"--mode gil --all-threads --collapsed -r {PROFILER_RATE} -d 1"
    profiler = [sys.executable, "-m", "profiling.sampling", "attach"]
    return [*profiler, *options.split(), "-o", file, pid]


PROFILERS = {"py-spy": _py_spy_command, "profiler": _profiler_command}
"""By the names of the outside instruments: the command that has a process, by its id, looked at for
a second, and writes collapsed stacks to a file."""


def _py_spy() -> Probe:
    return _outside(_py_spy_command, lambda said, count: count / PROFILER_RATE)


def _profiler() -> Probe:
    def share(said: str, count: int) -> float:
        taken = re.search(r"Captured ([\d,]+) samples", said)
        failed = re.search(r"Error rate: ([\d.]+)", said)
        if taken is None:
            raise RuntimeError(f"no count of samples in: {said}")
        good = 1.0 - (float(failed[1]) / 100 if failed else 0.0)
        return count / (int(taken[1].replace(",", "")) * good)

    return _outside(_profiler_command, share)


def _has(module: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(module) is not None


EXACT = Instrument("exact", lambda: _core("exact"), lambda: True)
SAMPLED = Instrument("sampled", lambda: _core("sampled"), lambda: True)
GILKNOCKER = Instrument("gilknocker", _gilknocker, _has("gilknocker"))
PY_SPY = Instrument("py-spy", _py_spy, lambda: shutil.which("py-spy") is not None, outside=True)
PROFILER = Instrument("profiler", _profiler, lambda: sys.version_info >= (3, 15), outside=True)


def here() -> list[Instrument]:
    """Those that can be used with this interpreter."""
    return [one for one in (EXACT, SAMPLED, GILKNOCKER, PY_SPY, PROFILER) if one.is_here()]


def by_name(name: str) -> Instrument:
    """The instrument of that name; raises :class:`KeyError` when it cannot be used here."""
    return {one.name: one for one in here()}[name]
