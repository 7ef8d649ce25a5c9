"""Tests that pass at their third run, or never; for those who run failures again."""

import pytest

runs = {"third": 0, "never": 0, "setup": 0}


def test_third():
    runs["third"] += 1
    assert runs["third"] == 3


def test_never():
    runs["never"] += 1
    assert not runs["never"]


@pytest.fixture
def prepared():
    runs["setup"] += 1
    if runs["setup"] < 2:
        raise RuntimeError("not yet")


def test_with_an_unsteady_fixture(prepared):
    pass
