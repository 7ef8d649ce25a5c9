"""Properties, one of which does not hold."""

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.integers()))
def test_holds(values):
    assert sorted(values + values)[::2] == sorted(values)


@settings(derandomize=True, deadline=None, database=None)
@given(st.integers())
def test_does_not_hold(value):
    assert value < 1000
