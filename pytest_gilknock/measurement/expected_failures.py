"""Tests that are expected to fail: what is set for a whole run does not judge them.

A test with a strict ``xfail`` that passes is red. A failure raised for it would turn it green.
"""

from __future__ import annotations

import pytest


def is_expected_to_fail(item: pytest.Item) -> bool:
    """Return whether pytest takes a failure of this test for what it expects.

    That is so where one of its markers ``xfail`` has no condition, or one that holds, as long as
    ``--runxfail`` is not given.
    """
    if item.get_closest_marker("xfail") is None:
        return False
    if getattr(item.config.option, "runxfail", True):  # there is none with -p no:skipping
        return False
    # pytest has no public way to ask whether a marker's condition holds. This is what it asks
    # itself after each phase, as a test may have added a marker.
    from _pytest.skipping import evaluate_xfail_marks

    return evaluate_xfail_marks(item) is not None
