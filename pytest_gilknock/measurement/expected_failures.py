"""Tests that are expected to fail: what is set for a whole run does not judge them.

A test with a strict ``xfail`` that passes is red. A failure raised for it would turn it green.
"""

from __future__ import annotations

from typing import Any

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
    # pytest has no public way to ask whether a marker's condition holds. It keeps what it found
    # before the test, and asks once more after it, as a test may have added a marker.
    from _pytest.skipping import evaluate_xfail_marks, xfailed_key

    found = item.stash.get(xfailed_key, None) or evaluate_xfail_marks(item)
    if found is None:
        return False
    raises: Any = found.raises
    if raises is None or isinstance(raises, (type, tuple)):
        return raises is None or issubclass(pytest.fail.Exception, raises)
    return bool(raises.matches(pytest.fail.Exception("", pytrace=False)))
