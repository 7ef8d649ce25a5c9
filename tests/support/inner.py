"""What tests of the whole plugin share: runs of pytest inside a test, and what they need."""

from __future__ import annotations

import pytest

from pytest_gilknock import _core

exact = pytest.mark.skipif(_core.status()[0] != "exact", reason="needs the accounting")

WITHOUT = ("hypothesispytest", "cov", "asyncio", "rerunfailures")


def run(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run pytest in this process, without the plugins that take time and have no part in it."""
    return pytester.runpytest_inprocess(*(f"-pno:{name}" for name in WITHOUT), *args)
