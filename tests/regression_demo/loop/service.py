"""Answers requests in an event loop, while a pool of threads makes reports."""

import asyncio
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

BLOCK = bytes(1 << 20)
ROWS = [{"row": number, "name": f"row {number}"} for number in range(600)]


def checksum(block: bytes) -> str:
    return hashlib.sha256(block).hexdigest()


def report() -> str:
    return json.dumps(ROWS) + checksum(BLOCK)


async def answer() -> None:
    """Wait for a database, and reply."""
    await asyncio.sleep(0.001)


async def serve(requests: int) -> None:
    loop = asyncio.get_running_loop()
    done = False

    async def make_reports() -> None:
        while not done:
            await loop.run_in_executor(pool, report)

    with ThreadPoolExecutor(3, thread_name_prefix="reports") as pool:
        makers = [loop.create_task(make_reports()) for _ in range(3)]
        for _ in range(requests):
            await answer()
        done = True
        await asyncio.gather(*makers)
