"""Whether waits for locks are measured here, which tests ask that need some."""

from __future__ import annotations

import pytest

from pytest_gilknock._core import Window


def _why_not() -> str | None:
    window = Window(locks=True)
    window.begin()
    locks = window.end()["locks"]
    return locks if isinstance(locks, str) else None


REASON = _why_not()
measured_only = pytest.mark.skipif(REASON is not None, reason=f"locks not measured: {REASON}")
