"""A test that hangs, which pytest-timeout ends, between two that do not."""

import threading
import time

import pytest


def test_before():
    time.sleep(0.01)


@pytest.mark.timeout(0.5)
def test_hangs():
    threading.Event().wait(20)


def test_after():
    time.sleep(0.01)
