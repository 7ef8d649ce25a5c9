"""Coroutines as tests of pytest-asyncio, with fixtures and a pool of threads."""

import asyncio
import hashlib

import pytest
import pytest_asyncio


@pytest_asyncio.fixture
async def number():
    await asyncio.sleep(0)
    return 1


@pytest.mark.asyncio
async def test_passes(number):
    await asyncio.sleep(0.01)
    assert number == 1


@pytest.mark.asyncio
async def test_pool():
    work = [asyncio.to_thread(hashlib.sha256, bytes(1_000_000)) for _ in range(4)]
    assert len(await asyncio.gather(*work)) == 4


@pytest.mark.asyncio
async def test_fails():
    await asyncio.sleep(0)
    assert asyncio.get_running_loop() is None


@pytest.mark.asyncio
async def test_times_out():
    await asyncio.wait_for(asyncio.sleep(10), 0.02)
