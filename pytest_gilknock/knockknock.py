"""``KnockKnock``: the class of gilknocker, with the same names and the same metric."""

from __future__ import annotations

import operator
from typing import SupportsIndex, TypeVar

Self = TypeVar("Self", bound="KnockKnock")

_DEFAULT_POLLING_US = 1_000


class KnockKnock:
    """Knock on the GIL for a while, sleep for a while, and sum up the share of time spent waiting.

    A drop-in for ``gilknocker.KnockKnock``, with its defaults: polls every 1,000 microseconds, for
    10 polling intervals, then sleeps for 100. Takes the names of gilknocker 0.4 (positional in that
    order) and those before it: ``interval_micros`` polls without sleeping, ``timeout_secs`` is a
    timeout in seconds. Both timeouts are accepted and have no effect, because nothing here waits
    for the knocking thread's next round. Also a context manager that starts and stops it.

    Raises TypeError for a value that is not a whole number or a name of each generation for the
    same thing, ValueError for a negative one.
    """

    __slots__ = ("_knocker",)

    def __init__(
        self,
        polling_interval_micros: SupportsIndex | None = None,
        sampling_interval_micros: SupportsIndex | None = None,
        sleeping_interval_micros: SupportsIndex | None = None,
        timeout_micros: SupportsIndex | None = None,
        *,
        interval_micros: SupportsIndex | None = None,
        timeout_secs: SupportsIndex | None = None,
    ) -> None:
        from pytest_gilknock._core import Knocker

        if polling_interval_micros is not None and interval_micros is not None:
            raise TypeError("give polling_interval_micros or interval_micros, not both")
        if timeout_micros is not None and timeout_secs is not None:
            raise TypeError("give timeout_micros or timeout_secs, not both")
        _whole("timeout_micros", timeout_micros, 0)
        _whole("timeout_secs", timeout_secs, 0)
        if interval_micros is None:
            polling = _whole(
                "polling_interval_micros", polling_interval_micros, _DEFAULT_POLLING_US
            )
            sleep = 100 * polling
        else:
            polling = _whole("interval_micros", interval_micros, _DEFAULT_POLLING_US)
            sleep = 0
        self._knocker = Knocker(
            polling,
            _whole("sampling_interval_micros", sampling_interval_micros, 10 * polling),
            _whole("sleeping_interval_micros", sleeping_interval_micros, sleep),
        )

    @property
    def contention_metric(self) -> float:
        """Time spent waiting for the GIL over time spent sampling, 0 to 1; 0.0 before any."""
        waiting, sampling = self._knocker.times()
        return waiting / sampling if sampling > 0.0 else 0.0

    @property
    def is_running(self) -> bool:
        """Whether it knocks."""
        return self._knocker.is_running

    def start(self) -> None:
        """Start to knock, with a new metric; nothing happens if it is running already."""
        if not self._knocker.is_running:
            self._knocker.reset()
            self._knocker.start()

    def stop(self) -> None:
        """Stop to knock and keep the metric; nothing happens if it is not running."""
        self._knocker.stop()

    def reset_contention_metric(self) -> None:
        """Begin the metric anew."""
        self._knocker.reset()

    def __enter__(self: Self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _whole(name: str, value: SupportsIndex | None, default: int) -> int:
    if value is None:
        return default
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {number}")
    return number
