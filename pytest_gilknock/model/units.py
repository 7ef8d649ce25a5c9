"""Shares, times and counts: how they are read, and how they are printed. Pure.

A time is in seconds. Printed text is plain ASCII.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

NOT_MEASURED = "n/a"

SHARE_FORM = "a share from 0 to 1, such as 0.3 or '30%'"
DURATION_FORM = (
    "a time with its unit ('300us', '20ms', '1.5s', '2min'), or a number of seconds below 1"
)

_PRINTED_UNITS = ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"))
_PARSED_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_PLAIN_NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_NUMBER = rf"\s*({_PLAIN_NUMBER})\s*"
_SHARE = re.compile(rf"{_NUMBER}(%?)\s*", re.ASCII)
_DURATION = re.compile(rf"{_NUMBER}(us|ms|s|min)?\s*", re.ASCII)


def seconds(value: float | None) -> str:
    """Return a time in seconds with three digits and the unit that suits it: ``5.02 ms``."""
    if value is None:
        return NOT_MEASURED
    if value == 0.0:
        return "0 s"
    if value < 1e-6:
        return "<1 us"
    # Rounded first: 999.6 us are 1.00 ms.
    scaled, unit = _scaled(float(f"{value:.3g}") if value < 1000.0 else value)
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f} {unit}"


def exact_seconds(value: float) -> str:
    """Return a time that someone wrote down, such as a limit, without padding: ``20 ms``."""
    scaled, unit = _scaled(value)
    return f"{scaled:g} {unit}" if value else "0 s"


def _scaled(value: float) -> tuple[float, str]:
    for below, factor, unit in _PRINTED_UNITS:
        if value < below:
            return value * factor, unit
    return value, "s"


def share(value: float | None) -> str:
    """Return a share of 1 with three decimals."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def whole(value: float | None) -> str:
    """Return a count without decimals."""
    return NOT_MEASURED if value is None else str(int(value))


def count(number: int, noun: str) -> str:
    """Return ``1 test``, ``2 tests``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def parse_share(value: object) -> float:
    """Return a share from 0 to 1 from a number or a text such as ``"30%"``.

    Raises ValueError, with the value and the accepted form in its text.
    """
    number = _number(value)
    if number is None and isinstance(value, str) and (match := _SHARE.fullmatch(value)):
        number = float(match[1]) / (100.0 if match[2] else 1.0)
    if number is None or not 0.0 <= number <= 1.0:
        raise ValueError(f"{value!r} is not {SHARE_FORM}")
    return number


def parse_duration(value: object) -> float:
    """Return seconds from a text such as ``"20ms"``, or from a number of seconds below 1.

    A larger number needs its unit: who writes 20 more likely means milliseconds. Raises
    ValueError, with the value and the accepted form in its text.
    """
    number, unit = _number(value), None
    if number is None and isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        unit = match[2]
        number = float(match[1]) * _PARSED_UNITS[unit or "s"]
    if number is None or not 0.0 <= number < math.inf:
        raise ValueError(f"{value!r} is not {DURATION_FORM}")
    if unit is None and number >= 1.0:
        raise ValueError(f"{value!r} has no unit; write '{number:g}ms' or '{number:g}s'")
    return number


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:  # an int beyond every float
        return math.inf


def parse_plain_number(written: str) -> float:
    """Return a finite number from 0 up, written without sign or exponent. Raises ValueError."""
    if not re.fullmatch(_PLAIN_NUMBER, written, re.ASCII):
        raise ValueError
    if (number := float(written)) == math.inf:
        raise ValueError
    return number


@dataclass(frozen=True, slots=True)
class Unit:
    """What a metric is counted in.

    ``form`` says what ``parse`` accepts, the amount of a gate; ``parse`` raises ValueError.
    ``written`` prints such an amount as ``parse`` reads it, ``printed`` a value for people.
    ``suffix`` ends the name of a JUnit property. Values are saved with ``digits`` decimals.
    """

    name: str
    suffix: str
    digits: int
    form: str
    parse: Callable[[str], float]
    written: Callable[[float], str]
    printed: Callable[[float | None], str]

    def rounded(self, value: float | None) -> float | None:
        """Return a value as it is saved."""
        return None if value is None else round(value, self.digits)


def _parse_amount_share(written: str) -> float:
    if (number := parse_plain_number(written)) > 1.0:
        raise ValueError
    return number


def _parse_amount_time(written: str) -> float:
    if written[-1:].isdigit():
        raise ValueError
    return parse_duration(written)


def _parse_amount_count(written: str) -> float:
    if not (written.isascii() and written.isdigit() and len(written) <= 18):
        raise ValueError
    return float(written)


def _written_time(value: float) -> str:
    return exact_seconds(value).replace(" ", "")


SHARE = Unit(
    name="share",
    suffix="",
    digits=4,
    form="a share from 0 to 1 such as 0.05",
    parse=_parse_amount_share,
    written="{:g}".format,
    printed=share,
)
SECONDS = Unit(
    name="s",
    suffix="_s",
    digits=6,
    form="a time with its unit such as 20ms",
    parse=_parse_amount_time,
    written=_written_time,
    printed=seconds,
)
COUNT = Unit(
    name="count",
    suffix="",
    digits=0,
    form="a count such as 100",
    parse=_parse_amount_count,
    written="{:.0f}".format,
    printed=whole,
)
