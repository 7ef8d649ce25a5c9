"""What many suites have: each outcome, fixtures, parameters, classes, unittest, threads."""

import threading
import time
import unittest
import warnings

import pytest


def compute(seconds=0.03):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(100))


def test_threads():
    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_passes():
    assert True


def test_fails():
    assert [1, 2] == [1, 3]


def test_skips():
    pytest.skip("not here")


@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    raise ValueError


@pytest.mark.xfail(reason="mended", strict=True)
def test_passes_unexpectedly():
    pass


@pytest.fixture(params=["one", "two"])
def number(request):
    return request.param


def test_parameters(number):
    assert number


@pytest.fixture
def broken_before():
    raise RuntimeError("before")


@pytest.fixture
def broken_after():
    yield
    raise RuntimeError("after")


def test_breaks_before(broken_before):
    pass


def test_breaks_after(broken_after):
    pass


def test_output(capfd):
    print("out")
    assert capfd.readouterr().out == "out\n"


def test_warns():
    warnings.warn("careful", stacklevel=1)


class TestClass:
    @pytest.fixture(autouse=True)
    def before(self):
        self.value = 1

    def test_method(self):
        assert self.value == 1


class TestCase(unittest.TestCase):
    def setUp(self):
        self.value = 1

    def test_passes(self):
        assert self.value == 1

    def test_fails(self):
        assert self.value == 2

    def test_parts(self):
        for part in range(3):
            with self.subTest(part=part):
                assert part != 1
