"""What a run reads of baselines before its tests, and writes after them. No pytest."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_gilknock import atomic_file
from pytest_gilknock.baseline import codec
from pytest_gilknock.baseline.model import Baseline, BaselineError, differences, merged
from pytest_gilknock.baseline.storage import LATEST, Storage, is_path
from pytest_gilknock.gate.baseline_runs import BaselineRuns
from pytest_gilknock.model import units
from pytest_gilknock.render.format import shown_path

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pytest_gilknock.gate.settings import GateSettings


LOCK_SECONDS = 10.0
"""How long to wait for other runs that save to the same file: each needs milliseconds."""


def read_baseline_runs(settings: GateSettings, now: Baseline) -> tuple[BaselineRuns, list[str]]:
    """Return the runs to compare with, and why verdicts may be off.

    ``now`` has the conditions of this run. Never raises for a baseline that is missing or
    unreadable: without it there is nothing to compare with, and the caveat says so.
    """
    if settings.compare is None:
        return BaselineRuns.of([]), []
    runs: list[tuple[str, Baseline]] = []
    caveats: list[str] = []
    try:
        paths = Storage(settings.storage, now.machine.kind).find(settings.compare)
    except BaselineError as error:
        return BaselineRuns.of([]), [f"nothing to compare with: {error}"]
    for path in paths:
        try:
            baseline = codec.load(path)
        except BaselineError as error:
            caveats.append(f"not compared with {error}")
            continue
        runs.append((_name_of(path, settings), baseline))
        unlike = differences(baseline, now)
        caveats += [f"compared with {_name_of(path, settings)}, but its {one}" for one in unlike]
    return BaselineRuns.of(runs), caveats


def _name_of(path: str, settings: GateSettings) -> str:
    """Return how a run is called where it is compared with: a numbered one by its file's name."""
    return shown_path(path) if path == settings.compare else os.path.basename(path)


def check_save(settings: GateSettings, now: Baseline) -> None:
    """Raise OSError or BaselineError if :func:`save` cannot work."""
    if settings.save is None:
        return
    if not is_path(settings.save):
        Storage(settings.storage, now.machine.kind).check_writable()
        return
    atomic_file.check_replaceable(settings.save)
    if os.path.lexists(settings.save):
        _merged_into(settings.save, now)


def _merged_into(path: str, new: Baseline) -> Baseline:
    old = codec.load(path)
    try:
        return merged(old, new)
    except BaselineError as error:
        raise BaselineError(f"{shown_path(path)}: {error}") from None


def save(settings: GateSettings, new: Baseline) -> str:
    """Write a run, and return the line that reports it. Raises BaselineError."""
    target = settings.save or ""
    try:
        path, also = _save_file(target, new) if is_path(target) else _save_run(settings, new)
    except OSError as error:
        place = shown_path(target if is_path(target) else settings.storage)
        raise BaselineError(f"{place}: {error.strerror or error}") from None
    return (
        f"GIL baseline of {units.count(len(new.tests), 'test')} saved to {shown_path(path)}{also}"
    )


def _save_run(settings: GateSettings, new: Baseline) -> tuple[str, str]:
    storage = Storage(settings.storage, new.machine.kind)
    last = storage.last(settings.save or LATEST)
    path = storage.save(settings.save or _name_by_commit(new), _text_of(new, settings.storage))
    return path, "" if last is None else _missing_text(last, new)


def _text_of(baseline: Baseline, path: str) -> str:
    try:
        return codec.dumps(baseline)
    except BaselineError as error:
        raise BaselineError(f"{shown_path(path)}: {error}") from None


def _missing_text(last: str, new: Baseline) -> str:
    """Return how many tests of the run before a new one lacks: it may be a part of them only."""
    try:
        missing = len(codec.load(last).tests.keys() - new.tests.keys())
    except BaselineError:
        return ""
    return (
        f", without {units.count(missing, 'test')} of {os.path.basename(last)}" if missing else ""
    )


def _save_file(target: str, new: Baseline) -> tuple[str, str]:
    whole = new
    with _alone_in(os.path.dirname(os.path.realpath(target))):
        if os.path.lexists(target):
            whole = _merged_into(target, new)
        atomic_file.replace(target, [_text_of(whole, target)])
    kept = len(whole.tests) - len(new.tests)
    also = f"; kept {units.count(kept, 'test')} that did not run, pass or get measured"
    return target, also if kept else ""


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Keep other runs from merging into a file of ``folder``, where the system has such locks.

    Raises OSError when another process has the lock and keeps it, as ``flock`` around a run does.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise OSError(
                    f"another process has had {shown_path(folder)} locked for {LOCK_SECONDS:g} s"
                ) from None
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return
        else:
            return


def _name_by_commit(new: Baseline) -> str:
    """Name a run by its commit and time: ``3f2a9c1b_20250131T120000``."""
    commit = new.commit.id[:8] if new.commit and new.commit.id.isalnum() else "nocommit"
    return f"{commit}_{new.created.translate({ord(mark): None for mark in '-:Z'})}"
