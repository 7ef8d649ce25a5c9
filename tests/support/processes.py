"""Scripts in processes of their own, for what must not harm the tests: crashes, hangs, exits."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

NIGHTLY = os.environ.get("GILKNOCK_NIGHTLY") == "1"


def run(
    command: Sequence[object],
    patience: float,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command; return its status and what it wrote.

    Fails the test when it has not ended after so many seconds. Ends what it has left behind.
    """
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler tells where it is
        try:
            output, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            output = "not even SIGABRT ends it"
        pytest.fail(f"no end after {patience} s\n{output}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


@contextlib.contextmanager
def shared_between_workers(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lock and return a temporary folder that all workers of pytest-xdist have.

    What takes long to make is made there once; it stays as long as pytest keeps temporary folders.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with open(folder / "shared.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
