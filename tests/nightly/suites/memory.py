"""Limits of pytest-memray, one of which is broken."""

import threading

import pytest


@pytest.mark.limit_memory("100 MB")
def test_within():
    threads = [threading.Thread(target=bytearray, args=(100_000,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.limit_memory("1 MB")
def test_over():
    assert len(bytearray(5_000_000))
