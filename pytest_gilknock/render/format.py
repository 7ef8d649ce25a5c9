"""How numbers and names from outside are written for people. Plain ASCII, no pytest."""

from __future__ import annotations

NOT_MEASURED = "n/a"

_UNITS = ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"))


def seconds(value: float | None) -> str:
    """Return a time in seconds with three digits and the unit that suits it: ``5.02 ms``."""
    if value is None:
        return NOT_MEASURED
    if value == 0.0:
        return "0 s"
    if value < 1e-6:
        return "<1 us"
    scaled, unit = _scaled(value)
    digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
    return f"{scaled:.{digits}f} {unit}"


def exact_seconds(value: float) -> str:
    """Return a time that someone wrote down, such as a limit, without padding: ``20 ms``."""
    scaled, unit = _scaled(value)
    return f"{scaled:g} {unit}" if value else "0 s"


def share(value: float | None) -> str:
    """Return a share of 1 with three decimals."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def count(number: int, noun: str) -> str:
    """Return ``1 test``, ``2 tests``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Return ``text`` with every character escaped that could move a cursor or hide another one."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def keep_end(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` characters; what is cut off stands at its start."""
    return text if len(text) <= width else "..." + text[len(text) - max(width - 3, 0) :]


def keep_start(text: str, width: int) -> str:
    """Return ``text`` in at most ``width`` characters; what is cut off stands at its end."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def _scaled(value: float) -> tuple[float, str]:
    for below, factor, unit in _UNITS:
        if value < below:
            return value * factor, unit
    return value, "s"
