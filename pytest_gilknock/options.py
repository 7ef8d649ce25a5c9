"""Options and ini keys of every subpackage: their declaration, and what of them someone has set.

Imported with the plugin in every run, so it imports nothing that is not needed for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pytest

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

METHODS: tuple[Literal["auto", "exact", "sampled"], ...] = ("auto", "exact", "sampled")
SORTS = ("wait", "max_wait", "held", "contention", "lock_wait")
JUNIT = ("all", "limited", "none")

SHORT_FORMS = {"gil_json": "json", "gil_html": "html"}
"""Options with a path, short for ``--gil-export`` with this format."""

DEFAULT_TOP = 10
DEFAULT_STORAGE = ".gilknock"

# What an ini key may be in pytest's native TOML, where this pytest can be told so.
_TEXT_OR_NUMBER: Any = str | int | float if pytest.version_tuple >= (9, 2) else None

# name, action, metavar, help
_OPTIONS: tuple[tuple[str, str, str | None, str], ...] = (
    (
        "gil_report",
        "store_true",
        None,
        "measure every test and print who made others wait for the GIL",
    ),
    (
        "gil_forbid",
        "store_true",
        None,
        "on a free-threaded Python, fail the run if anything turns the GIL on",
    ),
    (
        "gil_locks",
        "store_true",
        None,
        "measure waits for locks beside those for the GIL; where the GIL is off they always are",
    ),
    ("gil_top", "store", "N", f"rows of the GIL table, 0 for all (default: {DEFAULT_TOP})"),
    (
        "gil_sort",
        "store",
        "|".join(SORTS),
        "order of the GIL table (default: wait); lock_wait measures waits for locks",
    ),
    (
        "gil_max_contention",
        "store",
        "SHARE",
        "fail tests that hold the GIL for more than this share of their time (0.3, 30%%), unless "
        "they have a max_gil_contention marker",
    ),
    (
        "gil_max_wait",
        "append",
        "TIME[@THREAD]",
        "fail tests in which a thread waits longer than this for the GIL at once (20ms, 1.5s), or "
        "one thread by its name or a glob (20ms@MainThread), unless they have a max_gil_wait "
        "marker (repeatable, for different threads; of several for one thread the last holds)",
    ),
    (
        "gil_audit",
        "store_true",
        None,
        "list the native calls that go on holding the GIL although a thread has waited for a whole "
        "switch interval and asked for it; to find them, the plugin asks for it all the time",
    ),
    (
        "gil_max_hold",
        "store",
        "TIME",
        "fail tests in which the GIL is held for longer than this at once (20ms) by a native call "
        "that keeps it although others ask, unless they have a max_gil_hold marker; audits every "
        "test as --gil-audit does",
    ),
    (
        "gil_max_lock_wait",
        "append",
        "TIME[@KIND]",
        "fail tests in which a thread waits longer than this for a lock at once (20ms), or for a "
        "lock of one kind (20ms@objects, @interpreter, @program), unless they have a max_lock_wait "
        "marker (repeatable, for different kinds; of several for one kind the last holds); "
        "measures waits for locks",
    ),
    (
        "gil_max_stop_the_world",
        "store",
        "TIME",
        "fail tests in which the interpreter stops a thread for longer than this at once (5ms), "
        "unless they have a max_stop_the_world marker; where the GIL is off",
    ),
    (
        "gil_method",
        "store",
        "|".join(METHODS),
        "how the GIL is measured: every take and release (exact), only how long gilknock's own "
        "thread waits for it (sampled), or exact where that is possible (auto, the default)",
    ),
    (
        "gil_switch_interval",
        "store",
        "TIME",
        "run the tests under this sys.setswitchinterval (1us to 1min), restored afterwards",
    ),
    (
        "gil_export",
        "append",
        "FORMAT:PATH",
        "write the readings of every test to PATH, as json, html (a page to look at), trace (a "
        "timeline), stacks (for flame graphs), openmetrics, bencher or github-action-benchmark "
        "(repeatable)",
    ),
    *(
        (name, "store", "PATH", f"short for --gil-export={form}:PATH")
        for name, form in SHORT_FORMS.items()
    ),
    (
        "gil_save",
        "store",
        "NAME",
        "save the readings as a baseline: a numbered run NAME in the storage, or one file if "
        "NAME is a path ending in .json (tests that did not run keep their entries there)",
    ),
    (
        "gil_autosave",
        "store_true",
        None,
        "save the readings as a numbered run named by commit and time",
    ),
    (
        "gil_compare",
        "store",
        "REF",
        "compare with saved runs: a name (its latest ten), a number, a path ending in .json, or "
        "'latest'",
    ),
    (
        "gil_compare_fail",
        "append",
        "METRIC:EXPR",
        "with --gil-compare, fail each test that is worse by more than this, such as "
        "wait:50ms&40%% (repeatable; metrics: contention, wait, max_wait, contended, max_hold, "
        "lock_wait, stop_the_world)",
    ),
    (
        "gil_compare_strict",
        "store_true",
        None,
        "make it an error when the baseline is missing, unreadable, or from another kind of "
        "machine, interpreter or method",
    ),
    (
        "gil_compare_retries",
        "store",
        "N",
        "run a test that is over a gate up to N times more; the majority decides (default: 0)",
    ),
    (
        "gil_storage",
        "store",
        "DIR",
        f"where numbered runs are saved (default: {DEFAULT_STORAGE} in the root directory)",
    ),
)
# name: type, help
_INI_KEYS: dict[str, tuple[Any, str]] = {
    "gil_report": ("bool", "see --gil-report: true or false"),
    "gil_forbid": ("bool", "see --gil-forbid: true or false"),
    "gil_locks": ("bool", "see --gil-locks: true or false"),
    "gil_audit": ("bool", "see --gil-audit: true or false"),
    "gil_export": ("linelist", "see --gil-export, one per line; relative to the root directory"),
    "gil_storage": (None, "see --gil-storage; relative to the root directory"),
    "gil_compare_fail": (
        "linelist",
        "see --gil-compare-fail: gates for every run with --gil-compare, one per line",
    ),
    "gil_knock_interval": (
        _TEXT_OR_NUMBER,
        "mean time between two knocks, with which gilknock's own thread asks for the GIL, 100us to "
        "10s, or off for none (default: 50ms; 20ms where there are only knocks; a quarter of a "
        "limit on waits in its test, if that is shorter)",
    ),
    "gil_trace_events": (
        _TEXT_OR_NUMBER,
        "how many holds of the GIL and waits for it a trace keeps of each process, 24 bytes each; "
        "of more, it has the latest (default: 1000000)",
    ),
    "gil_stall_timeout": (
        _TEXT_OR_NUMBER,
        "when no thread can get the GIL for this long, print all stacks to stderr and report it: "
        "10ms to 60min, or 0 for never (default: 1s)",
    ),
    "gil_junit": (
        _TEXT_OR_NUMBER,
        "tests that get properties, in JUnit files and other reports: all|limited|none (default: "
        "all with --gil-report, otherwise those with a limit)",
    ),
    **{
        name: (_TEXT_OR_NUMBER, f"see --{name.replace('_', '-')}")
        for name in (
            "gil_top",
            "gil_sort",
            "gil_max_contention",
            "gil_max_wait",
            "gil_max_hold",
            "gil_max_lock_wait",
            "gil_max_stop_the_world",
            "gil_method",
            "gil_switch_interval",
        )
    },
}
_ASK_FOR_NOTHING = ("gil_storage", "gil_compare_fail")
"""Ini keys that say how to save or compare, in the runs that an option has do so."""


def declare(parser: pytest.Parser) -> None:
    """Add the options and ini keys. What is not set is ``None``."""
    group = parser.getgroup("gilknock", "GIL contention")
    for name, action, metavar, text in _OPTIONS:
        form = {} if action == "store_true" else {"metavar": metavar}
        group.addoption(flag(name), action=action, default=None, help=text, **form)
    for name, (kind, text) in _INI_KEYS.items():
        parser.addini(name, text, type=kind, default=None)


def flag(name: str) -> str:
    """Return an option as it is written on the command line."""
    return "--" + name.replace("_", "-")


class Asked:
    """What someone has set, on the command line or in the ini file, the former before the latter.

    ``is_used`` says whether that asks the plugin for anything.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._found: dict[str, tuple[str, Any]] = {}
        for name, *_ in _OPTIONS:
            value = getattr(config.option, name, None)
            if value is not None:
                self._found[name] = flag(name), value
        self.of_command_line = frozenset(self._found)
        for name in _INI_KEYS:
            if name not in self._found and (value := _ini_value(config, name)) is not None:
                self._found[name] = f"ini key {name}", value
        self.is_used = bool(self.of_command_line or self._found.keys() - set(_ASK_FOR_NOTHING))

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def place(self, name: str) -> str:
        """Return where a setting stands: the option or the ini key."""
        return self._found[name][0] if name in self._found else flag(name)

    def value(self, name: str, parse: Callable[[Any], T], default: T) -> T:
        """Return a parsed setting; raises pytest.UsageError where ``parse`` raises ValueError."""
        if name not in self._found:
            return default
        place, written = self._found[name]
        try:
            return parse(written)
        except ValueError as error:
            raise pytest.UsageError(f"{place}: {error}") from None


_ASKED: pytest.StashKey[Asked] = pytest.StashKey()


def asked(config: pytest.Config) -> Asked:
    """Return what someone has set, read once in a run.

    Raises pytest.UsageError for an ini value that pytest itself cannot read.
    """
    if _ASKED not in config.stash:
        config.stash[_ASKED] = Asked(config)
    return config.stash[_ASKED]


def each(parse: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """Return a parser of what may be set more than once: options, or the lines of an ini key."""

    def parse_each(value: Any) -> list[T]:
        if isinstance(value, str) and "\n" in value:
            value = [line for line in value.splitlines() if line.strip()]
        return [parse(one) for one in (value if isinstance(value, list) else [value])]

    return parse_each


def one_of(choices: tuple[Word, ...]) -> Callable[[Any], Word]:
    """Return a parser that takes one of these words."""

    def parse(value: Any) -> Word:
        for choice in choices:
            if value == choice:
                return choice
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")

    return parse


_FORMS = {"bool": "true or false", "linelist": "a list of texts"}
"""How pytest's native TOML has the value of an ini key, by its type; others are a text."""


def _ini_value(config: pytest.Config, name: str) -> Any:
    """Return an ini key's value; None if it is not set, or false, which asks for nothing."""
    try:
        value = _typed_ini_value(config, name)
    except (ValueError, TypeError, pytest.UsageError) as error:
        form = _FORMS.get(_INI_KEYS[name][0], "it as text, in quotes")
        raise pytest.UsageError(f"ini key {name}: {error}; write {form}") from None
    return None if value is False or value in ("", []) else value


def _typed_ini_value(config: pytest.Config, name: str) -> Any:
    """As pytest does; but 9.0 and 9.1 take numbers in native TOML for a mistake."""
    try:
        return config.getini(name)
    except TypeError:
        written = getattr(config, "_inicfg", {}).get(name)
        value = getattr(written, "value", None)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise
        return value
