"""What turned the GIL on, in this process or in a worker: it fails a run that would pass."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_gilknock.measurement.transport import is_worker


class GilTurnedOn:
    """What turned the GIL on in this process, or in a worker of pytest-xdist.

    A worker says it in its last message, by ``key``; one that crashed says nothing.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self.words: str | None = None
        """What turned it on, as it is printed; None where nothing did."""

    def learn_from(self, worker: Any) -> None:
        """Take what a worker has said; the first of those that had something to say is kept."""
        message: dict[str, Any] = getattr(worker, "workeroutput", None) or {}
        self.words = self.words or message.get(self._key)

    def fail(self, session: pytest.Session) -> None:
        """Fail a run that would pass although the GIL is on; a worker says what turned it on."""
        if self.words is None:
            return
        if is_worker(session.config):
            session.config.workeroutput[self._key] = self.words  # type: ignore[attr-defined]
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
