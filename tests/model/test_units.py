import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilknock.model import units
from pytest_gilknock.model.units import parse_duration, parse_share


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "n/a"),
        (0.0, "0 s"),
        (4e-7, "<1 us"),
        (1e-6, "1.00 us"),
        (9.996e-6, "10.0 us"),
        (310e-6, "310 us"),
        (999.4e-6, "999 us"),
        (999.6e-6, "1.00 ms"),
        (5.02e-3, "5.02 ms"),
        (9.996e-3, "10.0 ms"),
        (48.23e-3, "48.2 ms"),
        (99.96e-3, "100 ms"),
        (0.9999, "1.00 s"),
        (1.0, "1.00 s"),
        (12.44, "12.4 s"),
        (999.9, "1000 s"),
        (3600.0, "3600 s"),
        (12345.6, "12346 s"),
    ],
)
def test_seconds(value, shown):
    assert units.seconds(value) == shown


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_seconds_tells_the_value_within_one_percent(value):
    number, unit = units.seconds(value).split()
    assert float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit] == pytest.approx(
        value, rel=0.01
    )


@given(st.floats(1.0, 9.99) | st.floats(9.99, 9.9999), st.integers(min_value=-6, max_value=2))
def test_seconds_has_three_digits_before_and_after_each_unit(digits, magnitude):
    value = digits * 10.0**magnitude
    number, unit = units.seconds(value).split()
    assert len(number.replace(".", "")) == 3 or value >= 999.5
    assert 1.0 <= float(number) < 1000.0 or unit == "s"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0 s"), (0.02, "20 ms"), (0.0003, "300 us"), (1.5, "1.5 s"), (120.0, "120 s")],
)
def test_exact_seconds(value, shown):
    assert units.exact_seconds(value) == shown


@pytest.mark.parametrize(
    ("written", "share"),
    [(0, 0.0), (1, 1.0), (0.3, 0.3), ("0.3", 0.3), (".3", 0.3), ("30%", 0.3), (" 100 % ", 1.0)],
)
def test_parse_share(written, share):
    assert parse_share(written) == share


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (0.02, 0.02),
        (0.999, 0.999),
        ("0.999", 0.999),
        ("0.02", 0.02),
        ("300us", 300e-6),
        ("20ms", 0.02),
        (" 1.5 s ", 1.5),
        ("2min", 120.0),
    ],
)
def test_parse_duration(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


NEITHER = [
    math.nan,
    math.inf,
    -0.1,
    -1,
    10**400,
    True,
    False,
    None,
    [],
    b"1",
    "",
    " ",
    "nan",
    "inf",
    "-1",
    "+1",
    "1e-3",
    "1_0",
    "0x1",
    "1 2",
    ".",
    "٣",
    "9" * 400,
]


@pytest.mark.parametrize("written", [*NEITHER, 1.01, 30, "30", "101%", "0.3%%", "20ms"])
def test_not_a_share(written):
    with pytest.raises(
        ValueError, match=r"is not a share from 0 to 1, such as 0\.3 or '30%'"
    ) as error:
        parse_share(written)
    assert repr(written) in str(error.value)


@pytest.mark.parametrize("written", [*NEITHER, "20 parsecs", "20%", "20 m", "20MS", "ms"])
def test_not_a_duration(written):
    with pytest.raises(ValueError, match="is not a time with its unit") as error:
        parse_duration(written)
    assert repr(written) in str(error.value)


@pytest.mark.parametrize("written", [1, 1.0, 20, "20", "1", " 20 ", "1.0"])
def test_a_duration_of_1_or_more_needs_its_unit(written):
    number = f"{float(written):g}"
    with pytest.raises(
        ValueError, match=f"has no unit; write '{number}ms' or '{number}s'"
    ) as error:
        parse_duration(written)
    assert repr(written) in str(error.value)


@given(st.text())
def test_any_text_is_parsed_or_refused(written):
    for parse, most in ((parse_share, 1.0), (parse_duration, math.inf)):
        try:
            value = parse(written)
        except ValueError:
            continue
        assert 0.0 <= value <= most
        assert math.isfinite(value)
