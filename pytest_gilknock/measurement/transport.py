"""How a reading gets from where its test runs to where it is printed.

A measured phase leaves its reading with its item. When pytest makes the report of that phase, the
reading moves on to the report (:mod:`.report_hooks`), as an attribute of plain data. So it goes
wherever the report goes: to the controller of pytest-xdist, out of a process that pytest-forked
made for one test, or nowhere at all, because a plugin drops the report and runs the test again.
What a process measured as a whole goes out with the last message of an xdist worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from pytest_gilknock.model import wire

if TYPE_CHECKING:
    from pytest_gilknock.model.wire import PhaseRecord, RunTotals, Unmeasured

_TOTALS = "gilknock_totals"  # in the last message of an xdist worker, as are the next three
_NO_TOTALS = "gilknock_no_totals"
_ERRORS = "gilknock_errors"
_USAGE_ERROR = "gilknock_usage_error"


@dataclass(slots=True)
class Pending:
    """A measured phase whose report is still to be made.

    ``record`` is None where the phase was too short for one, or could not be measured: then
    ``unmeasured`` says why. ``failure`` is what was raised for a limit or a gate, ``metric`` the
    one that is worst over its gate. ``attributes`` are put on the report unless the test failed by
    itself.
    """

    phase: str
    record: PhaseRecord | None
    failure: BaseException | None = None
    metric: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    unmeasured: Unmeasured | None = None


PENDING = "_gilknock_pending"
"""The attribute of an item that has its :class:`Pending`. Not a key of its stash: every test asks
for it several times, and a stash answers by calls of Python functions, which take four times as
long."""


def pending_of(item: pytest.Item) -> Pending | None:
    """Return the measured phase of a test whose report is still to be made, if there is one."""
    return getattr(item, PENDING, None)


class Sink(Protocol):
    """Where measuring processes leave what they measured."""

    def add_phase(
        self, nodeid: str, outcome: str, record: PhaseRecord | None, *, forked: bool = False
    ) -> None:
        """Take a measured phase of a test that is over.

        ``record`` is None where it was too short for one. ``forked`` says that a process was
        forked for this test alone.
        """

    def add_unmeasured(self, nodeid: str, unmeasured: Unmeasured) -> None:
        """Take why a phase of a test that is over could not be measured."""

    def add_run(self, totals: RunTotals) -> None:
        """Take the totals of a process whose last test has run."""

    def add_unmeasured_run(self, reason: str) -> None:
        """Take why such a process has no totals."""

    def add_error(self, words: str) -> None:
        """Take what else of the plugin failed, in a sentence without a full stop."""

    def add_crash(self) -> None:
        """Take note of a process that crashed, and its totals with it."""


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process runs tests for another one."""
    return hasattr(config, "workerinput")


def has_workers(config: pytest.Config) -> bool:
    """Return whether this process has others run its tests."""
    return config.pluginmanager.has_plugin("dsession")


def fail_worker(config: pytest.Config, text: str) -> NoReturn:
    """End this worker before it runs a test, and have its controller end with a usage error."""
    _last_message(config)[_USAGE_ERROR] = text
    pytest.exit(text, returncode=pytest.ExitCode.USAGE_ERROR)


class WorkerSink:
    """Sends a worker's totals to the controller; the readings of its tests go on their reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._last_message = _last_message(config)

    def add_phase(
        self, nodeid: str, outcome: str, record: PhaseRecord | None, *, forked: bool = False
    ) -> None:
        raise AssertionError("a worker prints nothing")

    def add_unmeasured(self, nodeid: str, unmeasured: Unmeasured) -> None:
        raise AssertionError("a worker prints nothing")

    def add_run(self, totals: RunTotals) -> None:
        self._last_message[_TOTALS] = {**totals, "raw": wire.encodable(totals["raw"])}

    def add_unmeasured_run(self, reason: str) -> None:
        self._last_message[_NO_TOTALS] = reason

    def add_error(self, words: str) -> None:
        self._last_message.setdefault(_ERRORS, []).append(words)

    def add_crash(self) -> None:
        raise AssertionError("a worker has no workers")


class Controller:
    """Plugin object that passes what workers measured as a whole to ``sink``."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's last message; one that crashed has sent none."""
        message: dict[str, Any] | None = getattr(node, "workeroutput", None)
        for words in (message or {}).get(_ERRORS, []):
            self._sink.add_error(words)
        if message is None:
            self._sink.add_crash()
        elif _USAGE_ERROR in message:
            raise pytest.UsageError(message[_USAGE_ERROR])
        elif _TOTALS in message:
            self._sink.add_run(message[_TOTALS])
        elif _NO_TOTALS in message:
            self._sink.add_unmeasured_run(message[_NO_TOTALS])


def _last_message(config: pytest.Config) -> dict[str, Any]:
    output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
    return output
