"""Runs of pytest inside a test, without the plugins that take time and have no part in it."""

from __future__ import annotations

import pytest

WITHOUT = ("hypothesispytest", "cov", "asyncio", "rerunfailures")


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run pytest in this process on what ``pytester`` made."""
    return pytester.runpytest_inprocess(*(f"-pno:{name}" for name in WITHOUT), *args)
