"""Which plugins besides pytest and this one have tests run in ways of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pluggy
    import pytest

# They wrap the hooks of running a test, and run each once.
_RUN_ONCE = frozenset({"_hypothesis_pytestplugin", "pytest_timeout"})


def implementing(
    hook: pluggy.HookCaller, besides: Collection[str] = (), *, wrapping: bool = False
) -> list[str]:
    """Return the plugins that implement a hook, those that only wrap it as well if ``wrapping``.

    Left out are pytest, this plugin, and the packages ``besides``.
    """
    known = {"_pytest", "pytest_gilknock", *besides}
    return [
        implementation.plugin_name
        for implementation in hook.get_hookimpls()
        if (wrapping or not (implementation.wrapper or implementation.hookwrapper))
        and (implementation.function.__module__ or "").partition(".")[0] not in known
    ]


def may_run_tests_otherwise(config: pytest.Config) -> bool:
    """Return whether a plugin may run tests otherwise than pytest: in other processes, or again.

    A plugin does so in place of pytest, around it, or, as pytest-retry, where the report is made.
    """
    hooks = config.hook
    return bool(
        implementing(hooks.pytest_runtestloop)
        or implementing(hooks.pytest_runtest_protocol, _RUN_ONCE, wrapping=True)
        or implementing(hooks.pytest_runtest_makereport, _RUN_ONCE, wrapping=True)
    )
