"""Coroutines as tests of pytest-trio."""

import pytest
import trio


@pytest.fixture
async def number():
    await trio.sleep(0)
    return 1


@pytest.mark.trio
async def test_passes(number):
    assert await trio.to_thread.run_sync(lambda: number) == 1


@pytest.mark.trio
async def test_fails(number, autojump_clock):
    await trio.sleep(100)
    assert number == 2
