"""Tests with the fixture of pytest-benchmark and pytest-codspeed."""

import zlib

import pytest


def test_fixture(benchmark):
    assert benchmark(sum, range(1000)) == 499500


@pytest.mark.benchmark
def test_native(benchmark):
    benchmark(zlib.compress, bytes(10_000))
