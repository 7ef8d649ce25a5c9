"""Which plugins besides pytest and this one have tests run in ways of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pluggy
    import pytest


def implementing(hook: pluggy.HookCaller, besides: Collection[str] = ()) -> list[str]:
    """Return the plugins that implement a hook, those left out that only wrap it.

    Left out as well are pytest, this plugin, and the packages ``besides``.
    """
    known = {"_pytest", "pytest_gilknock", *besides}
    return [
        implementation.plugin_name
        for implementation in hook.get_hookimpls()
        if not (implementation.wrapper or implementation.hookwrapper)
        and implementation.function.__module__.partition(".")[0] not in known
    ]


def run_tests(config: pytest.Config) -> bool:
    """Return whether one may run tests otherwise than pytest: in other processes, or again."""
    hooks = config.hook
    return bool(
        implementing(hooks.pytest_runtestloop) or implementing(hooks.pytest_runtest_protocol)
    )
