"""Coroutines as tests of anyio's plugin, on both of its backends."""

import anyio
import anyio.to_thread
import pytest

pytestmark = pytest.mark.anyio


async def test_passes():
    await anyio.sleep(0.01)


async def test_thread():
    assert await anyio.to_thread.run_sync(sum, range(10000)) == 49995000


async def test_fails():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
        raise ValueError
