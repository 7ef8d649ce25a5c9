"""Ids of tests, the same in every process of a run."""

from __future__ import annotations

import pytest


def id_of(item: pytest.Item) -> str:
    """Return a test's id without the group that pytest-xdist appends for ``--dist=loadgroup``."""
    if getattr(item.config.option, "loadgroup", False) and item.parent is not None:
        return f"{item.parent.nodeid}::{item.name}"
    return item.nodeid
