"""Keeps the plugin out of tracebacks: they show the test, its fixtures and what those call."""

from __future__ import annotations

import inspect
import os
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest

_OWN = ("pytest_gilknock.measurement.", "pytest_gilknock.gate.")


def remove_own_frames(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Take the hook wrappers of this plugin out of a traceback, and pluggy's calls of them.

    An exception that passes through a wrapper has its frame in the traceback.
    ``__tracebackhide__`` would keep it out of pytest's own styles, but neither out of
    ``--tb=native`` nor out of ``--full-trace``. The frame in which an exception was raised stays.
    """
    if not isinstance(excinfo, pytest.ExceptionInfo):
        return  # a plugin's own kind of failure, which pytest's reports allow for
    kept = [excinfo.tb]
    entry = excinfo.tb.tb_next
    while entry is not None:
        if entry.tb_next is not None and _is_own_wrapper(entry.tb_frame):
            if len(kept) > 1 and _is_pluggy_call(kept[-1].tb_frame):
                kept.pop()
        else:
            kept.append(entry)
        entry = entry.tb_next
    for one, following in pairwise(kept):
        one.tb_next = following


def _is_own_wrapper(frame: FrameType) -> bool:
    is_generator = bool(frame.f_code.co_flags & inspect.CO_GENERATOR)
    return is_generator and _module(frame).startswith(_OWN)


def _is_pluggy_call(frame: FrameType) -> bool:
    return frame.f_code.co_name == "_multicall" and _module(frame).startswith("pluggy.")


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""  # code that is run by exec() may have anything


def raised_at_test(item: pytest.Item, failure: BaseException) -> BaseException:
    """Return ``failure`` with a traceback that ends at the test, where its limits are written.

    ``--tb=line`` names that place and ``--pdb`` stops there; without it they would name the one
    that raises. Where an item of a plugin has a place that no code can have, there is no traceback.
    """
    file, line, _ = item.location
    scope: dict[str, Any] = getattr(getattr(item, "function", None), "__globals__", {})
    try:
        path = os.path.join(item.config.rootpath, file)
        code = compile("\n" * (line or 0) + "raise failure", path, "exec")
        exec(code.replace(co_name=item.name), scope, {"failure": failure})
    except BaseException as raised:
        traceback = raised.__traceback__
        return failure.with_traceback(traceback.tb_next if traceback else None)
    raise AssertionError("unreachable")
