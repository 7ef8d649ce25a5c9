"""A test that takes its process with it, among others."""

import os
import time

import pytest


@pytest.mark.parametrize("number", range(6))
def test_before(number):
    time.sleep(0.01)


def test_crashes():
    os._exit(3)


@pytest.mark.parametrize("number", range(6))
def test_after(number):
    time.sleep(0.01)
