"""Whole pytest runs with a gate.

Readings and baselines are scripted, so that no timing decides: a test that is busy has a contention
of 1, and breaks a gate if its baseline has 0.
"""

import pytest
from support.gate_samples import BUSY, script_readings


@pytest.fixture
def scripted_readings(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    script_readings(pytester, monkeypatch)


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(
        test_a=BUSY
        + """
def test_one():
    busy()

def test_two():
    busy()

def test_fails():
    busy()
    assert "own" == "failure"
"""
    )
    return pytester
