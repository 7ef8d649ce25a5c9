"""Five small programs for ``pytest --gil-report tests/demo``, each with a GIL story of its own."""

import asyncio
import ctypes
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_gilknock import assert_releases_gil


def count_primes(below):
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


def test_cpu_bound_pool():
    """Four threads compute in pure Python: one runs, three wait for the GIL."""
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count_primes, [40_000] * 4)) == [4203] * 4


@pytest.mark.max_gil_contention("50%")
def test_io_bound_pool():
    """Four threads sleep, as they would for a network: nobody wants the GIL, nobody waits."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(time.sleep, [0.1] * 4))


def test_native_work_releases_the_gil():
    """hashlib lets go of the GIL while it derives a key: four threads use as many cores."""

    def derive_key(password):
        return hashlib.pbkdf2_hmac("sha256", password, b"salt", 200_000)

    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(derive_key, [b"a", b"b", b"c", b"a"]))
    assert keys[0] == keys[3]
    with assert_releases_gil(min_share=0.5):
        derive_key(b"d")


def test_native_call_keeps_the_gil():
    """A native call that does not let go: a thread that wants to tick stands still for 100 ms."""
    done = threading.Event()

    def tick():
        while not done.wait(0.001):
            pass

    ticker = threading.Thread(target=tick, name="ticker")
    ticker.start()
    ctypes.PyDLL(None).usleep(100_000)
    done.set()
    ticker.join()


def test_asyncio_loop_stalled_by_a_thread():
    """An event loop beside a computing thread: whenever it wakes up, it waits for the GIL first."""

    async def serve():
        loop = asyncio.get_running_loop()
        computing = loop.run_in_executor(None, count_primes, 60_000)
        while not computing.done():
            await asyncio.sleep(0.001)
        return await computing

    assert asyncio.run(serve()) == 6057
